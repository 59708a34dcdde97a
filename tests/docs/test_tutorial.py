"""The tutorial, followed as it stands there: from nothing to a service that knows its classes."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.docs.blocks import DOCS, blocks_of
from tests.docs.running import Reader
from tests.shapes import write_shapes

UNSEEN = {"red_square", "blue_bar"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """One who has followed the whole page, and whose server still runs."""
    folder = tmp_path_factory.mktemp("tutorial")
    write_shapes(folder / "my-data")
    blocks = blocks_of("docs/tutorial.md", (DOCS / "tutorial.md").read_text())
    with Reader(folder, "") as following:
        following.follow(blocks)
        yield following


def test_the_service_knows_the_classes_that_were_drawn(reader: Reader) -> None:
    drawn = {path.name: path / "0.png" for path in (reader.folder / "runs/shapes/images").iterdir()}
    assert len(drawn) == 9

    with httpx.Client(base_url=reader.url, timeout=60) as client:
        listed = client.get("/classes").json()["classes"]
        ids = {item["class_id"] for item in listed if item["seen"]}
        assert ids == drawn.keys() - UNSEEN
        right = [classify(client, drawn[name])[0]["class_id"] == name for name in ids]
        assert sum(right) > len(right) / 2  # by chance it would be one in eight


def test_the_class_that_the_page_registers_is_a_candidate(reader: Reader) -> None:
    photo = reader.folder / "runs/shapes/images/red_square/0.png"

    with httpx.Client(base_url=reader.url, timeout=60) as client:
        answer = classify(client, photo)

    assert {item["class_id"]: item["seen"] for item in answer}["red_square"] is False


def test_the_service_ends_when_it_is_told_to(reader: Reader) -> None:
    assert reader.served is not None

    assert reader.served.stop() in (0, -signal.SIGTERM)


def classify(client: httpx.Client, photo: Path) -> list[dict[str, object]]:
    response = client.post("/classify?top_k=8", files={"image": photo.read_bytes()})
    response.raise_for_status()
    predictions: list[dict[str, object]] = response.json()["predictions"]
    return predictions
