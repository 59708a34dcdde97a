"""`Classifier`: a bundle in process."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle
from model.errors import ConfigError, ImageError, SheetError
from model.preprocess import to_input
from model.runtime.base import U8, Embedded
from model.runtime.fake import FakeBackend, draw, write_fake_bundle
from model.sheets import fill
from service.errors import UnknownClass
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


def test_a_class_may_be_like_another_one_and_have_photographs(
    bundle: Bundle, classifier: Classifier, tmp_path: Path
) -> None:
    space = bundle.manifest.attributes
    image = draw(fill(KITE, space).values, space)
    path = tmp_path / "kite.png"
    path.write_bytes(image)
    classifier.register("Red-winged Jay", {"has_wing": "red"}, like="jay")
    same = fill({"has_crown": "blue", "has_breast": "green", "has_wing": "red"}, space).values
    classifier.register("By its sheet", same.tolist())
    by_sheet = scores(classifier, image)
    assert by_sheet["Red-winged Jay"] == pytest.approx(by_sheet["By its sheet"], abs=1e-5)

    photographs = [image, path, Image.open(path), np.asarray(Image.open(path))]
    classifier.register("Red-winged Jay", like="Red-winged Jay", examples=photographs)

    # Four photographs beside a sheet that counts for three, all of them one picture.
    embedding = FakeBackend.of(bundle).embed(to_input(image, 32, 10**6)[None]).embedding[0]
    sheet = FakeBackend.of(bundle).prototypes(same[None].astype(np.float32))[0]
    mixed = 3 / 7 * sheet.astype(np.float64) + 4 / 7 * embedding
    expected = float(mixed @ embedding) / float(np.sqrt((mixed**2).sum())) / 0.1
    assert scores(classifier, image)["Red-winged Jay"] == pytest.approx(expected, abs=1e-4)
    explained = classifier.explain(image, "Red-winged Jay")
    assert explained.logit == pytest.approx(expected, abs=1e-4)
    total = explained.base + sum(explained.contributions.values())
    assert total == pytest.approx(expected, abs=1e-4)
    classifier.register("Second", like="Red-winged Jay")
    assert scores(classifier, image)["Second"] == pytest.approx(
        by_sheet["Red-winged Jay"], abs=1e-5
    )


def scores(classifier: Classifier, image: bytes) -> dict[str, float]:
    return {item.name: item.score for item in classifier.classify(image, top_k=100)}


def test_what_a_class_needs_is_told(bundle: Bundle, classifier: Classifier) -> None:
    with pytest.raises(SheetError, match="attributes, or like"):
        classifier.register("Kite")
    with pytest.raises(SheetError, match="attributes, or like"):
        classifier.register("Kite", examples=[picture(bundle, "Jay")])
    with pytest.raises(UnknownClass, match="'nobody'"):
        classifier.register("Kite", like="nobody")
    with pytest.raises(ImageError):
        classifier.register("Kite", KITE, examples=[b"no image"])
    assert "Kite" not in scores(classifier, picture(bundle, "Jay"))


def test_what_is_known_is_told_with_the_classes(
    bundle: Bundle, classifier: Classifier, tmp_path: Path
) -> None:
    image, unlike = picture(bundle, "Jay"), draw(np.full(9, 70), bundle.manifest.attributes)
    assert classifier.classify(image).known is None  # this bundle doesn't say how near is near
    assert classifier.classify(image, known_threshold=5).known is True
    assert classifier.classify(image, known_threshold=11).known is False
    told = write_fake_bundle(tmp_path / "told", calibration={"known_threshold": 7})

    telling = Classifier(told.path, backend=FakeBackend.of(told))

    assert telling.classify(image, top_k=1).known is True
    assert telling.classify(unlike, top_k=1).known is False
    assert telling.classify(unlike, known_threshold=-5).known is True
    best = telling.classify(image)[0]
    nearest = best.score - bundle.manifest.gamma  # the best one is a seen class
    for step, known in ((-0.01, True), (0.01, False)):
        for gamma in (None, 0, 50):
            found = telling.classify(image, gamma=gamma, known_threshold=nearest + step)
            assert found.known is known


def test_a_bundle_says_what_a_sheet_counts_for(bundle: Bundle, tmp_path: Path) -> None:
    image = picture(bundle, "Cardinal")
    found = []
    for counts in (1, 10):
        told = write_fake_bundle(tmp_path / f"c{counts}", calibration={"sheet_counts": counts})
        classifier = Classifier(told.path, backend=FakeBackend.of(told))
        classifier.register("Kite", KITE, examples=[image])
        found.append(scores(classifier, image)["Kite"])
    assert found[0] > found[1] + 1
