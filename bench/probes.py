"""What happens to a server that is treated badly; each probe gets a fresh one."""

import asyncio
import random
import signal
import statistics
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import photographs
from connection import Answer, Connection, request
from server import Failed, Server, served
from systems import System

Found = dict[str, Any]
ANSWER_S = 60.0  # what has not answered by then never will
LEFT_S = 15.0


def probe(system: System, python: Path, folder: Path, bundle: Path) -> dict[str, Found]:
    """All probes of one system, by name; a probe of a server that broke holds `failed`."""
    files = photographs.laid_out(folder)
    found = {}
    for name, run in PROBES.items():
        try:
            with served(system, python, files[0], bundle) as server:
                found[name] = asyncio.run(run(server, files))
        except (Failed, OSError) as error:
            found[name] = {"failed": str(error)}
    return found


async def poison(server: Server, files: list[bytes]) -> Found:
    """12 clients send 88 good JPEGs and 8 broken ones, mixed: who fails?"""
    bodies = [(files[i % len(files)], True) for i in range(88)]
    bodies += [(body, False) for body in photographs.broken(files, 8)]
    random.Random(0).shuffle(bodies)
    queue = iter(bodies)
    good: Counter[str] = Counter()
    bad: Counter[str] = Counter()

    async def client() -> None:
        for body, is_good in queue:
            status, _, _ = await _ask(server.port, body)
            (good if is_good else bad)[status] += 1

    await asyncio.gather(*(client() for _ in range(12)))
    return {"good": dict(good), "broken": dict(bad)}


async def burst(server: Server, files: list[bytes]) -> Found:
    """300 requests at once: who is answered, who is sent away, and how?"""
    answers = await asyncio.gather(*(_ask(server.port, files[i % len(files)]) for i in range(300)))
    refused = [answer for status, _, answer in answers if status == "503" and answer]
    slowest = max((took for status, took, _ in answers if status == "200"), default=None)
    return {
        "statuses": dict(Counter(status for status, _, _ in answers)),
        "retry_after": sum(b"\r\nretry-after:" in answer.head for answer in refused),
        "slowest_200_s": slowest,
    }


async def abandoned(server: Server, files: list[bytes]) -> Found:
    """200 requests whose clients leave at once: how long until another is answered?"""
    idle = [await _ask(server.port, files[0]) for _ in range(10)]
    for _ in range(4):
        connections = await asyncio.gather(*(Connection.to(server.port) for _ in range(50)))
        for number, connection in enumerate(connections):
            connection.send(request(files[number % len(files)])).add_done_callback(_forget)
        await asyncio.sleep(0.02)  # the bytes are with the server
        for connection in connections:
            connection.close()
    left = time.perf_counter()
    refused = 0
    while (status := (await _ask(server.port, files[0]))[0]) in ("429", "503"):
        refused += 1
        await asyncio.sleep(0.01)
    after_ms = (time.perf_counter() - left) * 1e3
    idle_ms = statistics.median(took for _, took, _ in idle) * 1e3
    return {"status": status, "after_ms": after_ms, "refused": refused, "idle_ms": idle_ms}


async def termination(server: Server, files: list[bytes]) -> Found:
    """SIGTERM with 32 requests in flight: who is answered, and what is left of the processes?"""
    server.tree.alive()
    asked = [asyncio.create_task(_ask(server.port, files[i])) for i in range(32)]
    await asyncio.sleep(0.05)
    server.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    gone_s = None
    while time.monotonic() - started < LEFT_S:
        await asyncio.sleep(0.1)
        server.process.poll()
        if not await asyncio.to_thread(server.tree.alive):
            gone_s = time.monotonic() - started
            break
    left = len(server.tree.alive())
    for task in asked:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    statuses = Counter(
        "none" if isinstance(answer, BaseException) else answer[0] for answer in answers
    )
    return {"statuses": dict(statuses), "left": left, "gone_s": gone_s}


PROBES: dict[str, Callable[[Server, list[bytes]], Awaitable[Found]]] = {
    "poison": poison,
    "burst": burst,
    "abandoned": abandoned,
    "termination": termination,
}


async def _ask(port: int, body: bytes) -> tuple[str, float, Answer | None]:
    """Status ("closed"; "none" after a minute), seconds, answer; on a connection of its own."""
    started = time.perf_counter()
    connection = None
    try:
        async with asyncio.timeout(ANSWER_S):
            connection = await Connection.to(port)
            answer = await connection.send(request(body))
        return str(answer.status), time.perf_counter() - started, answer
    except TimeoutError:
        return "none", time.perf_counter() - started, None
    except OSError:
        return "closed", time.perf_counter() - started, None
    finally:
        if connection is not None:
            connection.close()


def _forget(future: "asyncio.Future[Answer]") -> None:
    """Nobody waits for it, and its error is no news."""
    if not future.cancelled():
        future.exception()
