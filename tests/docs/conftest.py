"""A server of the birds, and folders with the files that the pages speak of."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.docs.running import Served
from tests.pictures import quarters
from tests.shapes import write_shapes


@pytest.fixture(scope="session")
def birds_server(birds_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    served = Served(f"umzero serve --bundle {birds_bundle}", tmp_path_factory.mktemp("birds"))
    yield served
    assert served.process.poll() is None, "the server ended before the pages did"
    served.stop()


@pytest.fixture
def birds_url(birds_server: Served) -> Iterator[str]:
    """A server that has the bundle's classes alone, before and after a test."""
    yield birds_server.url
    with httpx.Client(base_url=birds_server.url) as client:
        for item in client.get("/classes", params={"limit": 1000}).json()["classes"]:
            if not item["seen"]:
                client.delete(f"/classes/{item['class_id']}").raise_for_status()


@pytest.fixture
def furnish(birds_bundle: Path) -> Callable[[Path], None]:
    """Puts into a folder what a reader has: photographs, a data set, the checkout's bundle."""

    def put(folder: Path) -> None:
        photographs = ["photo.jpg", "another.jpg", "one.jpg", "two.jpg", "frame.jpg"]
        photographs += [f"photos/{i}.jpg" for i in range(3)]
        photographs += ["labelled/073.Blue_Jay/0.jpg", "labelled/pileated/0.jpg"]
        for i, name in enumerate(photographs):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            quarters(400 + i, 300).save(path)
        write_shapes(folder / "my-data")
        shutil.copytree(birds_bundle, folder / "weights" / "birds", copy_function=_linked)

    return put


def _linked(source: str, target: str) -> None:
    Path(target).symlink_to(source)
