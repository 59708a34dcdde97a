"""A virtual environment for each system: the project as `pip install .` gives it, and its pin."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = ROOT / ".venv-bench"
REQUIREMENTS = ROOT / "bench" / "requirements"
# What computes is the same everywhere: the peers get the versions that `pip install .` chose.
SHARED = ("numpy", "onnxruntime", "pillow")


class NotInstalled(RuntimeError):  # noqa: N818
    """An environment can't be made; the message is pip's last line."""


def prepare(name: str) -> Path:
    """The environment of one system, made or brought up to date: its python.

    Raises:
        NotInstalled
    """
    pins = REQUIREMENTS / f"{name}.txt"
    wanted = ["-r", str(pins)] if pins.exists() else []
    if name != "umzero":
        wanted += ["-c", str(_constraints())]
    # A peer takes decoding and the network from the project, and nothing else.
    packages = ("umzero", "service", "model") if name == "umzero" else ("model",)
    return _environment(name, [str(ROOT), *wanted], _fingerprint(pins, packages))


def versions(python: Path, names: tuple[str, ...]) -> dict[str, str]:
    """Installed versions, by name; what isn't there is left out."""
    code = (
        "import sys, importlib.metadata as m\n"
        "for n in sys.argv[1:]:\n"
        "  try: print(n, m.version(n))\n"
        "  except m.PackageNotFoundError: pass"
    )
    told = _run([str(python), "-c", code, *names])
    return dict(line.split() for line in told.splitlines())


def _constraints() -> Path:
    path = ENVIRONMENTS / "constraints.txt"
    chosen = versions(prepare("umzero"), SHARED)
    path.write_text("".join(f"{name}=={version}\n" for name, version in chosen.items()))
    return path


def _environment(name: str, wanted: list[str], fingerprint: str) -> Path:
    folder = ENVIRONMENTS / name
    python, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists() and stamp.read_text() == fingerprint:
        return python
    print(f"installing into {folder.relative_to(ROOT)}", file=sys.stderr, flush=True)
    stamp.unlink(missing_ok=True)
    if not python.exists():
        venv.create(folder, with_pip=True)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--force-reinstall", "--no-deps", str(ROOT)])
    _run([*pip, *wanted])
    stamp.write_text(fingerprint)
    return python


def _fingerprint(pins: Path, packages: tuple[str, ...]) -> str:
    """Of all that goes into an environment: when it changes, the project is installed again."""
    digest = hashlib.sha256()
    files = [ROOT / "pyproject.toml", *([pins] if pins.exists() else [])]
    for package in packages:
        files += sorted((ROOT / package).rglob("*.py"))
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise NotInstalled(lines[-1] if lines else f"{command[0]} failed")
    return done.stdout
