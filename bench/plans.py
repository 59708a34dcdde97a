"""Which plan serves each peer best here: workers, threads of each, images in a batch.

    .venv-bench/bench/bin/python bench/plans.py [--only litserve mosec] [--seconds 3] [--rounds 1]

Each plan is loaded as in `run.py`; the table holds its requests a second as ratios to the limit
before and after it, medians over the rounds, and their geometric mean, which decides.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

from environments import ROOT
from limit import CPUS
from run import Bench
from server import Failed
from systems import SYSTEMS
from table import kind_of_limit

CLIENTS = (1, 8, 32)
PLANS = tuple(  # workers, threads, batch
    (workers, threads, batch)
    for workers, threads in ((1, CPUS), (CPUS, 1), (CPUS, CPUS))
    for batch in (1, 8)
)


def main() -> None:
    names = [system.name for system in SYSTEMS if system.name not in ("umzero", "naive")]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--bundle", type=Path, default=ROOT / "weights" / "birds")
    given = parser.parse_args()
    given.bundle, given.concurrency = given.bundle.resolve(), CLIENTS
    heads = "".join(f"{f'{clients} clients':>12}" for clients in CLIENTS)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given, Path(folder))
        systems = bench.install([system for system in SYSTEMS if system.name in given.only])
        print(f"{'':10}{'workers':>8}{'threads':>8}{'batch':>6}{heads}{'mean':>8}")
        for system in systems:
            ratios: dict[tuple[int, int, int], list[list[float]]] = {}
            before = bench.limits()
            for plan in PLANS * given.rounds:
                for name, value in zip(("WORKERS", "THREADS", "BATCH"), plan, strict=True):
                    os.environ[f"BENCH_{name}"] = str(value)
                try:
                    points = bench.measure(system)["points"]
                except Failed as error:
                    print(f"{system.name:10}{plan} {error}")
                    points = {}
                after = bench.limits()
                row = []
                for clients, point in points.items():
                    kind = kind_of_limit(int(clients))
                    both = before[kind]["per_s"] + after[kind]["per_s"]
                    row.append(point["per_s"] / both * 2)
                ratios.setdefault(plan, []).append(row)
                before = after
            for plan, rows in ratios.items():
                known = [row for row in rows if row and min(row) > 0]
                if not known:
                    continue
                middle = [statistics.median(column) for column in zip(*known, strict=True)]
                cells = "".join(f"{value:12.2f}" for value in middle)
                words = "{:8}{:8}{:6}".format(*plan)
                mean = statistics.geometric_mean(middle)
                print(f"{system.name:10}{words}{cells}{mean:8.3f}", flush=True)


if __name__ == "__main__":
    main()
