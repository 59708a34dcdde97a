"""`create_app`: the HTTP face of a service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from model.runtime.base import Backend
from service.bootstrap import OpenBackend, build, version
from service.http import openapi, problems
from service.http.middleware import Observed
from service.http.routes import (
    admin,
    attributes,
    class_writes,
    classes,
    classify,
    describe,
    explain,
    health,
    metrics,
    oip,
    playground,
    preview,
    transfer,
)
from service.settings import Settings
from service.workers.member import Member


class _App(FastAPI):
    """An app with a shorter way for the request that counts."""

    direct: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self.direct if classify.Direct.takes(scope) else super().__call__
        await way(scope, receive, send)


_DESCRIPTION = """\
Zero-shot image classification: a sheet of attributes becomes a class that works at once.

Classify an image with `POST /classify`; describe a class that there is no photograph of with
`POST /classes`, and the next image can be classified as it. `GET /attributes` lists the words.

Errors are RFC 9457 problem details, `application/problem+json` with a stable `code`; where it is
503, `Retry-After` says when to try again. Every answer has an `X-Request-ID`, as the log does: the
request's own, or one that the service made.
"""


def create_app(
    settings: Settings,
    backend: Backend | None = None,
    member: Member | None = None,
    open_backend: OpenBackend | None = None,
    cpus: int | None = None,
    swap_instead: str = "",
) -> FastAPI:
    """Build a service and its routes; it warms up once the app starts.

    Args:
        backend, member, open_backend, cpus, swap_instead: see `service.bootstrap.build`.

    Raises:
        ModelError, ConfigurationError: see `service.bootstrap.build`.
    """
    service = build(
        settings,
        backend,
        member=member,
        open_backend=open_backend,
        cpus=cpus,
        swap_instead=swap_instead,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = _App(
        title="UMZero",
        version=version(),
        description=_DESCRIPTION,
        openapi_tags=openapi.TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        generate_unique_id_function=openapi.operation_id,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = service

    def is_draining() -> bool:
        return service.state == "draining"

    around = service.metrics, service.generations, service.tracer, is_draining
    app.direct = Observed(classify.Direct(service), *around)
    app.add_middleware(Observed, *around)
    problems.install(app)
    for routes in (
        classify,
        explain,
        describe,
        preview,
        classes,
        class_writes,
        transfer,
        attributes,
        admin,
        health,
        metrics,
        oip,
        playground,
    ):
        app.include_router(routes.router)
    openapi.install(app, lambda: service.generation.bundle)
    return app
