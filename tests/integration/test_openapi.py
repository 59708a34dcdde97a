"""`/openapi.json`: whole, true, and with examples that work.

That every answer is documented is not tested here but everywhere: the `http` fixtures' client holds
each answer that any test gets against the document.
"""

import ast
import base64
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from service import errors
from service.errors import ServiceError
from service.http import routes
from service.http.examples.words import FILE, IMAGE
from tests.integration.conformance import Document
from tests.integration.conftest import ADMIN_TOKEN

REPOSITORY = Path(__file__).resolve().parents[2]
JSON = "application/json"
NDJSON = "application/x-ndjson"
PROBLEM = "application/problem+json"
# Served, but no part of the interface: a page, its files, and a second name.
HIDDEN = {"/", "/static/{name}", "/v2/"}
# Errors that no request is answered with.
NEVER_SENT = {errors.ServiceError, errors.ConfigurationError, errors.ClientGone}
WITH_THEIR_OWN_CODE = {errors.RequestError, errors.SheetRefused}
ADMIN = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
SAY_HOW = "see service/http/openapi.py"


def labelled(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    for method, path, operation in document.operations():
        yield f"{method.upper()} {path}", operation


def test_every_route_is_in_the_document(document: Document) -> None:
    documented = {label for label, _ in labelled(document)}
    found = set()
    for module in pkgutil.iter_modules(routes.__path__):
        router = importlib.import_module(f"{routes.__name__}.{module.name}").router
        for route in router.routes:
            if isinstance(route, APIRoute) and route.path not in HIDDEN:
                found |= {f"{method} {route.path}" for method in route.methods}
    assert len(found) > 20
    assert found - documented == set(), (
        "include the router in service/app.py; what is no part of the interface belongs into HIDDEN"
    )


def test_every_operation_says_what_it_does(document: Document) -> None:
    tags = {tag["name"] for tag in document.content["tags"]}
    ids, summaries = [], []
    for label, operation in labelled(document):
        summary, description = operation.get("summary", ""), operation.get("description", "")
        ids.append(operation["operationId"])
        summaries.append(summary)
        # Without `summary=` the framework makes one of the function's name.
        made = operation["operationId"].replace("_", " ").title()
        assert summary != made, f"{label} has no summary=; {SAY_HOW}"
        assert len(summary) < 50, label
        assert len(description) > len(summary), f"{label} has no docstring that says more"
        assert set(operation["tags"]) <= tags, f"{label}: add its tag to TAGS; {SAY_HOW}"
        assert re.fullmatch("[a-z][a-z_]+", operation["operationId"]), label
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description"), f"{label}: {parameter['name']} says nothing"
    assert len(set(ids)) == len(ids)
    assert len(set(summaries)) == len(summaries)


def test_every_operation_has_examples(document: Document) -> None:
    for label, operation in labelled(document):
        missing = f"add {operation['operationId']!r} to service/http/examples"
        for parameter in operation.get("parameters", ()):
            if parameter["required"]:
                assert "example" in parameter, f"{label}, {parameter['name']}: {missing}"
        if "requestBody" in operation:
            assert examples(operation["requestBody"]), f"{label}: {missing}"
        for status, response in operation["responses"].items():
            shown = examples(response) or status == "304"  # which has no body
            assert shown, f"{label} shows no example of {status}: {missing}"


def test_every_operation_says_what_can_go_wrong(document: Document) -> None:
    for label, operation in labelled(document):
        faults = {code: r for code, r in operation["responses"].items() if code[0] in "45"}
        assert "500" in faults, f"{label}: responses=documented(...) is missing; {SAY_HOW}"
        for status, response in faults.items():
            kind = JSON if label.split(" ")[1].startswith("/v2") else PROBLEM
            assert list(response["content"]) == [kind], f"{label} {status}; {SAY_HOW}"
            if kind == PROBLEM:
                codes = response["content"][kind]["schema"]["properties"]["code"]["enum"]
                assert all(f"`{code}`: " in response["description"] for code in codes)
            assert ("Retry-After" in response["headers"]) == (status == "503")
        assert all("X-Request-ID" in r["headers"] for r in operation["responses"].values())
        sent = [item["name"] for item in operation["parameters"] if item["in"] == "header"]
        assert sent.count("X-Request-ID") == 1, label


def test_every_example_is_valid_against_its_own_schema(document: Document) -> None:
    checked = 0
    for label, operation in labelled(document):
        pairs = [
            (parameter["schema"], value)
            for parameter in operation.get("parameters", ())
            for value in parameter_examples(parameter)
        ]
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for part in contents:
            pairs += [(part["content"][kind]["schema"], value) for kind, value in examples(part)]
        for schema, value in pairs:
            assert document.errors(schema, value) == [], (label, value)
            checked += 1
    assert checked > 100


def test_every_example_works_when_it_is_sent(http: httpx.Client, document: Document) -> None:
    operations = {item["operationId"]: (m, p, item) for m, p, item in document.operations()}
    # What the others ask about is made first and removed last.
    order = ["register_classes", *(operations.keys() - {"register_classes", "remove_class"})]
    for name in [*order, "remove_class"]:
        method, path, operation = operations[name]
        for kind, body in examples(operation.get("requestBody", {})) or [(JSON, None)]:
            sent = sent_as(kind, body)
            for query in queries(operation):
                where = filled(path, operation)
                response = http.request(method, where, params=query, **sent)
                assert response.is_success, (name, query, response.text)


def examples(part: dict[str, Any]) -> list[tuple[str, Any]]:
    """(media type, value) of a request's or an answer's body."""
    content = part.get("content", {}).items()
    return [(kind, e["value"]) for kind, said in content for e in said.get("examples", {}).values()]


def sent_as(kind: str, body: Any) -> dict[str, Any]:
    """httpx's arguments."""
    if kind == JSON:
        return {"json": body, "headers": ADMIN}
    if kind == NDJSON:
        return {"content": json.dumps(body), "headers": {**ADMIN, "Content-Type": kind}}
    return {"files": form(body), "headers": ADMIN}


def form(body: dict[str, Any]) -> dict[str, tuple[str | None, bytes]]:
    """A form's fields: files, and JSON."""
    image = base64.b64decode(IMAGE)
    return {
        name: ("image.png", image) if value == FILE else (None, json.dumps(value).encode())
        for name, value in body.items()
    }


def filled(path: str, operation: dict[str, Any]) -> str:
    """A path with its parameters' examples in it."""
    inside = {p["name"]: p["example"] for p in operation.get("parameters", ()) if p["required"]}
    return path.format(**inside)


def queries(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """Each optional parameter's examples, one at a time, beside those that are needed."""
    optional = [p for p in operation.get("parameters", ()) if p["in"] == "query"]
    one_each = [{p["name"]: value} for p in optional for value in parameter_examples(p)]
    if operation["operationId"] == "explain":
        (needed,) = (query for query in one_each if "class_id" in query)
        return [needed | query for query in one_each if "class_ids" not in query]
    return [{}, *one_each]


def parameter_examples(parameter: dict[str, Any]) -> list[Any]:
    own = [parameter["example"]] if "example" in parameter else []
    return own + parameter["schema"].get("examples", [])


def raised() -> dict[str, set[int | None]]:
    """Code -> statuses of every error that the source can answer with; None: its type says it."""
    found: dict[str, set[int | None]] = {}
    sources = [*(REPOSITORY / "service").rglob("*.py"), *(REPOSITORY / "model").glob("*.py")]
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="RequestError"),
                    args=[ast.Constant(value=int(status)), ast.Constant(value=str(code)), *_],
                ):
                    found.setdefault(code, set()).add(status)
                case ast.Call(
                    func=ast.Name(id="SheetError" | "SheetRefused" | "ImageError"),
                    args=[ast.Constant(value=str(code)), *_],
                ):
                    found.setdefault(code, set()).add(None)
    for kind in vars(errors).values():
        fixed = isinstance(kind, type) and issubclass(kind, ServiceError)
        if fixed and kind not in NEVER_SENT | WITH_THEIR_OWN_CODE:
            found.setdefault(kind.code, set()).add(kind.status)
    return found


def test_the_errors_of_the_source_are_the_documented_ones(document: Document) -> None:
    documented: dict[str, set[int]] = {}
    for _, operation in labelled(document):
        for status, response in operation["responses"].items():
            schema = response.get("content", {}).get(PROBLEM, {}).get("schema", {"properties": {}})
            for code in schema["properties"].get("code", {"enum": []})["enum"]:
                documented.setdefault(code, set()).add(int(status))
    found = raised()
    # The protocol's errors have no code.
    found.pop(errors.UnknownModel.code)

    assert {"box_outside", "attribute_range", "overloaded"} <= found.keys()
    hint = "service/http/faults.py documents what can go wrong, for the routes to name"
    assert found.keys() - documented.keys() == set(), hint
    assert documented.keys() - found.keys() == {"internal"}, hint
    for code, statuses in found.items():
        assert statuses - {None} <= documented[code], (code, hint)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"status": 404}, "404 isn't documented"),
        ({"json": {"code": "other"}}, "code"),
        ({"type": JSON}, "isn't among"),
        ({"headers": {}}, "no X-Request-ID"),
    ],
)
def test_an_answer_that_is_not_documented_is_found(
    document: Document, change: dict[str, Any], complaint: str
) -> None:
    operation = document.content["paths"]["/describe"]["post"]
    content = operation["responses"]["422"]["content"][PROBLEM]
    problem = content["examples"]["image_empty"]["value"]
    told = {"X-Request-ID": "2b0e1b9e-6b0c-4e6b-9a49-3f1b9c6f0f1d"}

    def answer(status: int = 422, **parts: Any) -> httpx.Response:
        kind = {"content-type": parts.get("type", PROBLEM)}
        headers = parts.get("headers", told) | kind
        body = problem | parts.get("json", {})
        request = httpx.Request("POST", "http://host/describe?box=1,2,3,4")
        return httpx.Response(status, headers=headers, json=body, request=request)

    document.check(answer())
    with pytest.raises(AssertionError, match=complaint):
        document.check(answer(**change))


def test_the_pages_of_the_document_read_it(http: httpx.Client) -> None:
    assert http.get("/openapi.json").json()["openapi"].startswith("3.1")
    for page in ("/docs", "/redoc"):
        response = http.get(page)
        assert response.status_code == 200
        assert "/openapi.json" in response.text
