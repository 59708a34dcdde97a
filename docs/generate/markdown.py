"""The little Markdown that the generated pages share."""

import re
from collections.abc import Iterable, Sequence

_INDENTED = re.compile(r"(?:^ {4}.*\n?)+", re.M)


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines) + "\n"


def code(value: object) -> str:
    """A value as code; empty where there is none."""
    return "" if value in (None, "") else f"`{value}`"


def kind_of(annotation: type) -> str:
    """A value's type, in words."""
    names = {str: "text", int: "whole number", float: "number"}
    return names.get(annotation, annotation.__name__.lower())


def block(language: str, text: str) -> str:
    return f"```{language}\n{text.strip()}\n```\n"


def prose(text: str) -> str:
    """A docstring's Markdown, with its indented commands as blocks that name their language."""

    def fenced(found: re.Match[str]) -> str:
        lines = [line.removeprefix("    ") for line in found[0].splitlines()]
        return block("bash", "\n".join(lines))

    return _INDENTED.sub(fenced, text.strip() + "\n")


def _cell(value: object) -> str:
    return str(value).replace("\n", " ").replace("|", "\\|")
