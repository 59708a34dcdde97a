"""`python docker/build.py cpu FOLDER`: a target of the Dockerfile, built without an engine.

Every stage becomes a folder: Debian's base system by debootstrap, then the stage's COPY lines from
the checkout, and its RUN lines as they stand there, by /bin/sh in a chroot, with the stage's ENV
and WORKDIR alone. Needs root, debootstrap, and Debian's and Python's package registries.

What differs from an engine: the base is what debootstrap installs, with the paths left out that
Debian's slim images leave out, not the image of Docker's hub; a stage is a folder and has no
layers; this machine's name servers and, where PIP_CERT or SSL_CERT_FILE name them, its
certificates are lent to the RUN lines.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from dockerfile import REPOSITORY, Stage, read

BASES = {"debian:bookworm-slim": "bookworm"}
MIRROR = "http://deb.debian.org/debian"
SOURCES = """\
deb http://deb.debian.org/debian bookworm main
deb http://deb.debian.org/debian bookworm-updates main
deb http://deb.debian.org/debian-security bookworm-security main
"""
# What the slim images leave out; copyright files stay, as they do there.
SLIM = """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
"""
# As in Docker's Debian images: apt keeps nothing that it fetched or made of it.
CLEAN = """\
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
"""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CERTIFICATES = "run/certificates.crt"
BASE_PACKAGES = "base-packages"  # beside the folders: what the base has, one name a line


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("target")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    if os.getuid() != 0 or shutil.which("debootstrap") is None:
        sys.exit("needs root and the program debootstrap (Debian's package debootstrap)")
    folder = given.folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    stages = read()
    for name in _in_turn(stages, given.target):
        _build(stages[name], folder)


def _in_turn(stages: dict[str, Stage], target: str) -> list[str]:
    """The target and what it copies from, sources first."""
    before = [name for source in stages[target].sources() for name in _in_turn(stages, source)]
    return list(dict.fromkeys([*before, target]))


def _build(stage: Stage, folder: Path) -> None:
    root = folder / stage.name
    print(f"{stage.name}: FROM {stage.base}", flush=True)
    _call("cp", "-a", str(_base(stage.base, folder)), str(root), quiet=True)
    variables, place = {"PATH": PATH}, Path("/")
    for item in stage.instructions:
        match item.name:
            case "RUN":
                _run(item.text, root, variables, place)
            case "COPY":
                _copy(item.words, root, place, folder)
            case "ENV":
                variables |= dict(word.split("=", 1) for word in item.words)
            case "WORKDIR":
                place = place / item.text
                (root / place.relative_to("/")).mkdir(parents=True, exist_ok=True)
            case "USER" | "VOLUME" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                pass  # of the container: `docker/start.py` goes by them
            case name:
                sys.exit(f"{stage.name}: {name} is not understood here")


def _base(image: str, folder: Path) -> Path:
    suite = BASES.get(image)
    if suite is None:
        sys.exit(f"{image} can't be made here: expected one of {', '.join(BASES)}")
    base = folder / suite
    if not base.is_dir():
        _call("debootstrap", "--variant=minbase", suite, str(base), MIRROR, quiet=True)
        (base / "etc/apt/sources.list").write_text(SOURCES)
        (base / "etc/dpkg/dpkg.cfg.d/slim").write_text(SLIM)
        (base / "etc/apt/apt.conf.d/docker-clean").write_text(CLEAN)
        _leave_out(base)
        shutil.copy("/etc/resolv.conf", base / "etc/resolv.conf")
        lent = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
        if lent:
            shutil.copy(lent, base / CERTIFICATES)
        names = subprocess.run(
            ["dpkg-query", f"--admindir={base}/var/lib/dpkg", "-W", "-f=${Package}\n"],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout
        (folder / BASE_PACKAGES).write_text(names)
    return base


def _leave_out(base: Path) -> None:
    """What came before dpkg was told."""
    for path in (base / "usr/share/doc").glob("*/*"):
        if path.name != "copyright":
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name in ("usr/share/info", "usr/share/locale", "usr/share/man", "var/lib/apt/lists"):
        for path in (base / name).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    cache = base / "var/cache/apt"
    for path in (*cache.glob("*.bin"), *cache.glob("archives/*.deb")):
        path.unlink()


def _run(text: str, root: Path, variables: dict[str, str], place: Path) -> None:
    print(f"  RUN {' '.join(text.split())}", flush=True)
    lent = {"DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"}
    if (root / CERTIFICATES).is_file():
        lent["PIP_CERT"] = f"/{CERTIFICATES}"
    environment = [f"{key}={value}" for key, value in (lent | variables).items()]
    started = time.monotonic()
    in_place = 'cd "$1" && exec /bin/sh -c "$2"'
    program = ["env", "-i", *environment, "/bin/sh", "-c", in_place, "sh", str(place), text]
    _call("unshare", "--mount", "--pid", "--fork", "chroot", str(root), *program)
    print(f"    done in {time.monotonic() - started:.0f} s", flush=True)


def _copy(words: list[str], root: Path, place: Path, folder: Path) -> None:
    print(f"  COPY {' '.join(words)}", flush=True)
    source = REPOSITORY
    if words[0].startswith("--from="):
        source = folder / words[0].removeprefix("--from=")
        words = words[1:]
    *names, last = words
    target = root / (place / last).relative_to("/")
    for name in names:
        start = source / name.lstrip("/")
        if start.is_dir():
            ignored = shutil.ignore_patterns("__pycache__") if source == REPOSITORY else None
            shutil.copytree(start, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)
        else:
            end = target / start.name if last.endswith("/") else target
            end.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(start, end)


def _call(*command: str, quiet: bool = False) -> None:
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{_last_lines(done.stdout.splitlines())}\nexit code {done.returncode}")
    if not quiet:
        print(_last_lines(done.stdout.splitlines(), 2), flush=True)


def _last_lines(lines: Iterable[str], count: int = 30) -> str:
    return "\n".join(f"    | {line[:160]}" for line in list(lines)[-count:])


if __name__ == "__main__":
    main()
