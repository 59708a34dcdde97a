"""The CPUs that are there for us, and which thread runs on which."""

import contextlib
import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """CPUs that this process may keep busy, at least 1: its affinity, and its cgroup's quota.

    In a container the limit counts, not the host's cores.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(cgroup)
    return max(1, min(allowed or 1, math.ceil(quota) if quota else allowed or 1))


def _quota(cgroup: Path) -> float | None:
    """CPU time per time: cgroup v2's `cpu.max`, else v1's two files; None: no limit.

    Source: Linux's Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst.
    """
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return None
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max" stands for no limit
        return None
    return share if share > 0 else None


class Seat:
    """Where one of several threads that compute runs: anywhere, or on a CPU of its own.

    Schedulers wake two busy threads on one CPU now and then, and leave another one idle for
    milliseconds.

    Args:
        cpu: the thread's own.
    """

    def __init__(self, cpu: int) -> None:
        self._own = {cpu}
        self._anywhere = os.sched_getaffinity(0)
        self._is_taken = False

    def take(self, wanted: bool) -> None:
        """Move the calling thread to its own CPU, or let it go anywhere again."""
        if wanted != self._is_taken:
            # A CPU that was taken from the process meanwhile is no reason to stop.
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, self._own if wanted else self._anywhere)
            self._is_taken = wanted


def seats(threads: int, cgroup: Path = CGROUP) -> list[Seat]:
    """A seat for each thread, if there is just one CPU for each; else none."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) != threads or threads < 2 or available_cpus(cgroup) != threads:
        return []
    return [Seat(cpu) for cpu in cpus]
