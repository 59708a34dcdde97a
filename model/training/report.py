"""A run's report: one HTML file with its pictures in it, which asks for nothing from anywhere.

Its figures come from the scoring that the manifest records; no photograph is read for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from model.bundle import Bundle
from model.card import SCORES
from model.metrics import class_accuracies, confusion, reliability, seen_unseen_curve
from model.scoring import softmax
from model.training import pictures
from model.training.evaluate import Evaluation, Scored
from model.training.history import History
from model.training.pictures import Picture

MIXED_UP = 20  # pairs of classes that are named

PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ground: #fff; --ink: #222; --grid: #ddd; --seen: #2a6fb0;
  --unseen: #c2571a }
@media (prefers-color-scheme: dark) { :root { --ground: #15171a; --ink: #e6e6e6; --grid: #3c4046;
  --seen: #6fb1ee; --unseen: #f0a060 } }
body { background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif;
  max-width: 56rem; margin: 2rem auto; padding: 0 1rem }
li, code { overflow-wrap: anywhere } table { border-collapse: collapse }
th, td { padding: .15rem .8rem; text-align: right; border-bottom: 1px solid var(--grid) }
th:first-child, td:first-child { text-align: left }
figure { margin: 2rem 0; overflow-x: auto } svg { width: 100%; height: auto }
svg * { stroke-linejoin: round } summary { cursor: pointer }
</style>
</head>
<body>
<main>
<h1>$title</h1>
$body
</main>
</body>
</html>
""")


@dataclass(frozen=True, eq=False)
class RunReport:
    """What a report tells.

    Attributes:
        evaluation: of the test images; None where the data has none.
        choosing: the training without the validation classes; empty without MIM.
        final: the training on all seen classes; empty without MIM.
    """

    bundle: Bundle
    evaluation: Evaluation | None
    choosing: History
    final: History

    def write(self, path: Path) -> None:
        """Write the page; what was there before stays whole until it is replaced."""
        new = path.with_suffix(".new")
        new.write_text(self.html())
        new.replace(path)

    def html(self) -> str:
        manifest = self.bundle.manifest
        parts = [_facts(self.bundle)]
        if manifest.scores:
            parts += ["<h2>Scores</h2>", _scores(manifest.scores)]
        if self.choosing:
            epochs = manifest.training["chosen_on_validation"]["epochs"]
            parts += ["<h2>Training</h2>"]
            parts += [_figure(pictures.learning_curves(self.choosing, self.final, epochs))]
        if self.evaluation is not None:
            parts += ["<h2>Test images</h2>", *_tests(self.evaluation)]
        title = escape(f"Training report of {manifest.name}")
        return PAGE.substitute(title=title, body="\n".join(parts))


def _facts(bundle: Bundle) -> str:
    told = bundle.manifest.training
    chosen = ", ".join(
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in told["chosen_on_validation"].items()
    )
    facts = (
        ("data", told["data"]),
        ("training images", f"{told['images']} of {told['seen_classes']} classes"),
        ("seed", told["seed"]),
        ("chosen on validation classes", chosen),
        ("the bundle's sha256", bundle.sha256),
    )
    items = "".join(f"<li>{name}: {escape(str(value))}</li>" for name, value in facts)
    return f"<ul>{items}</ul>"


def _scores(scores: dict[str, object]) -> str:
    rows = [
        (name, *(_percent(row[key]) if key in row else "" for key in SCORES))
        for name, row in (("UMZero", scores), ("ESZSL", scores.get("baseline")))
        if isinstance(row, dict)
    ]
    return (
        _table(("percent", *SCORES.values()), rows)
        + "<p>CZSL, U, S and H are averages over classes. AUSUC is the area under the curve below, "
        "ECE the expected calibration error: the lower, the better. Measured by "
        f"<code>{escape(str(scores['command']))}</code>.</p>"
    )


def _tests(evaluation: Evaluation) -> Iterable[str]:
    tests = evaluation.tests
    names = np.array(tests.names)
    best = tests.best
    rows: list[Sequence[object]] = []
    for kind, mean in (("unseen", evaluation.scores.u), ("seen", evaluation.scores.s)):
        classes = _with_images(tests, seen=kind == "seen")
        shares = class_accuracies(tests.truth, best, classes)
        images = np.bincount(tests.truth, minlength=len(names))[classes]
        yield _figure(pictures.accuracies(kind, names[classes].tolist(), shares, mean))
        rows += [
            (name, kind, count, _percent(share))
            for name, count, share in zip(names[classes].tolist(), images, shares, strict=True)
        ]
    yield _details("Each class in figures", _table(("class", "", "images", "right, %"), rows))

    among = np.flatnonzero(~tests.is_seen)
    counts = confusion(tests.truth, among[tests.logits[:, among].argmax(axis=1)], among)
    yield _figure(pictures.confusions(names[among].tolist(), counts))
    if mixed_up := _mixed_up(names[among], counts):
        head = ("true", "answered", "images", "of the class, %")
        yield _details("What is mixed up most", _table(head, mixed_up))

    u, s = seen_unseen_curve(tests.logits, tests.truth, tests.is_seen)
    chosen = (evaluation.scores.u, evaluation.scores.s)
    yield _figure(pictures.seen_unseen(u, s, evaluation.ausuc, chosen))
    yield _figure(pictures.calibration(reliability(softmax(tests.stacked), tests.truth)))


def _with_images(tests: Scored, seen: bool) -> NDArray[np.int64]:
    """The columns of the classes of a kind that have a test image."""
    columns: NDArray[np.int64] = np.unique(tests.truth)
    chosen: NDArray[np.int64] = columns[tests.is_seen[columns] == seen]
    return chosen


def _mixed_up(names: NDArray[np.str_], counts: NDArray[np.int64]) -> list[Sequence[object]]:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    order = np.argsort(-shares, axis=None, kind="stable")[:MIXED_UP]
    return [
        (names[row], names[column], counts[row, column], _percent(shares[row, column]))
        for row, column in zip(*np.unravel_index(order, shares.shape), strict=True)
        if shares[row, column] > 0
    ]


def _figure(picture: Picture) -> str:
    return (
        f"<figure>{picture.svg}<figcaption><strong>{escape(picture.title)}.</strong> "
        f"{escape(picture.text)}</figcaption></figure>"
    )


def _details(title: str, content: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _percent(share: object) -> str:
    return f"{100 * float(share):.1f}"  # type: ignore[arg-type]
