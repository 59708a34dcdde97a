"""`umzero classify`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from umzero.commands.completion import every_class
from umzero.commands.connection import CollectionOption, connected
from umzero.commands.output import (
    JsonOption,
    advice,
    finish,
    print_json,
    print_table,
    problem_json,
    tell_error,
    wants_bar,
)
from umzero.commands.photographs import (
    BoxOption,
    BundleOption,
    ImagesArgument,
    ServerOption,
    box_of,
    server_of,
)
from umzero.errors import UNREADABLE, RequestFailed

if TYPE_CHECKING:
    from umzero.results import Classification

# Refused for now: another image may still be answered.
_BUSY = ("overloaded", "deadline")


def classify(
    ctx: typer.Context,
    image: ImagesArgument,
    url: ServerOption = None,
    collection: CollectionOption = None,
    bundle: BundleOption = Path("weights/birds"),
    top_k: Annotated[int, typer.Option(min=1, help="classes of an image, at most")] = 5,
    look: Annotated[
        int, typer.Option(min=1, max=2, help="2: look again at where the object was found")
    ] = 1,
    gamma: Annotated[
        float | None, typer.Option(help="taken from the scores of seen classes", show_default=False)
    ] = None,
    box: BoxOption = None,
    scope: Annotated[
        Literal["all", "seen", "unseen"], typer.Option(help="which classes; with a server")
    ] = "all",
    among: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="only this class; may be repeated; with a server",
            autocompletion=every_class,
            show_default=False,
        ),
    ] = None,
    known_threshold: Annotated[
        float | None,
        typer.Option(help="the score below which no class is known", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Classify photographs, by a server or in this process."""
    server, part = server_of(ctx, url), box_of(box)
    question: dict[str, Any] = {"top_k": top_k, "look": look, "gamma": gamma, "box": part}
    question["known_threshold"] = known_threshold
    if server is not None:
        question |= {"scope": scope, "classes": among}
        found = _of_server(server, collection, image, question)
    elif scope != "all" or among:
        raise typer.BadParameter("--scope and --class go with --url")
    else:
        found = _in_process(bundle, image, question)
    failed = 0
    for path, answer in zip(image, found, strict=True):
        if isinstance(answer, RequestFailed):
            if answer.unavailable and answer.code not in _BUSY:
                raise answer
            failed += 1
            told = advice(answer)
            tell_error(told if answer.code == UNREADABLE else f"{path}: {told}")
            if as_json:
                print_json({"image": str(path), "problem": problem_json(answer)})
        elif as_json:
            print_json({"image": str(path), **_content(answer, server is not None)})
        else:
            _show(path, answer)
    finish(len(image) - failed, failed)


def _of_server(
    url: str, collection: str | None, images: Sequence[Path], question: dict[str, Any]
) -> Iterator["Classification | RequestFailed"]:
    from umzero.progress import bar

    shown = wants_bar(len(images))
    with connected(url, collection) as client, bar("images", len(images), shown=shown) as step:
        for answer in client.classify_each(images, **question):
            yield answer
            step(1)


def _in_process(
    bundle: Path, images: Sequence[Path], question: dict[str, Any]
) -> Iterator["Classification | RequestFailed"]:
    from model.errors import ImageError
    from umzero.classifier import Classifier
    from umzero.errors import unreadable
    from umzero.progress import bar
    from umzero.results import Classification, Prediction

    classifier = Classifier(bundle)
    try:
        with bar("images", len(images), shown=wants_bar(len(images))) as step:
            for image in images:
                try:
                    best = classifier.classify(image, **question)
                except ImageError as error:
                    yield RequestFailed(0, error.code, str(error))
                except OSError as error:
                    yield unreadable(image, error)
                else:
                    predictions = [Prediction(**asdict(item)) for item in best]
                    name = bundle.resolve().name
                    yield Classification(predictions, {}, name, 0, {}, known=best.known)
                step(1)
    finally:
        classifier.close()


def _content(answer: "Classification", of_server: bool) -> dict[str, Any]:
    content = asdict(answer)
    if not of_server:
        for name in ("attributes", "revision", "timings_ms"):
            del content[name]
    return content


def _show(path: Path, answer: "Classification") -> None:
    rows = [
        (
            item.name,
            f"{item.probability:.1%}",
            f"{item.score:.2f}",
            "seen" if item.seen else "unseen",
            item.class_id,
        )
        for item in answer.predictions
    ]
    caption = "none of the classes is near: it may show something else"
    print_table(
        ("class", "probability", "score", "", "id"),
        rows,
        right=("probability", "score"),
        title=path.name,
        caption=caption if answer.known is False else None,
    )
