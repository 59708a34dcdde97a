"""The Dockerfile, its lock files, and the scripts that build and weigh the image without an engine.

`make image-check` carries out its RUN lines; that takes minutes, and root.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from model.bundle import Bundle
from tests.docker.conftest import DOCKER, free_port
from tests.integration.conftest import REPOSITORY, Server

DOCKERFILE = REPOSITORY / "Dockerfile"
TARGETS = ("cpu", "gpu")
PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+) \\$", re.M)


def locked(name: str) -> dict[str, str]:
    return dict(PINNED.findall((DOCKER / name).read_text()))


def required(*extras: str, alone: bool = False) -> set[str]:
    """Names of what the project needs with these extras; `alone`: of what the extras add."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = [] if alone else list(project["dependencies"])
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return {re.match(r"[\w.-]+", line)[0].lower() for line in lines}  # type: ignore[index]


def test_hadolint_finds_nothing(beside_python: Callable[[str], str]) -> None:
    done = subprocess.run(
        [beside_python("hadolint"), "--no-color", str(DOCKERFILE)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_finds_what_is_wrong(beside_python: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN apt-get install python3\n")

    done = subprocess.run(
        [beside_python("hadolint"), str(tmp_path / "Dockerfile")], capture_output=True, check=False
    )

    assert done.returncode == 1


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_without_root_and_says_how_it_is(dockerfile: ModuleType, target: str) -> None:
    stage = dockerfile.read()[target]
    after = stage.instructions[[item.name for item in stage.instructions].index("USER") :]

    assert stage.all("USER")[0].text == "10001:10001"
    assert not {"RUN", "COPY"} & {item.name for item in after}
    assert stage.environment()["ORT_DISABLE_TELEMETRY"] == "1"
    assert len(stage.all("HEALTHCHECK")) == 1
    assert "/readyz" in stage.all("HEALTHCHECK")[0].text
    assert [item.words for item in (*stage.all("ENTRYPOINT"), *stage.all("CMD"))] == [
        ["umzero"],
        ["serve"],
    ]
    assert stage.all("VOLUME")[0].text == stage.environment()["UMZERO_STATE_DIR"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_healthcheck_asks_the_service_itself_whatever_proxy_there_is(
    dockerfile: ModuleType, target: str, bundle: Bundle, tmp_path: Path
) -> None:
    text = dockerfile.read()[target].all("HEALTHCHECK")[0].text.split("CMD", 1)[1]
    python, *words = dockerfile.Instruction("CMD", text).words
    assert python == "python"
    state = {"UMZERO_BUNDLE": str(bundle.path), "UMZERO_STATE_DIR": str(tmp_path)}
    server = Server(state, tmp_path / "log")
    nobody = f"http://127.0.0.1:{free_port()}"
    variables = {"http_proxy": nobody, "HTTP_PROXY": nobody, "NO_PROXY": "", "no_proxy": ""}
    variables["UMZERO_PORT"] = str(server.address[1])

    def check() -> int:
        run = subprocess.run([sys.executable, *words], env=variables, check=False)
        return run.returncode

    try:
        assert check() == 0
    finally:
        server.kill()
    assert check() != 0


def test_the_target_of_a_plain_build_is_cpu(dockerfile: ModuleType) -> None:
    assert list(dockerfile.read())[-1] == "cpu"


def test_what_a_stage_copies_is_in_the_context_and_nothing_else_is(dockerfile: ModuleType) -> None:
    names = {
        name
        for stage in dockerfile.read().values()
        for item in stage.all("COPY")
        if not item.text.startswith("--from=")
        for name in item.words[:-1]
    }
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}

    assert all((REPOSITORY / name).exists() for name in names)
    assert lines[1] == "*"
    assert {re.sub(r"docker/.*\.lock", "docker/*.lock", name) for name in names} == let_in


@pytest.mark.parametrize(
    ("name", "extras", "without"),
    [
        ("requirements-cpu.lock", ("postgres",), set()),
        # Built from source, after torch: requirements-cuda.lock.
        ("requirements-gpu.lock", ("postgres", "train", "cuda"), {"mamba-ssm", "causal-conv1d"}),
    ],
)
def test_a_lock_file_pins_what_the_project_requires(
    name: str, extras: tuple[str, ...], without: set[str]
) -> None:
    assert required(*extras) - without <= locked(name).keys()
    assert not without & locked(name).keys()


@pytest.mark.parametrize("path", sorted(DOCKER.glob("*.lock")), ids=lambda path: path.name)
def test_every_requirement_of_a_lock_file_has_hashes(path: Path) -> None:
    starts = [line for line in path.read_text().splitlines() if re.match(r"[a-z0-9]", line)]
    blocks = re.split(r"^(?=[a-z0-9])", path.read_text(), flags=re.M)[1:]

    assert len(starts) == len(locked(path.name)) > 0
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_cpu_image_has_no_torch_and_the_gpu_image_the_projects(dockerfile: ModuleType) -> None:
    names = {re.sub("[-_.]+", "-", name) for name in locked("requirements-cpu.lock")}
    (torch,) = re.findall(r'"torch==([^"]+)"', (REPOSITORY / "pyproject.toml").read_text())

    assert not {name for name in names if name.startswith(("torch", "nvidia", "cuda", "triton"))}
    assert locked("requirements-gpu.lock")["torch"] == torch
    assert required("cuda", alone=True) == locked("requirements-cuda.lock").keys()
    told = tomllib.loads((DOCKER / "uv.toml").read_text())["dependency-metadata"]
    assert {item["name"]: item["version"] for item in told} == locked("requirements-cuda.lock")


def test_lines_that_go_on_are_one_instruction(dockerfile: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(
        "# a comment\nFROM x AS one\nENV A=1 \\\n    B='two words'\n"
        "RUN true \\\n    # between\n    && false\nFROM y AS two\nCOPY --from=one /a /b\n"
    )

    one, two = dockerfile.read(file).values()

    assert one.environment() == {"A": "1", "B": "two words"}
    assert one.all("RUN")[0].text.split() == ["true", "&&", "false"]
    assert two.sources() == ["one"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image's files: 2,000 bytes of a package, 1,000,000 of an environment."""
    files = {
        "var/lib/dpkg/status": (
            b"Package: libc6\nStatus: install ok installed\nInstalled-Size: 1000\n\n"
            b"Package: python3\nStatus: install ok installed\nInstalled-Size: 500\nDescription: x\n"
            b" more: of it\n\n"
            b"Package: gone\nStatus: deinstall ok config-files\nInstalled-Size: 9000\n"
        ),
        "usr/bin/python3": bytes(2000),
        "opt/umzero/lib/python3.11/site-packages/numpy/core.so": bytes(1_000_000),
        "opt/umzero/weights/birds/embed.onnx": bytes(300_000),
    }
    for name, content in files.items():
        path = tmp_path / "cpu" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (tmp_path / "cpu/usr/bin/python").symlink_to("python3")
    (tmp_path / "cpu/usr/bin/python3.11").hardlink_to(tmp_path / "cpu/usr/bin/python3")
    (tmp_path / "base-packages").write_text("libc6\n")
    return tmp_path / "cpu"


@pytest.mark.parametrize(("limit", "code"), [("2", 0), ("1.2", 1)])
def test_the_size_is_told_by_part_and_held_against_the_limit(
    root: Path, limit: str, code: int
) -> None:
    done = subprocess.run(
        [sys.executable, str(DOCKER / "size.py"), str(root), "--limit", limit],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code
    told = [line.split() for line in done.stdout.splitlines()]
    assert ["opt/umzero/lib", "1.0", "MB"] in told
    assert ["opt/umzero/weights", "0.3", "MB"] in told
    assert ["together", "1.3", "MB,", "of", "at", "most", limit] in told
    assert "dpkg: 1.0 MB of the base, 0.5 MB of packages added" in done.stdout
