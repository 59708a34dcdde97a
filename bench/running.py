"""A service of this checkout, in a process of its own."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent


class Running(NamedTuple):
    url: str
    pid: int

    def rss_mib(self) -> float:
        """Its memory, that of the libraries' files included."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def service(bundle: Path, **settings: object) -> Iterator[Running]:
    """`umzero serve` on a free port, once it is ready.

    Args:
        bundle: a folder.
        settings: in place of the environment's, as `lanes=2` for UMZERO_LANES.

    Raises:
        RuntimeError: it ended before it was ready; with what it logged.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UMZERO_")}
    with tempfile.TemporaryDirectory() as name:
        log, state = Path(name) / "log", Path(name) / "state"
        given = {"port": 0, "bundle": bundle.resolve(), "state_dir": state, **settings}
        own = {f"UMZERO_{key.upper()}": str(value) for key, value in given.items()}
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "umzero.cli", "serve"],
                env={**kept, "PYTHONPATH": str(REPOSITORY), **own},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        try:
            assert process.stdout is not None
            line = next((text for text in process.stdout if " at http://" in text), "")
            if not line:
                raise RuntimeError(log.read_text(errors="replace"))
            yield Running(line.rsplit(" ", 1)[1].strip(), process.pid)
        finally:
            process.terminate()
            process.wait()
