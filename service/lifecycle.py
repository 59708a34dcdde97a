"""`Service`: all parts of a running service, from its start to its end."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from service.engine.admission import Permits
from service.engine.generation import Generation
from service.engine.generations import Generations
from service.engine.pages import use_large_pages
from service.engine.plan import Plan
from service.errors import NotReady
from service.metrics import Metrics
from service.settings import Settings
from service.tracing import Tracer
from service.usecases.classify import Classify
from service.usecases.explain import Explain
from service.usecases.import_classes import Import
from service.usecases.preview import Previews
from service.usecases.register_class import Register
from service.usecases.swap_bundle import SwapBundle

log = logging.getLogger(__name__)

State = Literal["starting", "ready", "failed", "draining"]
# Planned batches take half a second at most.
STUCK_S = 30.0
_STATES = {
    "starting": "the service is starting; try again",
    "failed": "the service could not start; its log says why",
    "draining": "the service is shutting down",
}


@dataclass
class Service:
    """All parts of a running service. Everything that changes does so on the event loop."""

    settings: Settings
    metrics: Metrics
    permits: Permits  # of /classify and /explain
    write_permits: Permits  # of bodies with sheets
    workers: ThreadPoolExecutor  # parsing, scoring, reading the store
    classify: Classify
    explain: Explain
    previews: Previews
    register: Register
    importing: Import
    generations: Generations
    swap: SwapBundle
    plan: Plan
    tracer: Tracer
    state: State = "starting"
    warmed_up: bool = False  # and so it stays, also while shutting down
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def generation(self) -> Generation:
        """The one that admits."""
        return self.generations.current

    def admitting(self) -> Generation:
        """The generation that a new request keeps until its answer.

        Raises:
            NotReady: before warm-up, and while shutting down.
        """
        if self.state != "ready":
            raise NotReady(_STATES[self.state])
        return self.generation

    def check_started(self) -> None:
        """Raises: NotReady, as long as no warm-up has succeeded."""
        if not self.warmed_up:
            raise NotReady(_STATES[self.state])

    def check_alive(self) -> None:
        """Raises: NotReady, a batch is never going to end; to warm up may take its time."""
        seconds = self.generation.inference.at_work_s
        if self.warmed_up and seconds > STUCK_S:
            raise NotReady(f"a batch has been at work for {seconds:.0f} s; start the service anew")

    def start(self) -> None:
        """Warm up in the background; needs a running event loop."""
        self._tasks += [asyncio.create_task(self._warm_up()), asyncio.create_task(self._reload())]

    def reload(self) -> None:
        """Soon swap in what lies then where the settings say. Safe in a signal's handler."""
        self.swap.reload()

    def drain(self) -> None:
        """Take no more requests; those in flight go on."""
        self.state = "draining"
        self.settled.set()

    async def stop(self) -> None:
        """Answer what is queued, and free everything."""
        self.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.swap.stop()
        await self.generations.close()
        await asyncio.to_thread(self.workers.shutdown, cancel_futures=True)
        await asyncio.to_thread(self.tracer.close)

    async def _warm_up(self) -> None:
        try:
            await self.generation.warm_up()
            await asyncio.to_thread(use_large_pages)
        except Exception:
            log.exception("warm-up failed")
            self.state = "failed"
            self.settled.set()
            return
        self.warmed_up = True
        if self.state == "starting":
            self.state = "ready"
        self.settled.set()
        log.info("ready", extra={"bundle": self.generation.bundle.name})
        await self.generations.follow(self.settings.refresh_s)

    async def _reload(self) -> None:
        await self.settled.wait()
        await self.swap.reloads()
