"""Which format a file has, and who reads and writes it."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

from model.sheets import AttributeSpace
from umzero.class_files import csv_lines, ndjson, parquet
from umzero.class_files.rows import Rows
from umzero.errors import InputRefused
from umzero.results import FullClass

Format = Literal["csv", "ndjson", "parquet"]

_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".parquet": "parquet",
}


class Writer(Protocol):
    """What writes classes to a file that it does not close. It is closed before the file is."""

    def write(self, item: FullClass) -> None: ...
    def close(self) -> None: ...


READERS: dict[Format, Callable[[BinaryIO, AttributeSpace], Rows]] = {
    "csv": csv_lines.read,
    "ndjson": ndjson.read,
    "parquet": parquet.read,
}
WRITERS: dict[Format, Callable[[BinaryIO, AttributeSpace], Writer]] = {
    "csv": csv_lines.Writer,
    "ndjson": ndjson.Writer,
    "parquet": parquet.Writer,
}


def format_of(path: Path, asked: Format | None) -> Format:
    """What was asked for, else what the name says; `-` is CSV.

    Raises:
        InputRefused: the name says nothing.
    """
    if asked is not None:
        return asked
    if str(path) == "-":
        return "csv"
    found = _SUFFIXES.get(path.suffix.lower())
    if found is None:
        raise InputRefused(
            f"{path} ends in none of {', '.join(_SUFFIXES)}; say what it is with --format"
        )
    return found
