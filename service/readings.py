"""What the gauges show: of one process, or of several that answer as one."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from service.engine.plan import Plan
from service.workers.folder import reading_in

Build = tuple[str, str, str, str]  # version, bundle, backend, precision


@dataclass(frozen=True)
class Reading:
    """What the gauges show, read when Prometheus asks."""

    ready: bool
    queue_depth: int
    queue_capacity: int
    plan: Plan
    own_classes: int
    registered_classes: int
    revision: int
    build: Build | None = None


def merged(readings: Sequence[Reading]) -> Reading:
    """Of several processes: what they can do adds up, what they know is what all of them know.

    Args:
        readings: at least one.
    """
    behind = min(readings, key=lambda reading: reading.revision)
    plans = [reading.plan for reading in readings]
    return Reading(
        ready=all(reading.ready for reading in readings),
        queue_depth=sum(reading.queue_depth for reading in readings),
        queue_capacity=sum(reading.queue_capacity for reading in readings),
        plan=Plan(
            lanes=sum(plan.lanes for plan in plans),
            threads=max(plan.threads for plan in plans),
            max_batch=max(plan.max_batch for plan in plans),
        ),
        own_classes=behind.own_classes,
        registered_classes=behind.registered_classes,
        revision=behind.revision,
    )


class Board:
    """Readings that several processes show each other, a file each.

    Args:
        folder: where they lie.
        slot: our own number.
    """

    def __init__(self, folder: Path, slot: int) -> None:
        self._folder = folder
        self._slot = slot
        self._shown: Reading | None = None

    def show(self, reading: Reading) -> None:
        """Let the others see it. Where there is no room for it, they see an older one."""
        if reading == self._shown:
            return
        path = reading_in(self._folder, self._slot)
        written = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            written.write_text(json.dumps(asdict(reading)))
            written.replace(path)
            self._shown = reading

    def others(self) -> list[Reading]:
        """What the others showed last, of those that live."""
        own = reading_in(self._folder, self._slot)
        found = []
        for path in sorted(self._folder.glob(own.with_stem("*").name)):
            if path == own:
                continue
            try:
                told = json.loads(path.read_text())
            except FileNotFoundError:  # its process has just ended
                continue
            plan, build = Plan(**told.pop("plan")), told.pop("build")
            found.append(Reading(plan=plan, build=tuple(build) if build else None, **told))
        return found
