"""`umzero classes list`, `show`, `add` and `remove` against a real server."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
import pytest

Run = Callable[..., CompletedProcess[str]]
Picture = Callable[..., bytes]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
ADD_KITE = ("classes", "add", "Kite", "--id", "kite", "--attributes", json.dumps(KITE))


def lines(done: CompletedProcess[str]) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_class_is_added_and_shown_as_the_server_has_it(http: httpx.Client, umzero: Run) -> None:
    done = umzero(*ADD_KITE, "--metadata", '{"by": "t\u00e9st"}')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "registered kite: Kite, 9 attributes given, 0 filled\n"

    stored = http.get("/classes/kite").json()
    names = [item["name"] for item in http.get("/attributes").json()["attributes"]]
    near = http.get("/classes/kite/neighbours", params={"limit": 5}).json()["neighbours"]
    (shown,) = lines(umzero("classes", "show", "kite", "--json"))
    assert stored["metadata"] == shown["metadata"] == {"by": "t\u00e9st"}
    assert shown["attributes"] == dict(zip(names, stored["attributes"], strict=True))
    assert shown["neighbours"] == near
    for key in ("name", "origin", "given", "filled", "revision", "created_at"):
        assert shown[key] == stored[key]

    text = umzero("classes", "show", "kite", "--top", "3").stdout
    assert "kite: Kite\n" in text
    assert f"near: {near[0]['name']} ({near[0]['similarity']:.2f})" in text
    assert {name for name in names if name in text} == {f"{g}::{v}" for g, v in KITE.items()}


def test_commands_work_in_the_collection_that_they_name(
    http: httpx.Client, umzero: Run, picture: Picture, tmp_path: Path
) -> None:
    there = ("--collection", "of-commands")
    image = tmp_path / "kite.png"
    image.write_bytes(picture(KITE))
    assert umzero(*ADD_KITE, *there).returncode == 0
    assert umzero("classes", "show", "kite").returncode != 0

    assert lines(umzero("classes", "list", "--registered", "--json")) == []
    (listed,) = lines(umzero("classes", "list", "--registered", "--json", *there))
    assert listed["class_id"] == "kite"
    (found,) = lines(umzero("classify", str(image), "--json", *there))
    assert found["predictions"][0]["class_id"] == "kite"
    (why,) = lines(umzero("explain", str(image), "--class", "kite", "--json", *there))
    assert why["name"] == "Kite"
    saved = str(tmp_path / "saved.ndjson")
    assert umzero("classes", "export", saved, *there).returncode == 0
    assert umzero("classes", "import", saved, "--collection", "another").returncode == 0
    for collection in ("of-commands", "another"):
        done = umzero("classes", "remove", "kite", "--yes", "--collection", collection)
        assert done.stdout == "removed kite\n"

    refused = umzero("classify", str(image), "--bundle", "nowhere", *there)
    assert refused.returncode == 2
    assert "--collection goes with --url" in " ".join(refused.stderr.split())


def test_a_class_is_added_like_another_one_and_with_photographs(
    http: httpx.Client, umzero: Run, picture: Picture, tmp_path: Path
) -> None:
    (tmp_path / "one.png").write_bytes(picture(KITE))
    (tmp_path / "two.jpg").write_bytes(picture("Robin", "JPEG"))
    like_jay = ("classes", "add", "Kite", "--id", "kite", "--like", "jay")
    differs = ("--attributes", '{"has_wing::red": 40}')

    done = umzero(*like_jay, *differs, "--example", "one.png", "--example", "two.jpg")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "registered kite: Kite, 1 attributes given, 8 filled, 2 example photographs\n"
    )
    stored = http.get("/classes/kite").json()
    assert (stored["examples"], stored["attributes"]) == (2, [0, 0, 100, 0, 100, 0, 40, 0, 100])
    assert "example photographs: 2\n" in umzero("classes", "show", "kite").stdout
    (shown,) = lines(umzero("classes", "show", "kite", "--json"))
    listed = {item["class_id"]: item for item in lines(umzero("classes", "list", "--json"))}
    assert shown["examples"] == listed["kite"]["examples"] == 2
    assert listed["jay"]["examples"] == 0
    # The photographs count: over HTTP the same class has the same score.
    photographs = [(tmp_path / name).read_bytes() for name in ("one.png", "two.jpg")]
    body = {
        "name": "Over HTTP",
        "class_id": "over-http",
        "attributes": stored["attributes"],
        "examples": [base64.b64encode(photograph).decode() for photograph in photographs],
    }
    http.post("/classes", json=body).raise_for_status()
    found = http.post("/classify", content=picture(KITE), params={"top_k": 9}).json()
    by_id = {item["class_id"]: item["score"] for item in found["predictions"]}
    assert by_id["kite"] == pytest.approx(by_id["over-http"], abs=1e-5)
    http.put("/classes/over-http", json=body | {"examples": []}).raise_for_status()
    found = http.post("/classify", content=picture(KITE), params={"top_k": 9}).json()
    by_id = {item["class_id"]: item["score"] for item in found["predictions"]}
    assert by_id["kite"] > by_id["over-http"] + 0.5


def test_a_sheet_may_be_a_file_or_come_by_stdin(
    http: httpx.Client, umzero: Run, tmp_path: Path
) -> None:
    (tmp_path / "sheet.json").write_text(json.dumps(KITE))
    (from_file,) = lines(umzero("classes", "add", "One", "--attributes", "sheet.json", "--json"))
    piped = umzero("classes", "add", "Two", "--attributes", "-", "--json", told=json.dumps([0] * 9))
    (from_stdin,) = lines(piped)

    sheets = [
        http.get(f"/classes/{made['class_id']}").json()["attributes"]
        for made in (from_file, from_stdin)
    ]
    assert sheets == [[0, 0, 100, 0, 0, 100, 100, 0, 0], [0] * 9]
    assert from_file["given"] == 9


def test_a_class_that_can_hardly_be_told_from_another_is_a_warning(
    http: httpx.Client, umzero: Run
) -> None:
    umzero(*ADD_KITE)
    done = umzero("classes", "add", "Again", "--attributes", json.dumps(KITE), "--json")
    assert done.returncode == 0
    assert done.stderr == (
        "warning: it is nearly the same as 'Kite'; images will hardly tell them apart\n"
    )
    assert len(lines(done)[0]["warnings"]) == 1


def test_the_list_is_the_servers_and_may_leave_the_bundles_own_out(
    http: httpx.Client, umzero: Run
) -> None:
    umzero(*ADD_KITE)
    expected = http.get("/classes").json()["classes"]
    listed = lines(umzero("classes", "list", "--json"))
    assert [{key: item[key] for key in expected[0]} for item in listed] == expected
    text = umzero("classes", "list").stdout.splitlines()
    assert [line.split()[0] for line in text] == [item["class_id"] for item in expected]
    assert umzero("classes", "list", "--registered").stdout == "kite  registered  Kite\n"


def test_classes_are_removed_after_a_yes_alone(http: httpx.Client, umzero: Run) -> None:
    umzero(*ADD_KITE)
    refused = umzero("classes", "remove", "kite", told="n\n")
    assert refused.returncode == 1
    assert "Remove kite from http://127.0.0.1:" in refused.stderr
    unasked = umzero("classes", "remove", "kite")
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    assert http.get("/classes/kite").status_code == 200

    assert umzero("classes", "remove", "kite", told="y\n").stdout == "removed kite\n"
    assert http.get("/classes/kite").status_code == 404


def test_what_can_be_removed_is_and_the_rest_is_told(http: httpx.Client, umzero: Run) -> None:
    umzero(*ADD_KITE)
    done = umzero("classes", "remove", "--yes", "--json", "kite", "nobody", "jay")
    assert done.returncode == 4
    removed, unknown, own = lines(done)
    assert removed == {"class_id": "kite", "revision": http.get("/classes").json()["revision"]}
    assert (unknown["class_id"], unknown["problem"]["code"]) == ("nobody", "unknown_class")
    assert (own["class_id"], own["problem"]["code"]) == ("jay", "bundle_class")
    assert done.stderr.count("error: ") == 2
    assert umzero("classes", "remove", "--yes", "nobody").returncode == 1


@pytest.mark.parametrize(
    ("words", "code", "complaint"),
    [
        (("add", "Jay", "--attributes", json.dumps(KITE)), 1, "name_taken"),
        (("add", "X", "--attributes", '{"has_crow": "blue"}'), 1, "did you mean 'has_crown'"),
        (("add", "X", "--attributes", "nowhere.json"), 1, "nowhere.json: No such file"),
        (("add", "X", "--attributes", "{"), 2, "--attributes is no JSON"),
        (("add", "X", "--attributes", json.dumps(KITE), "--metadata", "[]"), 2, "a JSON object"),
        (("add", "X", "--attributes", '{"has_wing": NaN}'), 1, "can't be sent as JSON"),
        (("add", "X", "--attributes", '["red"]'), 1, "can't be sent as JSON"),
        (("add", "X\udcff", "--attributes", json.dumps(KITE)), 1, "name_invalid"),
        (("add", "X"), 2, "--attributes or --like"),
        (("add", "X", "--example", "nowhere.png"), 2, "--attributes or --like"),
        (("add", "X", "--like", "jay", "--example", "nowhere.png"), 1, "nowhere.png: No such file"),
        (("add", "X", "--like", "nobody"), 1, "no class has the id 'nobody'"),
        (("show", "a b?"), 1, "no class has the id 'a b?'"),
        (("list", "--url", "nowhere"), 2, "'nowhere' isn't an address"),
        (("rename", "x"), 2, "No such command"),
    ],
)
def test_a_mistake_is_told_in_words_with_its_exit_code(
    http: httpx.Client, umzero: Run, words: tuple[str, ...], code: int, complaint: str
) -> None:
    done = umzero("classes", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert complaint in " ".join(done.stderr.replace("\u2502", " ").split())
    assert "Traceback" not in done.stderr
