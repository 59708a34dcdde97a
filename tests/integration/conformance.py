"""Whether an answer is one that OpenAPI's document promises."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import jsonschema_rs

METHODS = ("get", "put", "post", "delete")


class Document:
    """An OpenAPI document that answers are held against."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self._validators: dict[str, Any] = {}
        # Literal paths first: `/classes/{class_id}` is not asked about them.
        paths = sorted(content["paths"], key=lambda path: path.count("{"))
        self._paths = [(re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), path) for path in paths]

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """(method, path, operation) of all."""
        for path, item in self.content["paths"].items():
            for method in METHODS:
                if method in item:
                    yield method, path, item[method]

    def check(self, response: httpx.Response) -> None:
        """Fails unless the answer's status, type, headers and body are documented."""
        response.read()
        request = response.request
        path = self._path(request.url.raw_path.split(b"?")[0].decode())
        method = request.method.lower()
        if path is None or method not in self.content["paths"][path]:
            return
        where = f"{request.method} {path}"
        status = str(response.status_code)
        operation = self.content["paths"][path][method]
        documented = operation["responses"].get(status)
        said = f"{where} answered {status}: {response.text[:300]}"
        hint = "if it is right, name its fault in the route's documented(...)"
        assert documented is not None, f"{said}\n- {status} isn't documented; {hint}"
        for name, header in documented["headers"].items():
            shown = self.resolved(header)
            assert not shown.get("required") or name in response.headers, f"{said}\n- no {name}"
        content = documented.get("content")
        if content is None:
            assert not response.content, f"{said}\n- it has no body"
            return
        media_type = response.headers["content-type"]
        kind = next((k for k in content if media_type in (k, f"{k}; charset=utf-8")), None)
        assert kind is not None, f"{said}\n- the type {media_type} isn't among {list(content)}"
        if kind.endswith("json"):
            # Of NDJSON the schema is that of a line.
            values = response.text.splitlines() if "ndjson" in kind else [response.text]
            found = [e for v in values for e in self.errors(content[kind]["schema"], json.loads(v))]
            assert not found, f"{said}\n- " + "\n- ".join([*found, hint])

    def errors(self, schema: dict[str, Any], value: Any) -> list[str]:
        """What one of the document's schemas finds wrong with a value."""
        key = json.dumps(schema)
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.Draft202012Validator(
                {**schema, "components": self.content["components"]}, validate_formats=True
            )
        # Half a surrogate pair is legal in JSON; the validator takes none.
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        found = self._validators[key].iter_errors(json.loads(text))
        return [f"{'.'.join(map(str, e.instance_path))}: {e.message[:300]}" for e in found]

    def resolved(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """The object itself, where one refers to it."""
        if "$ref" not in item:
            return item
        target: Any = self.content
        for step in item["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        return target

    def _path(self, path: str) -> str | None:
        return next((name for pattern, name in self._paths if pattern.fullmatch(path)), None)
