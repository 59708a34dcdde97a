"""What the registry knows of a class."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from model.bundle import BundleClass
from model.runtime.base import F32, F64

CLASS_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
DEFAULT_COLLECTION = "default"

Key = tuple[str, str]  # a collection, and a class's id in it

# The revisions of a class that a write may take the place of; None: any.
Expected = frozenset[int] | None


@dataclass(frozen=True, slots=True)
class ClassSummary:
    """A class as a list shows it; small, for a snapshot holds one for every class."""

    class_id: str
    name: str
    seen: bool
    given: int
    filled: int
    revision: int  # of its last write; 0 for the bundle's own
    created_at: str | None = None  # RFC 3339, UTC; None for the bundle's own
    examples: int = 0  # photographs that it was registered with
    photographs_share: float = 0.0  # of its prototype

    @property
    def familiarity(self) -> float:
        """How far it is as good as seen, in 0..1; see `model.photographs`."""
        return 1.0 if self.seen else self.photographs_share

    @property
    def origin(self) -> Literal["bundle", "registered"]:
        return "bundle" if self.seen else "registered"


@dataclass(frozen=True, eq=False)
class PhotographsMean:
    """The mean embedding of a class's photographs (D,), a unit row, and the sha256 of the bundle
    whose network it is of."""

    vector: F32
    bundle: str


@dataclass(frozen=True, eq=False)
class NewClass:
    """A class to write; `attributes` is a complete sheet (A,), `photographs` are as
    `model.photographs.encoded` wrote them, with their mean if there are any."""

    class_id: str
    name: str
    attributes: F64
    given: int
    filled: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    photographs: tuple[bytes, ...] = ()
    mean: PhotographsMean | None = None


@dataclass(frozen=True, eq=False)
class ClassRecord:
    """A class with everything that was said of it."""

    summary: ClassSummary
    attributes: F64  # (A,)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    mean: PhotographsMean | None = None  # of its photographs, which the store keeps apart


def own_record(item: BundleClass) -> ClassRecord:
    """One of the bundle's own classes."""
    attributes = np.array(item.attributes, np.float64)
    return ClassRecord(
        ClassSummary(item.class_id, item.name, True, len(attributes), 0, 0), attributes
    )


@dataclass(frozen=True, eq=False)
class Changes:
    """Some of what happened between two revisions, as it is at the later one."""

    written: Mapping[Key, ClassRecord] = field(default_factory=dict)
    removed: Sequence[Key] = ()
