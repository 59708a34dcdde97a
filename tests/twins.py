"""Two fake bundles with the same attributes whose every part differs, so that a mixture shows."""

from dataclasses import replace
from pathlib import Path

import pytest

from model import bundle as bundles
from model.bundle import Bundle
from model.runtime.fake import FAKE_CLASSES, draw, write_fake_bundle
from model.sheets import fill

# In numbers: a choice would be the scale's top, which is another one in each bundle.
KITE = {"has_crown::blue": 100, "has_breast::blue": 100, "has_wing::red": 100}

OTHERS = {
    "Robin": {"has_crown": "blue", "has_breast": "red", "has_wing": "blue"},
    "Jay": {"has_crown": "blue", "has_breast": "green", "has_wing": "green"},
    "Crow": {"has_crown": "green", "has_breast": "green", "has_wing": "green"},
}


def write_twins(folder: Path) -> tuple[Bundle, Bundle]:
    """`first` and `second` in a folder.

    The second one's network reads each attribute in another band of the image: other embeddings. It
    has a scale that is twice as long: other prototypes of the same sheets. Its scores are divided
    by another temperature, its images are of another size, and some classes are others.
    """
    first = write_fake_bundle(folder / "first", FAKE_CLASSES)
    second = write_fake_bundle(folder / "second", OTHERS, input_size=48)
    space = second.manifest.attributes
    manifest = replace(
        second.manifest,
        attributes=replace(
            space,
            tokens=tuple((token + 1) % 3 for token in space.tokens),
            maximum=2 * space.maximum,
        ),
        temperature=0.03,
        gamma=0.1,
    )
    return first, bundles.write(second.path, manifest, second.classes)


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    return write_twins(tmp_path_factory.mktemp("twins"))


@pytest.fixture(scope="session")
def images(twins: tuple[Bundle, Bundle]) -> list[bytes]:
    """Pictures; the first one is KITE's, as the first twin sees it."""
    space = twins[0].manifest.attributes
    others = [{"has_crown": crown, "has_wing": "green"} for crown in ("red", "blue")]
    return [draw(fill(sheet, space).values, space) for sheet in (KITE, *others)]
