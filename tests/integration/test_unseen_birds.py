"""The whole way on real birds: a class that nobody trained on, over HTTP, through a crash."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from model.data.cub import read_cub
from model.data.types import ZeroShotData

PHOTOGRAPHS = 12


class Server:
    """`umzero serve` in a process of its own, on a port of its own choosing."""

    def __init__(self, bundle: Path, state: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "umzero.cli", "serve", "--port", "0", "--bundle", str(bundle)],
            # What the manifest's scores were measured in.
            env={**os.environ, "UMZERO_STATE_DIR": str(state), "UMZERO_PRECISION": "fp32"},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("serving birds at http"), line
        self.http = httpx.Client(base_url=line.split()[-1], timeout=30)

    def kill(self) -> None:
        self.http.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def birds(birds_dir: Path) -> ZeroShotData:
    return read_cub(birds_dir)


@pytest.fixture
def server(birds_bundle: Path, tmp_path: Path) -> Iterator[Server]:
    server = Server(birds_bundle, tmp_path)
    yield server
    server.kill()


def share_classified_as(http: httpx.Client, birds: ZeroShotData, index: int, **query: str) -> float:
    """The share of a class's photographs whose best class is it."""
    images = birds.test_unseen[birds.labels[birds.test_unseen] == index][:PHOTOGRAPHS]
    files = [("image", birds.images[i].read_bytes()) for i in images]
    answer = http.post("/classify", files=files, params={"top_k": 1, **query}).json()
    best = [result["predictions"][0]["class_id"] for result in answer["results"]]
    return float(np.mean([class_id == birds.class_names[index] for class_id in best]))


def one_choice_a_group(birds: ZeroShotData, index: int) -> dict[str, str]:
    """What a field guide says: the strongest value of each group."""
    sheet = birds.class_attributes[index]
    best: dict[str, int] = {}
    for position, group in enumerate(birds.attribute_groups):
        if group not in best or sheet[position] > sheet[best[group]]:
            best[group] = position
    return {g: birds.attribute_names[p].partition("::")[2] for g, p in best.items()}


def test_an_unseen_species_works_from_each_form_of_its_sheet_and_survives_a_crash(
    birds_bundle: Path, birds: ZeroShotData, tmp_path: Path
) -> None:
    chosen = [birds.class_names.index(n) for n in ("087.Mallard", "070.Green_Violetear")]
    chosen.append(birds.class_names.index("188.Pileated_Woodpecker"))
    numbers = [float(v) for v in birds.class_attributes[chosen[0]]]
    named = dict(
        zip(birds.attribute_names, map(float, birds.class_attributes[chosen[1]]), strict=True)
    )
    spoken = one_choice_a_group(birds, chosen[2])
    assert len(spoken) == 28

    server = Server(birds_bundle, tmp_path)
    for index, sheet in zip(chosen, (numbers, named, spoken), strict=True):
        body = {
            "class_id": birds.class_names[index],
            "name": birds.display_names[index],
            "attributes": sheet,
        }
        answer = server.http.post("/classes", json=body)
        assert answer.status_code == 201, answer.text
        (registered,) = answer.json()["classes"]
        assert (registered["given"], registered["filled"]) == (312, 0)
    for index in chosen:
        # All 79 seen species are candidates beside the three new ones.
        assert share_classified_as(server.http, birds, index) >= 0.5
    before = [server.http.get(f"/classes/{birds.class_names[i]}").json() for i in chosen]
    server.kill()

    again = Server(birds_bundle, tmp_path)
    try:
        for index, known in zip(chosen, before, strict=True):
            assert again.http.get(f"/classes/{birds.class_names[index]}").json() == known
            assert share_classified_as(again.http, birds, index) >= 0.5
    finally:
        again.kill()


def test_over_http_the_unseen_species_score_what_the_manifest_says(
    server: Server, birds: ZeroShotData, birds_bundle: Path
) -> None:
    classes = [
        {
            "class_id": birds.class_names[i],
            "name": birds.display_names[i],
            "attributes": [float(v) for v in birds.class_attributes[i]],
        }
        for i in birds.unseen
    ]
    assert server.http.post("/classes", json={"classes": classes}).status_code == 201
    right: dict[int, list[bool]] = {i: [] for i in birds.unseen}
    for start in range(0, len(birds.test_unseen), 100):
        images = birds.test_unseen[start : start + 100]
        files = [("image", birds.images[i].read_bytes()) for i in images]
        answer = server.http.post("/classify", files=files, params={"scope": "unseen", "top_k": 1})
        for image, result in zip(images, answer.json()["results"], strict=True):
            label = int(birds.labels[image])
            best = result["predictions"][0]["class_id"]
            right[label].append(best == birds.class_names[label])
    czsl = np.mean([np.mean(answers) for answers in right.values()])
    recorded = json.loads((birds_bundle / "manifest.json").read_text())["scores"]["czsl"]
    assert czsl == pytest.approx(recorded, abs=0.005)
