"""How one process begins to serve; what it does then is in tests/integration."""

import os
import subprocess
import sys
from pathlib import Path

from model.bundle import Bundle

REPOSITORY = Path(__file__).resolve().parents[2]
TERMINATED_BEFORE_THE_LOOP_RUNS = """
import signal
from model.runtime.fake import FakeBackend
from service import serving
from service.app import create_app
from service.settings import read

listen = serving.listen

def listen_and_end(*address):
    listen(*address)
    signal.raise_signal(signal.SIGTERM)

serving.listen = listen_and_end
serving.run(read({}), lambda settings: create_app(settings, open_backend=FakeBackend.of))
"""


def test_a_signal_that_comes_before_the_loop_runs_is_not_lost(
    bundle: Bundle, tmp_path: Path
) -> None:
    environment = {
        "PYTHONPATH": str(REPOSITORY),
        "UMZERO_BUNDLE": str(bundle.path),
        "UMZERO_STATE_DIR": str(tmp_path),
        "UMZERO_PORT": "0",
    }

    done = subprocess.run(
        [sys.executable, "-c", TERMINATED_BEFORE_THE_LOOP_RUNS],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
