"""What an example consists of, and what the examples name of a bundle."""

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
FILE = "(the bytes of a file)"
NEW_CLASS = "new-class"
REVISION = 7


@dataclass(frozen=True)
class Example:
    """What an operation is asked, and what it answers.

    `parameters` by their names, also the optional ones; `bodies` and `answers` by what each of them
    shows, in JSON, or in the only type that there is. A file in a form is `FILE`.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    bodies: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)


class Words:
    """What the examples name of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        space = bundle.manifest.attributes
        self.bundle = bundle.name
        self.folder = bundle.path.name
        self.sha256 = bundle.sha256
        self.class_count = len(bundle.classes)
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
            "known": True,
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
            "revision": REVISION,
            "created_at": "2026-01-31T12:00:00.000000Z",
            "examples": 0,
        }

    def lookalike(self) -> dict[str, Any]:
        return {
            "class_id": NEW_CLASS,
            "like": self.first,
            "similarity": 0.97,
            "detail": "it is nearly the same as another class; images will hardly tell them apart",
        }

    def taken(self) -> dict[str, Any]:
        return {
            "type": "urn:umzero:problem:class_exists",
            "title": "Conflict",
            "status": 409,
            "detail": f"a class has the id {NEW_CLASS!r} already",
            "code": "class_exists",
        }

    def flat(self) -> list[list[float]]:
        """A map that says nothing."""
        height, width = self.grid
        return [[round(1 / (height * width), 6)] * width for _ in range(height)]
