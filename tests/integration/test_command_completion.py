"""What shells offer when the tab key is pressed."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest


@pytest.fixture
def on_path(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """A shell's variables, in which `umzero` is a program; its home is the test's folder."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return environment | {"PATH": path, "HOME": str(tmp_path)}


# What each shell does when the tab key is pressed behind `words`; a line an answer.
BASH = """
source ~/.bashrc
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_umzero_completion umzero
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { }
_arguments() { print -r -- "$@" }
_files() { }
eval "$(umzero --show-completion)"
words=("$@")
CURRENT=$#
_umzero_completion
"""
FISH = """
umzero --show-completion | source
complete --do-complete "$argv"
"""


def complete(shell: str, words: tuple[str, ...], environment: dict[str, str]) -> str:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"needs the program {shell}")
    command = {
        "bash": [program, "--norc", "-c", BASH, "bash"],
        "zsh": [program, "-f", "-c", ZSH, "zsh"],
        "fish": [program, "--no-config", "-c", FISH],
    }[shell]
    if shell == "bash":
        subprocess.run(
            [program, "--norc", "-c", "umzero --install-completion; true"],
            env=environment,
            capture_output=True,
            check=True,
        )
    done = subprocess.run(
        [*command, *words] if shell != "fish" else [*command, " ".join(words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_options_and_the_servers_classes(
    shell: str, on_path: dict[str, str], http: httpx.Client
) -> None:
    body = {"name": "Kite", "class_id": "ja.kite", "attributes": {"has_wing": "red"}}
    http.post("/classes", json=body).raise_for_status()

    def offered(*words: str) -> set[str]:
        for _ in range(5):  # a server that is slow for a moment has nothing to offer
            text = complete(shell, ("umzero", *words), on_path)
            if shell == "zsh":  # *: :(("value":"help" "value":"help"))
                found = set(re.findall(r'(?:\(\(| )"([^"]+)"', text))
            else:
                found = {line.split("\t")[0] for line in text.splitlines()}
            if found:
                break
        return found

    assert offered("cla") == {"classes", "classify"}
    assert offered("classes", "ex") == {"export"}
    assert offered("classes", "remove", "--y") == {"--yes"}
    assert offered("classes", "show", "ja") == {"jay", "ja.kite"}
    assert offered("classes", "remove", "ja") == {"ja.kite"}
    assert offered("explain", "x.png", "--class", "ro") == {"robin"}
    assert offered("classes", "add", "X", "--like", "jay") == {"jay"}


def test_no_class_is_offered_where_no_server_answers_in_time(
    on_path: dict[str, str], silent: socket.socket, answering: Callable[..., str]
) -> None:
    asked = ("umzero", "classes", "show", "ja")
    for url in (
        f"http://127.0.0.1:{silent.getsockname()[1]}",
        answering(200, {"hello": "world"}),
        "http://127.0.0.1:1",
        "nowhere",
    ):
        assert complete("bash", asked, on_path | {"UMZERO_URL": url}).split() == []
    # What is typed counts, as for the command itself.
    typed = ("umzero", "classes", "show", "--url", on_path["UMZERO_URL"], "ja")
    assert complete("bash", typed, on_path | {"UMZERO_URL": "http://127.0.0.1:1"}).split() == [
        "jay"
    ]
