"""A bundle's model card: README.md, for people, from what the manifest says and nothing else."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.bundle import BundleClass, Manifest

# A manifest's scores, and what people call them.
SCORES = {"czsl": "CZSL", "u": "U", "s": "S", "h": "H", "ausuc": "AUSUC", "ece": "ECE"}


def card(manifest: "Manifest", classes: "tuple[BundleClass, ...]") -> str:
    """The whole text, in Markdown. What a manifest doesn't say is left out."""
    parts = [
        f"# {_plain(manifest.name)}",
        _what(manifest, len(classes)),
        "## Serve it",
        _serve(manifest),
        "## Intended use and limits",
        _limits(manifest),
        "## Training data and licence",
        _training(manifest),
        _scores(manifest.scores),
        "## Attributes",
        _attributes(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(manifest: "Manifest", classes: int) -> str:
    return (
        "A bundle of UMZero, zero-shot image classification: it knows "
        f"{classes} classes from photographs, and any other class from a sheet of attributes "
        "alone, without training.\n\n"
        f"It takes RGB images, squashed to {manifest.input_size} x {manifest.input_size} pixels, "
        f"and gives an embedding of {manifest.embedding_dim} numbers. A class's score is the "
        "cosine between that and the class's prototype, divided by the temperature "
        f"{manifest.temperature:.4g}; the {classes} classes lose gamma, {manifest.gamma:.4g}, "
        "against all others."
    )


def _serve(manifest: "Manifest") -> str:
    return (
        "In a checkout of UMZero, with this folder as its `weights/"
        f"{_plain(manifest.name)}` or anywhere else:\n\n"
        "```sh\n"
        "pip install .\n"
        f"umzero serve --bundle weights/{_plain(manifest.name)}\n"
        "```"
    )


def _limits(manifest: "Manifest") -> str:
    limits = [
        "It is for photographs of one object of the kind that it was trained on, which the "
        "attributes below can describe.",
        f"Every image gets an answer, one of the classes that it is given{_known(manifest)}.",
        "A class that was never trained on is as good as its sheet, and classes whose sheets are "
        "alike are mixed up.",
        "The scores below hold for the test images of the data that the command names. On other "
        "photographs they have not been measured."
        if manifest.scores
        else "It has not been scored.",
        "What its training data leaves out, or has too much of, was not examined.",
    ]
    return "\n".join(f"- {limit}" for limit in limits)


def _known(manifest: "Manifest") -> str:
    threshold = manifest.calibration.get("known_threshold")
    if threshold is None:
        return ": it doesn't say that none of them fits"
    return (
        "; where even the best one's score, less gamma, is below the threshold "
        f"{threshold:.4g}, `known` is false: probably none of them fits"
    )


def _training(manifest: "Manifest") -> str:
    told = manifest.training
    lines = []
    if {"data", "seen_classes", "images", "seed"} <= told.keys():
        lines.append(
            f"Trained on {told['images']} images of {told['seen_classes']} classes of the data set "
            f"`{_plain(told['data'])}`, with the seed {told['seed']}; every choice was made on "
            "validation classes, held out of these."
        )
    lines.append(manifest.licence or "The manifest names no licence.")
    return "\n\n".join(lines)


def _scores(scores: dict[str, Any]) -> str:
    columns = [key for key in SCORES if key in scores]
    if not columns:
        return ""
    rows = [("UMZero", scores)]
    if isinstance(scores.get("baseline"), dict):
        rows.append(("ESZSL on the same backbone", scores["baseline"]))
    table = [
        _row(("percent", *(SCORES[key] for key in columns))),
        _row("---" for _ in range(len(columns) + 1)),
        *(_row((name, *(_percent(row.get(key)) for key in columns))) for name, row in rows),
    ]
    notes = [
        "CZSL, U, S and H are averages over classes: of unseen classes among themselves, of unseen "
        "and of seen ones among all, and the harmonic mean of these two."
    ]
    if "ausuc" in columns:
        notes.append("AUSUC is the area under S over U for every gamma.")
    if "ece" in columns:
        notes.append("ECE is the expected calibration error of the probabilities: lower is better.")
    if "command" in scores:
        notes.append(f"Measured by `{_plain(scores['command'])}`.")
    return "\n".join(("## Scores", "", *table, "", " ".join(notes)))


def _attributes(manifest: "Manifest") -> str:
    space = manifest.attributes
    sizes: dict[str, int] = {}
    for group in space.groups:
        sizes[group] = sizes.get(group, 0) + 1
    listed = ", ".join(
        f"`{_plain(group)}`" + (f" ({size})" if size > 1 else "") for group, size in sizes.items()
    )
    return (
        f"{len(space.names)} attributes in {len(sizes)} groups, with the number of values where "
        f"there are several: {listed}. `GET /attributes` gives all of them with their scales."
    )


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def _plain(text: str) -> str:
    """On one line, and without what would end a span of code."""
    return " ".join(str(text).replace("`", "'").split())
