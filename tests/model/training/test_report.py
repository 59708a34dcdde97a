"""The report of a run: a page that stands alone, whatever its classes are called."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict, replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from model import bundle as bundles
from model.metrics import ausuc, reliability
from model.runtime.fake import write_fake_bundle
from model.scoring import calibrated_stacking, softmax
from model.training.baseline import scores
from model.training.evaluate import Evaluation, Scored
from model.training.history import Epoch, History
from model.training.report import RunReport
from model.training.selection import Choice

NAMES = ("a & b", "<script>alert(1)</script>", "$x_1$", 'say "é"', "plain", "http://elsewhere")
CHOICE = Choice(1.0, 2.0, 0.1, 0.05, 0.75, 0.625, epochs=2, mim_weight=0.7)
CHOOSING: History = (
    Epoch((2.0, 1.0), (0.1, 0.1), [asdict(replace(CHOICE, epochs=1, h=0.5))]),
    Epoch((1.0, 0.5), (0.1, 0.1), [asdict(replace(CHOICE, h=0.2)), asdict(CHOICE)]),
)
FINAL: History = tuple(Epoch(epoch.losses, epoch.rates, None) for epoch in CHOOSING)
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Checked(HTMLParser):
    """Reads a page strictly: every tag is closed in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def of(self, *names: str) -> list[str]:
        return [value for name, value in self.attributes if name in names]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    random = np.random.default_rng(0)
    truth = np.concatenate([np.arange(6), random.integers(0, 6, 80)])
    is_seen = np.arange(6) < 3
    logits = (random.normal(size=(86, 6)) + 2 * np.eye(6)[truth]).astype(np.float32)
    tests = Scored(NAMES, is_seen, truth, logits, gamma=0.5)
    probabilities = softmax(calibrated_stacking(logits, is_seen, 0.5))
    return Evaluation(
        scores(logits, truth, is_seen, 0.5),
        ausuc(logits, truth, is_seen),
        reliability(probabilities, truth).error,
        scores(-logits, truth, is_seen, 0.5),
        tests,
    )


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    fake = write_fake_bundle(tmp_path_factory.mktemp("bundle") / "fake")
    training = {
        "data": "birds & bees",
        "images": 12,
        "seen_classes": 3,
        "seed": 5,
        "chosen_on_validation": asdict(CHOICE),
    }
    measured = {**evaluation.to_json(), "command": "umzero evaluate <it>"}
    manifest = replace(fake.manifest, training=training, scores=measured)
    bundle = bundles.write(fake.path, manifest, fake.classes)
    return RunReport(bundle, evaluation, CHOOSING, FINAL)


@pytest.fixture(scope="module")
def page(report: RunReport) -> str:
    return report.html()


def test_the_page_is_whole_and_asks_for_nothing_from_anywhere(page: str) -> None:
    found = Checked(page)

    assert page.startswith("<!doctype html>")
    assert not {"script", "link", "img", "image", "iframe", "object", "style"} & set(
        found.tags[found.tags.index("body") :]
    )
    assert found.of("src", "xlink:href", "action", "data", "poster") == []
    assert all(value.startswith("#") for value in found.of("href"))
    assert set(re.findall(r"url\(([^)]?)", page)) <= {"#"}
    assert "@import" not in page
    assert not any("://" in value for _, value in found.attributes)


def test_every_picture_has_a_title_and_words_and_parses_as_xml(page: str) -> None:
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)

    assert len(pictures) == 6
    for picture in pictures:
        root = ET.fromstring(picture)
        title, text = root[0], root[1]
        assert (title.tag, text.tag) == ("title", "desc")
        assert title.text
        assert text.text
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-labelledby"] == f"{title.attrib['id']} {text.attrib['id']}"


def test_ids_are_unique_on_the_page_and_every_reference_meets_one(page: str) -> None:
    found = Checked(page)
    ids = found.of("id")

    assert len(ids) == len(set(ids))
    referred = [value[1:] for value in found.of("href")]
    referred += re.findall(r"url\(#([^)]+)\)", page)
    assert referred
    assert set(referred) <= set(ids)


def test_the_pictures_have_no_colour_of_their_own(page: str) -> None:
    body = page[page.index("<body>") :]

    assert re.findall(r"(?:fill|stroke): ?#[0-9a-f]{3,6}", body) == []
    assert "prefers-color-scheme: dark" in page


def test_the_figures_are_those_of_the_manifest(
    report: RunReport, page: str, evaluation: Evaluation
) -> None:
    recorded = report.bundle.manifest.scores
    table = [f"{100 * recorded[key]:.1f}" for key in ("czsl", "u", "s", "h", "ausuc", "ece")]
    cells = "".join(f"<td>{cell}</td>" for cell in table)
    assert f"<tr><td>UMZero</td>{cells}</tr>" in page

    texts = [unescape(text) for text in re.findall(r"<desc[^>]*>(.*?)</desc>", page)]
    curves, unseen, seen, confusion, area, calibration = texts
    assert "epoch 2: CZSL 75.0, H 62.5" in curves
    assert f"mean {100 * recorded['u']:.1f} percent" in unseen
    assert f"mean {100 * recorded['s']:.1f} percent" in seen
    assert f"{100 * recorded['czsl']:.1f} percent on the diagonal" in confusion
    assert f"is {100 * recorded['ausuc']:.1f} percent" in area
    assert f"is {100 * recorded['ece']:.1f} percent" in calibration
    tests = evaluation.tests
    for column, name in enumerate(NAMES):
        rows = tests.truth == column
        right = 100 * np.mean(tests.best[rows] == column)
        kind = "seen" if tests.is_seen[column] else "unseen"
        row = f"<td>{kind}</td><td>{rows.sum()}</td><td>{right:.1f}</td></tr>"
        assert re.search(r"<tr><td>" + re.escape(html_of(name)) + "</td>" + row, page)


def html_of(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def test_the_same_run_gives_the_same_page(report: RunReport, page: str, tmp_path: Path) -> None:
    report.write(tmp_path / "report.html")

    assert (tmp_path / "report.html").read_text() == page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_without_test_images_and_without_mim_the_page_has_no_pictures(report: RunReport) -> None:
    manifest = replace(report.bundle.manifest, scores={})
    page = RunReport(replace(report.bundle, manifest=manifest), None, (), ()).html()

    assert "svg" not in Checked(page).tags
    assert "birds &amp; bees" in page
