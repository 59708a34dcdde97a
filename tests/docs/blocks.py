"""The code blocks of the site's pages, of the README and of the docstrings that the site shows."""

import inspect
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import umzero

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PLACEHOLDER = "http://127.0.0.1:8000"  # where readers serve, and no test does

_FENCE = re.compile(r"^( *)(```+)([^\n`]*)\n(.*?)^\1\2 *$", re.M | re.S)
_HEAD = re.compile(r'^(?P<language>\w*)(?: +title="(?P<title>[^"]*)")?$')
_SECTION = re.compile(r"^(?:Args|Attributes|Raises|Returns):", re.M)
_SERVES = re.compile(r"(?:UMZERO_\w+=\S+ )*umzero serve[^|&;]*$")
PRINTED = "it prints"
_NOT_RUN = "untested: "


@dataclass(frozen=True)
class Block:
    """One code block. `left_out`: why no test runs it, as its title tells the reader."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def left_out(self) -> str | None:
        return self.title.removeprefix(_NOT_RUN) if self.title.startswith(_NOT_RUN) else None

    @property
    def serves(self) -> bool:
        """Whether it starts a server, and nothing else."""
        return self.language == "bash" and _SERVES.match(self.text) is not None

    @property
    def printed(self) -> bool:
        """Whether it is what the block above it prints."""
        return self.language == "text" and self.title == PRINTED

    @property
    def answered(self) -> bool:
        """Whether it is what a server answers to the block above it.

        The reference's examples have titles; tests/integration/test_openapi.py looks at them.
        """
        return self.language == "json" and not self.title

    @property
    def shows_problem(self) -> bool:
        """Whether it is an error's answer."""
        return self.language == "json" and '"urn:umzero:problem:' in self.text

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def written_pages() -> list[Path]:
    """The README and every page of `docs` that is not made by `docs.generate`."""
    made = {DOCS / "reference" / name for name in _made()}
    return [REPOSITORY / "README.md", *(p for p in sorted(DOCS.rglob("*.md")) if p not in made)]


def blocks_of(page: str, text: str) -> list[Block]:
    """Raises: ValueError, where a fence says something that isn't understood here."""
    found = []
    for match in _FENCE.finditer(text):
        indent, _, head, body = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        said = _HEAD.match(head.strip())
        if said is None or not said["language"]:
            raise ValueError(f"{page}:{line}: expected ```language, or with a title, not {head!r}")
        inner = textwrap.dedent(body) if indent else body
        found.append(Block(page, line, said["language"], said["title"] or "", inner))
    return found


def docstring_blocks() -> list[Block]:
    """The indented programs in the docstrings of what `umzero` exports, methods included."""
    found = []
    for name in umzero.__all__:
        exported = getattr(umzero, name)
        members = {name: exported} | {
            f"{name}.{key}": value
            for key, value in vars(exported).items()
            if callable(value) and not key.startswith("_")
        }
        for place, value in members.items():
            before, *_ = _SECTION.split(inspect.getdoc(value) or "")
            for match in re.finditer(r"(?:^ {4}.*\n?)+", before, re.M):
                program = "from umzero import *\nimport umzero\n" + textwrap.dedent(match[0])
                found.append(Block(f"umzero.{place}", 1, "python", "", program))
    return found


def _made() -> list[str]:
    from docs.generate.__main__ import PAGES

    return list(PAGES)
