"""How lanes and threads share this machine: requests a second of the whole service.

    python bench/lanes.py [--bundle weights/birds] [--seconds 5] [--rounds 3]

Each round serves the bundle with each plan in turn and loads it from another process, at 1, 8 and
32 clients (`load.py`). The table holds medians over the rounds, and each plan's ratio to the first
one of its column.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import photographs
import running

LOAD = Path(__file__).with_name("load.py")
PLANS = ((1, 2), (2, 1), (2, 2))  # lanes, threads of each
CLIENTS = (1, 8, 32)


def load(url: str, photographs_in: str, clients: int, seconds: float) -> float:
    """Requests a second; anything but a 200 is an error."""
    port = url.rsplit(":", 1)[1]
    words = [port, "--photographs", photographs_in, "--clients", clients, "--seconds", seconds]
    done = subprocess.run(
        [sys.executable, str(LOAD), *map(str, words)], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout.splitlines()[-1])
    if set(told["statuses"]) != {"200"}:
        raise RuntimeError(told["statuses"])
    return len(told["latencies_ms"]) / float(told["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=Path("weights/birds"))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    rates: dict[tuple[int, int, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        print(photographs.lay_out(Path(folder)))
        for _ in range(given.rounds):
            for lanes, threads in PLANS:
                with running.service(given.bundle, lanes=lanes, threads=threads) as (url, _):
                    for clients in CLIENTS:
                        rate = load(url, folder, clients, given.seconds)
                        rates.setdefault((lanes, threads, clients), []).append(rate)
    print("lanes threads  " + "".join(f"{f'{c} clients':>18}" for c in CLIENTS))
    for lanes, threads in PLANS:
        cells = ""
        for clients in CLIENTS:
            rate = statistics.median(rates[lanes, threads, clients])
            ratio = rate / statistics.median(rates[(*PLANS[0], clients)])
            cells += f"{f'{rate:.1f}/s ({ratio:.2f})':>18}"
        print(f"{lanes:5} {threads:7}  {cells}")


if __name__ == "__main__":
    main()
