"""Minutes of load with broken images and impatient clients: does UMZero stay whole, and small?

    python bench/soak.py [--minutes 5] [--clients 32]

1 % of the requests hold a broken image, and 5 % of the clients' sockets close 50 ms after the
request. Prints the memory of all its processes (RSS) every ten seconds, the statuses, and how much
it grew after the first minute. Exits with 1 when there was a 500 or a closed connection.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import photographs
from connection import Connection, request
from environments import ROOT, prepare
from server import Server, served
from systems import SYSTEMS

BROKEN, IMPATIENT = 0.01, 0.05
PATIENCE_S = 0.05
EVERY_S = 10.0
SETTLED_S = 60.0


async def client(
    port: int, good: list[bytes], bad: list[bytes], until: float, counts: Counter[str], seed: int
) -> None:
    """One request after the other, some of them broken, some of them abandoned."""
    chance = random.Random(seed)
    connection: Connection | None = None
    while time.monotonic() < until:
        is_bad = chance.random() < BROKEN
        sent = chance.choice(bad if is_bad else good)
        patience = PATIENCE_S if chance.random() < IMPATIENT else None
        try:
            if connection is None or not connection.open:
                connection = await Connection.to(port)
            async with asyncio.timeout(patience):
                answer = await connection.send(sent)
            counts[f"{answer.status} to a {'broken' if is_bad else 'good'} image"] += 1
        except TimeoutError:
            counts["left after 50 ms"] += 1
            if connection is not None:
                connection.close()
            connection = None
        except OSError:
            counts["closed by the server"] += 1
            connection = None
            await asyncio.sleep(0.1)
    if connection is not None:
        connection.close()


async def memory(server: Server, started: float, until: float) -> list[tuple[float, float]]:
    """Seconds since the start, MiB."""
    readings = []
    while True:
        reading = time.monotonic() - started, server.tree.rss_mib()
        readings.append(reading)
        print(f"{reading[0]:6.0f} s  {reading[1]:8.1f} MiB", flush=True)
        if time.monotonic() >= until:
            return readings
        await asyncio.sleep(min(EVERY_S, max(0.0, until - time.monotonic())))


async def soak(
    server: Server, files: list[bytes], clients: int, seconds: float
) -> tuple[Counter[str], list[tuple[float, float]]]:
    good = [request(file) for file in files]
    bad = [request(file) for file in photographs.broken(files, 8)]
    counts: Counter[str] = Counter()
    started = time.monotonic()
    until = started + seconds
    work = [client(server.port, good, bad, until, counts, seed) for seed in range(clients)]
    readings, *_ = await asyncio.gather(memory(server, started, until), *work)
    return counts, readings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--bundle", type=Path, default=ROOT / "weights" / "birds")
    given = parser.parse_args()
    system = next(system for system in SYSTEMS if system.name == "umzero")
    python = prepare(system.name)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(photographs.lay_out(folder))
        files = photographs.laid_out(folder)
        with served(system, python, files[0], given.bundle.resolve()) as server:
            counts, readings = asyncio.run(soak(server, files, given.clients, given.minutes * 60))
    for what, number in sorted(counts.items()):
        print(f"{number:8}  {what}")
    settled = [mib for second, mib in readings if second >= SETTLED_S]
    if settled:
        print(f"memory grew by {settled[-1] - settled[0]:+.1f} MiB after the first minute")
    if any(what.startswith(("5", "closed")) for what in counts):
        sys.exit(1)


if __name__ == "__main__":
    main()
