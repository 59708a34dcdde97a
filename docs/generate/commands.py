"""Every command of `umzero`, with its arguments and options."""

import importlib
from collections.abc import Iterator
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typer.main import get_command

from docs.generate.markdown import code, kind_of, table
from umzero import cli

Words = tuple[str, ...]

_SETTINGS = "Its options are the [settings](settings.md).\n"


def page() -> str:
    parts = [
        "# Commands and options\n",
        "What `umzero COMMAND --help` says. How the commands work together, and what their exit "
        "codes mean, stands in [The command line](../cli.md).\n",
    ]
    for words, command, kinds in commands():
        rows = [_row(p, kinds[p.name]) for p in command.params if p.name in kinds]
        parts += [
            f"## umzero {' '.join(words)}\n",
            " ".join(command.help.split()) + "\n",
            _SETTINGS if words == ("serve",) else table(("", "value", "default", ""), rows),
        ]
    return "\n".join(parts)


def commands() -> Iterator[tuple[Words, Any, dict[str, Any]]]:
    """The words of each command, the command as typer builds it, and its parameters' types."""
    for name, command in cli.COMMANDS.items():
        yield (name,), _root(name).commands[name], _kinds(command, name)
    for name, group in cli.GROUPS.items():
        built = _root(name).commands[name].commands
        for second, command in group.commands.items():
            yield (name, second), built[second], _kinds(command, f"{name}_{second}")


def _root(called: str) -> Any:
    return get_command(cli.build(called))


def _kinds(command: cli.Command, name: str) -> dict[str, Any]:
    hints = get_type_hints(getattr(importlib.import_module(command.module), name))
    return {key: value for key, value in hints.items() if key not in ("return", "ctx")}


def _row(parameter: Any, kind: Any) -> tuple[str, str, str, str]:
    is_argument = parameter.param_type_name == "argument"
    many = get_origin(_bare(kind)) is list
    if is_argument:
        said = code(parameter.name.upper() + ("..." if many else ""))
    else:
        said = ", ".join(map(code, (*parameter.opts, *parameter.secondary_opts)))
    value = _value(kind) + (", may be repeated" if many and not is_argument else "")
    default = "required" if parameter.required else _default(parameter)
    told = " ".join((parameter.help or "").split())
    variable = f" ({code(parameter.envvar)})" if parameter.envvar else ""
    return said, value, default, told + variable


def _bare(kind: Any) -> Any:
    """A type without its None."""
    return next((part for part in get_args(kind) if NoneType in get_args(kind)), kind)


def _value(kind: Any) -> str:
    kind = _bare(kind)
    if get_origin(kind) is list:
        (kind,) = get_args(kind)
    if get_origin(kind) is Literal:
        return ", ".join(map(code, get_args(kind)))
    return "" if kind is bool else kind_of(kind)


def _default(parameter: Any) -> str:
    value = parameter.default
    if isinstance(value, bool):
        return code(parameter.opts[0]) if value and parameter.secondary_opts else ""
    return "" if callable(value) else code(value)
