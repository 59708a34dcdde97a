"""Around every request: an id, its time, and a last net for errors that nobody foresaw."""

import logging
import random
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.engine.generations import Generations
from service.errors import ClientGone, DeadlinePassed, NotReady, Overloaded
from service.http.problems import response_of
from service.metrics import Metrics

log = logging.getLogger(__name__)

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
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, generations: Generations) -> None:
        self._app = app
        self._metrics = metrics
        self._generations = generations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Not uuid4, which asks the kernel: an id names a request, and is no secret.
        request_id = str(uuid.UUID(int=random.getrandbits(128), version=4))
        method = scope["method"]
        # The server leaves out the body, for its own scope still says HEAD.
        inner = {**scope, "method": "GET" if method == "HEAD" else method}
        status = 0
        started = time.perf_counter()

        async def send_observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"x-request-id", request_id.encode()))
            await send(message)

        try:
            with self._generations.epoch:
                await self._app(inner, receive, send_observed)
        except Exception as error:
            log.exception("request failed", extra={"request_id": request_id})
            if status:
                raise
            await response_of(error, scope["path"])(inner, receive, send_observed)
        finally:
            self._note(inner, method, status, time.perf_counter() - started)

    def _note(self, scope: Scope, method: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.request_ended(
            route, method if method in _METHODS else "other", status, seconds
        )
        problem = scope.get("umzero.problem")
        if problem == ClientGone.code:
            self._metrics.request_cancelled()
        elif problem in _REJECTIONS:
            self._metrics.request_rejected(problem)
