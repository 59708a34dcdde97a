"""What decides how much work is taken: CPUs, lanes, and when to come back."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.engine.admission import Permits
from service.engine.cpus import available_cpus, seats
from service.engine.rate import ServiceRate
from service.errors import Overloaded

ALLOWED = len(os.sched_getaffinity(0))


class Nobody:
    def __init__(self) -> None:
        self.batches = 0

    def batch_ended(self, waited_s: Sequence[float], ran_s: float, cancelled: int) -> None:
        self.batches += 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, ALLOWED),
        ({"cpu.max": "6400000 100000\n"}, min(ALLOWED, 64)),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, ALLOWED),
        ({"cpu.max": "nonsense"}, ALLOWED),
        ({}, ALLOWED),
    ],
)
def test_a_containers_limit_counts_before_the_hosts_cores(
    tmp_path: Path, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert available_cpus(tmp_path) == expected


@pytest.fixture
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """A process that may use CPUs 2 to 5; where it puts its thread."""
    moves: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 4, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cpus: moves.append(set(cpus)))
    return moves


def test_a_thread_for_each_cpu_gets_one_of_its_own_while_others_run(
    four_cpus: list[set[int]], tmp_path: Path
) -> None:
    places = seats(4, tmp_path)
    for place in places:
        place.take(True)
        place.take(True)
    places[1].take(False)
    assert four_cpus == [{2}, {3}, {4}, {5}, {2, 3, 4, 5}]


def test_nobody_is_seated_where_threads_and_cpus_are_not_one_for_one(
    four_cpus: list[set[int]], tmp_path: Path
) -> None:
    assert seats(3, tmp_path) == seats(5, tmp_path) == []
    (tmp_path / "cpu.max").write_text("200000 100000\n")  # two CPUs' time on any of the four
    assert seats(4, tmp_path) == seats(2, tmp_path) == []
    assert four_cpus == []


def test_a_cpu_that_was_taken_away_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, four_cpus: list[set[int]], tmp_path: Path
) -> None:
    def refuse(_: int, cpus: set[int]) -> None:
        raise OSError(22, "Invalid argument")

    place = seats(4, tmp_path)[0]
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    place.take(True)
    assert four_cpus == []


def test_who_is_refused_is_told_how_long_the_others_will_take() -> None:
    rate = ServiceRate(lanes=2, then=Nobody())
    assert rate.retry_after_s(64) == 1  # nothing is known yet
    for _ in range(200):
        rate.batch_ended([0.0] * 4, 1.0, 0)  # 0.25 s an image, two at a time
    assert rate.retry_after_s(64) == 8
    assert rate.retry_after_s(1) == 1
    assert rate.retry_after_s(100_000) == 60

    permits = Permits(1, lambda waiting: 7 * waiting)
    with permits.hold(), pytest.raises(Overloaded) as refused, permits.hold():
        pass
    assert refused.value.retry_after_s == 7


def test_the_rate_follows_a_machine_that_gets_faster_and_tells_others() -> None:
    other = Nobody()
    rate = ServiceRate(lanes=1, then=other)
    for _ in range(5):
        rate.batch_ended([0.0], 10.0, 0)
    assert rate.retry_after_s(2) == 20
    for _ in range(200):
        rate.batch_ended([0.0], 0.4, 0)
    assert rate.retry_after_s(2) == 1
    assert other.batches == 205
