"""The `umzero` command, as a process and in this one."""

import importlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from model.bundle import Bundle
from model.runtime.fake import FakeBackend, draw, write_fake_bundle
from service.app import create_app
from service.errors import ConfigurationError
from service.serving import run
from service.settings import read
from umzero import classifier, cli


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_fake_bundle(tmp_path / "fake")


def umzero(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "umzero.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


HEAVY = ("fastapi", "torch", "onnxruntime", "sqlalchemy", "httpx", "numpy", "PIL")


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["classes", "--help"], ["serve", "--help"]]
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys, umzero.cli as cli\n"
        f"try: cli.main({words})\n"
        "except SystemExit: pass\n"
        f"print('heavy:', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "heavy: []" in done.stdout


def test_a_supervisor_imports_nothing_of_what_its_workers_do() -> None:
    program = (
        "import sys, service.workers.supervisor\n"
        f"print('heavy:', [m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "heavy: []" in done.stdout


def test_help_names_every_command_and_exit_code() -> None:
    shown = umzero("--help").stdout

    for name in (*cli.COMMANDS, *cli.GROUPS):
        assert name in shown
    said = " ".join(shown.split())
    for code in ("0 fine", "1 the request", "2 the command line", "3 the server", "4 partly"):
        assert code in said


def test_every_command_that_is_announced_is_there_with_its_own_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = {(name,): command for name, command in cli.COMMANDS.items()}
    for name, group in cli.GROUPS.items():
        commands |= {(name, second): command for second, command in group.commands.items()}
    for words, command in commands.items():
        with pytest.raises(SystemExit) as ended:
            cli.main([*words, "--help"])
        assert ended.value.code == 0
        function = getattr(importlib.import_module(command.module), "_".join(words))
        written = " ".join(function.__doc__.split())
        assert written in " ".join(capsys.readouterr().out.split())


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


@pytest.fixture
def photo(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A picture of a jay; the bundle is read with the fake backend."""
    monkeypatch.setattr(classifier, "load", lambda found, *_: FakeBackend.of(found))
    jay = next(item for item in bundle.classes if item.name == "Jay")
    path = tmp_path / "photo.png"
    path.write_bytes(draw(np.array(jay.attributes, np.float32), bundle.manifest.attributes))
    return path


def here(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[object, str, str]:
    """Exit code, stdout and stderr of a command in this process."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    shown = capsys.readouterr()
    return ended.value.code, shown.out, shown.err


def test_a_photograph_is_classified_offline(
    bundle: Bundle, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("classify", photo, "--bundle", bundle.path, "--top-k", 2)

    code, shown, _ = here(capsys, *words)
    lines = [line for line in shown.splitlines() if "seen" in line]
    assert (code, len(lines)) == (0, 2)
    assert "Jay" in lines[0]

    code, shown, _ = here(capsys, *words, "--json")
    said = json.loads(shown)
    assert (code, said["image"], said["bundle"]) == (0, str(photo), "fake")
    assert said["predictions"][0]["name"] == "Jay"


def test_a_bad_photograph_among_others_is_told_offline(
    bundle: Bundle, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, gone = photo.with_name("bad.png"), photo.with_name("gone.png")
    bad.write_bytes(b"no image")

    code, shown, errors = here(
        capsys, "classify", bad, photo, gone, "--bundle", bundle.path, "--json"
    )

    lines = [json.loads(line) for line in shown.splitlines()]
    assert code == 4
    assert ["problem" in line for line in lines] == [True, False, True]
    assert f"error: {bad}: " in errors
    assert f"error: can't read {gone}: No such file" in errors


def test_a_photograph_is_explained_offline(
    bundle: Bundle, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = photo.with_name("why.png")
    words = ("explain", photo, "--bundle", bundle.path, "--class")

    code, shown, _ = here(capsys, *words, "robin", "--json", "--map", drawn)
    said = json.loads(shown)
    added = sum(item["contribution"] for item in said["contributions"])
    assert code == 0
    assert said["base"] + added == pytest.approx(said["logit"], abs=1e-4)
    assert drawn.read_bytes().startswith(b"\x89PNG")

    code, shown, errors = here(capsys, *words, "nobody")
    assert (code, shown) == (1, "")
    assert "no class has the id 'nobody'" in errors


def test_a_port_in_use_is_one_line(bundle: Bundle, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        settings = read({"bundle": bundle.path, "state_dir": tmp_path, "port": port})
        with pytest.raises(ConfigurationError, match=f"can't listen on 127.0.0.1 port {port}"):
            run(settings, lambda given: create_app(given, FakeBackend.of(bundle)))
