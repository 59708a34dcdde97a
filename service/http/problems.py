"""Errors as RFC 9457 problem details: `application/problem+json` with a stable `code`."""

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from model.errors import ImageError
from service.errors import ClientGone, ServiceError
from service.http.schemas import NewClassBody, NewClassesBody, Problem, invalid_body

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_REFERENCE = "#/components/schemas/{model}"
TYPE_PREFIX = "urn:umzero:problem:"

# Everything else that is wrong with an image is a 422.
_IMAGE_STATUS = {"image_too_large": 413}
_METHODS = ("GET", "POST", "PUT", "DELETE")
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 400: "bad_request"}
_HTTP_DETAILS = {
    404: "nothing is served at this path. See /docs",
    405: "this path doesn't take this method; the Allow header says which it takes",
}


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem object of an error; of one that we don't know, nothing is shown."""
    if isinstance(error, ImageError):
        return _problem(_IMAGE_STATUS.get(error.code, 422), error.code, str(error))
    if isinstance(error, ServiceError):
        return _problem(error.status, error.code, error.detail, **error.members)
    return _problem(500, "internal", "something went wrong on our side; the log says what")


def response_of(error: Exception) -> Response:
    """The whole answer to a request that failed."""
    problem = problem_of(error)
    headers = {}
    if isinstance(error, ServiceError) and error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if problem["status"] == 408:
        # What is left of the body must not be read as the next request.
        headers["Connection"] = "close"
    return _response(problem, headers)


def noted(scope: Scope, error: Exception) -> Response:
    """`response_of` an error of ours; its code stays in the scope, for the metrics."""
    if isinstance(error, ClientDisconnect):
        error = ClientGone("the client left before its body was complete")
    scope["umzero.problem"] = problem_of(error)["code"]
    return response_of(error)


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
        return _response(_problem(error.status_code, code, detail), headers)

    for kind in (ServiceError, ImageError, ClientDisconnect):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
    _document(app)


def reference(schema: str) -> dict[str, str]:
    """OpenAPI's reference to a schema by its name."""
    return {"$ref": _REFERENCE.format(model=schema)}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for problems with these statuses; 500 always belongs to them."""
    schema = {"schema": reference("Problem")}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in (*statuses, 500)
    }


def _allowed(request: Request) -> str:
    """The methods of every route at this path: the framework names only the first one's."""
    methods: set[str] = set()
    for method in _METHODS:
        scope = {**request.scope, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.router.routes):
            methods.add(method)
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


def _problem(status: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    phrases = {entry.value: entry.phrase for entry in HTTPStatus}
    return {
        "type": TYPE_PREFIX + code,
        "title": phrases.get(status, "Error"),
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }


def _response(problem: dict[str, Any], headers: dict[str, str]) -> Response:
    # ASCII: what a client sent may hold characters that UTF-8 can't carry.
    body = json.dumps(problem).encode("ascii")
    return Response(body, problem["status"], headers, media_type=MEDIA_TYPE)


def _document(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            for model in (Problem, NewClassBody, NewClassesBody):
                described = model.model_json_schema(ref_template=_REFERENCE)
                schemas.update(described.pop("$defs", {}))
                schemas[model.__name__] = described
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
