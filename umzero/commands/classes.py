"""`umzero classes list`, `show`, `add` and `remove`."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umzero.address import DEFAULT_URL
from umzero.commands.completion import every_class, registered_class
from umzero.commands.connection import CollectionOption, UrlOption, connected
from umzero.commands.output import (
    JsonOption,
    finish,
    print_json,
    print_line,
    print_table,
    problem_json,
    tell,
    tell_error,
)
from umzero.errors import InputRefused, RequestFailed

if TYPE_CHECKING:
    from umzero.results import RegisteredClass

_PAGE = 1000


def classes_list(
    url: UrlOption = DEFAULT_URL,
    collection: CollectionOption = None,
    registered: Annotated[
        bool, typer.Option("--registered", help="without the bundle's own")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the classes, in the order of their ids."""
    with connected(url, collection) as client:
        found = (item for item in client.classes() if not (registered and item.seen))
        while page := list(islice(found, _PAGE)):
            if as_json:
                for item in page:
                    print_json(_content(item))
            else:
                _show_page(page)


def classes_show(
    class_id: Annotated[str, typer.Argument(help="its id", autocompletion=every_class)],
    url: UrlOption = DEFAULT_URL,
    collection: CollectionOption = None,
    top: Annotated[int, typer.Option(min=1, help="attributes of the table, at most")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show one class: its sheet, and the classes that it will be confused with."""
    with connected(url, collection) as client:
        found = client.get(class_id)
        near = client.neighbours(class_id, 5)
        names = [item.name for item in client.attributes()]
    sheet = dict(zip(names, found.attributes, strict=True))
    if as_json:
        content = _content(found) | {"attributes": sheet}
        print_json(content | {"neighbours": [asdict(item) for item in near]})
        return
    print_line(f"{found.class_id}: {found.name}")
    print_line(f"{found.origin}, {found.given} attributes given, {found.filled} filled")
    if found.examples:
        print_line(f"example photographs: {found.examples}")
    if found.created_at:
        print_line(f"since {found.created_at}")
    if found.metadata:
        print_line(f"metadata: {json.dumps(found.metadata, ensure_ascii=False)}")
    if near:
        shown = ", ".join(f"{item.name} ({item.similarity:.2f})" for item in near)
        print_line(f"near: {shown}")
    strongest = sorted(sheet, key=lambda name: -sheet[name])[:top]
    print_table(
        ("attribute", "value"), [(name, f"{sheet[name]:g}") for name in strongest], right=("value",)
    )


def classes_add(
    name: Annotated[str, typer.Argument(help="what people call it")],
    attributes: Annotated[
        str | None,
        typer.Option(
            help="its sheet: a JSON file, - for stdin, or JSON itself, such as "
            '\'{"has_bill_shape": "dagger"}\'',
            show_default=False,
        ),
    ] = None,
    class_id: Annotated[
        str | None, typer.Option("--id", help="its id; made when left out", show_default=False)
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            help="a class to start from; --attributes then says what differs",
            autocompletion=every_class,
            show_default=False,
        ),
    ] = None,
    example: Annotated[
        list[Path] | None,
        typer.Option(help="a photograph of it; up to 16 times", show_default=False),
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(help="a JSON object that is kept with it", show_default=False)
    ] = None,
    url: UrlOption = DEFAULT_URL,
    collection: CollectionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register a class; it can be recognised when this returns."""
    if attributes is None and like is None:
        raise typer.BadParameter("say what it looks like: --attributes or --like")
    sheet = None if attributes is None else _json_of("--attributes", attributes)
    kept = None if metadata is None else _parsed("--metadata", metadata)
    if kept is not None and not isinstance(kept, dict):
        raise typer.BadParameter(f"--metadata is {metadata!r}; expected a JSON object")
    with connected(url, collection) as client:
        made = client.register(name, sheet, class_id, kept, like=like, examples=example or ())
    for warning in made.warnings:
        tell("warning", warning)
    if as_json:
        print_json(_content(made))
    else:
        photographs = f", {made.examples} example photographs" if made.examples else ""
        print_line(
            f"registered {made.class_id}: {made.name}, "
            f"{made.given} attributes given, {made.filled} filled{photographs}"
        )


def classes_remove(
    class_ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="their ids", autocompletion=registered_class),
    ],
    url: UrlOption = DEFAULT_URL,
    collection: CollectionOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="without being asked")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove registered classes."""
    if not yes:
        _ask(class_ids, url, collection)
    failed = 0
    with connected(url, collection) as client:
        for class_id in class_ids:
            try:
                revision = client.remove(class_id)
            except RequestFailed as error:
                if error.unavailable:
                    raise
                failed += 1
                tell_error(f"{class_id}: {error}")
                if as_json:
                    print_json({"class_id": class_id, "problem": problem_json(error)})
                continue
            if as_json:
                print_json({"class_id": class_id, "revision": revision})
            else:
                print_line(f"removed {class_id}")
    finish(len(class_ids) - failed, failed)


def _ask(class_ids: Sequence[str], url: str, collection: str | None) -> None:
    """Raises: typer.BadParameter where nobody can answer; typer.Exit for a no."""
    shown = ", ".join(class_ids[:5]) + (", ..." if len(class_ids) > 5 else "")
    where = f"{url}, collection {collection}" if collection else url
    print(f"Remove {shown} from {where}? [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        print(file=sys.stderr)
        raise typer.BadParameter("nobody is there to answer; --yes removes without being asked")
    if answer.strip().lower() not in ("y", "yes"):
        tell("removed", "nothing")
        raise typer.Exit(1)


def _content(item: "RegisteredClass") -> dict[str, Any]:
    content = asdict(item)
    if not item.warnings:
        del content["warnings"]
    return content


def _show_page(page: Sequence["RegisteredClass"]) -> None:
    rows = [(item.class_id, item.origin, item.name) for item in page]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for class_id, origin, name in rows:
        print_line(f"{class_id:{widths[0]}}  {origin:{widths[1]}}  {name}")


def _json_of(option: str, value: str) -> Any:
    """JSON itself, or of a file. Raises: InputRefused, typer.BadParameter, OSError."""
    if value.lstrip()[:1] in ("{", "["):
        return _parsed(option, value)
    if value == "-":
        text, source = sys.stdin.read(), "stdin"
    else:
        try:
            text, source = Path(value).read_text("utf-8"), value
        except UnicodeDecodeError as error:
            raise InputRefused(f"{value} is no text in UTF-8: {error.reason}") from error
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputRefused(f"{source} is no JSON: {error}") from error


def _parsed(option: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} is no JSON: {error}") from error
