"""`python docker/start.py ROOT`: starts what `docker/build.py` built, as its container would be.

Its entry point and command, its variables and its user, without privileges; the root file system is
mounted read-only, /tmp is a tmpfs and /var/lib/umzero a folder of the host's. In a network of its
own. Once its HEALTHCHECK passes, a class is registered and a picture classified from inside, and
SIGTERM must end it with exit code 0. Needs root and Linux' namespaces.
"""

import argparse
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

from dockerfile import Instruction, Stage, read

START_LIMIT_S = 120
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
INSIDE = "--inside"

# Of the environment that was built, by the interpreter that was built.
REQUESTS = """
import importlib.util, io, sys
import PIL.Image, alembic, httptools, psycopg, umzero, uvloop, yaml
if importlib.util.find_spec("torch"):
    sys.exit("torch is there")
picture = io.BytesIO()
PIL.Image.effect_noise((300, 200), 60).convert("RGB").save(picture, "JPEG")
with umzero.Client("http://127.0.0.1:8000") as client:
    client.register("Pileated Woodpecker", {"has_bill_shape": "dagger"})
    answer = client.classify(picture.getvalue())
print(len(answer.predictions), "classes are ranked for a picture, at revision", answer.revision)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("root", type=Path)
    parser.add_argument(INSIDE, action="store_true", help="already in namespaces of its own")
    given = parser.parse_args()
    root = given.root.resolve()
    if given.inside:
        _start(root, read()[root.name])
        return
    if os.getuid() != 0:
        sys.exit("needs root")
    spaces = ("--mount", "--net", "--pid", "--fork", "--kill-child")
    done = subprocess.run(
        ["unshare", *spaces, sys.executable, __file__, INSIDE, str(root)], check=False
    )
    sys.exit(done.returncode)


def _start(root: Path, stage: Stage) -> None:
    _loopback_up()
    uid, gid = stage.all("USER")[0].text.split(":")
    state = root.with_name("state")
    shutil.rmtree(state, ignore_errors=True)
    state.mkdir()
    os.chown(state, int(uid), int(gid))
    volume = stage.all("VOLUME")[0].text
    for words in (
        ("--make-rprivate", "/"),
        ("--bind", root, root),
        ("-t", "tmpfs", "tmpfs", root / "tmp"),
        ("--bind", state, root / volume.lstrip("/")),
        ("-t", "proc", "proc", root / "proc"),
        ("-o", "remount,bind,ro", root),
    ):
        subprocess.run(["mount", *map(str, words)], check=True)
    _must_be_read_only(root)

    user = ("--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", "--bounding-set")
    alone = ("chroot", str(root), "setpriv", *user, "-all", "env", "-i")
    variables = [f"{key}={value}" for key, value in stage.environment().items()]
    within = [*alone, *variables]
    command = [*stage.all("ENTRYPOINT")[0].words, *stage.all("CMD")[0].words]
    check = stage.all("HEALTHCHECK")[0].text.split("CMD", 1)[1]
    health = Instruction("CMD", check).words
    server = subprocess.Popen([*within, *command])
    try:
        _wait_for([*within, *health], server)
        subprocess.run([*within, "python", "-c", REQUESTS], check=True)
    finally:
        server.terminate()
        code = server.wait(60)
    kept = sorted(path.name for path in state.iterdir())
    print(f"as user {uid} on a read-only root: exit code {code} after SIGTERM, kept {kept}")
    if code or "umzero.db" not in kept:
        sys.exit("expected exit code 0, and umzero.db")


def _must_be_read_only(root: Path) -> None:
    try:
        (root / "opt/umzero/written").touch()
    except OSError as error:
        print(f"root can't write there either: {error.strerror}", flush=True)
        return
    sys.exit(f"{root} is not read-only")


def _wait_for(health: list[str], server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_LIMIT_S
    while subprocess.run(health, stderr=subprocess.DEVNULL, check=False).returncode:
        if server.poll() is not None or time.monotonic() > end:
            sys.exit("the HEALTHCHECK never passed")
        time.sleep(0.5)
    print("the HEALTHCHECK passes", flush=True)


def _loopback_up() -> None:
    """A new network's loopback is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", IFF_UP))


if __name__ == "__main__":
    main()
