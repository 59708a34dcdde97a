"""What workers write down for each other: counters, readings, how many connections they have.

It lies in memory and has its room from the start: a counter's page that a full disk can't hold
would end the process that touches it, by SIGBUS.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.workers.connections import Counts

_MEMORY = Path("/dev/shm")
# Of prometheus_client's files, a worker each; they grow if that is not enough.
_ROOM = {"counter": 1 << 16, "histogram": 1 << 19}


@contextmanager
def shared_folder(workers: int) -> Iterator[Path]:
    """A new folder for so many workers, which is removed at the end.

    Raises:
        OSError: there is no room for it.
    """
    memory = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(
        prefix="umzero-", dir=memory, ignore_cleanup_errors=True
    ) as name:
        folder = Path(name)
        counters_in(folder).mkdir()
        for slot in range(workers):
            for kind, room in _ROOM.items():
                (counters_in(folder) / f"{kind}_{slot}.db").write_bytes(bytes(room))
        Counts.create(folder, workers)
        yield folder


def counters_in(folder: Path) -> Path:
    """Where prometheus_client's files are."""
    return folder / "counters"


def reading_in(folder: Path, slot: int) -> Path:
    """Where a process shows its reading; without the file it counts as dead."""
    return folder / f"{slot}.reading"
