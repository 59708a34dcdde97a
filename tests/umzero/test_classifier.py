"""`Classifier`: a bundle in process."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle
from model.errors import ConfigError, ImageError, SheetError
from model.runtime.base import U8, Embedded
from model.runtime.fake import FakeBackend, draw, write_fake_bundle
from model.sheets import fill
from umzero.classifier import Classifier

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_fake_bundle(tmp_path / "fake")


@pytest.fixture
def classifier(bundle: Bundle) -> Classifier:
    return Classifier(bundle.path, backend=FakeBackend.of(bundle))


def picture(bundle: Bundle, name: str) -> bytes:
    item = next(item for item in bundle.classes if item.name == name)
    return draw(np.array(item.attributes, np.float32), bundle.manifest.attributes)


@pytest.mark.parametrize("name", ["Robin", "Jay", "Cardinal", "Parrot"])
def test_a_picture_of_a_class_is_recognised(
    bundle: Bundle, classifier: Classifier, name: str
) -> None:
    found = classifier.classify(picture(bundle, name), top_k=3)

    assert (found[0].name, found[0].seen, len(found)) == (name, True, 3)


def test_a_class_is_recognised_as_soon_as_it_is_registered(
    bundle: Bundle, classifier: Classifier
) -> None:
    space = bundle.manifest.attributes
    image = draw(fill(KITE, space).values, space)
    assert classifier.classify(image)[0].name != "Kite"

    classifier.register("Kite", KITE)

    best = classifier.classify(image)[0]
    assert (best.name, best.class_id, best.seen) == ("Kite", "Kite", False)


def test_files_arrays_and_pillow_images_are_all_taken(
    bundle: Bundle, classifier: Classifier, tmp_path: Path
) -> None:
    data = picture(bundle, "Jay")
    path = tmp_path / "jay.png"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data))

    for given in (data, path, str(path), image, np.asarray(image)):
        assert classifier.classify(given)[0].name == "Jay"


def test_a_box_and_gamma_change_what_is_seen(bundle: Bundle, classifier: Classifier) -> None:
    left = Image.open(io.BytesIO(picture(bundle, "Robin")))
    right = Image.open(io.BytesIO(picture(bundle, "Parrot")))
    both = Image.new("RGB", (left.width * 2, left.height))
    both.paste(left, (0, 0))
    both.paste(right, (left.width, 0))

    found = classifier.classify(np.asarray(both), box=(left.width, 0, left.width, left.height))

    assert found[0].name == "Parrot"
    classifier.register(
        "Copy of the parrot", fill(KITE, bundle.manifest.attributes).values.tolist()
    )
    assert not classifier.classify(np.asarray(both), gamma=1000)[0].seen


def test_what_can_not_be_used_is_refused(classifier: Classifier) -> None:
    with pytest.raises(ImageError):
        classifier.classify(b"no image")
    with pytest.raises(SheetError):
        classifier.register("Kite", [1.0])
    with pytest.raises(SheetError):
        classifier.register("Robin", KITE, class_id="robin")


class Finding(FakeBackend):
    """It finds something at the right half of whatever it is shown."""

    def embed(self, images: U8) -> Embedded:
        found = super().embed(images)
        feature_map = np.zeros_like(found.fine)
        feature_map[:, :, ::2, 2:] = 1
        feature_map[:, :, 1::2, 2:] = -1  # so that the border's mean is the left half's
        return found._replace(fine=feature_map, coarse=feature_map)


def test_a_second_look_finds_what_the_first_one_saw_beside_something_else(
    bundle: Bundle, tmp_path: Path
) -> None:
    parrot = Image.open(io.BytesIO(picture(bundle, "Parrot")))
    scene = Image.new("RGB", (4 * parrot.width, parrot.height), "lime")
    for place in (2, 3):
        scene.paste(parrot, (place * parrot.width, 0))
    path = tmp_path / "scene.png"
    scene.save(path)
    classifier = Classifier(bundle.path, backend=Finding.of(bundle))

    for image in (path, scene, np.asarray(scene)):
        once, twice = (
            {item.name: item.score for item in classifier.classify(image, look=look)}
            for look in (1, 2)
        )
        assert twice["Parrot"] > once["Parrot"]
        assert max(twice, key=lambda name: twice[name]) == "Parrot"


def test_where_nothing_is_found_a_second_look_changes_nothing(
    bundle: Bundle, classifier: Classifier
) -> None:
    once, twice = (classifier.classify(picture(bundle, "Jay"), look=look) for look in (1, 2))

    assert [item.name for item in once] == [item.name for item in twice]
    for first, second in zip(once, twice, strict=True):
        assert first.score == pytest.approx(second.score, abs=1e-4)


@pytest.mark.parametrize("look", [0, 3, -1])
def test_nobody_looks_three_times(bundle: Bundle, classifier: Classifier, look: int) -> None:
    with pytest.raises(ConfigError, match="1 or 2"):
        classifier.classify(picture(bundle, "Jay"), look=look)
