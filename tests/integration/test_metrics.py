import subprocess
from collections.abc import Callable

import httpx


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
