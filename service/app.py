"""`create_app`: the HTTP face of a service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from model.runtime.base import Backend
from service.bootstrap import build, version
from service.http import problems
from service.http.middleware import Observed
from service.http.routes import attributes, classes, classify, health, metrics
from service.settings import Settings

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

    app = FastAPI(
        title="UMZero",
        version=version(),
        description=_DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service
    app.add_middleware(Observed, metrics=service.metrics)
    problems.install(app)
    for routes in (classify, classes, attributes, health, metrics):
        app.include_router(routes.router)
    return app
