"""`run`: one process that serves, until a signal ends it."""

import asyncio
import gc
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from service import logs
from service.app import create_app
from service.errors import ConfigurationError
from service.lifecycle import Service
from service.listening import bound, listen, shown
from service.settings import Settings


def run(settings: Settings, create: Callable[[Settings], Any] = create_app) -> None:
    """Serve until a signal comes; returns after what was in flight is answered.

    Args:
        create: makes the app.

    Raises:
        ModelError, ConfigurationError: the service can't start.
    """
    logs.set_up(settings.log_level, settings.log_format)
    early: list[int] = []
    signal.signal(signal.SIGHUP, lambda number, _: early.append(number))
    app = create(settings)
    signal.signal(signal.SIGHUP, lambda *_: app.state.service.reload())  # before the loop runs
    if early:
        app.state.service.reload()
    server = Server(server_config(app, settings), app.state.service)
    # Before uvicorn listens to them; and after, for it raises them again: the drain was the answer.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    with bound(settings.host, settings.port) as listener:
        listen(listener, settings.host, settings.port)
        server.run([listener])
    if server.failed:
        raise ConfigurationError("the service could not start; the log says why")


def server_config(app: Any, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here asks who the client is
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )


class Server(uvicorn.Server):
    """Turns readiness off with the first signal, and says where it listens once it is ready."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.failed = False
        self._service = service
        self._announcement: asyncio.Task[None] | None = None

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._service.reload)
        self._announcement = asyncio.create_task(self._announce())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.state = "draining"
        super().handle_exit(sig, frame)

    async def _announce(self) -> None:
        await self._service.settled.wait()
        if self._service.state == "failed":
            self.failed = self.should_exit = True
        if self._service.state != "ready":
            return
        # What was loaded stays; to look through it for garbage again and again holds requests up.
        gc.collect()
        gc.freeze()
        self.announce()

    def announce(self) -> None:
        """Say that requests are answered from now on."""
        if self.servers:
            where = shown(self.servers[0].sockets[0])
            print(f"serving {self._service.generation.bundle.name} at {where}", flush=True)
