"""Requests that schemathesis makes of the OpenAPI document, thousands of them, on a real server.

All of its checks run but one. What it can't know stands in schemathesis_hooks.py, with reasons.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import ADMIN_TOKEN, REPOSITORY, Server

# Of each operation and each phase. By hand, with thousands, it finds the same: nothing.
EXAMPLES = 100
# Nothing belongs to one of several users, so there is nothing that this could look at.
LEFT_OUT = "object_level_authorization"


@pytest.mark.timeout(1800)
def test_no_answer_is_undocumented_and_none_is_a_server_error(
    start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start(log_level="error", admin_token=ADMIN_TOKEN)
    command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "run"]
    options = {
        "exclude-checks": LEFT_OUT,
        "header": f"Authorization: Bearer {ADMIN_TOKEN}",
        "max-examples": str(EXAMPLES),
        "seed": "1",
        "generation-database": "none",
        "warnings": "off",
    }
    done = subprocess.run(
        [
            *command,
            f"{server.url}/openapi.json",
            "--continue-on-failure",
            *(f"--{name}={value}" for name, value in options.items()),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "SCHEMATHESIS_HOOKS": "tests.integration.schemathesis_hooks",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr + server.log.read_text()
    # Every operation was tested, in every phase.
    count = len(list(server.document.operations()))
    assert f"Selected: {count}/{count}" in done.stdout, done.stdout
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert f"✅ {phase}" in done.stdout, done.stdout
    assert server.process.poll() is None
