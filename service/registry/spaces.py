"""Attribute spaces: which attributes a sheet's numbers are of, and in which order."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

_SHOWN = 5  # names of each kind in a message

MIGRATE = (
    "To take the classes along: start the bundle that they were registered with and write them to "
    "a file with `umzero classes export`; start the other bundle with a database of its own "
    "(--database-url, or --state-dir), and read the file with `umzero classes import`"
)


@dataclass(frozen=True)
class Difference:
    """What another bundle's attributes have that these have not, and the reverse.

    `moved` are in both, and in another order among those that are.
    """

    added: tuple[str, ...]
    missing: tuple[str, ...]
    moved: tuple[str, ...]

    def __str__(self) -> str:
        kinds = (("added", self.added), ("missing", self.missing), ("moved", self.moved))
        told = [f"{len(names)} {word} ({_few(names)})" for word, names in kinds if names]
        return ", ".join(told) or "none"


def fingerprint(names: Sequence[str]) -> str:
    """Of the attributes' names and their order."""
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()


def difference(before: Sequence[str], after: Sequence[str]) -> Difference:
    """From one list of attributes to another."""
    old, new = set(before), set(after)
    kept = [name for name in before if name in new]
    order = [name for name in after if name in old]
    return Difference(
        added=tuple(name for name in after if name not in old),
        missing=tuple(name for name in before if name not in new),
        moved=tuple(now for then, now in zip(kept, order, strict=True) if then != now),
    )


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
