"""`examples`, photographs of a class, in POST and PUT /classes and in POST /preview."""

import base64
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from model.bundle import Bundle
from model.preprocess import to_input
from model.runtime.fake import FakeBackend, draw, write_fake_bundle
from model.sheets import fill
from tests.integration.test_preview_contract import previewed

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]
Start = Callable[..., Any]
Score = Callable[..., float]

COUNTS = 2.0  # what a sheet counts for, in photographs
SHEET = {"has_crown": "blue", "has_breast": "red", "has_wing": "green"}
# It looks like this rather than like its sheet, and like none of the bundle's classes.
LOOKS = {"has_crown": "green", "has_breast": "blue", "has_wing": "red"}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One that says what a sheet counts for."""
    path = tmp_path_factory.mktemp("calibrated") / "fake"
    return write_fake_bundle(path, calibration={"sheet_counts": COUNTS})


@pytest.fixture(scope="module")
def score(bundle: Bundle) -> Iterator[Score]:
    """The score that a class of a sheet and photographs must have on an image, written out."""
    backend, space = FakeBackend.of(bundle), bundle.manifest.attributes

    def seen(image: bytes) -> list[float]:
        pixels = to_input(image, bundle.manifest.input_size, 10**8)
        row: list[float] = backend.embed(pixels[None]).embedding[0].tolist()
        return row

    def unit(row: Sequence[float]) -> list[float]:
        length = math.sqrt(math.fsum(value * value for value in row))
        return [value / length for value in row]

    def expected(image: bytes, sheet: Any, photographs: Sequence[bytes]) -> float:
        values = fill(sheet, space).values.astype(np.float32)
        row = backend.prototypes(values[None])[0].tolist()
        if photographs:
            columns = zip(*map(seen, photographs), strict=True)
            mean = unit([math.fsum(column) / len(photographs) for column in columns])
            share = len(photographs) / (len(photographs) + COUNTS)
            row = unit([(1 - share) * a + share * b for a, b in zip(row, mean, strict=True)])
        cosine = math.fsum(a * b for a, b in zip(seen(image), row, strict=True))
        return cosine / bundle.manifest.temperature

    yield expected
    backend.close()


def photographs_of(bundle: Bundle, count: int, seed: int = 0) -> list[bytes]:
    """Pictures of sheets near `LOOKS`, no two the same."""
    space = bundle.manifest.attributes
    near, random = fill(LOOKS, space).values, np.random.default_rng(seed)
    sheets = [(near + random.normal(0, 15, 9)).clip(0, 100) for _ in range(count)]
    return [draw(sheet.astype(np.float32), space) for sheet in sheets]


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def body_of(photographs: Sequence[bytes] = (), **more: Any) -> dict[str, Any]:
    examples = [base64_of(photograph) for photograph in photographs]
    body = {"name": "New", "class_id": "new", "attributes": SHEET, "examples": examples}
    return body | more


def register(http: httpx.Client, photographs: Sequence[bytes] = (), **more: Any) -> dict[str, Any]:
    response = http.post("/classes", json=body_of(photographs, **more))
    assert response.status_code == 201, response.text
    (made,) = response.json()["classes"]
    assert isinstance(made, dict)
    return made


def scores(http: httpx.Client, image: bytes, **params: Any) -> dict[str, float]:
    answer = http.post("/classify", content=image, params={"top_k": 100, **params})
    assert answer.status_code == 200, answer.text
    return {item["class_id"]: item["score"] for item in answer.json()["predictions"]}


def examples_of(http: httpx.Client, class_id: str = "new") -> tuple[int, int]:
    """How many photographs a class has by itself, and by the list."""
    listed = http.get("/classes", params={"limit": 1000}).json()["classes"]
    (shown,) = [item["examples"] for item in listed if item["class_id"] == class_id]
    return http.get(f"/classes/{class_id}").json()["examples"], shown


@pytest.mark.parametrize("count", [0, 1, 2, 16])
def test_the_score_is_of_sheet_and_photographs_together(
    http: httpx.Client, picture: Picture, bundle: Bundle, score: Score, count: int
) -> None:
    photographs = photographs_of(bundle, count)

    made = register(http, photographs)

    assert (made["examples"], made["given"], made["filled"]) == (count, 9, 0)
    assert examples_of(http) == (count, count)
    assert examples_of(http, "jay") == (0, 0)
    sheet = http.get("/classes/new").json()["attributes"]
    assert sheet == [0, 0, 100, 100, 0, 0, 0, 100, 0]  # photographs leave it alone
    for image in (picture(SHEET), picture(LOOKS), picture("Robin")):
        expected = score(image, SHEET, photographs)
        assert scores(http, image)["new"] == pytest.approx(expected, abs=1e-4)


def test_with_its_photographs_a_class_wins_an_image_that_its_sheet_alone_loses(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    image = picture(LOOKS)
    register(http, attributes={"has_crown": "blue"})
    before = http.post("/classify", content=image).json()["predictions"]
    assert before[0]["class_id"] != "new"

    body = body_of(photographs_of(bundle, 3), attributes={"has_crown": "blue"})
    http.put("/classes/new", json=body).raise_for_status()

    after = http.post("/classify", content=image).json()["predictions"]
    assert (after[0]["class_id"], after[0]["seen"]) == ("new", False)


@pytest.mark.parametrize("gamma", [None, 0, 3, -2])
def test_it_pays_its_share_of_gamma(
    http: httpx.Client, picture: Picture, bundle: Bundle, gamma: float | None
) -> None:
    register(http, photographs_of(bundle, 3))
    register(http, name="Plain", class_id="plain", attributes={"has_wing": "red"})
    params = {"top_k": 100} if gamma is None else {"top_k": 100, "gamma": gamma}

    answer = http.post("/classify", content=picture(LOOKS), params=params).json()

    pays = {"new": 3 / (3 + COUNTS), "plain": 0.0}
    taken = bundle.manifest.gamma if gamma is None else gamma
    after = {
        item["class_id"]: item["score"] - taken * pays.get(item["class_id"], 1.0)
        for item in answer["predictions"]
    }
    total = math.fsum(map(math.exp, after.values()))
    for item in answer["predictions"]:
        expected = math.exp(after[item["class_id"]]) / total
        assert item["probability"] == pytest.approx(expected, rel=1e-3)
    assert [item["class_id"] for item in answer["predictions"]] == sorted(
        after, key=lambda class_id: -after[class_id]
    )
    unseen = scores(http, picture(LOOKS), scope="unseen")
    assert unseen.keys() == {"new", "plain"}


def test_a_class_may_be_like_another_one_and_have_photographs(
    http: httpx.Client, picture: Picture, bundle: Bundle, score: Score
) -> None:
    photographs = photographs_of(bundle, 2)
    register(http, photographs, attributes={"has_wing": "red"}, like="jay")
    register(http, name="Like the new one", class_id="second", like="new", attributes=None)

    image = picture(LOOKS)
    sheet = {"has_crown": "blue", "has_breast": "green", "has_wing": "red"}
    found = scores(http, image)
    assert found["new"] == pytest.approx(score(image, sheet, photographs), abs=1e-4)
    # `like` is about the sheet: photographs are of one class.
    assert found["second"] == pytest.approx(score(image, sheet, ()), abs=1e-4)
    assert examples_of(http, "second") == (0, 0)


def test_several_classes_are_registered_with_photographs_at_once(
    http: httpx.Client, picture: Picture, bundle: Bundle, score: Score
) -> None:
    first, second = photographs_of(bundle, 2, seed=1), photographs_of(bundle, 5, seed=2)
    batch = [
        body_of(first, name="A", class_id="a"),
        body_of((), name="B", class_id="b"),
        body_of(second, name="C", class_id="c"),
    ]

    answer = http.post("/classes", json={"classes": batch}).json()

    assert [item["examples"] for item in answer["classes"]] == [2, 0, 5]
    image = picture(LOOKS)
    found = scores(http, image)
    for class_id, photographs in (("a", first), ("b", []), ("c", second)):
        assert found[class_id] == pytest.approx(score(image, SHEET, photographs), abs=1e-4)


def test_photographs_come_as_data_urls_in_lines_and_in_every_format(
    http: httpx.Client, picture: Picture, score: Score
) -> None:
    png, jpeg = picture(LOOKS), picture("Robin", "JPEG")
    folded = "\n".join(base64_of(png)[at : at + 60] for at in range(0, 400, 60))
    assert len(base64_of(png)) < 400
    examples = [f"data:image/png;base64,{base64_of(png)}", folded, base64_of(jpeg)]

    made = register(http, examples=examples)

    assert made["examples"] == 3
    image = picture(LOOKS)
    expected = score(image, SHEET, [png, png, jpeg])
    assert scores(http, image)["new"] == pytest.approx(expected, abs=1e-4)


def test_replacing_a_class_replaces_its_photographs(
    http: httpx.Client, picture: Picture, bundle: Bundle, score: Score
) -> None:
    image, others = picture(LOOKS), photographs_of(bundle, 1, seed=7)
    register(http, photographs_of(bundle, 4))

    changed = http.put("/classes/new", json=body_of(others))

    assert changed.json()["examples"] == 1
    assert scores(http, image)["new"] == pytest.approx(score(image, SHEET, others), abs=1e-4)
    bare = {"name": "New", "attributes": SHEET}
    assert http.put("/classes/new", json=bare).json()["examples"] == 0
    assert examples_of(http) == (0, 0)
    assert scores(http, image)["new"] == pytest.approx(score(image, SHEET, ()), abs=1e-4)


def test_photographs_go_with_their_class(
    http: httpx.Client, picture: Picture, bundle: Bundle, score: Score
) -> None:
    image = picture(LOOKS)
    register(http, photographs_of(bundle, 4))

    http.delete("/classes/new").raise_for_status()

    assert "new" not in scores(http, image)
    register(http)
    assert examples_of(http) == (0, 0)
    assert scores(http, image)["new"] == pytest.approx(score(image, SHEET, ()), abs=1e-4)


def test_a_class_keeps_its_scores_when_the_server_is_killed(
    start: Start, picture: Picture, bundle: Bundle
) -> None:
    first = start()
    images = [picture(LOOKS), picture(SHEET), picture("Parrot")]
    register(first.client, photographs_of(bundle, 5))
    register(first.client, photographs_of(bundle, 1), name="Other", class_id="other", like="jay")
    before = [scores(first.client, image) for image in images]
    first.kill()

    second = start()

    for image, expected in zip(images, before, strict=True):
        assert scores(second.client, image) == pytest.approx(expected, abs=1e-5)
    assert examples_of(second.client) == (5, 5)
    second.client.delete("/classes/other").raise_for_status()
    # Another server on the same database follows, photographs and all.
    third = start(refresh_s="60")
    revision = second.client.put("/classes/new", json=body_of(photographs_of(bundle, 2))).json()
    found = scores(third.client, images[0], min_revision=revision["revision"])
    assert found == pytest.approx(scores(second.client, images[0]), abs=1e-5)
    assert "other" not in found


def test_what_explains_a_score_adds_up_to_it_with_photographs_too(
    http: httpx.Client, picture: Picture, bundle: Bundle, score: Score
) -> None:
    photographs = photographs_of(bundle, 4)
    register(http, photographs)
    register(http, name="Average", class_id="average", attributes=mean_of(bundle))

    for image in (picture(LOOKS), picture(SHEET), picture("Jay")):
        answer = http.post("/explain", content=image, params={"class_id": "new"})
        (found,) = answer.json()["explanations"]
        total = found["base"] + sum(part["contribution"] for part in found["contributions"])
        assert total == pytest.approx(found["logit"], abs=1e-4)
        assert found["logit"] == pytest.approx(scores(http, image)["new"], abs=1e-4)
        # The base is the mean sheet's score with the same photographs.
        assert found["base"] == pytest.approx(score(image, mean_of(bundle), photographs), abs=1e-4)


def mean_of(bundle: Bundle) -> list[float]:
    return [round(float(value), 6) for value in bundle.manifest.attributes.mean]


@pytest.mark.parametrize("known", [False, True], ids=["new", "in the place of a registered one"])
@pytest.mark.parametrize(
    "more", [{}, {"like": "jay", "attributes": {"has_wing": "red"}}], ids=["a sheet", "like"]
)
def test_a_preview_with_photographs_is_what_classify_answers_afterwards(
    http: httpx.Client, picture: Picture, bundle: Bundle, known: bool, more: dict[str, Any]
) -> None:
    if known:
        register(http, photographs_of(bundle, 1, seed=5), attributes={"has_crown": "red"})
    image = picture(LOOKS)
    before = http.get("/classes").json()
    draft = body_of(photographs_of(bundle, 3), **more)

    answer = previewed(http, image, draft, top_k=100, gamma=2)

    assert http.get("/classes").json() == before
    path = "/classes/new" if known else "/classes"
    http.request("PUT" if known else "POST", path, json=draft).raise_for_status()
    truth = http.post("/classify", content=image, params={"top_k": 100, "gamma": 2}).json()
    assert len(answer["predictions"]) == len(truth["predictions"]) == 5
    for found, wanted in zip(answer["predictions"], truth["predictions"], strict=True):
        assert found["class_id"] == wanted["class_id"]
        assert found["score"] == pytest.approx(wanted["score"], abs=1e-4)
        assert found["probability"] == pytest.approx(wanted["probability"], abs=1e-5)
        assert found.get("draft") == (True if found["class_id"] == "new" else None)


def test_as_many_classes_and_images_as_are_let_in_do_not_refuse_each_other(
    start: Start, picture: Picture, bundle: Bundle
) -> None:
    server = start(queue_capacity="4", lanes="1", max_batch="1", fake_delay_s="0.02")
    images = {"image": [base64_of(picture("Jay"))] * 8}
    photographs = photographs_of(bundle, 16)
    registered = threading.Event()

    def register_one(number: int) -> int:
        body = body_of(photographs, name=f"N{number}", class_id=f"n{number}")
        return httpx.post(f"{server.url}/classes", json=body, timeout=60).status_code

    def classify(_: int) -> list[int]:
        statuses = []
        with httpx.Client(base_url=server.url, timeout=60) as client:
            while not registered.is_set() or not statuses:
                statuses.append(client.post("/classify", json=images).status_code)
        return statuses

    with ThreadPoolExecutor(8) as threads:
        looking = [threads.submit(classify, number) for number in range(4)]
        try:
            written = list(threads.map(register_one, range(4)))
        finally:
            registered.set()

    assert written == [201] * 4
    assert {status for one in looking for status in one.result()} == {200}


def test_photographs_make_a_class_a_near_one(http: httpx.Client, picture: Picture) -> None:
    def similarity() -> float:
        near = http.get("/classes/new/neighbours", params={"limit": 100}).json()["neighbours"]
        (found,) = [item["similarity"] for item in near if item["class_id"] == "jay"]
        return float(found)

    register(http)
    by_sheet = similarity()
    http.put("/classes/new", json=body_of([picture("Jay")] * 5)).raise_for_status()

    assert similarity() > by_sheet + 0.2
