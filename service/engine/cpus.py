"""How many CPUs there are for us: the container's limit counts, not the host's cores."""

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """CPUs that this process may keep busy, at least 1: its affinity, and its cgroup's quota."""
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
