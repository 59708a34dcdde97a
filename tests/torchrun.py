"""Starts `tests.together` as anyone starts a training: in one process, or by `torchrun`."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
PROGRAM = ("-m", "tests.together")
LIMIT_S = 300

Machine = subprocess.Popen[str]


def one_process(folder: Path, *more: str) -> list[Machine]:
    return [_start(sys.executable, *PROGRAM, str(folder), *more)]


def one_machine(folder: Path, *more: str, processes: int = 2) -> list[Machine]:
    options = ("--standalone", "--nproc-per-node", str(processes))
    return [_start(*TORCHRUN, *options, *PROGRAM, str(folder), *more)]


def two_machines(folder: Path) -> list[Machine]:
    """One process on each."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    options = ("--nnodes", "2", "--nproc-per-node", "1", "--local-addr", "127.0.0.1")
    meeting = ("--rdzv-backend", "c10d", "--rdzv-id", "test", "--rdzv-endpoint", endpoint)
    return [_start(*TORCHRUN, *options, *meeting, *PROGRAM, str(folder)) for _ in range(2)]


def ended(machine: Machine) -> tuple[int, str, str]:
    """Exit code, stdout and stderr; one that is not over in time is ended."""
    try:
        output, errors = machine.communicate(timeout=LIMIT_S)
    finally:
        _end(machine)
    return machine.returncode, output, errors


def printed(machines: list[Machine]) -> dict[str, Any]:
    """By the main process, and by no other."""
    lines = []
    try:
        for machine in machines:
            code, output, errors = ended(machine)
            assert code == 0, errors
            lines += output.splitlines()
    finally:
        for machine in machines:
            _end(machine)
    (line,) = lines
    found: dict[str, Any] = json.loads(line)
    return found


def _end(machine: Machine) -> None:
    if machine.poll() is None:
        machine.terminate()  # not killed: torchrun has its own processes to end
        machine.communicate()


def _start(*command: str) -> Machine:
    return subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
