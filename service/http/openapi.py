"""`/openapi.json`: what the routes say of themselves, their faults, and examples that work.

A route says its `summary`, its docstring is the description, `responses=documented(...)` names what
can go wrong (see `faults`), and `examples` has one example for each operation.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from model.bundle import Bundle
from service.http.drafts import NewClassBody, NewClassesBody
from service.http.examples import examples_of
from service.http.examples.words import Example
from service.http.faults import INTERNAL, Fault
from service.http.oip_schemas import InferenceRequest
from service.http.problems import MEDIA_TYPE, problem, protocol_status
from service.http.schemas import Problem, SwapBody

JSON = "application/json"
_REFERENCE = "#/components/schemas/{model}"
_METHODS = ("get", "put", "post", "delete")
_RETRY_AFTER = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
REQUEST_ID = "X-Request-ID"
_REQUEST_ID_OUT = {REQUEST_ID: {"$ref": "#/components/headers/RequestId"}}
_REQUEST_ID_IN = {
    "name": REQUEST_ID,
    "in": "header",
    "required": False,
    "description": "names this request in the service's log; what isn't 1 to 128 visible ASCII "
    "characters is replaced",
    "schema": {"type": "string"},
}
_HEADERS = {
    "RequestId": {
        "description": "names this request in the service's log; the client's own, if it sent one",
        "required": True,
        "schema": {"type": "string", "pattern": "^[!-~]{1,128}$"},
    },
    "RetryAfter": {
        "description": "seconds to wait before the next attempt",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
}
_PROTOCOL_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
    "additionalProperties": False,
}

TAGS = [
    {"name": "classify", "description": "Which classes does an image show, and why?"},
    {"name": "classes", "description": "The classes that images are told apart by, and sheets."},
    {"name": "admin", "description": "The bundle, changed under load. It needs a token."},
    {"name": "health", "description": "For an orchestrator and for Prometheus."},
    {
        "name": "Open Inference Protocol",
        "description": "Version 2. Triton's and KServe's clients speak it.",
    },
]

Faults = Fault | Iterable[Fault]


def reference(schema: str) -> dict[str, str]:
    """OpenAPI's reference to a schema by its name."""
    return {"$ref": _REFERENCE.format(model=schema)}


def documented(*faults: Faults) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for what can go wrong; 500 always can."""
    return {status: _problems(found) for status, found in _by_status(faults, lambda status: status)}


def documented_as_protocol(*faults: Faults) -> dict[int | str, dict[str, Any]]:
    """`documented`, as the Open Inference Protocol says it."""
    return {
        status: {
            **_described(found, [fault.meaning for fault in found]),
            "content": {
                JSON: {
                    "schema": reference("ProtocolError"),
                    "examples": {
                        fault.code: {"value": {"error": fault.meaning}} for fault in found
                    },
                }
            },
        }
        for status, found in _by_status(faults, protocol_status)
    }


def operation_id(route: APIRoute) -> str:
    """The function's name: what a generated client calls its method."""
    return route.name


def install(app: FastAPI, bundle: Callable[[], Bundle]) -> None:
    """Let the app describe itself; the examples are in words of the bundle that it serves."""
    described: Bundle | None = None

    def openapi() -> dict[str, Any]:
        nonlocal described
        if app.openapi_schema is None or described is not bundle():
            described = bundle()
            app.openapi_schema = _document(app, examples_of(described))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every operation of a document."""
    for path in document["paths"].values():
        yield from (path[method] for method in _METHODS if method in path)


def _document(app: FastAPI, examples: Mapping[str, Example]) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        description=app.description,
        tags=app.openapi_tags,
        license_info=app.license_info,
        routes=app.routes,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for model in (Problem, NewClassBody, NewClassesBody, SwapBody, InferenceRequest):
        described = model.model_json_schema(ref_template=_REFERENCE)
        schemas.update(described.pop("$defs", {}))
        schemas[model.__name__] = described
    schemas["ProtocolError"] = _PROTOCOL_ERROR
    components["headers"] = _HEADERS
    for operation in operations(document):
        _drop_framework_s_422(operation)
        operation["parameters"] = [*operation.get("parameters", ()), _REQUEST_ID_IN]
        for response in operation["responses"].values():
            response.setdefault("headers", {}).update(_REQUEST_ID_OUT)
        if example := examples.get(operation["operationId"]):
            _show(example, operation)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document


def _by_status(
    faults: Iterable[Faults], shown: Callable[[int], int]
) -> list[tuple[int, list[Fault]]]:
    found: dict[int, dict[str, Fault]] = {}
    for some in (*faults, INTERNAL):
        for fault in [some] if isinstance(some, Fault) else some:
            found.setdefault(shown(fault.status), {})[fault.code] = fault
    return [(status, list(found[status].values())) for status in sorted(found)]


def _problems(faults: list[Fault]) -> dict[str, Any]:
    # Beside the reference, so that a client has one type for every problem.
    schema = {
        **reference("Problem"),
        "properties": {"code": {"enum": [fault.code for fault in faults]}},
    }
    shown = {
        fault.code: {
            "summary": fault.meaning,
            "value": problem(fault.status, fault.code, fault.meaning, **fault.members),
        }
        for fault in faults
    }
    return {
        **_described(faults, [f"`{fault.code}`: {fault.meaning}" for fault in faults]),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": shown}},
    }


def _described(faults: list[Fault], lines: list[str]) -> dict[str, Any]:
    headers = _RETRY_AFTER if all(fault.retried for fault in faults) else {}
    return {"description": "\n".join(f"- {line}" for line in lines), "headers": dict(headers)}


def _drop_framework_s_422(operation: dict[str, Any]) -> None:
    """It stands at every route with a parameter, in a shape that we don't answer."""
    if JSON in operation["responses"].get("422", {}).get("content", {}):
        del operation["responses"]["422"]


def _show(example: Example, operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in example.parameters:
            value = example.parameters[parameter["name"]]
            # As an `example`, `/docs` fills it in; an optional one would narrow what is asked.
            if parameter["required"]:
                parameter["example"] = value
            else:
                parameter["schema"]["examples"] = [value]
    success = next(code for code in operation["responses"] if code.startswith("2"))
    for part, values in (
        (operation.get("requestBody"), example.bodies),
        (operation["responses"][success], example.answers),
    ):
        if part and values:
            content = part["content"]
            content[JSON if JSON in content else next(iter(content))]["examples"] = {
                name: {"value": value} for name, value in values.items()
            }
