"""What schemathesis can't read in a schema: what an image is, and what the contract asks beyond it.

A request that its schema allows is made to fit what no schema says, and then has to be accepted.
Every exception to that names the one code that it lets through, and why.
"""

import base64
import itertools
import json
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis import (
    Case,
    CheckContext,
    GenerationMode,
    HookContext,
    Response,
    SerializationContext,
)
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

from model.runtime.fake import FAKE_ATTRIBUTES
from service.http.examples.words import IMAGE
from service.http.tensors import HEADER

schemathesis.openapi.format("byte", strategies.just(IMAGE))
images = strategies.just(base64.b64decode(IMAGE))
schemathesis.openapi.format("binary", images)
for media_type in ("image/*", "application/octet-stream"):
    schemathesis.openapi.media_type(media_type, images)


@schemathesis.serializer("application/x-ndjson")
def one_line(_context: SerializationContext, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


BEYOND_SCHEMA = {
    "unknown_attribute": "the names are the bundle's, and hundreds",
    "no_candidates": "a list in one text may turn out empty, or a scope without classes",
    "class_missing": "one of two parameters is needed",
    "idempotency_key_reused": "which keys have come before, and with what",
    "precondition_failed": "which revision a class has",
    "box_outside": "how large the image is",
}
FILES = {"datatype": "BYTES", "shape": [1], "data": [IMAGE]}
PIXELS: dict[str, Any] = {"datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [200, 60, 50] * 2}
# Forms that were made to fit: of these schemathesis thinks that bytes are no string.
fitted_forms: set[str] = set()
NAMES = [f"{group}::{value}" for group, values in FAKE_ATTRIBUTES.items() for value in values]


@schemathesis.hook
def before_call(context: HookContext, case: Case, **_: Any) -> None:
    """Make a request fit what no schema says."""
    revision = str((case.query or {}).get("min_revision", ""))
    if revision.isdigit() and int(revision) < 2**63:
        # One that has not come is a 503 after a second, as the contract has it.
        case.query["min_revision"] = 0
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.operation.path.endswith("/infer"):
        fit_tensor(case)
    elif case.operation.path == "/preview" and isinstance(case.body, dict):
        fit_form(case)
    elif case.operation.path.startswith(("/classes", "/import")) and isinstance(case.body, dict):
        for item in case.body.get("classes", [case.body]):
            fit_class(item)
        if case.method == "PUT":
            case.body.pop("class_id", None)  # another one than the path's is refused


def fit_form(case: Case) -> None:
    """A form has an image, and a class in the bundle's words."""
    fitted_forms.add(case.id)
    case.body["image"] = base64.b64decode(IMAGE)  # its example only stands for a file
    fit_class(case.body["class"])


def fit_tensor(case: Case) -> None:
    """A tensor's data fit its shape, and are images; no output is asked for twice."""
    case.headers.pop(HEADER, None)
    if isinstance(case.body, dict):
        outputs = {output["name"]: output for output in case.body.get("outputs", ())}
        case.body["outputs"] = list(outputs.values())
        (tensor,) = case.body["inputs"]
        tensor.update(FILES if tensor["datatype"] == "BYTES" else PIXELS)
        return
    pixels = bytes(PIXELS["data"])
    tensor = {key: PIXELS[key] for key in ("datatype", "shape")}
    size = {"binary_data_size": len(pixels)}
    head = json.dumps({"inputs": [{"name": "image", **tensor, "parameters": size}]}).encode()
    case.headers[HEADER] = str(len(head))
    case.body = head + pixels


def fit_class(item: dict[str, Any]) -> None:
    """A sheet in the bundle's words, like a class that is there."""
    if item.get("like") is not None:
        item["like"] = "robin"
    if item.get("attributes") is not None or item.get("like") is None:
        item["attributes"] = fitted(item.get("attributes") or {})


def fitted(sheet: list[float] | dict[str, Any]) -> list[float] | dict[str, Any]:
    """A sheet of the same form, in the bundle's own words."""
    if isinstance(sheet, list):
        return [abs(value) % 100 for value in itertools.islice([*sheet, *[0] * 9], 9)]
    numbers = (abs(v) % 100 for v in sheet.values() if isinstance(v, int | float))
    return dict(zip(NAMES, numbers, strict=False)) or {"has_wing": ["red"]}


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Whether a failure is one."""
    if isinstance(failure, RejectedPositiveData):
        return response.json().get("code") not in BEYOND_SCHEMA
    if isinstance(failure, AcceptedNegativeData) and case.id in fitted_forms:
        return False
    if isinstance(failure, AcceptedNegativeData):
        if response.status_code == 412:  # refused before its body was looked at
            return False
        # The contract: one of several images that can't be used is a problem in its place, and so
        # is one of several lines.
        answer = response.json()
        wrong = [result for result in answer.get("results", ()) if "problem" in result]
        return not (wrong or answer.get("problems"))
    return True


@schemathesis.check
def fitted_form_is_accepted(_context: CheckContext, response: Response, case: Case) -> None:
    if case.id in fitted_forms and response.status_code in (400, 415, 422):
        assert response.json().get("code") in BEYOND_SCHEMA, response.text
