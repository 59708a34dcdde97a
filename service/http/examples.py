"""One example for each operation of OpenAPI, in words of the bundle that is served.

Every request among them works when it is sent: `/docs` fills it in, and a test sends it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from model.bundle import Bundle

# A bird on a branch, 32 x 32 pixels, a PNG.
IMAGE = (
    "iVBORw0KGgoAAAANSUhEUgAAACAAAAAgBAMAAACBVGfHAAAAElBMVEWWyOvwtChuUDLIPDJ4Hh4AAABzsMb9"
    "AAAAjklEQVR42r3QsQ3DIBSE4c/GAzhdyigTIHn/HRghdRqzACKFsYPTREqRJyF0P/cOHvy5lgXGQwfiCURC"
    "DwI3sXfw8GBq5xEMcx57zTBPeyCoecsITZfcQiPMJFtouMBKTN21te0j5Lb6WVZnUPWg1NaQdkfaDOVoKW9D"
    "y0iHob26Pq9K2sa7f/zs6Bv4oV4fHR97TFyPDgAAAABJRU5ErkJggg=="
)
NEW_CLASS = "new-class"
_REVISION = 7


@dataclass(frozen=True)
class Example:
    """What an operation is asked, and what it answers.

    `parameters` by their names, also the optional ones; `bodies` in JSON and `answers` by what
    each of them shows.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    bodies: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)


def examples_of(bundle: Bundle) -> Mapping[str, Example]:
    """Operation id -> its example."""
    words = _Words(bundle)
    return {**_of_images(words), **_of_classes(words), **_of_health(), **_of_protocol(words)}


class _Words:
    """What the examples name of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        space = bundle.manifest.attributes
        self.bundle = bundle.name
        self.classes = [(item.class_id, item.name) for item in bundle.classes[:2]]
        self.ids = ",".join(class_id for class_id, _ in self.classes)
        self.grid = bundle.manifest.grid
        self.dimension = bundle.manifest.embedding_dim
        self.count = len(space)
        self.names = space.names[:2]
        self.token = [n for n, t in zip(space.names, space.tokens, strict=True) if t == 0]
        self.by_group = {group: next(iter(v)) for group, v in islice(space.members.items(), 3)}
        self.by_name = {
            name: round(float(space.minimum[i] + space.maximum[i]) / 2, 2)
            for i, name in enumerate(self.names)
        }
        self.scale = [
            {
                "name": space.names[i],
                "group": space.groups[i],
                "min": float(space.minimum[i]),
                "max": float(space.maximum[i]),
                "mean": round(float(space.mean[i]), 6),
            }
            for i in range(len(self.names))
        ]
        self.given = sum(len(space.members[group]) for group in self.by_group)

    @property
    def first(self) -> str:
        return self.classes[0][0] if self.classes else NEW_CLASS

    def predictions(self) -> list[dict[str, Any]]:
        shares = (("score", 16.5, 12.5), ("probability", 0.982, 0.018))
        return [
            {"class_id": class_id, "name": name, "seen": True}
            | {key: values[at] for key, *values in shares}
            for at, (class_id, name) in enumerate(self.classes)
        ]

    def result(self) -> dict[str, Any]:
        scores = zip(self.names, (96.4, 88.1), strict=False)
        return {
            "predictions": self.predictions(),
            "attributes": [{"name": name, "score": score} for name, score in scores],
        }

    def registered(self, name: str = "New class") -> dict[str, Any]:
        return {
            "class_id": NEW_CLASS,
            "name": name,
            "seen": False,
            "origin": "registered",
            "given": self.given,
            "filled": self.count - self.given,
            "revision": _REVISION,
            "created_at": "2026-01-31T12:00:00.000000Z",
        }

    def lookalike(self) -> dict[str, Any]:
        return {
            "class_id": NEW_CLASS,
            "like": self.first,
            "similarity": 0.97,
            "detail": "by its sheet it is nearly the same as another class; "
            "images will hardly tell them apart",
        }

    def flat(self) -> list[list[float]]:
        """A map that says nothing."""
        height, width = self.grid
        return [[round(1 / (height * width), 6)] * width for _ in range(height)]


def _of_images(words: _Words) -> dict[str, Example]:
    images = {"one image": {"image": IMAGE}, "several images": {"image": [IMAGE, IMAGE]}}
    told = {"bundle": words.bundle, "revision": _REVISION}
    timings = {"decode": 2.2, "inference": 8.2, "score": 0.6, "total": 11.7}
    unusable = {
        "type": "urn:umzero:problem:image_unreadable",
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "the image can't be read",
        "code": "image_unreadable",
    }
    contributions = zip(words.names, (3.1, -0.4), strict=False)
    return {
        "classify": Example(
            parameters={
                "top_k": 3,
                "classes": words.ids,
                "scope": "all",
                "gamma": 0.5,
                "min_revision": 0,
                "box": "4,4,24,24",
                "look": 2,
            },
            bodies=images,
            answers={
                "one image": {**words.result(), **told, "timings_ms": timings},
                "several images, one of them unusable": {
                    "results": [words.result(), {"problem": unusable}],
                    **told,
                    "timings_ms": timings,
                },
            },
        ),
        "explain": Example(
            parameters={
                "class_id": words.first,
                "class_ids": words.ids,
                "attribute": words.names[0],
                "box": "4,4,24,24",
            },
            bodies={"one image": {"image": IMAGE}},
            answers={
                "one class": {
                    "explanations": [
                        {
                            "class_id": words.first,
                            "name": words.classes[0][1] if words.classes else "New class",
                            "logit": 16.5,
                            "base": 13.8,
                            "contributions": [
                                {"name": name, "contribution": part, "image": 96.4, "sheet": 90.0}
                                for name, part in contributions
                            ],
                            "heat": words.flat(),
                        }
                    ],
                    "maps": [{"attributes": words.token, "map": words.flat()}],
                    "bundle": words.bundle,
                }
            },
        ),
        "describe": Example(
            parameters={"box": "4,4,24,24"},
            bodies=images,
            answers={
                "two images": {
                    "attributes": dict.fromkeys(words.names, 51.3),
                    "spread": dict.fromkeys(words.names, 4.2),
                    "images": 2,
                    "bundle": words.bundle,
                }
            },
        ),
    }


def _of_classes(words: _Words) -> dict[str, Example]:
    by_group = {"name": "New class", "attributes": words.by_group}
    by_name = {"name": "New class", "attributes": words.by_name, "metadata": {"source": "a guide"}}
    several = [
        {"class_id": "first-of-two", "name": "First of two", "attributes": words.by_group},
        {"class_id": "second-of-two", "name": "Second of two", "attributes": words.by_name},
    ]
    own = [
        {
            **words.registered(name),
            "class_id": class_id,
            "seen": True,
            "origin": "bundle",
            "given": words.count,
            "filled": 0,
            "revision": 0,
            "created_at": None,
        }
        for class_id, name in words.classes[:1]
    ]
    near = [
        {"class_id": class_id, "name": name, "seen": True, "similarity": 0.81}
        for class_id, name in words.classes[:1]
    ]
    made = {"classes": [words.registered()], "revision": _REVISION}
    return {
        "list_attributes": Example(
            answers={"the first two": {"count": words.count, "attributes": words.scale}}
        ),
        "list_classes": Example(
            parameters={"limit": 10, "after": words.first},
            answers={
                "a page of two": {
                    "classes": [*own, words.registered()],
                    "next": NEW_CLASS,
                    "revision": _REVISION,
                }
            },
        ),
        "get_class": Example(
            parameters={"class_id": words.first},
            answers={
                "a registered class": {
                    **words.registered(),
                    "attributes": list(words.by_name.values()),
                    "metadata": {"source": "a guide"},
                }
            },
        ),
        "get_neighbours": Example(
            parameters={"class_id": words.first, "limit": 3},
            answers={
                "the nearest": {
                    "class_id": NEW_CLASS,
                    "neighbours": near,
                    "revision": _REVISION,
                }
            },
        ),
        "register_classes": Example(
            bodies={
                "by group, as people speak": {"class_id": NEW_CLASS, **by_group},
                "several, by attribute": {"classes": several},
            },
            answers={
                "registered": made,
                "nearly another class": {**made, "warnings": [words.lookalike()]},
            },
        ),
        "replace_class": Example(
            parameters={"class_id": NEW_CLASS},
            bodies={"by group, as people speak": by_group, "by attribute": by_name},
            answers={
                "replaced": words.registered(),
                "nearly another class": {**words.registered(), "warnings": [words.lookalike()]},
            },
        ),
        "remove_class": Example(
            parameters={"class_id": NEW_CLASS},
            answers={"removed": {"class_id": NEW_CLASS, "revision": _REVISION + 1}},
        ),
    }


def _of_health() -> dict[str, Example]:
    metrics = (
        "# HELP umzero_ready 1 once the service answers.\n# TYPE umzero_ready gauge\n"
        "umzero_ready 1.0\n# EOF\n"
    )
    return {
        "livez": Example(answers={"alive": {"status": "alive"}}),
        "readyz": Example(answers={"ready": {"status": "ready"}}),
        "metrics": Example(answers={"one of them": metrics}),
    }


def _of_protocol(words: _Words) -> dict[str, Example]:
    model = {"model": words.bundle}
    number = {**model, "number": "1"}
    image = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [IMAGE]}
    red = {"name": "image", "datatype": "UINT8", "shape": [1, 1, 2, 3], "data": [200, 60, 50] * 2}
    bodies = {
        "an encoded image": {"id": "42", "inputs": [image]},
        "pixels, and one output": {
            "inputs": [red],
            "outputs": [{"name": "probabilities"}],
            "parameters": {"top_k": 1},
        },
    }
    (first, *_) = words.predictions() or [{"class_id": NEW_CLASS, "name": "", "probability": 1.0}]
    outputs = [
        ("class_ids", "BYTES", first["class_id"]),
        ("class_names", "BYTES", first["name"]),
        ("probabilities", "FP32", first["probability"]),
    ]
    inferred = {
        "model_name": words.bundle,
        "model_version": "1",
        "id": "42",
        "outputs": [
            {"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]}
            for name, datatype, value in outputs
        ],
    }
    described = {
        "name": words.bundle,
        "versions": ["1"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            *({"name": name, "datatype": kind, "shape": [-1, -1]} for name, kind, _ in outputs),
            {"name": "embedding", "datatype": "FP32", "shape": [-1, words.dimension]},
        ],
    }
    metadata = {"the model": described}
    ready = {"ready": {"name": words.bundle, "ready": True}}
    answers = {"one image": inferred}
    server = {"name": "umzero", "version": "0.1.0", "extensions": ["binary_tensor_data"]}
    return {
        "server_metadata": Example(answers={"this server": server}),
        "server_live": Example(answers={"live": {"live": True}}),
        "server_ready": Example(answers={"ready": {"live": True, "ready": True}}),
        "model_metadata": Example(model, answers=metadata),
        "model_version_metadata": Example(number, answers=metadata),
        "model_ready": Example(model, answers=ready),
        "model_version_ready": Example(number, answers=ready),
        "infer": Example(model, bodies, answers),
        "infer_version": Example(number, bodies, answers),
    }
