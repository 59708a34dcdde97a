"""Parquet: CSV's columns, with types. Needs pyarrow: `pip install 'umzero[parquet]'`."""

from typing import Any, BinaryIO

from model.sheets import AttributeSpace
from umzero.class_files.rows import OWN_COLUMNS, Columns, Rows, cells, header
from umzero.errors import InputRefused
from umzero.results import FullClass

_ROWS = 1000  # of a group that is written, and of a batch that is read


def read(file: BinaryIO, space: AttributeSpace) -> Rows:
    """Lines are rows, from 1. Raises: InputRefused: no pyarrow, no Parquet, or unknown columns."""
    arrow, parquet = _pyarrow()
    try:
        opened = parquet.ParquetFile(file)
        columns = Columns(opened.schema_arrow.names, space)
        line = 0
        for batch in opened.iter_batches(batch_size=_ROWS):
            for item in batch.to_pylist():
                line += 1
                yield columns.row(line, item)
    except arrow.ArrowException as error:
        raise InputRefused(f"this is no Parquet file that can be read: {error}") from error


class Writer:
    """Raises: InputRefused: no pyarrow, or the attributes can't be columns."""

    def __init__(self, file: BinaryIO, space: AttributeSpace) -> None:
        self._arrow, parquet = _pyarrow()
        kinds = [self._arrow.string()] * len(OWN_COLUMNS) + [self._arrow.float64()] * len(space)
        self._schema = self._arrow.schema(list(zip(header(space), kinds, strict=True)))
        self._writer = parquet.ParquetWriter(file, self._schema)
        self._waiting: list[dict[str, Any]] = []

    def write(self, item: FullClass) -> None:
        self._waiting.append(dict(zip(self._schema.names, cells(item), strict=True)))
        if len(self._waiting) == _ROWS:
            self._flush()

    def close(self) -> None:
        """The file stays open."""
        try:
            self._flush()
        finally:
            self._writer.close()  # else it does so whenever it is collected

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._waiting, self._schema))
        self._waiting.clear()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: PLC0415 - an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InputRefused(
            "Parquet needs pyarrow, which isn't installed: pip install 'umzero[parquet]'. "
            "CSV and NDJSON need nothing"
        ) from error
    return pyarrow, pyarrow.parquet
