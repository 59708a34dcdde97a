"""The blocks of docs/cli.md, run as they stand there, where `umzero serve` runs."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from umzero import cli

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "cli.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
START_LIMIT_S = 120


@pytest.fixture(scope="module")
def environment(
    birds_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A shell's, with this environment's programs first and a server of the birds."""
    folder = tmp_path_factory.mktemp("page")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("UMZERO_")}
    path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", "")))
    variables = {**kept, "PATH": path, "PYTHONPATH": str(REPOSITORY)}
    server = subprocess.Popen(
        ["umzero", "serve", "--bundle", str(birds_bundle), "--port", "0"],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(START_LIMIT_S, server.kill)
    watchdog.start()
    assert server.stdout is not None
    line = next((text for text in server.stdout if " at http://" in text), "")
    watchdog.cancel()
    assert line, "the service ended before it was ready"
    yield variables | {"UMZERO_URL": line.rsplit(" ", 1)[1].strip()}
    server.send_signal(signal.SIGTERM)
    server.wait()


def test_every_block_runs_in_its_turn(environment: dict[str, str], tmp_path: Path) -> None:
    said = []
    for block in BLOCKS:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        said.append(done.stdout)

    text = "".join(said)
    assert "registered pileated: Pileated Woodpecker" in text
    assert "nothing was written; would be: 2 registered, 0 replaced, 0 skipped, 0 failed" in text
    assert "0 registered, 2 replaced, 0 skipped, 0 failed" in text
    assert "exit code 1\nexit code 3\n" in text
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")


def test_every_command_is_on_the_page() -> None:
    for name in cli.COMMANDS:
        assert f"umzero {name}" in PAGE
    for name, group in cli.GROUPS.items():
        for second in group.commands:
            assert f"umzero {name} {second}" in PAGE
