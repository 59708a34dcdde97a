"""What a table of classes says, without a server."""

import io
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from umzero.calls import NewClass
from umzero.class_files import csv_lines, ndjson, parquet
from umzero.class_files.formats import READERS, WRITERS, format_of
from umzero.class_files.rows import BadLine, Row, space_of
from umzero.errors import InputRefused
from umzero.results import Attribute, FullClass

NAMES = ("size::small", "size::large", "weight")
SPACE = space_of([Attribute(name, name.split("::")[0], 0, 10, 2.5) for name in NAMES])
ITEM = FullClass(
    "a-1",
    'One, "1"',
    seen=False,
    given=3,
    filled=0,
    revision=1,
    attributes=[0.1, 1e-300, 10.0],
    metadata={"x": ["\u20ac", None]},
)


def written(kind: Any, *items: FullClass) -> bytes:
    file = io.BytesIO()
    writer = WRITERS[kind](file, SPACE)
    for item in items:
        writer.write(item)
    writer.close()
    assert not file.closed
    return file.getvalue()


def csv(text: str) -> list[Row | BadLine]:
    return list(csv_lines.read(io.BytesIO(text.encode()), SPACE))


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_every_format_reads_what_it_writes_to_the_last_bit(kind: Any) -> None:
    plain = FullClass("b", "Two", False, 3, 0, 2, attributes=[1.0, 2.0, 3.0])
    first, second = READERS[kind](io.BytesIO(written(kind, ITEM, plain)), SPACE)

    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert (first.new.class_id, first.new.name, first.new.metadata) == (
        ITEM.class_id,
        ITEM.name,
        ITEM.metadata,
    )
    assert first.new.attributes == dict(zip(NAMES, ITEM.attributes, strict=True))
    assert not second.new.metadata
    assert second.line == first.line + 1


def test_a_cell_of_a_group_names_one_choice_or_several() -> None:
    (row,) = csv("name,size,weight\nA, small | large ,\n")
    assert isinstance(row, Row)
    assert row.new.attributes == {"size": ["small", "large"]}


def test_whole_numbers_are_written_without_a_point() -> None:
    assert written("csv", ITEM).splitlines()[1].endswith(b",0.1,1e-300,10")


def test_a_short_line_leaves_the_rest_out_and_blank_ones_are_passed_over() -> None:
    rows = csv("name,size,weight\n\nA,small\n , , \n\n,,\nB,large,3\n")
    assert [(row.line, type(row)) for row in rows] == [(3, Row), (4, BadLine), (7, Row)]


def test_empty_cells_beyond_the_header_and_columns_without_a_name_mean_nothing() -> None:
    rows = csv(",name,size,,\n0,A,small,seen,\n1,B,large,,,, \n2,C,small,,,x\n")
    assert rows == [
        Row(2, NewClass("A", {"size": ["small"]})),
        Row(3, NewClass("B", {"size": ["large"]})),
        BadLine(4, "has 6 cells; the first line has 5"),
    ]


@pytest.mark.parametrize(
    "broken", ['"B, "" 1,small\nC,large\n', '"B\n",small,"x\ny\n', '"B"x,small\n']
)
def test_what_is_no_csv_is_told_with_the_line_where_its_record_begins(broken: str) -> None:
    many = "".join(f"D{number},large\n" for number in range(9))
    with pytest.raises(InputRefused, match="line 4 is no CSV: "):
        csv('name,size\n"A\n1",small\n' + broken + many)


def test_parquet_says_what_to_install_where_it_can_not_be_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputRefused, match=r"pip install 'umzero\[parquet\]'"):
        list(parquet.read(io.BytesIO(), SPACE))
    with pytest.raises(InputRefused, match=r"pip install 'umzero\[parquet\]'"):
        parquet.Writer(io.BytesIO(), SPACE)


def of_parquet(columns: dict[str, Any]) -> list[Row | BadLine]:
    import pyarrow
    from pyarrow import parquet as files

    file = io.BytesIO()
    files.write_table(pyarrow.table(columns), file)
    return list(parquet.read(file, SPACE))


def test_texts_of_parquet_may_be_bytes_and_ids_whole_numbers() -> None:
    columns = {
        "class_id": [101.0, None, None],
        "name": ["\u20ac".encode(), b"", b"\xff"],
        "size": [b"small|large", b"small", b"small"],
        "weight": [b"1.5", None, None],
        "metadata": [b'{"a": 1}', None, None],
    }
    row, *bad = of_parquet(columns)
    expected = NewClass("\u20ac", {"size": ["small", "large"], "weight": 1.5}, "101", {"a": 1})
    assert row == Row(1, expected)
    assert bad[0] == BadLine(2, "the name is empty; expected 1 to 200 characters")
    assert isinstance(bad[1], BadLine)
    assert bad[1].detail == "'name' is b'\\xff'; expected text in UTF-8"
    (bad_id,) = of_parquet({"name": ["A"], "class_id": [7.5]})
    assert bad_id == BadLine(1, "'class_id' is 7.5; expected a text or a whole number")
    (whole,) = of_parquet({"name": [12], "class_id": [2**60], "weight": [1]})
    assert whole == Row(1, NewClass("12", {"weight": 1.0}, str(2**60)))


def test_lists_and_objects_of_parquet_are_taken_as_they_are() -> None:
    first, second, third = of_parquet(
        {
            "name": ["A", "B", "C"],
            "size": [["small", "a|b"], [b"large", None], None],
            "metadata": [{"by": ["x", None], "n": 1}, {"by": None, "n": None}, None],
        }
    )
    assert first == Row(
        1, NewClass("A", {"size": ["small", "a|b"]}, None, {"by": ["x", None], "n": 1})
    )
    assert second == Row(2, NewClass("B", {"size": ["large"]}, None, {"by": None, "n": None}))
    assert third == Row(3, NewClass("C", {}))


def test_metadata_of_parquet_that_json_can_not_hold_is_a_bad_line() -> None:
    (bad,) = of_parquet({"name": ["A"], "metadata": [{"when": datetime(2026, 1, 1)}]})
    assert isinstance(bad, BadLine)
    assert bad.detail == "metadata is no JSON: Object of type datetime is not JSON serializable"


def test_metadata_that_is_nested_without_end_is_a_bad_line() -> None:
    (bad,) = csv("name,metadata\nA," + "[" * 100_000)
    assert isinstance(bad, BadLine)
    assert bad.detail.startswith("metadata is no JSON: ")


def test_an_empty_parquet_cell_is_left_out() -> None:
    first, second = of_parquet(
        {"name": ["A", None], "weight": [None, 1.0], "size": ["small", "large"]}
    )
    assert isinstance(first, Row)
    assert first.new.attributes == {"size": ["small"]}
    assert second == BadLine(2, "the name is empty; expected 1 to 200 characters")


def test_an_attribute_with_the_name_of_a_column_is_written_as_ndjson_alone() -> None:
    space = space_of([Attribute("name", "name", 0, 1, 0)])
    with pytest.raises(InputRefused, match="write NDJSON"):
        csv_lines.Writer(io.BytesIO(), space)
    ndjson.Writer(io.BytesIO(), space).close()


def test_a_name_says_the_format_unless_it_is_said() -> None:
    assert format_of(Path("x.CSV"), None) == "csv"
    assert format_of(Path("x.jsonl"), None) == "ndjson"
    assert format_of(Path("x.txt"), "parquet") == "parquet"
    assert format_of(Path("-"), None) == "csv"
    with pytest.raises(InputRefused, match="--format"):
        format_of(Path("x.txt"), None)
