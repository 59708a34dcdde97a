"""The load, in a process of its own: clients that send the next request once they have an answer.

Prints "start" and "stop" when the measured window opens and closes, and then one JSON object:
seconds, statuses, latencies of the 200s in ms, and the CPU time of the generator itself. With
--get it asks for a path every 50 ms instead.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from itertools import cycle, islice
from pathlib import Path

from connection import Connection, request

WARM_UP_S = 1.0
PING_S = 0.05
PATIENCE_S = 30.0  # for the last answers


async def keep_loaded(
    port: int, requests: list[bytes], clients: int, seconds: float
) -> dict[str, object]:
    """`clients` connections, each cycling through the requests from a place of its own."""
    statuses: Counter[str] = Counter()
    latencies: list[float] = []
    opens = time.perf_counter() + WARM_UP_S
    closes = opens + seconds

    async def client(number: int) -> None:
        start = number * len(requests) // clients
        turn = cycle(islice(cycle(requests), start, start + len(requests)))
        connection = await Connection.to(port)
        while True:
            started = time.perf_counter()
            if started >= closes:
                break
            try:
                if not connection.open:
                    connection = await Connection.to(port)
                status = str((await connection.send(next(turn))).status)
            except OSError:
                status = "closed"
                await asyncio.sleep(0.01)
            ended = time.perf_counter()
            if opens <= ended < closes:
                statuses[status] += 1
                if status == "200":
                    latencies.append((ended - started) * 1e3)
        connection.close()

    async def window() -> float:
        await asyncio.sleep(max(0.0, opens - time.perf_counter()))
        print("start", flush=True)
        before = time.process_time()
        await asyncio.sleep(max(0.0, closes - time.perf_counter()))
        print("stop", flush=True)
        return time.process_time() - before

    working = [asyncio.create_task(client(number)) for number in range(clients)]
    own_cpu_s = await window()
    _, hanging = await asyncio.wait(working, timeout=PATIENCE_S)
    for task in hanging:
        task.cancel()
        statuses["none"] += 1
    for task in working:
        if task not in hanging:
            task.result()
    return {
        "seconds": seconds,
        "statuses": dict(statuses),
        "latencies_ms": [round(value, 3) for value in latencies],
        "generator_cpu_s": round(own_cpu_s, 4),
    }


async def ping(port: int, path: str, seconds: float) -> dict[str, object]:
    """Latencies of one path, asked for at fixed times so that a slow answer hides no other."""
    latencies: list[float] = []
    failed = 0
    asked = f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    idle = [await Connection.to(port)]

    async def once(delay: float) -> None:
        nonlocal failed
        await asyncio.sleep(delay)
        due = time.perf_counter()
        connection = idle.pop() if idle else await Connection.to(port)
        try:
            if (await connection.send(asked)).status == 200:
                latencies.append(round((time.perf_counter() - due) * 1e3, 3))
                idle.append(connection)
                return
        except OSError:
            pass
        failed += 1

    await asyncio.gather(*(once(WARM_UP_S + i * PING_S) for i in range(int(seconds / PING_S))))
    return {"latencies_ms": latencies, "failed": failed}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--photographs", type=Path, help="a folder of JPEGs")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--get", help="the path to ask for")
    given = parser.parse_args()
    if given.get:
        told = asyncio.run(ping(given.port, given.get, given.seconds))
    else:
        files = sorted(given.photographs.glob("*.jpg"))
        requests = [request(file.read_bytes()) for file in files]
        told = asyncio.run(keep_loaded(given.port, requests, given.clients, given.seconds))
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
