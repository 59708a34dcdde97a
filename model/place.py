"""Where a bundle goes, and how it gets there: as a whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model import bundle as bundles
from model.errors import ConfigError, WeightsError


def place_of(path: Path) -> Path:
    """Where a bundle at `path` is written: behind a link, what it points to.

    Raises:
        ConfigError: what is there would be lost, and is no bundle.
    """
    place = _behind_links(path)
    if not place.exists():
        return place
    if not place.is_dir():
        raise ConfigError(f"{path} is no folder; give another one for the bundle")
    inside = sorted(place.iterdir())
    try:
        foreign = [item.name for item in inside if item.is_dir()]
        if inside and not foreign:
            bundles.read(place)
    except WeightsError:
        foreign = [item.name for item in inside]
    if foreign:
        raise ConfigError(
            f"{path} is no bundle, but holds {foreign[0]}, which would be deleted; "
            "give a new folder for the bundle, or move this one away"
        )
    return place


def put(path: Path, place: Path) -> None:
    """Copy a bundle from `path` to `place`, where nobody ever finds half of it.

    A process that is killed in the middle leaves the old bundle, or none, at `place`.

    Raises:
        ConfigError: see `place_of`.
    """
    place = place_of(place)
    place.parent.mkdir(parents=True, exist_ok=True)
    _swap(_copied(path, place), place)


@contextmanager
def rewritten(place: Path) -> Iterator[Path]:
    """A copy of the bundle at `place`, to be changed; it takes the bundle's place, as `put` does,
    once that has ended well.

    Raises:
        ConfigError: `place` is the folder that the process is in.
    """
    place = _behind_links(place)
    new = _copied(place, place)
    try:
        yield new
        _swap(new, place)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _behind_links(path: Path) -> Path:
    place = path.resolve()
    if Path.cwd().is_relative_to(place):
        raise ConfigError(
            f"{path} is the folder that you are in, or above it, and would be replaced as a whole; "
            "go to another one, or give another one"
        )
    return place


def _copied(path: Path, place: Path) -> Path:
    """A copy beside `place`, where what a killed process left is cleared."""
    new, old = _beside(place)
    for rest in (new, old):
        shutil.rmtree(rest, ignore_errors=True)
    shutil.copytree(path, new)
    return new


def _swap(new: Path, place: Path) -> None:
    _, old = _beside(place)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _beside(place: Path) -> tuple[Path, Path]:
    """Where the new bundle waits, and the old one, while they change places."""
    return place.with_name(f".{place.name}.new"), place.with_name(f".{place.name}.old")
