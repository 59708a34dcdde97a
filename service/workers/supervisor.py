"""Several processes behind one port: starts them, replaces those that die, ends them all.

The supervisor answers no request. It binds the socket, listens once every worker is ready, and
keeps it for those that come later. A worker that can't start at the start ends the service; one
that dies afterwards is replaced, after a longer and longer time if that happens again and again.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from service import logs
from service.engine.cpus import available_cpus
from service.errors import ConfigurationError
from service.listening import bound, listen, shown
from service.settings import Settings
from service.workers.connections import Counts
from service.workers.folder import counters_in, reading_in, shared_folder
from service.workers.member import Assignment, Begin, Failed, Member, Ready
from service.workers.shares import settings_of_one, shares

log = logging.getLogger(__name__)

FIRST_DELAY_S = 0.1  # before a worker is replaced; twice as long each time, up to the longest
LONGEST_DELAY_S = 30.0
STEADY_S = 60.0  # a worker that lived so long did not die of its start
GRACE_S = 5.0  # beyond the drain, until a worker is killed
# Without -P a folder `service` where the command is called would be taken for ours.
COMMAND = (sys.executable, "-P", "-m", "service.workers.child")


def supervise(settings: Settings, command: Sequence[str] = COMMAND) -> None:
    """Serve with `settings.workers` processes until a signal comes, and nothing is left of them.

    Args:
        command: starts a worker; it is given one more argument, see `service.workers.child`.

    Raises:
        ConfigurationError: the address can't be had, or a worker could not start.
    """
    logs.set_up(settings.log_level, settings.log_format)
    with (
        bound(settings.host, settings.port) as listener,
        shared_folder(settings.workers) as folder,
    ):
        listener.setblocking(False)
        asyncio.run(_Supervisor(settings, command, listener, folder).run())


class _Worker:
    """A process, and the way to talk with it. Its end is the end of what it says."""

    def __init__(self, slot: int, process: subprocess.Popen[bytes], channel: Connection) -> None:
        self.slot = slot
        self.process = process
        self._since = time.monotonic()
        self._channel = channel

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._since

    def tell(self, what: Assignment | Begin) -> None:
        with contextlib.suppress(OSError):  # it is dead already, which its reader finds
            self._channel.send(what)

    async def answer(self) -> Ready:
        """Wait until it is ready.

        Raises:
            ConfigurationError: it failed, or ended.
        """
        match await self._heard():
            case Ready() as ready:
                return ready
            case Failed(reason):
                raise ConfigurationError(reason)
        code = await self.ended()
        raise ConfigurationError(
            f"a worker ended with code {code} before it was ready; the log says why"
        )

    async def ended(self) -> int:
        """Wait for its end; returns its exit code, below 0 for a signal."""
        while await self._heard():
            pass
        return await asyncio.to_thread(self.process.wait)

    async def _heard(self) -> Ready | Failed | None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._channel.fileno(), readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._channel.fileno())
        try:
            told: Ready | Failed = self._channel.recv()
        except (EOFError, OSError):
            return None
        return told

    def close(self) -> None:
        self._channel.close()


class _Supervisor:
    def __init__(
        self, settings: Settings, command: Sequence[str], listener: socket.socket, folder: Path
    ) -> None:
        self._settings = settings_of_one(settings)
        self._command = command
        self._listener = listener
        self._folder = folder
        self._counts = Counts(folder)
        self._shares = shares(settings.workers)
        if settings.workers > (cpus := available_cpus()):
            log.warning("more workers than CPUs", extra={"workers": settings.workers, "cpus": cpus})
        self._workers: dict[int, _Worker] = {}  # those that live, by slot
        self._ready: set[int] = set()
        self._signal = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        signalled = asyncio.create_task(self._signal.wait())
        serving = asyncio.create_task(self._serve())
        try:
            await asyncio.wait({signalled, serving}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                serving.result()
        finally:
            # What nobody has accepted yet is refused now, not after the drain.
            self._listener.close()
            for task in (signalled, serving):
                task.cancel()
            await asyncio.gather(signalled, serving, return_exceptions=True)
            self._pass_on(signal.SIGTERM)  # also to one that was started since the signal
            await self._all_ended()

    def _end(self, number: int) -> None:
        self._signal.set()
        self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        for slot, worker in self._workers.items():
            # One that starts would be ended by SIGHUP, and reads what it is about anyway.
            if number != signal.SIGHUP or slot in self._ready:
                worker.process.send_signal(number)

    async def _serve(self) -> None:
        """Raises: ConfigurationError, a worker could not start."""
        slots = range(self._settings.workers)
        # The first one measures in peace how the bundle runs; the others are told.
        first = await self._start(0)
        self._settings = self._settings.model_copy(update=first.plan)
        await _together(self._start(slot) for slot in slots[1:])
        listen(self._listener, self._settings.host, self._settings.port)
        print(f"serving {first.bundle} at {shown(self._listener)}", flush=True)
        for worker in self._workers.values():
            worker.tell(Begin())
        await _together(self._keep(slot) for slot in slots)

    async def _keep(self, slot: int) -> None:
        """Replace the worker of a slot whenever it ends.

        Raises:
            ConfigurationError: nothing can be put in its place, and no other worker is left.
        """
        crashes = 0
        while True:
            worker = self._workers[slot]
            code = await worker.ended()
            self._forget(worker)
            crashes = crashes + 1 if worker.age_s < STEADY_S else 1
            log.error("worker ended", extra={"slot": slot, "code": code})
            while not await self._replaced(slot, crashes):
                crashes += 1

    async def _replaced(self, slot: int, crashes: int) -> bool:
        await asyncio.sleep(min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (crashes - 1)))
        try:
            await self._start(slot)
        except ConfigurationError as error:
            if not self._ready:
                raise
            log.error("worker can't be replaced", extra={"slot": slot, "reason": error.detail})  # noqa: TRY400
            return False
        self._workers[slot].tell(Begin())
        log.info("worker replaced", extra={"slot": slot})
        return True

    async def _start(self, slot: int) -> Ready:
        """Raises: ConfigurationError"""
        worker = self._spawned(slot)
        member = Member(slot, self._shares[slot], self._folder)
        worker.tell(Assignment(member, self._settings, self._listener.fileno()))
        try:
            ready = await worker.answer()
        except ConfigurationError:
            await worker.ended()
            self._forget(worker)
            raise
        self._ready.add(slot)
        return ready

    def _spawned(self, slot: int) -> _Worker:
        own, its = multiprocessing.Pipe()
        with its:
            process = subprocess.Popen(
                [*self._command, str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(its.fileno(), self._listener.fileno()),
                # A terminal's Ctrl-C is for the supervisor; it says it once, as one signal.
                process_group=0,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path),
                    "PROMETHEUS_MULTIPROC_DIR": str(counters_in(self._folder)),
                },
            )
        worker = self._workers[slot] = _Worker(slot, process, own)
        return worker

    def _forget(self, worker: _Worker) -> None:
        """What it counted stays; what it showed of its state goes."""
        self._counts.forget(worker.slot)
        reading_in(self._folder, worker.slot).unlink(missing_ok=True)
        self._ready.discard(worker.slot)
        self._workers.pop(worker.slot)
        worker.close()

    async def _all_ended(self) -> None:
        ends = {asyncio.create_task(one.ended()): one for one in self._workers.values()}
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=self._settings.drain_s + GRACE_S)
        for end in late:
            log.error("worker killed, it did not end", extra={"slot": ends[end].slot})
            ends[end].process.kill()
        await asyncio.gather(*ends)


async def _together(parts: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Wait for all; the first that fails ends the others.

    Raises:
        ConfigurationError: one of them did.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for part in parts:
                group.create_task(part)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
