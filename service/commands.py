"""`umzero serve`, as a plain function with typer annotations."""

import asyncio
import gc
import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
import uvicorn

from service import logs
from service.app import create_app
from service.bootstrap import Service
from service.errors import ConfigurationError
from service.listening import bound, listen, shown
from service.settings import Settings, read
from service.workers.supervisor import supervise

log = logging.getLogger(__name__)


def _help(name: str) -> str:
    field = Settings.model_fields[name]
    default = field.get_default()
    shown = f", {default} by default" if str(default) else ""
    return f"{field.description} (UMZERO_{name.upper()}{shown})"


# None stands for "not given": the variable counts, then the default.
def serve(
    bundle: Annotated[Path | None, typer.Option(help=_help("bundle"))] = None,
    host: Annotated[str | None, typer.Option(help=_help("host"))] = None,
    port: Annotated[int | None, typer.Option(help=_help("port"))] = None,
    workers: Annotated[int | None, typer.Option(help=_help("workers"))] = None,
    database_url: Annotated[str | None, typer.Option(help=_help("database_url"))] = None,
    state_dir: Annotated[Path | None, typer.Option(help=_help("state_dir"))] = None,
    backend: Annotated[str | None, typer.Option(help=_help("backend"))] = None,
    device: Annotated[str | None, typer.Option(help=_help("device"))] = None,
    precision: Annotated[str | None, typer.Option(help=_help("precision"))] = None,
    threads: Annotated[int | None, typer.Option(help=_help("threads"))] = None,
    lanes: Annotated[int | None, typer.Option(help=_help("lanes"))] = None,
    max_batch: Annotated[int | None, typer.Option(help=_help("max_batch"))] = None,
    decode_threads: Annotated[int | None, typer.Option(help=_help("decode_threads"))] = None,
    database_timeout_s: Annotated[
        float | None, typer.Option(help=_help("database_timeout_s"))
    ] = None,
    bundles_dir: Annotated[str | None, typer.Option(help=_help("bundles_dir"))] = None,
    admin_token: Annotated[str | None, typer.Option(help=_help("admin_token"))] = None,
    refresh_s: Annotated[float | None, typer.Option(help=_help("refresh_s"))] = None,
    queue_capacity: Annotated[int | None, typer.Option(help=_help("queue_capacity"))] = None,
    request_timeout_s: Annotated[
        float | None, typer.Option(help=_help("request_timeout_s"))
    ] = None,
    body_timeout_s: Annotated[float | None, typer.Option(help=_help("body_timeout_s"))] = None,
    sheets_timeout_s: Annotated[float | None, typer.Option(help=_help("sheets_timeout_s"))] = None,
    drain_s: Annotated[float | None, typer.Option(help=_help("drain_s"))] = None,
    max_image_bytes: Annotated[int | None, typer.Option(help=_help("max_image_bytes"))] = None,
    max_image_pixels: Annotated[int | None, typer.Option(help=_help("max_image_pixels"))] = None,
    max_images: Annotated[int | None, typer.Option(help=_help("max_images"))] = None,
    max_body_bytes: Annotated[int | None, typer.Option(help=_help("max_body_bytes"))] = None,
    log_level: Annotated[str | None, typer.Option(help=_help("log_level"))] = None,
    log_format: Annotated[str | None, typer.Option(help=_help("log_format"))] = None,
) -> None:
    """Serve a bundle over HTTP. Options are variables, too: --max-batch is UMZERO_MAX_BATCH."""
    given = {key: value for key, value in locals().items() if value is not None}
    settings = read(given)
    if settings.workers > 1:
        supervise(settings)
    else:
        run(settings)


def run(settings: Settings, app: Any = None) -> None:
    """Serve until a signal comes; returns after what was in flight is answered.

    Args:
        app: of `create_app`, instead of one from the settings.

    Raises:
        ModelError, ConfigurationError: the service can't start.
    """
    logs.set_up(settings.log_level, settings.log_format)
    app = create_app(settings) if app is None else app
    server = Server(server_config(app, settings), app.state.service)
    # uvicorn raises the signal again when it is done; the drain was the answer to it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: app.state.service.reload())  # before the loop runs
    with bound(settings.host, settings.port) as listener:
        listen(listener, settings.host, settings.port)
        server.run([listener])
    if server.failed:
        raise ConfigurationError("the service could not start; the log says why")


def server_config(app: Any, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
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
