"""`umzero classes import` and `export` against a real server."""

import base64
import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest

import umzero as package
from umzero.class_files import csv_lines
from umzero.class_files.rows import space_of
from umzero.importing import Outcome, carry_out, survey

Run = Callable[..., CompletedProcess[str]]

JSON = {"content-type": "application/json"}
HEADER = "class_id,name,has_crown::blue,has_wing"
SHEETS: dict[str, Any] = {
    "kite": {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"},
    "odd": {"has_crown::red": 0.1, "has_crown::green": 33.333333333333336, "has_wing::red": 1e-7},
    "numbers": [0, 100, 12.5, 0, 0, 0, 1, 2, 3],
}


@pytest.fixture
def stored(http: httpx.Client) -> dict[str, Any]:
    """Three registered classes, as the server keeps them."""
    for class_id, sheet in SHEETS.items():
        body = {"class_id": class_id, "name": f'A "{class_id}", caf\u00e9', "attributes": sheet}
        if class_id != "odd":
            body["metadata"] = {"by": ["t\u00e9st", 1.5, None], "text": "a\nb\ud83d"}
        ascii_json = json.dumps(body)  # httpx's is UTF-8, which can't hold half of a surrogate pair
        http.post("/classes", content=ascii_json, headers=JSON).raise_for_status()
    return registered(http)


def registered(http: httpx.Client) -> dict[str, Any]:
    """id -> what a file of classes keeps of it."""
    listed = http.get("/classes", params={"limit": 1000}).json()["classes"]
    found = (http.get(f"/classes/{item['class_id']}").json() for item in listed if not item["seen"])
    keys = ("name", "attributes", "metadata")
    return {item["class_id"]: {key: item[key] for key in keys} for item in found}


def remove_all(http: httpx.Client) -> None:
    for class_id in registered(http):
        http.delete(f"/classes/{class_id}").raise_for_status()


@pytest.mark.parametrize("name", ["classes.csv", "classes.ndjson", "classes.parquet"])
def test_what_is_exported_is_imported_as_it_was(
    http: httpx.Client, umzero: Run, stored: dict[str, Any], name: str, tmp_path: Path
) -> None:
    done = umzero("classes", "export", name)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"written: to {name}, classes: 3\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    remove_all(http)

    done = umzero("classes", "import", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3 registered, 0 replaced, 0 skipped, 0 failed\n"
    assert registered(http) == stored


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
def test_a_pipe_carries_classes_from_one_command_to_the_next(
    http: httpx.Client, umzero: Run, stored: dict[str, Any], kind: str
) -> None:
    written = umzero("classes", "export", "-", "--format", kind)
    remove_all(http)
    done = umzero("classes", "import", "-", "--format", kind, told=written.stdout)
    assert done.returncode == 0, done.stderr
    assert registered(http) == stored


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_a_pipe_with_a_name_is_read_as_a_file_is(
    http: httpx.Client, umzero: Run, stored: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    umzero("classes", "export", "kept", "--format", kind)
    remove_all(http)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(pipe.write_bytes, (tmp_path / "kept").read_bytes())
        done = umzero("classes", "import", "pipe", "--format", kind)
    assert done.stdout == "3 registered, 0 replaced, 0 skipped, 0 failed\n", done.stderr
    assert registered(http) == stored


def test_all_writes_the_bundles_own_classes_too(http: httpx.Client, umzero: Run) -> None:
    written = umzero("classes", "export", "-", "--all", "--format", "ndjson")
    items = [json.loads(line) for line in written.stdout.splitlines()]
    assert [item["class_id"] for item in items] == ["cardinal", "jay", "parrot", "robin"]
    empty = umzero("classes", "export", "-")
    assert len(empty.stdout.splitlines()) == 1


def test_bad_lines_are_told_and_the_good_ones_registered(
    http: httpx.Client, umzero: Run, tmp_path: Path
) -> None:
    text = f"""\
{HEADER}
a,A,10,red
b,B,loud,red

c,,5,red
d,D,120,
d,D again,5,red|blue
e,A,1,red|pink
-,-,-,-,-
f,D again,5,blue
g,G,,
"""
    (tmp_path / "classes.csv").write_text(text)
    expected = {
        3: "'has_crown::blue' is 'loud'; expected a number from 0 to 100, or nothing",
        5: "the name is empty; expected 1 to 200 characters",
        6: "'has_crown::blue' is 120.0; its scale goes from 0 to 100",
        8: "'has_wing' has no value 'pink'. See GET /attributes",
        9: "has 5 cells; the first line has 4",
        10: "name 'D again' is that of line 7 already; expected another one",
        11: "the sheet mentions no attribute. See GET /attributes",
    }
    looked = umzero("classes", "import", "classes.csv", "--dry-run", "--json")
    assert registered(http) == {}
    done = umzero("classes", "import", "classes.csv", "--json")

    assert (looked.returncode, done.returncode) == (4, 4)
    report = json.loads(done.stdout)
    assert {item["line"]: item["detail"] for item in report["problems"]} == expected
    assert (report["registered"], report["failed"], report["dry_run"]) == (2, 7, False)
    would = json.loads(looked.stdout)
    assert would == report | {"dry_run": True, "revision": None, "warnings": would["warnings"]}
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert told == [f"error: line {line}: {detail}" for line, detail in expected.items()]
    stored = registered(http)
    assert set(stored) == {"a", "d"}
    assert stored["d"]["attributes"][6:] == [100, 0, 100]


def test_a_line_begins_where_its_first_cell_does(
    http: httpx.Client, umzero: Run, tmp_path: Path
) -> None:
    text = f'\ufeff{HEADER},metadata\r\na,A,1,red,"{{""x"":\r\n1}}"\r\nb,B,x,,\r\n'
    (tmp_path / "excel.csv").write_text(text, newline="")
    done = umzero("classes", "import", "excel.csv")
    assert done.returncode == 4
    assert done.stderr.startswith("error: line 4: 'has_crown::blue' is 'x'")
    assert registered(http)["a"]["metadata"] == {"x": 1}


def test_bad_lines_of_ndjson_are_told(http: httpx.Client, umzero: Run, tmp_path: Path) -> None:
    good = {"name": "Good", "attributes": {"has_wing": "red"}}
    (tmp_path / "classes.ndjson").write_bytes(
        b"\n".join(
            [
                b"{",
                b"[1]",
                b"",
                json.dumps({"name": "x"}).encode(),
                json.dumps(good | {"colour": 1}).encode(),
                json.dumps(good | {"class_id": "not an id"}).encode(),
                json.dumps(good | {"seen": False, "class_id": "good"}).encode(),
                b'{"name": "\xff"}',
                json.dumps(good | {"name": "Numbers", "attributes": [1, 2]}).encode(),
            ]
        )
    )
    done = umzero("classes", "import", "classes.ndjson", "--json")
    problems = {item["line"]: item["detail"] for item in json.loads(done.stdout)["problems"]}
    assert (done.returncode, list(problems)) == (4, [1, 2, 4, 5, 6, 8, 9])
    for line, words in {
        1: "is no JSON",
        2: "is [1]; expected an object",
        4: "has no 'attributes'",
        5: "has 'colour'; expected name, attributes, class_id, metadata",
        6: "class_id 'not an id' isn't",
        8: "is no JSON",
        9: "got 2 attributes; this bundle needs 9",
    }.items():
        assert words in problems[line]
    assert set(registered(http)) == {"good"}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("x.csv", "class,has_wing\n", "no column is called 'name'"),
        ("x.csv", "name,has_wings\nA,red\n", "did you mean 'has_wing'?"),
        ("x.csv", "name,name\n", "two columns are called 'name'"),
        ("x.csv", "", "the file is empty"),
        ("x.csv", 'name,has_wing\n"A,red\n', "is no CSV"),
        ("x.csv", b"name,has_wing\nA\xff,red\n", "no text in UTF-8"),
        ("x.parquet", "name", "no Parquet file"),
        ("x.xlsx", "", "say what it is with --format"),
    ],
)
def test_a_file_that_can_not_be_used_is_refused_whole(
    http: httpx.Client, umzero: Run, tmp_path: Path, name: str, text: str | bytes, complaint: str
) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = umzero("classes", "import", name)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert complaint in done.stderr
    assert registered(http) == {}


def test_a_class_that_is_there_stops_an_import_or_stays_or_is_replaced(
    http: httpx.Client, umzero: Run, tmp_path: Path
) -> None:
    (tmp_path / "old.csv").write_text(f"{HEADER}\nkite,Kite,1,red\n")
    umzero("classes", "import", "old.csv")
    (tmp_path / "new.csv").write_text(
        f"{HEADER}\nfresh,Fresh,3,red\nkite,Kite,90,blue\n,Jay,1,red\nother,Kite,2,red\n"
    )
    before = registered(http)

    stopped = umzero("classes", "import", "new.csv")
    assert stopped.returncode == 1
    assert "error: line 3: class_id 'kite' is there already\n" in stopped.stderr
    assert "error: line 4: name 'Jay' is there already\n" in stopped.stderr
    assert "nothing was written" in stopped.stderr
    assert registered(http) == before

    (tmp_path / "two.csv").write_text(f"{HEADER}\nkite,Kite,90,blue\nfresh,Fresh,3,red\n")
    skipped = umzero("classes", "import", "two.csv", "--on-conflict", "skip")
    assert skipped.stdout == "1 registered, 0 replaced, 1 skipped, 0 failed\n"
    assert registered(http)["kite"] == before["kite"]
    http.delete("/classes/fresh").raise_for_status()

    (tmp_path / "new.csv").write_text(
        f"{HEADER}\nfresh,Fresh,3,red\nkite,Kite,90,blue\n,Jay,1,red\nother,Fresh,2,red\n"
    )
    replaced = umzero("classes", "import", "new.csv", "--on-conflict", "replace", "--json")
    report = json.loads(replaced.stdout)
    assert (replaced.returncode, report["registered"], report["replaced"]) == (4, 1, 1)
    assert [item["line"] for item in report["problems"]] == [4, 5]
    assert "one of the bundle's own" in report["problems"][0]["detail"]
    assert registered(http)["kite"]["attributes"][2] == 90


def test_a_class_with_photographs_is_not_replaced_by_a_line_that_has_none(
    http: httpx.Client, umzero: Run, picture: Callable[..., bytes], tmp_path: Path
) -> None:
    sheet = {"has_crown": "blue", "has_wing": "red"}
    photographs = [base64.b64encode(picture(sheet)).decode()] * 2
    body = {"class_id": "kite", "name": "Kite", "attributes": sheet, "examples": photographs}
    http.post("/classes", json=body).raise_for_status()
    before = http.get("/classes/kite").json()
    (tmp_path / "x.csv").write_text(f"{HEADER}\n,Kite,1,blue\nfresh,Fresh,3,red\n")

    for more in (("--dry-run",), ()):
        done = umzero("classes", "import", "x.csv", "--on-conflict", "replace", "--json", *more)
        report = json.loads(done.stdout)
        assert (done.returncode, report["registered"], report["replaced"]) == (4, 1, 0)
        (problem,) = report["problems"]
        assert problem["line"] == 2
        assert "class 'kite' has 2 example photographs" in problem["detail"]
        assert "umzero classes remove kite" in problem["detail"]

    assert http.get("/classes/kite").json() == before
    assert umzero("classes", "remove", "--yes", "kite").returncode == 0
    assert umzero("classes", "import", "x.csv", "--on-conflict", "replace").returncode == 0


def test_a_class_is_replaced_by_one_line_alone(
    http: httpx.Client, umzero: Run, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text(f"{HEADER}\nx,Foo,1,red\nz,Zed,4,red\n")
    umzero("classes", "import", "x.csv")
    (tmp_path / "x.csv").write_text(f"{HEADER}\nx,Bar,2,red\n,Foo,3,red\ny,Zed,5,red\n")

    done = umzero("classes", "import", "x.csv", "--on-conflict", "replace", "--json")

    report = json.loads(done.stdout)
    assert (done.returncode, report["replaced"], report["registered"]) == (4, 1, 0)
    assert report["problems"] == [
        {"line": 3, "detail": "class 'x' is the class of line 2 already; expected another"},
        {"line": 4, "detail": "the name 'Zed' is that of class 'z'; expected another"},
    ]
    assert [item["name"] for item in registered(http).values()] == ["Bar", "Zed"]


def test_a_name_alone_finds_the_class_to_replace(
    http: httpx.Client, umzero: Run, tmp_path: Path
) -> None:
    (tmp_path / "x.csv").write_text("name,has_wing\nKite,red\n")
    umzero("classes", "import", "x.csv")
    (before,) = registered(http)
    (tmp_path / "x.csv").write_text("name,has_wing\nKite,blue\n")
    done = umzero("classes", "import", "x.csv", "--on-conflict", "replace")
    assert done.stdout == "0 registered, 1 replaced, 0 skipped, 0 failed\n"
    assert list(registered(http)) == [before]
    assert registered(http)[before]["attributes"][6:] == [0, 0, 100]


def test_who_comes_between_look_and_write_costs_one_line_of_a_batch(http: httpx.Client) -> None:
    names = [f"Class {i}" for i in range(450)]
    text = "\n".join(["name,has_wing::red", *(f"{name},{i % 100}" for i, name in enumerate(names))])

    with package.Client(str(http.base_url)) as client:
        space = space_of(client.attributes())

        def rows() -> Iterator[Any]:
            return csv_lines.read(io.BytesIO(text.encode()), space)

        plan = survey(rows(), space, client.classes(), "fail")
        assert len(plan.add) == 450
        client.register("Class 217", {"has_wing": "blue"}, class_id="theirs")
        outcome, advanced = Outcome(), []
        carry_out(client, rows(), plan, outcome, advanced.append)
        listed = {item.name for item in client.classes()}

    assert outcome.registered == 449
    ((line, detail),) = [(item.line, item.detail) for item in outcome.problems]
    assert line == 219
    assert "Class 217" in detail
    assert sum(advanced) == 450
    assert set(names) <= listed


def test_a_batch_that_is_too_large_for_the_server_is_sent_in_parts(
    start: Callable[..., Any], umzero: Run, tmp_path: Path
) -> None:
    server = start(max_body_bytes="1000")
    lines = [f"Class {i},{i}" for i in range(100)]
    (tmp_path / "x.csv").write_text("\n".join(["name,has_wing::red", *lines]))
    done = umzero("classes", "import", "x.csv", "--url", server.url)
    assert done.stdout == "100 registered, 0 replaced, 0 skipped, 0 failed\n"
    assert len(registered(server.client)) == 100


def test_a_device_is_written_to_and_stays_one(
    http: httpx.Client, umzero: Run, stored: dict[str, Any]
) -> None:
    done = umzero("classes", "export", "/dev/stdout", "--format", "ndjson")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["class_id"] for line in done.stdout.splitlines()] == list(stored)
