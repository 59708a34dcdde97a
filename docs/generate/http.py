"""Every operation of the service, from its own OpenAPI document."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.generate.markdown import block, code, prose, table
from model import bundle as bundles
from model.runtime.fake import FakeBackend
from service.app import create_app
from service.http.openapi import REQUEST_ID
from service.settings import Settings

_BIRDS = Path(__file__).resolve().parents[2] / "weights" / "birds"
_LONGEST_TEXT = 60  # of an example: base64 tells nobody anything
_LONGEST_LIST = 2


def page() -> str:
    document = openapi()
    parts = [
        "# HTTP\n",
        "Made from the service's OpenAPI document, which it shows at `/openapi.json` and, to try "
        "out, at `/docs`.\n",
        *document["info"]["description"].split("\n\n", 1)[1:],
    ]
    for tag in document["tags"]:
        parts.append(f"## {tag['name'][0].upper()}{tag['name'][1:]}\n")
        parts.append(f"{tag['description']}\n")
        parts += [
            _operation(method, path, operation)
            for method, path, operation in operations(document)
            if operation["tags"] == [tag["name"]]
        ]
    return "\n".join(parts)


def openapi(bundle: Path = _BIRDS) -> dict[str, Any]:
    """What the service of a bundle says of itself; the network takes no part in it."""
    with tempfile.TemporaryDirectory() as state:
        backend = FakeBackend.of(bundles.read(bundle))
        app = create_app(Settings(bundle=bundle, state_dir=Path(state)), backend)
        document = app.openapi()
        asyncio.run(app.state.service.stop())
    return document


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and operation of each."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f"### {method} {path} {{#{operation['operationId']}}}\n",
        f"**{operation['summary']}.** {prose(operation['description'])}",
    ]
    # The header that every operation takes is told of at the top.
    if parameters := [item for item in operation["parameters"] if item["name"] != REQUEST_ID]:
        rows = [_parameter(item) for item in parameters]
        parts.append(table(("parameter", "in", "value", "default", ""), rows))
    if body := operation.get("requestBody"):
        kinds = ", ".join(map(code, body["content"]))
        parts.append(f"Body: {kinds}.\n")
        parts += _example(body["content"], "a request")
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            kinds = ", ".join(map(code, answer.get("content", {})))
            parts.append(f"Answer: {status}, {kinds}.\n")
            parts += _example(answer.get("content", {}), "an answer")
    errors = [
        (status, _faults(answer["description"]))
        for status, answer in operation["responses"].items()
        if not status.startswith("2")
    ]
    if errors:
        parts.append(table(("status", "code and meaning"), errors))
    return "\n".join(parts)


def _parameter(item: dict[str, Any]) -> tuple[object, ...]:
    schema = item["schema"]
    default = "required" if item["required"] else code(json_text(schema.get("default")))
    return code(item["name"]), item["in"], _value(schema), default, item.get("description", "")


def _value(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(code, schema["enum"]))
    kinds = [part for part in schema.get("anyOf", [schema]) if part.get("type") != "null"]
    bounds = [
        f"{word} {kinds[0][name]:g}"
        for name, word in (("minimum", "from"), ("maximum", "to"))
        if abs(kinds[0].get(name, 1e9)) < 1e6
    ]
    return " ".join([str(kinds[0].get("type", "")), *bounds])


def _example(content: dict[str, Any], title: str) -> list[str]:
    for kind in content.values():
        for example in kind.get("examples", {}).values():
            if isinstance(example["value"], dict):
                text = json.dumps(shortened(example["value"]), indent=2)
                return [block(f'json title="{title}"', text)]
    return []


def shortened(value: Any) -> Any:
    """An example without the length of its lists and texts."""
    if isinstance(value, dict):
        return {key: shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shortened(item) for item in value[:_LONGEST_LIST]]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return value[: _LONGEST_TEXT // 3] + "..."
    return value


def _faults(description: str) -> str:
    lines = [line.removeprefix("- ") for line in description.splitlines()]
    return "<br>".join(lines)


def json_text(value: Any) -> str:
    return "" if value is None else json.dumps(value).strip('"')
