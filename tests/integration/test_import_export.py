"""`POST /import` and `GET /export`: any number of classes, a line each."""

import json
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.integration.asking import GULL, KITE, best, until

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]

NDJSON = {"content-type": "application/x-ndjson"}


@pytest.fixture
def server(start: Start) -> Any:
    return start(max_body_bytes="2000", sheets_timeout_s="1", max_image_bytes="1500")


def line(class_id: str, sheet: Any = None, **fields: Any) -> bytes:
    body = {"class_id": class_id, "name": class_id.title(), "attributes": sheet or KITE, **fields}
    return json.dumps(body).encode() + b"\n"


def sent(http: httpx.Client, body: bytes | Iterator[bytes], **query: Any) -> dict[str, Any]:
    answer = http.post("/import", content=body, params=query, headers=NDJSON)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ids(http: httpx.Client, collection: str = "default") -> list[str]:
    query = {"collection": collection, "limit": 1000}
    listed = http.get("/classes", params=query).json()["classes"]
    return [item["class_id"] for item in listed if not item["seen"]]


def test_imported_classes_are_recognised_at_once(server: Any, picture: Picture) -> None:
    body = line("kite") + line("gull", GULL, metadata={"of": "a guide"})

    answer = sent(server.client, body)

    assert (answer["registered"], answer["failed"], answer["problems"]) == (2, 0, [])
    assert answer["revision"] == 1
    assert [best(server, picture(sheet)) for sheet in (KITE, GULL)] == ["Kite", "Gull"]
    assert server.client.get("/classes/gull").json()["metadata"] == {"of": "a guide"}


def test_a_body_far_beyond_the_limit_of_others_comes_in_pieces(server: Any) -> None:
    whole = b"".join(line(f"c{number:04}") for number in range(2500))
    pieces = (whole[at : at + 777] for at in range(0, len(whole), 777))

    answer = sent(server.client, pieces)

    assert answer["registered"] == 2500
    assert answer["revision"] >= 3  # several transactions
    assert len(whole) > 100_000
    assert len(server.client.get("/export").content.splitlines()) == 2500


def test_what_is_wrong_with_a_line_stands_at_its_number_and_holds_no_other_up(
    server: Any,
) -> None:
    sent(server.client, line("there"))
    lines = [
        line("a"),
        b"\n",
        b"{no json\n",
        line("b", {"has_crown": "pink"}),
        b'["a list"]\n',
        line("a", name="Twice"),
        line("there", name="Other"),
        line("other", name="There"),
        line("robin"),
        line("c", like="nobody"),
        line("d", unknown=1),
        line("e", examples=["bm8gaW1hZ2U="]),
        line("f")[:-1],
    ]

    answer = sent(server.client, b"".join(lines))

    codes = {item["line"]: item["problem"]["code"] for item in answer["problems"]}
    assert codes == {
        3: "json_invalid",
        4: "unknown_attribute",
        5: "validation",
        6: "class_exists",
        7: "class_exists",
        8: "name_taken",
        9: "bundle_class",
        10: "unknown_class",
        11: "validation",
        12: "image_unreadable",
    }
    assert all("index" not in item["problem"] for item in answer["problems"])
    assert (answer["registered"], answer["failed"], answer["skipped"]) == (2, 10, 0)
    assert ids(server.client) == ["a", "f", "there"]


def test_a_second_attempt_passes_over_what_is_there(server: Any) -> None:
    body = line("a") + line("b")
    sent(server.client, body)

    again = sent(server.client, body + line("c") + line("robin"), skip_existing=True)

    assert (again["registered"], again["skipped"], again["failed"]) == (1, 2, 1)
    assert again["problems"][0]["problem"]["code"] == "bundle_class"
    assert sent(server.client, body)["failed"] == 2


def test_a_line_may_be_like_an_earlier_one_and_have_photographs(
    server: Any, picture: Picture
) -> None:
    photograph = b64encode(picture(GULL, size=24)).decode()
    body = line("kite") + json.dumps({"name": "Second", "like": "kite", "class_id": "s"}).encode()
    body += b"\n" + line("seen", GULL, examples=[photograph])

    assert sent(server.client, body)["registered"] == 3
    sheets = [server.client.get(f"/classes/{i}").json()["attributes"] for i in ("kite", "s")]
    assert sheets[0] == sheets[1]
    assert server.client.get("/classes/seen").json()["examples"] == 1


def test_what_one_collection_exports_another_imports(server: Any, picture: Picture) -> None:
    lines = (line(f"c{number}", GULL, metadata={"n": number}) for number in range(501))
    sent(server.client, line("kite") + b"".join(lines), collection="a")

    exported = server.client.get("/export", params={"collection": "a"})
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    assert server.client.get("/export").content == b""
    assert sent(server.client, exported.content, collection="b")["registered"] == 502

    assert ids(server.client, "b") == ids(server.client, "a")
    for class_id in ("kite", "c500"):
        one, other = (
            server.client.get(f"/classes/{class_id}", params={"collection": name}).json()
            for name in "ab"
        )
        assert one["attributes"] == other["attributes"]
        assert one["metadata"] == other["metadata"]
    assert best(server, picture(KITE), collection="b") == "Kite"
    assert server.client.get("/export", params={"collection": "b"}).content == exported.content


def test_a_line_that_is_too_long_ends_the_import_and_those_before_stay(
    server: Any, problem: Problem
) -> None:
    many = b"".join(line(f"c{number}") for number in range(600))

    refused = server.client.post(
        "/import", content=(part for part in (many, b"x" * 2001, line("z"))), headers=NDJSON
    )

    detail = problem(refused, 413, "body_too_large")["detail"]
    assert "line 601 has" in detail
    assert "600 were registered" in detail
    assert len(ids(server.client)) == 600


def begun(server: Any, body: bytes, missing: int = 99) -> socket.socket:
    """A connection that has sent a part of an import."""
    head = f"POST /import HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body) + missing}\r\n\r\n"
    connection = socket.create_connection(server.address)
    connection.sendall(head.encode() + body)
    return connection


def test_a_body_that_stops_coming_is_given_up_and_the_lines_before_stay(server: Any) -> None:
    many = b"".join(line(f"c{number}") for number in range(600))
    with begun(server, many + b'{"name"') as connection:
        answer = connection.makefile("rb").read().decode()

    assert answer.startswith("HTTP/1.1 408 ")
    assert "line 601 wasn't complete" in answer
    assert "600 were registered" in answer
    assert len(ids(server.client)) == 600


def test_a_body_whose_lines_trickle_in_is_taken(start: Start) -> None:
    server = start(sheets_timeout_s="4")
    lines = [line(f"c{number}") for number in range(8)]
    with begun(server, lines[0], len(b"".join(lines[1:]))) as connection:
        for each in lines[1:]:
            time.sleep(0.7)  # all of them take longer than the limit
            connection.sendall(each)
        answer = connection.recv(65536).decode()

    assert answer.startswith("HTTP/1.1 200 ")
    assert ids(server.client) == [f"c{number}" for number in range(8)]


def test_of_a_client_that_leaves_the_whole_lines_stay(server: Any) -> None:
    begun(server, line("a") + line("b") + line("last")[:-9]).close()

    until(lambda: ids(server.client) == ["a", "b"], "its lines are written")
    assert sent(server.client, line("after"))["registered"] == 1
    assert ids(server.client) == ["a", "after", "b"]


def test_lines_that_build_on_each_other_are_taken_one_after_the_other(server: Any) -> None:
    sent(server.client, line("there", GULL))
    twice = line("a") + line("b") + line("a", name="A again") + line("c", name="B")
    like_the_skipped = line("there", KITE) + line("d", like="there").replace(
        json.dumps(KITE).encode(), b"null"
    )
    broken = line("broken", examples=["bm8gaW1hZ2U="]) + line("e", like="broken")

    answer = sent(server.client, twice + like_the_skipped + broken, skip_existing=True)

    assert (answer["registered"], answer["skipped"], answer["failed"]) == (3, 3, 2)
    codes = {item["line"]: item["problem"]["code"] for item in answer["problems"]}
    assert codes == {7: "image_unreadable", 8: "unknown_class"}
    assert ids(server.client) == ["a", "b", "d", "there"]
    sheets = [server.client.get(f"/classes/{i}").json()["attributes"] for i in ("there", "d")]
    assert sheets[0] == sheets[1]


def test_only_ndjson_is_taken(server: Any, problem: Problem) -> None:
    for kind in ("application/json", "text/csv", "multipart/form-data"):
        answer = server.client.post("/import", content=b"{}", headers={"content-type": kind})
        problem(answer, 415, "unsupported_media_type")
    gzip = {**NDJSON, "content-encoding": "gzip"}
    answer = server.client.post("/import", content=b"{}", headers=gzip)
    problem(answer, 415, "unsupported_encoding")


def test_an_empty_body_registers_nothing(server: Any) -> None:
    answer = sent(server.client, b"\n\n")
    assert (answer["registered"], answer["failed"], answer["revision"]) == (0, 0, 0)
