"""What both clients send, when they try again, and what they make of odd answers: no server."""

import asyncio
import base64
import copy
import inspect
import io
import json
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import umzero
from model.image_file import decode
from tests.pictures import CAP, assert_close, corners, quarters
from umzero import attempts

CLASS = {
    "class_id": "a b/c",
    "name": "A",
    "seen": False,
    "origin": "registered",
    "given": 3,
    "filled": 6,
    "revision": 1,
    "created_at": None,
    "examples": 2,
    "of_a_newer_server": 1,
}


class Recorder:
    """A server that keeps what it was asked and answers what it is told to."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.asked: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    @property
    def client(self) -> umzero.Client:
        return umzero.Client(transport=httpx.MockTransport(self))

    def body(self) -> Any:
        return json.loads(self.asked[-1].content)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long each wait would have been."""
    waited: list[float] = []
    monkeypatch.setattr("umzero.client.time.sleep", waited.append)
    return waited


def busy(value: str | None, status: int = 503) -> httpx.Response:
    headers = {} if value is None else {"Retry-After": value}
    return httpx.Response(status, headers=headers, json={"code": "overloaded", "detail": "full"})


def test_a_class_is_sent_with_what_was_given_alone(tmp_path: Path) -> None:
    pixels = Image.new("RGB", (4, 3), "red")
    path = tmp_path / "photo.png"
    pixels.save(path)
    server = Recorder(httpx.Response(201, json={"classes": [CLASS], "revision": 1}))

    made = server.client.register("A", like="robin", examples=[path, path.read_bytes(), pixels])

    assert (made.class_id, made.examples, made.origin) == ("a b/c", 2, "registered")
    body = server.body()
    assert body.keys() == {"name", "like", "examples"}
    assert (body["name"], body["like"]) == ("A", "robin")
    assert base64.b64decode(body["examples"][0]) == path.read_bytes()
    for text in body["examples"]:
        assert Image.open(io.BytesIO(base64.b64decode(text))).getpixel((0, 0)) == (255, 0, 0)

    server.client.register_many([umzero.NewClass("A", [1, 2]), umzero.NewClass("B", class_id="b")])
    assert server.body() == {
        "classes": [{"name": "A", "attributes": [1.0, 2.0]}, {"name": "B", "class_id": "b"}]
    }


def test_numbers_and_arrays_of_numpy_are_sent_as_numbers() -> None:
    server = Recorder(httpx.Response(200, json=CLASS))
    sheet: Any = {"size": np.float32(0.5), "weight": np.int64(7), "wing": np.array(["red", "blue"])}
    metadata = {"count": np.int64(2**53 + 1), "mean": np.float64(0.1), "is": np.bool_(True)}

    server.client.replace("a", "A", sheet, metadata)
    assert server.body()["attributes"] == {"size": 0.5, "weight": 7, "wing": ["red", "blue"]}
    assert server.body()["metadata"] == {"count": 9007199254740993, "mean": 0.1, "is": True}
    assert server.asked[0].headers["Content-Type"] == "application/json"

    server.client.replace("a", "A", list(np.array([1.5, 2], np.float32)))
    assert server.body()["attributes"] == [1.5, 2]


def test_half_of_a_pair_of_surrogates_is_sent_as_it_is() -> None:
    server = Recorder(httpx.Response(200, json=CLASS))
    server.client.replace("a", "A\ud83d", [1], {"text": "\udc9b"})
    assert (server.body()["name"], server.body()["metadata"]) == ("A\ud83d", {"text": "\udc9b"})


@pytest.mark.parametrize(
    ("sheet", "metadata", "complaint"),
    [
        ({"size": float("nan")}, None, "Out of range float"),
        ({"size": np.float32("inf")}, None, "Out of range float"),
        ({"size": object()}, None, "object"),
        (["red"], None, "'red'"),
        (7, None, "int"),
        ([1], {"when": datetime(2026, 1, 1, tzinfo=UTC)}, "datetime"),
        ([1], {(1, 2): 3}, "keys must be"),
    ],
)
def test_what_json_can_not_hold_is_told_in_words_and_not_sent(
    sheet: Any, metadata: Any, complaint: str
) -> None:
    server = Recorder(httpx.Response(200, json=CLASS))
    bad = umzero.NewClass("Bad one", sheet, metadata=metadata)

    with pytest.raises(umzero.RequestFailed, match="'Bad one' can't be sent as JSON") as caught:
        server.client.register("Bad one", sheet, metadata=metadata)
    assert complaint in caught.value.detail
    assert (caught.value.status, caught.value.code) == (0, "unsendable")
    assert not caught.value.unavailable
    with pytest.raises(umzero.RequestFailed) as caught:
        server.client.register_many([umzero.NewClass("Good", [1]), bad])
    assert caught.value.index == 1
    assert server.asked == []


@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_picture_in_memory_is_sent_with_its_orientation_whatever_its_mode(mode: str) -> None:
    upright = quarters()
    lying = upright.transpose(Image.Transpose.ROTATE_90).convert(mode)
    lying.getexif()[0x0112] = 6  # EXIF 2.32, 4.6.4: its first row is the right side
    answer = {"predictions": [], "attributes": [], "bundle": "b", "revision": 1, "timings_ms": {}}
    server = Recorder(httpx.Response(200, json=answer))

    server.client.classify(lying)

    sent = decode(server.asked[0].content, CAP)
    assert sent.size == upright.size
    assert_close(corners(sent), corners(upright))


def test_warnings_go_to_the_class_that_they_are_about() -> None:
    second = CLASS | {"class_id": "b"}
    warnings = [{"class_id": "b", "like": "jay", "similarity": 0.99, "detail": "like a jay"}]
    answer = {"classes": [CLASS, second], "revision": 2, "warnings": warnings}
    server = Recorder(httpx.Response(201, json=answer))

    made = server.client.register_many([umzero.NewClass("A"), umzero.NewClass("B")])

    assert [item.warnings for item in made] == [[], ["like a jay"]]


@pytest.mark.parametrize(("said", "known"), [({"known": False}, False), ({"known": None}, None)])
def test_known_is_what_the_server_says_and_none_where_it_says_nothing(
    said: dict[str, Any], known: bool | None
) -> None:
    answer = {"predictions": [], "attributes": [], "bundle": "b", "revision": 1, "timings_ms": {}}
    server = Recorder(httpx.Response(200, json=answer | said), httpx.Response(200, json=answer))
    client = server.client

    assert client.classify(b"image", known_threshold=3.5).known is known
    assert server.asked[0].url.params["known_threshold"] == "3.5"
    assert client.classify(b"image").known is None
    assert "known_threshold" not in server.asked[1].url.params


@pytest.mark.parametrize(
    ("ask", "path"),
    [
        (lambda client, name: client.get(name), "/classes/a%20b%2Fc%3F"),
        (lambda client, name: client.remove(name), "/classes/a%20b%2Fc%3F"),
        (lambda client, name: client.neighbours(name), "/classes/a%20b%2Fc%3F/neighbours"),
        (lambda client, name: client.replace(name, "A", [1]), "/classes/a%20b%2Fc%3F"),
    ],
)
def test_an_id_is_one_segment_of_the_path_whatever_is_in_it(
    ask: Callable[[umzero.Client, str], object], path: str
) -> None:
    server = Recorder(httpx.Response(404, json={"code": "unknown_class", "detail": "none"}))
    with pytest.raises(umzero.RequestFailed, match="none"):
        ask(server.client, "a b/c?")
    assert server.asked[0].url.raw_path.split(b"?")[0].decode() == path


def test_the_wait_is_what_the_server_asks_for_and_grows_where_it_says_nothing(
    waits: list[float],
) -> None:
    gone = {"class_id": "a", "revision": 7}
    server = Recorder(
        busy("7"), busy(None), busy("soon", 429), busy("3600"), httpx.Response(200, json=gone)
    )
    assert server.client.remove("a") == 7
    assert waits == [7, 0.2, 0.4, attempts.LONGEST_WAIT_S]


def test_a_proxy_may_name_a_date(waits: list[float]) -> None:
    later, earlier = (datetime.now(UTC) + timedelta(seconds=s) for s in (20, -20))
    gone = {"class_id": "a", "revision": 7}
    server = Recorder(
        busy(format_datetime(later, usegmt=True)),
        busy(format_datetime(earlier, usegmt=True)),
        httpx.Response(200, json=gone),
    )
    assert server.client.remove("a") == 7
    assert 0 < waits[0] <= 20
    assert waits[1] == 0


@pytest.mark.parametrize("status", [502, 504])
def test_what_a_proxy_lost_is_asked_again_where_it_may_arrive_twice(
    waits: list[float], status: int
) -> None:
    def lost() -> httpx.Response:
        return httpx.Response(status, text="<h1>Bad Gateway</h1>")

    made = httpx.Response(201, json={"classes": [CLASS], "revision": 1})
    server = Recorder(lost(), lost(), made)
    assert server.client.register("A", [1]).class_id == "a b/c"
    keys = {request.headers["Idempotency-Key"] for request in server.asked}
    assert (len(server.asked), len(keys), waits) == (3, 1, [0.1, 0.2])

    once = Recorder(lost(), httpx.Response(200, json={"class_id": "a", "revision": 7}))
    with pytest.raises(umzero.RequestFailed) as caught:
        once.client.remove("a")
    assert (caught.value.status, caught.value.unavailable, len(once.asked)) == (status, True, 1)

    never = Recorder(lost())
    with pytest.raises(umzero.RequestFailed, match=str(status)):
        never.client.get("a")
    assert len(never.asked) == 1 + attempts.RETRIES


def test_what_is_no_answer_of_a_server_of_ours_is_told_in_words() -> None:
    for answer in (httpx.Response(200, text="<h1>Hello</h1>"), httpx.Response(200, json=[1])):
        server = Recorder(answer)
        with pytest.raises(umzero.RequestFailed, match="Is this the address of a UMZero") as caught:
            server.client.get("robin")
        assert caught.value.code == "not_understood"
        assert not caught.value.unavailable


def test_a_batch_that_is_refused_says_which_class_is_meant() -> None:
    problem = {"code": "name_taken", "detail": "taken", "index": 3}
    server = Recorder(httpx.Response(409, json=problem))
    with pytest.raises(umzero.RequestFailed) as caught:
        server.client.register_many([umzero.NewClass("A")])
    assert caught.value.index == 3


def test_an_error_goes_from_one_process_to_another_as_it_is() -> None:
    failed = umzero.RequestFailed(409, "name_taken", "taken", 3)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(copy.copy, failed).result()
    assert (type(found), vars(found), str(found)) == (type(failed), vars(failed), str(failed))


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    def methods(kind: type) -> dict[str, list[inspect.Parameter]]:
        return {
            name: list(inspect.signature(method).parameters.values())
            for name, method in vars(kind).items()
            if not name.startswith("_")
        }

    asked = methods(umzero.Client)
    assert {"explain", "describe", "neighbours", "classify_files", "get", "attributes"} <= set(
        asked
    )
    assert methods(umzero.AsyncClient) == asked


def test_a_loop_goes_on_while_a_photograph_is_read(tmp_path: Path) -> None:
    answer = {"predictions": [], "attributes": [], "bundle": "b", "revision": 1, "timings_ms": {}}
    server = Recorder(httpx.Response(200, json=answer))
    pipe = tmp_path / "pipe"  # whoever reads it waits for whoever writes
    os.mkfifo(pipe)
    goes_on = threading.Event()

    async def ask() -> None:
        async with umzero.AsyncClient(transport=httpx.MockTransport(server)) as client:
            asking = asyncio.create_task(client.classify(pipe))
            await asyncio.sleep(0)
            goes_on.set()
            await asking

    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: pipe.write_bytes(b"went on" if goes_on.wait(10) else b"stood still"))
        asyncio.run(ask())

    assert server.asked[0].content == b"went on"


def test_a_file_that_can_not_be_read_has_its_error_in_its_place(tmp_path: Path) -> None:
    answer = {"predictions": [], "attributes": [], "bundle": "b", "revision": 1, "timings_ms": {}}
    server = Recorder(httpx.Response(200, json=answer))
    there, missing = tmp_path / "there.png", tmp_path / "missing.png"
    there.write_bytes(b"image")

    found = server.client.classify_files([missing, there], progress=False)

    assert list(found) == [missing, there]
    failed = found[missing]
    assert isinstance(failed, umzero.RequestFailed)
    assert str(failed) == f"can't read {missing}: No such file or directory"
    assert not failed.unavailable
    assert len(server.asked) == 1


def test_who_stops_listening_stops_asking() -> None:
    answer = {"predictions": [], "attributes": [], "bundle": "b", "revision": 1, "timings_ms": {}}
    asked: list[httpx.Request] = []
    is_over = threading.Event()

    def slow(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if len(asked) > 1:
            is_over.wait(60)
        return httpx.Response(200, json=answer)

    before = set(threading.enumerate())
    client = umzero.Client(transport=httpx.MockTransport(slow))
    found = client.classify_each([b"image"] * 50, at_once=1)
    next(found)
    found.close()  # type: ignore[attr-defined]
    is_over.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)

    assert len(asked) <= 3
