"""How lanes and threads share this machine: requests a second of the whole service.

    python bench/lanes.py [--bundle weights/birds] [--seconds 5] [--rounds 3]

Each round serves the bundle with each plan in turn and loads it from another process, at 1, 8 and
32 clients with keep-alive connections and one 800 x 600 JPEG. The table holds medians over the
rounds, and each plan's ratio to the first one of its column.
"""

import argparse
import asyncio
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

PLANS = ((1, 2), (2, 1), (2, 2))  # lanes, threads of each
CLIENTS = (1, 8, 32)


@contextmanager
def served(bundle: str, lanes: int, threads: int) -> Iterator[int]:
    """A service in a process of its own: its port."""
    with tempfile.TemporaryDirectory() as state:
        words = ["serve", "--port", "0", "--bundle", bundle, "--state-dir", state]
        process = subprocess.Popen(
            [sys.executable, "-m", "umzero.cli", *words],
            env={**os.environ, "UMZERO_LANES": str(lanes), "UMZERO_THREADS": str(threads)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            process.terminate()
            process.wait()


def photograph() -> bytes:
    """A JPEG with as much to decode as a photograph has."""
    blocks = np.random.default_rng(0).random((30, 40, 3))
    pixels = (np.kron(blocks, np.ones((20, 20, 1))) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


async def load(port: int, clients: int, seconds: float) -> float:
    """Requests a second; anything but a 200 is an error."""
    body = photograph()
    head = "POST /classify HTTP/1.1\r\nHost: bench\r\nContent-Type: image/jpeg\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    started = time.perf_counter()

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        done = 0
        while time.perf_counter() - started < seconds:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            fields = dict(line.lower().split(b": ") for line in answer.split(b"\r\n")[1:-2])
            await reader.readexactly(int(fields[b"content-length"]))
            done += 1
        writer.close()
        return done

    counts = await asyncio.gather(*(client() for _ in range(clients)))
    return sum(counts) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="weights/birds")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port", type=int, help="load what listens there once, and stop")
    parser.add_argument("--clients", type=int, default=1)
    given = parser.parse_args()
    if given.port:
        print(asyncio.run(load(given.port, given.clients, given.seconds)))
        return
    rates: dict[tuple[int, int, int], list[float]] = {}
    for _ in range(given.rounds):
        for lanes, threads in PLANS:
            with served(given.bundle, lanes, threads) as port:
                for clients in CLIENTS:
                    words = ["--port", port, "--clients", clients, "--seconds", given.seconds]
                    done = subprocess.run(
                        [sys.executable, __file__, *map(str, words)],
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    rates.setdefault((lanes, threads, clients), []).append(float(done.stdout))
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
