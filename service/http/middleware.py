"""Around every request: its ids, its time, and a last net for errors that nobody foresaw."""

import asyncio
import logging
import random
import re
import time
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import tracing
from service.engine.generations import Generations
from service.errors import ClientGone, DeadlinePassed, NotReady, Overloaded
from service.http.problems import noted, response_of
from service.metrics import Metrics
from service.tracing import Trace, Tracer

log = logging.getLogger(__name__)

# Nothing that could end a header or a field of a log line, which a blank does.
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}
_REJECTIONS = {
    Overloaded.code,
    NotReady.code,
    DeadlinePassed.code,
    "body_timeout",
    "body_too_large",
    "revision_unavailable",
    "store_unavailable",
}


class Observed:
    """ASGI middleware. It also answers HEAD with what GET says, without the body.

    Args:
        generations: what a request may use stays open until its answer.
        tracer: begins each request's trace.
        is_draining: does the service shut down?
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        generations: Generations,
        tracer: Tracer,
        is_draining: Callable[[], bool],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._generations = generations
        self._tracer = tracer
        self._is_draining = is_draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope["headers"])
        method = scope["method"]
        # The server leaves out the body, for its own scope still says HEAD.
        inner = {**scope, "method": "GET" if method == "HEAD" else method}
        status = 0
        started = time.perf_counter()
        trace = self._tracer.begin(request_id, scope)
        handling = tracing.current.set(trace)

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            with self._generations.epoch:
                await self._app(inner, receive, send_observed)
        except asyncio.CancelledError:
            if status:
                raise
            if not self._is_draining():
                # Some servers cancel a request whose client left, before it finds that out itself.
                status, inner["umzero.problem"] = ClientGone.status, ClientGone.code
                raise
            # The time to drain is over. Were this raised, the server would say 500.
            late = NotReady("the service shut down before it could answer; send it again")
            await noted(inner, late)(inner, receive, send_observed)
        except Exception as error:
            log.exception("request failed")
            if status:
                raise
            await response_of(error, scope["path"])(inner, receive, send_observed)
        finally:
            tracing.current.reset(handling)
            self._note(inner, method, status, time.perf_counter() - started, trace)

    def _note(self, scope: Scope, method: str, status: int, seconds: float, trace: Trace) -> None:
        route = getattr(scope.get("route"), "path", None)
        trace.end(method, route, status)
        self._metrics.request_ended(
            route or "unmatched", method if method in _METHODS else "other", status, seconds
        )
        problem = scope.get("umzero.problem")
        if problem == ClientGone.code:
            self._metrics.request_cancelled()
        elif problem in _REJECTIONS:
            self._metrics.request_rejected(problem)


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's, where it is safe in a header and in a log; else one of ours."""
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode("ascii")
    # Not uuid4, which asks the kernel: an id names a request, and is no secret.
    return f"{random.getrandbits(128):032x}"
