import base64
import io
import json
import subprocess
from collections.abc import Callable

import httpx
import numpy as np
from PIL import Image

from tests.integration.conftest import Server


def test_prometheus_own_linter_finds_nothing(
    http: httpx.Client, picture: Callable[..., bytes], promtool: str
) -> None:
    assert http.post("/classify", content=picture("Robin")).status_code == 200
    assert http.post("/classify", content=b"no image").status_code == 422
    exposition = http.get("/metrics").text
    assert "umzero_request_duration_seconds_bucket" in exposition
    assert "\numzero_workers 1.0\n" in exposition
    told = subprocess.run(
        [promtool, "check", "metrics"],
        input=exposition,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (told.returncode, told.stdout) == (0, "")


def test_every_image_that_is_decoded_is_in_the_metric_and_no_other(
    shared_server: Server, http: httpx.Client, picture: Callable[..., bytes]
) -> None:
    image = picture("Robin")
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
    kite = {"name": "Kite", "attributes": {"has_wing": "red"}}
    draft = {"image": image, "class": json.dumps(kite).encode()}
    examples = [base64.b64encode(image).decode()] * 3
    tensor = {"name": "image", "datatype": "UINT8", "shape": pixels.shape, "data": pixels.tolist()}

    def decoded() -> float:
        return shared_server.metric("umzero_decode_duration_seconds_count")

    for path, sent, count in (
        ("/classify", {"content": image}, 1),
        ("/classify", {"files": [("image", image), ("image", image), ("image", b"none")]}, 2),
        ("/explain?class_id=robin", {"content": image}, 1),
        ("/describe", {"files": [("image", image)] * 2}, 2),
        ("/preview", {"files": draft}, 1),
        ("/classes", {"json": kite | {"examples": examples}}, 3),
        ("/v2/models/fake/infer", {"json": {"inputs": [tensor]}}, 0),
    ):
        before = decoded()
        http.post(path, **sent).raise_for_status()
        assert decoded() - before == count, path
