"""Where a bundle goes, and how it gets there: as a whole."""

import shutil
from pathlib import Path

from model import bundle as bundles
from model.errors import ConfigError, WeightsError


def place_of(path: Path) -> Path:
    """Where a bundle at `path` is written: behind a link, what it points to.

    Raises:
        ConfigError: what is there would be lost, and is no bundle.
    """
    place = path.resolve()
    if Path.cwd().is_relative_to(place):
        raise ConfigError(f"{path} is the folder that you are in; give the bundle one of its own")
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
    new, old = (place.with_name(f".{place.name}.{word}") for word in ("new", "old"))
    for rest in (new, old):
        shutil.rmtree(rest, ignore_errors=True)
    shutil.copytree(path, new)
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)
