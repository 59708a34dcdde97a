"""`create_app`: the HTTP face of a service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from model.runtime.base import Backend
from service.bootstrap import build, version
from service.http import problems
from service.http.middleware import Observed
from service.http.routes import (
    attributes,
    classes,
    classify,
    describe,
    explain,
    health,
    metrics,
    oip,
)
from service.settings import Settings


class _App(FastAPI):
    """An app with a shorter way for the request that counts."""

    direct: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self.direct if classify.Direct.takes(scope) else super().__call__
        await way(scope, receive, send)


_DESCRIPTION = (
    "Zero-shot image classification: a sheet of attributes becomes a class that works at once. "
    "Errors are RFC 9457 problem details with a stable `code`."
)


def create_app(settings: Settings, backend: Backend | None = None) -> FastAPI:
    """Build a service and its routes; it warms up once the app starts.

    Args:
        backend: instead of the one that the settings name.

    Raises:
        ModelError, ConfigurationError: see `service.bootstrap.build`.
    """
    service = build(settings, backend)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = _App(
        title="UMZero",
        version=version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    app.direct = Observed(classify.Direct(service), service.metrics)
    app.add_middleware(Observed, metrics=service.metrics)
    problems.install(app)
    for routes in (classify, explain, describe, classes, attributes, health, metrics, oip):
        app.include_router(routes.router)
    return app
