"""The `umzero` command, as a process and in this one."""

import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle
from model.runtime.fake import FakeBackend, draw, write_fake_bundle
from service.app import create_app
from service.commands import run
from service.errors import ConfigurationError
from service.settings import read
from umzero import classifier, cli


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_fake_bundle(tmp_path / "fake")


def umzero(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "umzero.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    program = (
        "import sys, umzero.cli as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print('heavy:', [m for m in ('fastapi', 'torch', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "heavy: []" in done.stdout
    for name in cli.COMMANDS:
        assert name in done.stdout


def test_every_command_that_is_announced_is_there() -> None:
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--help"])
        assert ended.value.code == 0


def test_the_version_is_printed() -> None:
    done = umzero("--version")

    assert done.returncode == 0
    assert done.stdout.strip()[0].isdigit()


def test_an_error_of_ours_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    done = umzero("serve", "--bundle", str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith("error: no bundle at")
    assert done.stderr.count("\n") == 1


def test_a_missing_module_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(_called: str) -> object:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(cli, "build", missing)

    with pytest.raises(SystemExit) as ended:
        cli.main(["train"])

    assert ended.value.code == 1
    assert "pip install 'umzero[train]'" in capsys.readouterr().err


def test_a_photograph_is_classified_offline(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(classifier, "load", lambda found, *_: FakeBackend.of(found))
    jay = next(item for item in bundle.classes if item.name == "Jay")
    photo = tmp_path / "photo.png"
    photo.write_bytes(draw(np.array(jay.attributes, np.float32), bundle.manifest.attributes))

    cli.build("classify")(
        ["classify", str(photo), "--bundle", str(bundle.path), "--top-k", "2"],
        standalone_mode=False,
    )

    shown = capsys.readouterr().out
    lines = [line for line in shown.splitlines() if "seen" in line]
    assert len(lines) == 2
    assert "Jay" in lines[0]


def test_a_port_in_use_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = read({"bundle": bundle.path, "state_dir": tmp_path, "port": port})
        app = create_app(settings, FakeBackend.of(bundle))
        with pytest.raises(ConfigurationError, match=f"can't listen on 127.0.0.1 port {port}"):
            run(settings, app)
