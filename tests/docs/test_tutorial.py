"""The tutorial's three commands, run as they stand in the document."""

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TUTORIAL = REPOSITORY / "docs" / "tutorial.md"
START_LIMIT_S = 120
UNSEEN = {"red_square", "blue_bar"}


def blocks() -> list[list[str]]:
    """The document's shell blocks, each as its lines."""
    return [
        block.splitlines()
        for block in re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text(), re.M | re.S)
    ]


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """A shell's in the checkout, with the environment's programs first; any free port will do."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("UMZERO_")}
    path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", "")))
    return {**kept, "PATH": path, "PYTHONPATH": str(REPOSITORY), "UMZERO_PORT": "0"}


def test_three_commands_lead_from_nothing_to_a_service_that_knows_its_classes(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    draw, train, serve = blocks()[0]
    for command in (draw, train):
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"

    server = subprocess.Popen(
        shlex.split(serve),
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(START_LIMIT_S, server.kill)
    watchdog.start()
    try:
        assert server.stdout is not None
        line = next((text for text in server.stdout if " at http://" in text), "")
        assert line, "the service ended before it was ready"
        url = line.rsplit(" ", 1)[1].strip()
        classes = {
            path.name: path / "0.png" for path in (tmp_path / "runs/shapes/images").iterdir()
        }
        assert len(classes) == 9

        with httpx.Client(base_url=url, timeout=60) as client:
            ids = {item["class_id"] for item in client.get("/classes").json()["classes"]}
            assert ids == classes.keys() - UNSEEN
            right = [best(client, classes[name]) == name for name in ids]
            assert sum(right) > len(right) / 2  # by chance it would be one in seven

            sheet = {"colour": "red", "shape": "square"}
            body = {"class_id": "red_square", "name": "Red square", "attributes": sheet}
            client.post("/classes", json=body).raise_for_status()
            answer = classify(client, classes["red_square"], "top_k=8")
            assert "red_square" in {item["class_id"] for item in answer}

        server.send_signal(signal.SIGTERM)
        assert server.wait(60) in (0, -signal.SIGTERM)
    finally:
        watchdog.cancel()
        server.kill()
        server.wait()


def test_the_requests_of_the_document_name_what_the_first_command_draws() -> None:
    text = TUTORIAL.read_text()

    for picture in re.findall(r"image=@runs/shapes/images/(\w+)/0\.png", text):
        colour, shape = picture.split("_")
        assert colour in {"red", "green", "blue"}
        assert shape in {"disc", "square", "bar"}
    assert "umzero data check" in text


def classify(client: httpx.Client, photo: Path, query: str) -> list[dict[str, object]]:
    response = client.post(f"/classify?{query}", files={"image": photo.read_bytes()})
    response.raise_for_status()
    predictions: list[dict[str, object]] = response.json()["predictions"]
    return predictions


def best(client: httpx.Client, photo: Path) -> object:
    return classify(client, photo, "top_k=1")[0]["class_id"]
