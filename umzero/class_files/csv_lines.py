"""CSV: a line a class, a column an attribute."""

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from model.sheets import AttributeSpace
from umzero.class_files.rows import BadLine, Columns, Rows, cells, header
from umzero.errors import InputRefused
from umzero.results import FullClass

if TYPE_CHECKING:
    from _csv import Reader


def read(file: BinaryIO, space: AttributeSpace) -> Rows:
    """Raises: InputRefused: no UTF-8, no CSV, no header, or one with columns that mean nothing."""
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        yield from _rows(csv.reader(text, strict=True), space)
    finally:
        text.detach()  # the file stays open


def _rows(reader: "Reader", space: AttributeSpace) -> Rows:
    columns: Columns | None = None
    for line, record in _records(reader):
        if not record:
            continue
        if columns is None:
            columns = Columns([name.strip() for name in record], space)
        elif any(cell.strip() for cell in record[len(columns.names) :]):
            yield BadLine(line, f"has {len(record)} cells; the first line has {len(columns.names)}")
        elif any(record):
            yield columns.row(line, dict(zip(columns.names, record, strict=False)))
    if columns is None:
        raise InputRefused("the file is empty; expected a line with the names of the columns")


def _records(reader: "Reader") -> Iterator[tuple[int, list[str]]]:
    """Each with the line where it begins: a quoted cell may hold line breaks."""
    line = 1
    try:
        for record in reader:
            yield line, record
            line = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise InputRefused(
            f"after line {reader.line_num} the file is no text in UTF-8; save it as CSV UTF-8"
        ) from error
    except csv.Error as error:
        raise InputRefused(
            f"line {line} is no CSV: {error}. A cell that begins with a quote ends with one, "
            "and quotes in it are doubled"
        ) from error


class Writer:
    """Raises: InputRefused: the attributes can't be columns."""

    def __init__(self, file: BinaryIO, space: AttributeSpace) -> None:
        self._file = file
        self._lines = csv.writer(_Encoded(file), lineterminator="\n")
        self._lines.writerow(header(space))

    def write(self, item: FullClass) -> None:
        self._lines.writerow(map(_cell, cells(item)))

    def close(self) -> None:
        """The file stays open."""
        self._file.flush()


class _Encoded:
    """Text to bytes; unlike a TextIOWrapper it never closes the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode("utf-8"))


def _cell(value: object) -> object:
    """90.0 is written as 90; every other number so that it is read as the same one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
