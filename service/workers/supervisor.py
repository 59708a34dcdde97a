"""Several processes behind one port: starts them, replaces those that die, ends them all.

The supervisor answers no request. It binds the socket, listens once every worker is ready, and
keeps it for those that come later. A worker that can't start at the start ends the service; one
that dies afterwards is replaced, after a longer and longer time if that happens again and again.
One whose event loop stands still is killed first.
"""

import asyncio
import logging
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Iterable, Sequence
from pathlib import Path
from typing import Any

from service import logs
from service.engine.cpus import available_cpus
from service.errors import ConfigurationError
from service.listening import bound, listen, shown
from service.settings import Settings
from service.workers.connections import Counts
from service.workers.folder import reading_in, shared_folder
from service.workers.member import Assignment, Begin, Member, Ready
from service.workers.process import Worker, spawned
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
        self._workers: dict[int, Worker] = {}  # those that live, by slot

    async def run(self) -> None:
        """Raises: ConfigurationError, a worker could not start, or be replaced."""
        loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._serve())

        def end(number: int) -> None:
            serving.cancel()
            self._pass_on(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end, number)
        loop.add_signal_handler(signal.SIGHUP, self._pass_on, signal.SIGHUP)
        try:
            await asyncio.wait({serving})
            if not serving.cancelled():
                serving.result()
        finally:
            # What nobody has accepted yet is refused now, not after the drain.
            self._listener.close()
            self._pass_on(signal.SIGTERM)  # also to one that was started since the signal
            await self._all_ended()

    def _pass_on(self, number: int) -> None:
        for worker in self._workers.values():
            worker.pass_on(number)

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
        await _together([*(self._keep(slot) for slot in slots), self._end_the_silent()])

    async def _end_the_silent(self) -> None:
        """Kill workers that note their connections, ten times a second, no more."""
        limit_s = self._settings.worker_timeout_s
        while True:
            since = time.monotonic()
            await asyncio.sleep(limit_s / 4)
            if time.monotonic() - since > limit_s / 2:
                continue  # the whole machine stood still: let them speak first
            for slot, worker in self._workers.items():
                if worker.is_ready and (silence_s := self._counts.silence_s(slot)) > limit_s:
                    log.error(
                        "worker killed, it stood still",
                        extra={"slot": slot, "seconds": round(silence_s)},
                    )
                    worker.process.kill()

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
            if not any(worker.is_ready for worker in self._workers.values()):
                raise
            log.error("worker can't be replaced", extra={"slot": slot, "reason": error.detail})  # noqa: TRY400
            return False
        self._workers[slot].tell(Begin())
        log.info("worker replaced", extra={"slot": slot})
        return True

    async def _start(self, slot: int) -> Ready:
        """Raises: ConfigurationError"""
        worker = spawned(slot, self._command, self._listener, self._folder)
        self._workers[slot] = worker
        member = Member(slot, self._shares[slot], self._folder)
        worker.tell(Assignment(member, self._settings, self._listener.fileno()))
        try:
            return await worker.answer()
        except ConfigurationError:
            await worker.ended()
            self._forget(worker)
            raise

    def _forget(self, worker: Worker) -> None:
        """What it counted stays; what it showed of its state goes."""
        self._counts.forget(worker.slot)
        reading_in(self._folder, worker.slot).unlink(missing_ok=True)
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
