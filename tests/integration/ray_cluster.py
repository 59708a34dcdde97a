"""A Ray cluster of this machine alone, of one test's own.

`python ray_cluster.py FOLDER` is the cluster: it prints its address, and ends when stdin does.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.asking import until
from tests.integration.conftest import REPOSITORY

CPUS = 4  # what Ray counts with; there may be fewer
REPLICA = "ray::ServeReplica"


class Cluster:
    """Ray's processes, and a client of its proxy."""

    def __init__(self, log: Path) -> None:
        # Ray puts sockets below it, whose paths have 107 bytes at most.
        self._folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._token = secrets.token_hex(32)  # Ray's own; every process of this cluster has it
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("UMZERO_", "RAY_"))}
        self._environment = kept | {
            "PYTHONPATH": str(REPOSITORY),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(self._folder)],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        self._environment["RAY_ADDRESS"] = self._process.stdout.readline().strip()
        if not self._environment["RAY_ADDRESS"]:
            self.stop()
            pytest.fail(f"Ray does not start:\n{log.read_text()}")
        # Now, for Ray has taken the ports that it wants.
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def deploy(self, configuration: dict[str, Any]) -> None:
        """`serve run`, as its users call it; returns before the replicas are there."""
        options = {"host": "127.0.0.1", "port": self.port}
        file = self._folder / "serve.yaml"
        file.write_text(yaml.safe_dump({**configuration, "http_options": options}))
        done = subprocess.run(
            [Path(sys.executable).with_name("serve"), "run", "--non-blocking", file],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def processes(self) -> dict[int, str]:
        """What each process that lives calls itself."""
        found = {}
        for folder in Path("/proc").iterdir():
            try:
                if self._token.encode() in (folder / "environ").read_bytes():
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except (OSError, ValueError):  # it has ended, or is none
                continue
        return found

    def replicas(self) -> list[int]:
        """The processes that answer."""
        return [pid for pid, name in self.processes().items() if name.startswith(REPLICA)]

    def stop(self) -> None:
        """End all of it; fails where a process outlives it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        try:
            until(lambda: not self.processes(), "every process has ended")
        finally:
            for pid in self.processes():
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self._folder)


def main() -> None:
    import ray

    ray.init(
        num_cpus=CPUS,
        object_store_memory=100_000_000,
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=sys.argv[1],
    )
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
