"""Errors as RFC 9457 problem details: `application/problem+json` with a stable `code`.

Under `/v2` they are what the Open Inference Protocol says instead: `{"error": ...}`.
"""

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from model.errors import ImageError
from service.errors import ClientGone, ServiceError, image_status
from service.http.schemas import invalid_body

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:umzero:problem:"
PROTOCOL = "/v2"

_PHRASES = {entry.value: entry.phrase for entry in HTTPStatus}
_METHODS = ("GET", "POST", "PUT", "DELETE")
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
NOTHING_SERVED = "nothing is served at this path. See /docs"
_HTTP_DETAILS = {
    404: NOTHING_SERVED,
    405: "this path doesn't take this method; the Allow header says which it takes",
}


def problem(status: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    """A problem object."""
    return {
        "type": TYPE_PREFIX + code,
        "title": _PHRASES.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem object of an error; of one that we don't know, nothing is shown."""
    if isinstance(error, ImageError):
        return problem(image_status(error.code), error.code, str(error))
    if isinstance(error, ServiceError):
        return problem(error.status, error.code, error.detail, **error.members)
    return problem(500, "internal", "something went wrong on our side; the log says what")


def response_of(error: Exception, path: str = "") -> Response:
    """The whole answer to a request for `path` that failed."""
    content = problem_of(error)
    headers = dict(error.headers) if isinstance(error, ServiceError) else {}
    if isinstance(error, ServiceError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if content["status"] == 408:
        # What is left of the body must not be read as the next request.
        headers["Connection"] = "close"
    return _response(content, headers, path)


def noted(scope: Scope, error: Exception) -> Response:
    """`response_of` an error of ours; its code stays in the scope, for the metrics."""
    if isinstance(error, ClientDisconnect):
        error = ClientGone("the client left before its body was complete")
    scope["umzero.problem"] = problem_of(error)["code"]
    return response_of(error, scope["path"])


def install(app: FastAPI) -> None:
    """Answer every error of the app as a problem."""

    async def known(request: Request, error: Exception) -> Response:
        return noted(request.scope, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await known(request, invalid_body(error.errors()))

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        code = _HTTP_CODES.get(error.status_code, "http_error")
        detail = _HTTP_DETAILS.get(error.status_code, str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(request)
        content = problem(error.status_code, code, detail)
        return _response(content, headers, request.scope["path"])

    for kind in (ServiceError, ImageError, ClientDisconnect):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


def protocol_status(status: int) -> int:
    """The Open Inference Protocol's, which knows 400 alone for a request that can't be used."""
    return 400 if status in (415, 422) else status


def _allowed(request: Request) -> str:
    """The methods of every route at this path: the framework names only the first one's."""
    methods: set[str] = set()
    for method in _METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            methods.add(method)
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _response(content: dict[str, Any], headers: dict[str, str], path: str) -> Response:
    status, media_type = content["status"], MEDIA_TYPE
    if path == PROTOCOL or path.startswith(PROTOCOL + "/"):
        status, media_type = protocol_status(status), "application/json"
        content = {"error": content["detail"]}
    # ASCII: what a client sent may hold characters that UTF-8 can't carry.
    body = json.dumps(content).encode("ascii")
    return Response(body, status, headers, media_type=media_type)
