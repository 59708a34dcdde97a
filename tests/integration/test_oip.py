"""The Open Inference Protocol with NVIDIA's own client, and by hand where that can't go."""

import base64
import io
import json
import re
import struct
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from model.bundle import Bundle

triton = pytest.importorskip("tritonclient.http", reason="needs the package tritonclient[http]")

Picture = Callable[..., bytes]


@pytest.fixture
def client(http: httpx.Client) -> Any:
    return triton.InferenceServerClient(f"{http.base_url.host}:{http.base_url.port}")


def files(*images: bytes) -> Any:
    tensor = triton.InferInput("image", [len(images)], "BYTES")
    tensor.set_data_from_numpy(np.array(images, np.object_))
    return tensor


def texts(values: np.ndarray) -> list[list[str]]:
    return [[v if isinstance(v, str) else v.decode() for v in row] for row in values]


def test_triton_s_client_finds_the_server_and_its_model(client: Any, bundle: Bundle) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("fake")
    assert client.is_model_ready("fake", "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert client.get_model_metadata("fake") == client.get_model_metadata("fake", "1")
    metadata = client.get_model_metadata("fake")
    assert (metadata["name"], metadata["versions"]) == ("fake", ["1"])
    assert [item["name"] for item in metadata["inputs"]] == ["image"]
    outputs = {item["name"]: item["datatype"] for item in metadata["outputs"]}
    assert outputs == {
        "class_ids": "BYTES",
        "class_names": "BYTES",
        "probabilities": "FP32",
        "embedding": "FP32",
    }


def test_triton_s_client_classifies_files_as_classify_does(
    client: Any, http: httpx.Client, picture: Picture
) -> None:
    images = [picture("Jay"), picture("Cardinal")]
    found = client.infer("fake", [files(*images)], request_id="7", parameters={"top_k": 2})
    assert found.get_response()["id"] == "7"
    for at, image in enumerate(images):
        expected = http.post("/classify", content=image, params={"top_k": 2}).json()["predictions"]
        assert texts(found.as_numpy("class_ids"))[at] == [p["class_id"] for p in expected]
        assert texts(found.as_numpy("class_names"))[at] == [p["name"] for p in expected]
        np.testing.assert_allclose(
            found.as_numpy("probabilities")[at], [p["probability"] for p in expected], rtol=1e-4
        )


@pytest.mark.parametrize("binary", [True, False])
def test_outputs_come_as_they_were_asked_for(client: Any, picture: Picture, binary: bool) -> None:
    wanted = [
        triton.InferRequestedOutput(name, binary_data=binary)
        for name in ("embedding", "probabilities")
    ]
    found = client.infer("fake", [files(picture("Jay"))], outputs=wanted)
    assert [item["name"] for item in found.get_response()["outputs"]] == [
        "embedding",
        "probabilities",
    ]
    embedding = found.as_numpy("embedding")
    assert embedding.shape[0] == 1
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-4)
    assert found.as_numpy("class_ids") is None


@pytest.mark.parametrize("binary", [True, False])
def test_pixels_are_classified_like_their_file(
    client: Any, http: httpx.Client, picture: Picture, binary: bool
) -> None:
    image = picture("Jay")
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))[None]
    tensor = triton.InferInput("image", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels, binary_data=binary)
    found = client.infer("fake", [tensor])
    best = http.post("/classify", content=image).json()["predictions"][0]["class_id"]
    assert texts(found.as_numpy("class_ids"))[0][0] == best


@pytest.mark.parametrize("binary", [True, False])
def test_a_version_is_asked_by_its_number(client: Any, picture: Picture, binary: bool) -> None:
    tensor = triton.InferInput("image", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[picture("Jay")]], np.object_))
    output = triton.InferRequestedOutput("class_names", binary_data=binary)
    found = client.infer("fake", [tensor], "1", [output], parameters={"top_k": 2})
    assert found.get_response()["model_version"] == "1"
    assert [len(row) for row in texts(found.as_numpy("class_names"))] == [2]
    assert texts(found.as_numpy("class_names"))[0][0] == "Jay"


def test_what_the_protocol_answers_has_the_specification_s_keys(http: httpx.Client) -> None:
    server = http.get("/v2").json()
    assert server.keys() == {"name", "version", "extensions"}
    assert http.get("/v2/").json() == server
    assert http.get("/v2/health/live").json() == {"live": True}
    # The text has `live` there, clients look for `ready`.
    assert http.get("/v2/health/ready").json() == {"live": True, "ready": True}
    for path in ("/v2/models/fake", "/v2/models/fake/versions/1"):
        assert http.get(f"{path}/ready").json() == {"name": "fake", "ready": True}
        model = http.get(path).json()
        assert model.keys() == {"name", "versions", "platform", "inputs", "outputs"}
        assert re.fullmatch("[a-z]+_[a-z0-9]+", model["platform"])
        for tensor in model["inputs"] + model["outputs"]:
            assert tensor.keys() == {"name", "datatype", "shape"}


def infer(http: httpx.Client, content: Any, binary: bytes = b"", **headers: str) -> httpx.Response:
    head = json.dumps(content).encode()
    if binary:
        headers = {"Inference-Header-Content-Length": str(len(head)), **headers}
    return http.post("/v2/models/fake/infer", content=head + binary, headers=headers)


def asked(**changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], **changes}]}


def test_files_may_be_base64_in_json(http: httpx.Client, picture: Picture) -> None:
    image = base64.b64encode(picture("Jay")).decode()
    answer = infer(http, {"id": "a", **asked(data=[image])}).json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("fake", "1", "a")
    outputs = {item["name"]: item for item in answer["outputs"]}
    assert outputs["class_names"]["data"][0] == "Jay"
    assert outputs["probabilities"]["shape"] == outputs["class_ids"]["shape"] == [1, 4]


def test_outputs_are_those_that_were_asked_for_in_their_order(
    http: httpx.Client, picture: Picture
) -> None:
    request = asked(data=[base64.b64encode(picture("Jay")).decode()])
    every = ["embedding", "probabilities", "class_names", "class_ids"]
    request["outputs"] = [{"name": name} for name in every]
    assert [item["name"] for item in infer(http, request).json()["outputs"]] == every
    for outputs in ([{"name": "class_ids"}], [{"name": "class_ids", "parameters": {}}]):
        answer = infer(http, {**request, "outputs": outputs}).json()
        assert [item["name"] for item in answer["outputs"]] == ["class_ids"]
    nothing_asked = infer(http, {**request, "outputs": []}).json()
    assert [item["name"] for item in nothing_asked["outputs"]] == [
        "class_ids",
        "class_names",
        "probabilities",
    ]
    assert "id" not in nothing_asked


def test_pixels_in_json_may_be_flat_or_nested(http: httpx.Client, picture: Picture) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(picture("Jay", size=12))).convert("RGB"))[None]
    of_pixels = {"datatype": "UINT8", "shape": list(pixels.shape)}
    flat, nested, one = (
        infer(http, asked(**{**of_pixels, **changes})).json()["outputs"]
        for changes in (
            {"data": pixels.ravel().tolist()},
            {"data": pixels.tolist()},
            {"data": pixels[0].tolist(), "shape": list(pixels.shape[1:])},
        )
    )
    assert flat == nested == one
    names = next(item for item in flat if item["name"] == "class_names")
    assert (names["data"][0], names["shape"]) == ("Jay", [1, 4])


@pytest.mark.parametrize("parameters", [{"top_k": 2}, {"top_k": 2.0}, {"top_k": 2, "other": "x"}])
def test_top_k_is_a_parameter(
    http: httpx.Client, picture: Picture, parameters: dict[str, Any]
) -> None:
    request = asked(data=[base64.b64encode(picture("Jay")).decode()])
    answer = infer(http, {**request, "parameters": parameters}).json()
    assert [item["shape"] for item in answer["outputs"]] == [[1, 2]] * 3


def test_errors_are_the_protocol_s(http: httpx.Client, picture: Picture) -> None:
    image = picture("Jay")
    one = struct.pack("<I", len(image)) + image
    sized = {"binary_data_size": len(one)}
    one_in_json = base64.b64encode(image).decode()
    refused: list[tuple[Any, bytes]] = [
        ([], b""),
        ({}, b""),
        ({"inputs": "image"}, b""),
        ({"inputs": [{"name": "other"}]}, b""),
        (asked(data=["no base64!"]), b""),
        (asked(data=[5]), b""),
        (asked(), b""),
        (asked(shape=[0], data=[]), b""),
        (asked(shape=[2], parameters=sized), one),
        (asked(shape=[1, 2], parameters=sized), one),
        (asked(parameters={"binary_data_size": 3}), one),
        (asked(parameters={"binary_data_size": 2}), one[:2]),
        (asked(parameters={"binary_data_size": 9}), one[:9]),
        (asked(datatype="FP32", data=[1.0]), b""),
        (asked(datatype="UINT8", shape=[1, 2, 2, 3], data=[1] * 11), b""),
        (asked(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 256]), b""),
        (asked(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, "x"]), b""),
        (asked(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, "12"]), b""),
        (asked(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, True]), b""),
        (asked(datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 10**400]), b""),
        (asked(datatype="UINT8", shape=[1, 1, 1, 3], data=[[1, 2], 3]), b""),
        (asked(shape=[10**9], data=["YQ=="]), b""),
        ({**asked(data=["YQ=="]), "parameters": {"top_k": 0}}, b""),
        ({**asked(data=["YQ=="]), "outputs": [{"name": "other"}]}, b""),
        ({**asked(data=[one_in_json]), "outputs": [{"name": "embedding"}] * 2}, b""),
        ({**asked(data=["YQ=="]), "id": 5}, b""),
        (asked(data=["YQ=="]), b""),  # no image
    ]
    for content, binary in refused:
        response = infer(http, content, binary)
        assert response.status_code == 400, (content, response.text)
        assert response.json().keys() == {"error"}
    assert http.post("/v2/models/fake/infer", content=b"{").status_code == 400
    for path in ("/v2/models/other", "/v2/models/fake/versions/2", "/v2/models/other/ready"):
        response = http.get(path)
        assert response.status_code == 404
        assert "fake" in response.json()["error"]


@pytest.mark.parametrize("length", [b"99", b"-1", b"", b"1.0", b"\xb2", b"9" * 5000])
def test_a_header_that_is_not_the_length_of_the_json_is_refused(
    http: httpx.Client, length: bytes
) -> None:
    headers = {b"Inference-Header-Content-Length": length}
    response = http.post("/v2/models/fake/infer", content=b"{}x", headers=headers)
    assert response.status_code == 400
    assert "the body has 3 bytes" in response.json()["error"]
