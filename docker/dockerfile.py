"""Reads the Dockerfile: its stages, and of each the instructions as they stand there."""

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Instruction:
    """One instruction. `text`: what follows its name, lines that were continued joined as Docker
    joins them: without the backslash and the line's end."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """Of a JSON list, or of a shell-like line, quotes taken off."""
        text = self.text.strip()
        return list(json.loads(text)) if text.startswith("[") else shlex.split(text)


@dataclass(frozen=True)
class Stage:
    """From one FROM to the next."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[Instruction]:
        return [item for item in self.instructions if item.name == name]

    def sources(self) -> list[str]:
        """The stages that it copies from."""
        found = [re.search(r"--from=(\S+)", item.text) for item in self.all("COPY")]
        return [match[1] for match in found if match]

    def environment(self) -> dict[str, str]:
        """What its ENV lines set; none of ours refers to another."""
        words = [word for item in self.all("ENV") for word in item.words]
        return dict(word.split("=", 1) for word in words)


def read(path: Path = REPOSITORY / "Dockerfile") -> dict[str, Stage]:
    """The stages in their order, by name.

    Raises:
        ValueError: a stage without a name, or an instruction before the first FROM.
    """
    stages: dict[str, Stage] = {}
    for item in _instructions(path.read_text()):
        if item.name == "FROM":
            match item.words:
                case [base, "AS", name]:
                    stages[name] = Stage(name, base, ())
                case _:
                    raise ValueError(f"{path}: expected FROM image AS name, not {item.text}")
        elif not stages:
            raise ValueError(f"{path}: {item.name} before the first FROM")
        else:
            last = list(stages.values())[-1]
            stages[last.name] = Stage(last.name, last.base, (*last.instructions, item))
    return stages


def _instructions(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    found, open_line = [], ""
    for line in lines:
        open_line += line
        if line.endswith("\\"):
            open_line = open_line[:-1]
        elif open_line.strip():
            name, _, rest = open_line.strip().partition(" ")
            found.append(Instruction(name.upper(), rest))
            open_line = ""
    return found
