"""Every error under /v2 is the Open Inference Protocol's `{"error": ...}`, whoever raises it."""

import base64
import io
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.integration.conftest import Server
from tests.integration.fake_server import MAGENTA

triton = pytest.importorskip("tritonclient.http", reason="needs the package tritonclient[http]")

INFER = "/v2/models/fake/infer"
Picture = Callable[..., bytes]


def in_json(image: bytes) -> dict[str, Any]:
    data = [base64.b64encode(image).decode()]
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data}]}


def poison() -> bytes:
    """An image that the fake backend fails on."""
    file = io.BytesIO()
    Image.new("RGB", (96, 96), MAGENTA).save(file, "PNG")
    return file.getvalue()


def error(response: httpx.Response, status: int) -> str:
    """The message of an answer that has to be the protocol's error."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    content = response.json()
    assert content.keys() == {"error"}
    assert isinstance(content["error"], str)
    assert content["error"]
    message: str = content["error"]
    return message


@pytest.mark.parametrize(
    "path",
    ["/v2/models", "/v2/repository/index", "/v2/models/fake/infer/more", "/v2/models/fake/config"],
)
def test_a_path_that_the_protocol_does_not_have_is_a_404(http: httpx.Client, path: str) -> None:
    error(http.get(path), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", INFER, "POST"),
        ("POST", "/v2", "GET, HEAD"),
        ("DELETE", "/v2/models/fake/versions/1", "GET, HEAD"),
        ("PATCH", "/v2/health/live", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    http: httpx.Client, method: str, path: str, allowed: str
) -> None:
    response = http.request(method, path)
    error(response, 405)
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/v2/models/other", "/v2/models/fake/versions/2", "/v2/models/Fake/versions/1"]
)
def test_a_wrong_name_or_version_is_a_404_wherever_it_stands(
    http: httpx.Client, picture: Picture, path: str
) -> None:
    responses = [
        http.get(path),
        http.get(f"{path}/ready"),
        http.post(f"{path}/infer", json=in_json(picture("Jay"))),
    ]
    for response in responses:
        assert "'fake'" in error(response, 404)


@pytest.mark.parametrize(
    "change",
    [
        {"encoding": {"content-encoding": "gzip"}},
        {"content": b"not JSON"},
        {"content": b""},
        {"content": b"[" * 100_000},
    ],
)
def test_a_body_that_cannot_be_used_is_a_400(http: httpx.Client, change: dict[str, Any]) -> None:
    response = http.post(INFER, content=change.get("content", b"x"), headers=change.get("encoding"))
    error(response, 400)


def test_a_failing_backend_is_a_500_that_shows_nothing(http: httpx.Client) -> None:
    assert "secret" not in error(http.post(INFER, json=in_json(poison())), 500)


def test_a_body_that_is_too_large_is_a_413(start: Callable[..., Server], picture: Picture) -> None:
    server = start(max_body_bytes="1000")
    error(server.client.post(INFER, json=in_json(picture("Jay", size=500) + bytes(1000))), 413)


def test_an_image_that_classify_would_refuse_for_its_size_is_a_413(
    start: Callable[..., Server], picture: Picture
) -> None:
    server = start(max_image_bytes="5000", max_image_pixels=str(96 * 96))
    large, small = picture("Jay") + bytes(5000), picture("Jay")
    told = error(server.client.post(INFER, json=in_json(large)), 413)
    assert told == server.client.post("/classify", files={"image": large}).json()["detail"]
    error(server.client.post(INFER, json=in_json(picture("Jay", size=97))), 413)
    for rows, status in ((96, 200), (97, 413)):
        tensor = {"name": "image", "datatype": "UINT8", "shape": [rows, 96, 3]}
        tensor["data"] = [7] * (rows * 96 * 3)
        response = server.client.post(INFER, json={"inputs": [tensor]})
        assert response.status_code == status
    assert error(response, 413) == "the image has 96 x 97 pixels; at most 9216 are allowed"
    assert server.client.post(INFER, json=in_json(small)).status_code == 200


def test_a_passed_deadline_is_a_503(start: Callable[..., Server], picture: Picture) -> None:
    server = start(request_timeout_s="0.3", fake_delay_s="1")
    response = server.client.post(INFER, json=in_json(picture("Jay")))
    error(response, 503)
    assert int(response.headers["retry-after"]) >= 1


def test_a_server_that_is_full_is_a_503(start: Callable[..., Server], picture: Picture) -> None:
    server = start(queue_capacity="1", fake_delay_s="5")
    first = threading.Thread(
        target=lambda: httpx.post(server.url + INFER, json=in_json(picture("Jay")), timeout=60)
    )
    first.start()
    limit = time.monotonic() + 30
    while server.metric("umzero_queue_depth") == 0 and time.monotonic() < limit:
        time.sleep(0.02)
    response = server.client.post(INFER, json=in_json(picture("Jay")))
    first.join()
    error(response, 503)
    assert int(response.headers["retry-after"]) >= 1


def test_triton_s_client_shows_the_message(http: httpx.Client) -> None:
    client = triton.InferenceServerClient(f"{http.base_url.host}:{http.base_url.port}")
    with pytest.raises(triton.InferenceServerException, match="there is one model here: 'fake'"):
        client.get_model_metadata("other")
    assert not client.is_model_ready("other")
    assert not client.is_model_ready("fake", "2")


def test_errors_elsewhere_stay_problems(
    http: httpx.Client, problem: Callable[..., dict[str, Any]]
) -> None:
    problem(http.get("/v2x"), 404, "not_found")
    problem(http.get("/v22/models/fake"), 404, "not_found")
    problem(http.post("/classify", content=poison()), 500, "internal")
