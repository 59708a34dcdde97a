"""What several processes share: CPUs, connections, what their gauges show."""

import asyncio
import contextlib
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from service.engine.plan import Plan
from service.errors import ConfigurationError
from service.readings import Board, Reading, merged
from service.settings import Settings
from service.workers.connections import Acceptor, Counts
from service.workers.folder import reading_in
from service.workers.process import spawned
from service.workers.shares import Share, settings_of_one, shares

READING = Reading(True, 3, 32, Plan(2, 4, 16), 79, 5, 12, ("1", "birds", "onnx", "int8"))


def with_cpus(monkeypatch: pytest.MonkeyPatch, cpus: set[int]) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus, raising=False)


@pytest.mark.parametrize(
    ("cpus", "workers", "expected"),
    [
        ({0, 1}, 2, [Share(1, (0,)), Share(1, (1,))]),
        ({2, 3, 6, 7}, 2, [Share(2, (2, 3)), Share(2, (6, 7))]),
        (set(range(5)), 2, [Share(2, (0, 1)), Share(2, (2, 3))]),
        ({0, 1}, 3, [Share(1)] * 3),  # nobody has a CPU to himself
    ],
)
def test_workers_share_the_cpus(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    cpus: set[int],
    workers: int,
    expected: list[Share],
) -> None:
    with_cpus(monkeypatch, cpus)

    assert shares(workers, tmp_path) == expected


def test_workers_share_a_quota_and_go_where_they_like(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_cpus(monkeypatch, set(range(64)))
    (tmp_path / "cpu.max").write_text("400000 100000\n")

    assert shares(2, tmp_path) == [Share(2), Share(2)]


@pytest.mark.parametrize(
    ("capacity", "workers", "expected"), [(64, 2, 32), (65, 2, 33), (1, 4, 1), (64, 1, 64)]
)
def test_what_the_service_takes_on_is_divided(capacity: int, workers: int, expected: int) -> None:
    settings = Settings(queue_capacity=capacity, workers=workers)

    assert settings_of_one(settings).queue_capacity == expected


def test_gauges_add_up_what_can_be_done_and_tell_what_all_of_them_know() -> None:
    behind = replace(READING, queue_depth=1, plan=Plan(1, 8, 8), registered_classes=4, revision=11)
    draining = replace(READING, ready=False)

    both = merged([READING, behind])

    assert (both.queue_depth, both.queue_capacity, both.plan) == (4, 64, Plan(3, 8, 16))
    assert (both.own_classes, both.registered_classes, both.revision) == (79, 4, 11)
    assert both.ready
    assert not merged([READING, draining]).ready
    assert replace(merged([READING]), build=READING.build) == READING


def test_readings_are_seen_by_the_others_while_their_process_lives(tmp_path: Path) -> None:
    first, second = Board(tmp_path, 0), Board(tmp_path, 1)
    assert second.others() == []

    first.show(READING)
    second.show(replace(READING, build=None))

    assert second.others() == [READING]
    assert first.others() == [replace(READING, build=None)]
    reading_in(tmp_path, 0).unlink()
    assert second.others() == []


class Peer(asyncio.Protocol):
    """Counts the connections of one worker."""

    def __init__(self, live: set["Peer"]) -> None:
        self._live = live

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._live.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._live.discard(self)


async def share_out(folder: Path, before: int, clients: int, slow: bool = False) -> list[int]:
    """Connections of two acceptors in one process; the first begins with `before` of them.

    Args:
        slow: the second one never looks.
    """
    Counts.create(folder, 2)
    live: list[set[Peer]] = [set(), set()]
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.setblocking(False)
        acceptors = [
            Acceptor(
                stack.enter_context(listener.dup()),
                Counts(folder),
                slot,
                lambda slot=slot: len(live[slot]) + (before if slot == 0 else 0),  # type: ignore[misc]
                lambda slot=slot: Peer(live[slot]),  # type: ignore[misc]
            )
            for slot in range(2)
        ]
        acceptors[0].open()
        if slow:
            Counts(folder).note(1, 0)
        else:
            acceptors[1].open()
        opened = [
            stack.enter_context(socket.create_connection(listener.getsockname()))
            for _ in range(clients)
        ]
        async with asyncio.timeout(30):
            while sum(map(len, live)) < len(opened):
                await asyncio.sleep(0.001)
        for peer in live[0] | live[1]:
            peer.transport.close()
        for acceptor in acceptors:
            acceptor.close()
        return [len(each) for each in live]


@pytest.mark.parametrize(
    ("before", "clients", "expected"), [(0, 8, [4, 4]), (5, 5, [0, 5]), (2, 6, [2, 4])]
)
def test_a_connection_goes_to_whoever_has_the_fewest(
    tmp_path: Path, before: int, clients: int, expected: list[int]
) -> None:
    assert asyncio.run(share_out(tmp_path, before, clients)) == expected


def test_connections_do_not_wait_for_a_worker_that_does_not_take_them(tmp_path: Path) -> None:
    assert asyncio.run(share_out(tmp_path, 0, 3, slow=True)) == [3, 0]


def test_a_worker_notes_that_it_lives_also_when_no_other_one_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now_ns = 10**9
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns)
    Counts.create(tmp_path, 2)
    counts = Counts(tmp_path)

    async def test() -> None:
        nonlocal now_ns
        with socket.create_server(("127.0.0.1", 0)) as listener:
            acceptor = Acceptor(listener, counts, 0, lambda: 0, lambda: Peer(set()))
            acceptor.open()
            now_ns += 3 * 10**9
            assert counts.silence_s(0) == 3
            assert acceptor.surplus() == 0
            assert counts.silence_s(0) == 0
            acceptor.close()

    asyncio.run(test())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
def test_a_worker_that_can_not_be_started_is_an_error_of_ours_and_leaves_nothing_open(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        before = set(Path("/proc/self/fd").iterdir())

        with pytest.raises(ConfigurationError, match=r"can't start a worker.*gone"):
            spawned(0, [str(tmp_path / "gone")], listener, tmp_path)

        assert set(Path("/proc/self/fd").iterdir()) == before
