"""`splits.json`: which classes are seen, unseen, and for tuning; and what holds without it.

    {"seen": [...], "unseen": [...], "validation": [...], "train": ["class/file.jpg", ...]}

Every key may be left out. What is chosen in its place depends on names alone, so it is the same on
every machine and in every run.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.data.problems import Problems

FILE = "splits.json"
KEYS = ("seen", "unseen", "validation", "train")
TRAIN_SHARE = 0.8


@dataclass(frozen=True)
class Splits:
    """Names of classes; `train` are images relative to `images/`, None when nothing was said."""

    seen: tuple[str, ...]
    unseen: tuple[str, ...]
    validation: tuple[str, ...]
    train: frozenset[str] | None = None


def read_splits(
    path: Path, known: Sequence[str], images: Collection[str], problems: Problems
) -> Splits:
    """Read `splits.json`, or choose what it leaves out.

    Args:
        path: the file; it may be absent.
        known: the names of all classes that there are.
        images: "class/file.jpg" of all images.
        problems: takes unknown, repeated and overlapping names.

    Returns:
        Without "seen", every known class that is not unseen; without "unseen", none; without
        "validation", a third of the seen ones. Classes come in the order of `known`.
    """
    given = _load(path, problems) if path.exists() else {}
    classes = {key: _classes(key, given.get(key, ()), known, problems) for key in KEYS[:3]}
    unseen = classes["unseen"]
    seen = classes["seen"] if "seen" in given else set(known) - unseen
    validation = classes["validation"] if "validation" in given else third(seen)
    problems.extend(f"{FILE}: {n!r} is both seen and unseen" for n in sorted(seen & unseen))
    problems.extend(
        f"{FILE}: validation class {n!r} is not seen" for n in sorted(validation - seen)
    )
    train = None
    if "train" in given:
        train = frozenset(given["train"])
        problems.duplicates(f"{FILE}: train image", given["train"])
        unknown = sorted(train.difference(images))
        problems.extend(f"{FILE}: there is no train image {n!r}" for n in unknown)
        wrong = sorted(n for n in train if n.split("/", 1)[0] in unseen)
        problems.extend(f"{FILE}: train image {n!r} is of an unseen class" for n in wrong)

    def ordered(chosen: set[str]) -> tuple[str, ...]:
        return tuple(name for name in known if name in chosen)

    return Splits(ordered(seen), ordered(unseen), ordered(validation), train)


def third(names: Iterable[str]) -> set[str]:
    """A third of `names`, rounded, at least one of two or more; the same third every time."""
    ranked = _by_hash(names)
    return set(ranked[: max(round(len(ranked) / 3), 1 if len(ranked) > 1 else 0)])


def train_share(images: Iterable[str]) -> set[str]:
    """80 % of one class's images, rounded, at least one; the same ones every time."""
    ranked = _by_hash(images)
    return set(ranked[: max(round(TRAIN_SHARE * len(ranked)), 1)])


def _by_hash(names: Iterable[str]) -> list[str]:
    def digest(name: str) -> str:
        # A file's name need not be UTF-8.
        return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()

    return sorted(names, key=digest)


def _load(path: Path, problems: Problems) -> dict[str, list[str]]:
    text = problems.text(path)
    if text is None:
        return {}
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        problems.add(f"{FILE} is no JSON: {error}")
        return {}
    if not isinstance(data, dict):
        problems.add(f"{FILE} holds a {type(data).__name__}, expected an object")
        return {}
    problems.extend(f"{FILE} has an unknown key {key!r}" for key in data if key not in KEYS)
    good = {}
    for key in KEYS:
        if key not in data:
            continue
        value = data[key]
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            good[key] = value
        else:
            problems.add(f"{FILE}: {key!r} is not a list of names")
    return good


def _classes(key: str, names: Sequence[str], known: Sequence[str], problems: Problems) -> set[str]:
    problems.duplicates(f"{FILE}: {key} class", names)
    unknown = set(names).difference(known)
    problems.extend(
        f"{FILE}: {key} class {name!r} is none of this data set" for name in sorted(unknown)
    )
    return set(names) - unknown
