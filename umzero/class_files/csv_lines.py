"""CSV: a line a class, a column an attribute."""

import csv
import io
from typing import TYPE_CHECKING, BinaryIO

from model.sheets import AttributeSpace
from umzero.class_files.rows import BadLine, Columns, Rows, cells, header
from umzero.errors import InputRefused
from umzero.results import FullClass

if TYPE_CHECKING:
    from _csv import Reader


def read(file: BinaryIO, space: AttributeSpace) -> Rows:
    """Raises: InputRefused: no UTF-8, no header, or one with columns that mean nothing."""
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    reader = csv.reader(text, strict=True)
    try:
        yield from _rows(reader, space)
    except UnicodeDecodeError as error:
        raise InputRefused(
            f"after line {reader.line_num} the file is no text in UTF-8; save it as CSV UTF-8"
        ) from error
    except csv.Error as error:
        raise InputRefused(f"line {reader.line_num} is no CSV: {error}") from error
    finally:
        text.detach()  # the file stays open


def _rows(reader: "Reader", space: AttributeSpace) -> Rows:
    columns: Columns | None = None
    line = 1  # where the next record begins: a quoted cell may hold line breaks
    for record in reader:
        begins, line = line, reader.line_num + 1
        if not record:
            continue
        if columns is None:
            columns = Columns([name.strip() for name in record], space)
        elif len(record) > len(columns.names):
            yield BadLine(
                begins, f"has {len(record)} cells; the first line has {len(columns.names)}"
            )
        elif any(record):
            yield columns.row(begins, dict(zip(columns.names, record, strict=False)))
    if columns is None:
        raise InputRefused("the file is empty; expected a line with the names of the columns")


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
