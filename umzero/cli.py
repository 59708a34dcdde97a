"""The `umzero` command. It mounts the packages' commands, and imports one when it is called."""

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from model.errors import ModelError
from service.errors import ServiceError


class Command(NamedTuple):
    module: str
    help: str


class Group(NamedTuple):
    help: str
    commands: dict[str, Command]


COMMANDS = {
    "serve": Command("service.commands", "Serve a bundle over HTTP."),
    "classify": Command("umzero.cli", "Classify a photograph, offline."),
    "train": Command("model.commands", "Train a bundle on photographs and attributes."),
    "evaluate": Command("model.commands", "Score a bundle: CZSL, U, S and H."),
    "ablate": Command("model.commands", "Compare UMZero with itself less one part, in folds."),
    "export": Command("model.commands", "Write a bundle's ONNX graphs again."),
    "verify": Command("model.commands", "Check every file of a bundle."),
}
# `umzero data check` is the function data_check.
GROUPS = {
    "data": Group(
        "Look at a data set.",
        {"check": Command("model.commands", "Tell everything that is wrong with a data set.")},
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of ours is one red line and exit code 1."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # The first word is the command: no option of `umzero` itself takes a value.
    called = next((word for word in given if not word.startswith("-")), "")
    try:
        build(called)(given, prog_name="umzero")
    except (ModelError, ServiceError) as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("umzero", "service", "model"):
            raise
        _fail(
            f"umzero {called} needs the module {error.name}, which isn't installed: "
            "pip install 'umzero[train]'"
        )


def build(called: str) -> typer.Typer:
    """The command line with one real command or group, `called`; the others are for `--help`."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback()(_root)
    for name, command in COMMANDS.items():
        app.command(name, help=command.help)(_function(command, name, name == called))
    for name, group in GROUPS.items():
        commands = typer.Typer(no_args_is_help=True)
        for second, command in group.commands.items():
            function = _function(command, f"{name}_{second}", name == called)
            commands.command(second, help=command.help)(function)
        app.add_typer(commands, name=name, help=group.help)
    return app


def _function(command: Command, name: str, wanted: bool) -> Callable[..., None]:
    if not wanted:
        return _placeholder
    function: Callable[..., None] = getattr(importlib.import_module(command.module), name)
    return function


def classify(
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="a photograph")],
    bundle: Annotated[
        Path, typer.Option(envvar="UMZERO_BUNDLE", help="the bundle's folder")
    ] = Path("weights/birds"),
    top_k: Annotated[int, typer.Option(min=1, help="lines of the table, at most")] = 5,
    look: Annotated[
        int, typer.Option(min=1, max=2, help="2: look again at where the object was found")
    ] = 1,
) -> None:
    """Classify a photograph, offline."""
    from umzero.classifier import Classifier  # noqa: PLC0415 - `umzero --help` stays light

    classifier = Classifier(bundle)
    try:
        predictions = classifier.classify(image, top_k=top_k, look=look)
    finally:
        classifier.close()
    table = Table(title=escape(image.name))
    for column in ("class", "probability", "score", "", "id"):
        table.add_column(
            column,
            justify="right" if column in ("probability", "score") else "left",
            overflow="fold",
        )
    for item in predictions:
        table.add_row(
            escape(item.name),
            f"{item.probability:.1%}",
            f"{item.score:.2f}",
            "seen" if item.seen else "unseen",
            escape(item.class_id),
        )
    Console().print(table)


def _print_version(asked: bool) -> None:
    if asked:
        print(importlib.metadata.version("umzero"))
        raise typer.Exit


def _root(
    _version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="print the version and exit",
        ),
    ] = False,
) -> None:
    """Zero-shot image classification: a sheet of attributes becomes a class that works at once."""


def _placeholder() -> None:
    raise AssertionError("only the called command runs")


def _fail(message: str) -> Any:
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"[red]error:[/red] {escape(message)}"
    )
    raise SystemExit(1)


if __name__ == "__main__":
    main()
