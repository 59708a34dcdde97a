"""`umzero explain`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umzero.commands.completion import every_class
from umzero.commands.connection import CollectionOption, connected
from umzero.commands.output import JsonOption, print_json, print_table, tell
from umzero.commands.photographs import (
    BoxOption,
    BundleOption,
    ImageArgument,
    ServerOption,
    box_of,
    server_of,
)
from umzero.errors import InputRefused, unreadable

if TYPE_CHECKING:
    from umzero.results import Explanation


def explain(
    ctx: typer.Context,
    image: ImageArgument,
    class_id: Annotated[
        str,
        typer.Option(
            "--class", help="the class's id", autocompletion=every_class, show_default=False
        ),
    ],
    url: ServerOption = None,
    collection: CollectionOption = None,
    bundle: BundleOption = Path("weights/birds"),
    map_file: Annotated[
        Path | None,
        typer.Option("--map", help="write a PNG of where the attributes were read"),
    ] = None,
    attribute: Annotated[
        str | None, typer.Option(help="this attribute alone", show_default=False)
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="attributes of the table, at most")] = 10,
    box: BoxOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what each attribute adds to a class's score for a photograph."""
    server, part = server_of(ctx, url), box_of(box)
    picture: bytes | None = None
    try:
        photograph = image.read_bytes()
    except OSError as error:
        raise unreadable(image, error) from error
    if server is not None:
        with connected(server, collection) as client:
            found = client.explain(photograph, class_id, box=part)
            if map_file is not None:
                picture = client.explain_picture(photograph, class_id, attribute, box=part)
    else:
        from umzero.classifier import Classifier

        classifier = Classifier(bundle)
        try:
            found = classifier.explain(photograph, class_id, box=part)
            if map_file is not None:
                picture = classifier.explain_picture(photograph, class_id, attribute, box=part)
        finally:
            classifier.close()
    if attribute is not None and attribute not in found.contributions:
        raise InputRefused(
            f"no attribute is called {attribute!r}; `umzero explain ... --json` names all of them"
        )
    if map_file is not None and picture is not None:
        map_file.write_bytes(picture)
        tell("map", str(map_file), "green")
    names = list(found.contributions) if attribute is None else [attribute]
    if as_json:
        written = None if map_file is None else str(map_file)
        print_json({"image": str(image), **_content(found, names), "map": written})
    else:
        _show(found, names[:top])


def _content(found: "Explanation", names: list[str]) -> dict[str, object]:
    """As `POST /explain` says it, with these attributes."""
    return {
        "class_id": found.class_id,
        "name": found.name,
        "logit": found.logit,
        "base": found.base,
        "contributions": [
            {
                "name": name,
                "contribution": found.contributions[name],
                "image": found.image[name],
                "sheet": found.sheet[name],
            }
            for name in names
        ],
    }


def _show(found: "Explanation", names: list[str]) -> None:
    added = sum(found.contributions.values())
    rows = [
        (
            name,
            f"{found.contributions[name]:+.2f}",
            f"{found.image[name]:.1f}",
            f"{found.sheet[name]:.1f}",
        )
        for name in names
    ]
    print_table(
        ("attribute", "adds", "image", "sheet"),
        rows,
        right=("adds", "image", "sheet"),
        title=f"{found.name} ({found.class_id})",
        caption=f"score {found.logit:.2f} = {found.base:.2f} for the mean sheet {added:+.2f}",
    )
