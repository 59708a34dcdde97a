"""What decides how much work is taken: CPUs, lanes, and when to come back."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.engine.admission import Permits
from service.engine.cpus import available_cpus
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
