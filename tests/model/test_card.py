"""A bundle's model card."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from model import bundle as bundles
from model.card import card
from model.runtime.fake import write_fake_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> bundles.Bundle:
    return write_fake_bundle(tmp_path / "fake")


def test_the_card_lies_in_the_bundle_and_its_hash_in_the_manifest(bundle: bundles.Bundle) -> None:
    path = bundle.path / "README.md"

    assert path.read_text() == card(bundle.manifest, bundle.classes)
    assert bundle.manifest.files["README.md"] == bundles.file_sha256(path)
    path.write_text("better than it is")
    (problem,) = bundles.verify(bundles.read(bundle.path))
    assert problem.startswith("README.md has sha256")


def test_a_bundle_from_before_there_were_cards_is_whole(bundle: bundles.Bundle) -> None:
    (bundle.path / "README.md").unlink()
    manifest = bundle.path / "manifest.json"
    content = json.loads(manifest.read_text())
    del content["files"]["README.md"]
    manifest.write_text(json.dumps(content))

    assert bundles.verify(bundles.read(bundle.path)) == ()


def test_the_card_says_what_the_manifest_says(bundle: bundles.Bundle) -> None:
    baseline = {"czsl": 0.5, "u": 0.4, "s": 0.3, "h": 0.2}
    scores = {"czsl": 0.9026, "u": 0.8, "s": 0.7, "h": 0.7466, "ausuc": 0.6, "ece": 0.0314}
    manifest = replace(
        bundle.manifest,
        scores={**scores, "baseline": baseline, "command": "umzero evaluate here --data there"},
        training={"data": "herons", "seen_classes": 7, "images": 310, "seed": 4},
        licence="Given out for research.",
    )

    text = card(manifest, bundle.classes)

    assert f"it knows {len(bundle.classes)} classes" in text
    assert "310 images of 7 classes of the data set `herons`, with the seed 4" in text
    assert "Given out for research." in text
    assert "| percent | CZSL | U | S | H | AUSUC | ECE |" in text
    assert "| UMZero | 90.3 | 80.0 | 70.0 | 74.7 | 60.0 | 3.1 |" in text
    assert "| ESZSL on the same backbone | 50.0 | 40.0 | 30.0 | 20.0 |  |  |" in text
    assert "`umzero evaluate here --data there`" in text
    assert f"pip install .\numzero serve --bundle weights/{manifest.name}\n" in text
    for group in manifest.attributes.groups:
        assert f"`{group}`" in text


def test_the_card_says_that_none_fits_can_be_told_where_there_is_a_threshold(
    bundle: bundles.Bundle,
) -> None:
    without, having = (
        card(replace(bundle.manifest, calibration=calibration), bundle.classes)
        for calibration in ({}, {"known_threshold": 6.8804})
    )

    assert "it doesn't say that none of them fits" in without
    assert "threshold" not in without
    assert "below the threshold 6.88, `known` is false: probably none of them fits" in having
    assert "doesn't say" not in having


def test_a_card_without_scores_has_no_empty_table(bundle: bundles.Bundle) -> None:
    text = card(replace(bundle.manifest, scores={}, training={}, licence=""), bundle.classes)

    assert "## Scores" not in text
    assert "|" not in text
    assert "names no licence" in text


def test_a_name_can_not_end_its_span_of_code(bundle: bundles.Bundle) -> None:
    training = {"data": "a`b\n# c", "seen_classes": 7, "images": 310, "seed": 4}

    text = card(replace(bundle.manifest, training=training), bundle.classes)

    assert "`a'b # c`" in text
