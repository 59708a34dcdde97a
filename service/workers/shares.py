"""What each of several workers gets of what one would have."""

import os
from dataclasses import dataclass
from pathlib import Path

from service.engine.cpus import CGROUP, available_cpus
from service.settings import Settings


@dataclass(frozen=True)
class Share:
    """The CPUs of one worker."""

    cpus: int  # that it may keep busy
    own: tuple[int, ...] = ()  # those that nobody else of us computes on; empty: any

    def take(self) -> None:
        """Keep the calling thread, and those that it starts, to the own CPUs."""
        if self.own:
            os.sched_setaffinity(0, self.own)


def shares(workers: int, cgroup: Path = CGROUP) -> list[Share]:
    """One share for each worker: as many CPUs as there are for all of them, at least one.

    Workers are kept apart where no other rule says how much time a CPU has for us: under a
    cgroup's quota the CPUs are the host's, and others use them, too.
    """
    cpus = available_cpus(cgroup)
    each = max(1, cpus // workers)
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(allowed) != cpus or each * workers > cpus:
        return [Share(each)] * workers
    return [Share(each, tuple(allowed[i * each : (i + 1) * each])) for i in range(workers)]


def settings_of_one(settings: Settings) -> Settings:
    """What one worker is told: its part of the requests that all of them take on, rounded up."""
    return settings.model_copy(
        update={"queue_capacity": -(-settings.queue_capacity // settings.workers)}
    )
