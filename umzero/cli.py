"""The `umzero` command. It mounts the packages' commands, and imports one when it is called."""

import importlib
import io
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from model.errors import ModelError
from service.errors import ServiceError
from umzero.commands.output import (
    EXIT_CODES,
    INTERRUPTED,
    REFUSED,
    UNAVAILABLE,
    advice,
    tell_error,
)
from umzero.errors import InputRefused, RequestFailed


class Command(NamedTuple):
    module: str
    help: str


class Group(NamedTuple):
    help: str
    commands: dict[str, Command]


COMMANDS = {
    "serve": Command("service.commands", "Serve a bundle over HTTP."),
    "classify": Command("umzero.commands.classify", "Classify photographs, here or by a server."),
    "explain": Command("umzero.commands.explain", "Tell why a class scores as it does."),
    "train": Command("model.commands.training", "Train a bundle on photographs and attributes."),
    "evaluate": Command("model.commands.training", "Score a bundle: CZSL, U, S and H."),
    "calibrate": Command(
        "model.commands.training", "Decide anew what validation decides of a bundle."
    ),
    "ablate": Command(
        "model.commands.training", "Compare UMZero with itself less one part, in folds."
    ),
    "export": Command("model.commands.bundles", "Write a bundle's ONNX graphs again."),
    "verify": Command("model.commands.bundles", "Check every file of a bundle."),
}
# `umzero data check` is the function data_check.
GROUPS = {
    "classes": Group(
        "The classes of a server.",
        {
            "list": Command("umzero.commands.classes", "List the classes."),
            "show": Command("umzero.commands.classes", "Show one class with its sheet."),
            "add": Command("umzero.commands.classes", "Register a class."),
            "remove": Command("umzero.commands.classes", "Remove registered classes."),
            "import": Command("umzero.commands.transfer", "Register the classes of a file."),
            "export": Command("umzero.commands.transfer", "Write the classes to a file."),
        },
    ),
    "data": Group(
        "Look at a data set.",
        {"check": Command("model.commands.data", "Tell everything that is wrong with a data set.")},
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of ours is one red line and an exit code."""
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file's name may hold what the terminal's encoding can't.
            stream.reconfigure(errors="backslashreplace")
    code = _run(list(sys.argv[1:] if arguments is None else arguments))
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer must not be tried again at the interpreter's end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            tell_error(f"can't write the output: {error.strerror}")
            code = REFUSED
    if code == INTERRUPTED and threading.active_count() > 1:
        # Requests are still waiting for answers that nobody wants.
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


def _replace_closed_streams() -> None:
    """Of `umzero ... >&-` Python has None, and the next file that is opened gets its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - until the end
            setattr(sys, name, stream)


def _run(given: list[str]) -> int:
    """The exit code."""
    called = _called(given, os.environ)
    try:
        build(called)(given, prog_name="umzero")
    except BrokenPipeError:
        return 0
    except (RequestFailed, InputRefused, ModelError, ServiceError, OSError) as error:
        tell_error(_words(error))
        return UNAVAILABLE if isinstance(error, RequestFailed) and error.unavailable else REFUSED
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("umzero", "service", "model"):
            raise
        tell_error(
            f"umzero {called} needs the module {error.name}, which isn't installed: "
            "pip install 'umzero[train]'"
        )
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as ended:
        return _code_of(ended)
    return 0


def _code_of(ended: SystemExit) -> int:
    # typer and rich end like this where nobody reads on: `umzero ... | head` is no mistake.
    if isinstance(ended.__context__, BrokenPipeError) or ended.code is None:
        return 0
    return ended.code if isinstance(ended.code, int) else REFUSED


def _words(error: Exception) -> str:
    """What happened and what to do."""
    if isinstance(error, RequestFailed):
        return advice(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return str(error)


def build(called: str) -> typer.Typer:
    """The command line with one real command or group, `called`; the others are for `--help`."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(epilog=EXIT_CODES)(_root)
    for name, command in COMMANDS.items():
        app.command(name, short_help=command.help)(_function(command, name, name == called))
    for name, group in GROUPS.items():
        commands = typer.Typer(no_args_is_help=True)
        for second, command in group.commands.items():
            function = _function(command, f"{name}_{second}", name == called)
            commands.command(second, short_help=command.help)(function)
        app.add_typer(commands, name=name, help=group.help)
    return app


def _called(given: Sequence[str], environment: Mapping[str, str]) -> str:
    """The command: the first word, for no option of `umzero` itself takes a value."""
    if "_UMZERO_COMPLETE" in environment:
        # A shell asks what may come next: bash with the first of these, zsh and fish the second.
        line = environment.get("COMP_WORDS") or environment.get("_TYPER_COMPLETE_ARGS") or ""
        given = line.split()[1:]
    return next((word for word in given if not word.startswith("-")), "")


def _function(command: Command, name: str, wanted: bool) -> Callable[..., None]:
    if not wanted:
        return _placeholder
    function: Callable[..., None] = getattr(importlib.import_module(command.module), name)
    return function


def _print_version(asked: bool) -> None:
    if asked:
        import importlib.metadata  # noqa: PLC0415 - for this alone

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


if __name__ == "__main__":
    main()
