"""`umzero.Client` and `AsyncClient` against a real server, and what they do when it is busy."""

import asyncio
import io
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import umzero
from model.bundle import Bundle
from tests.integration.conftest import Server

Picture = Callable[..., bytes]

SHEET = {"has_crown": "blue", "has_breast": "red", "has_wing": "red"}


@pytest.fixture
def client(http: httpx.Client):
    with umzero.Client(str(http.base_url)) as client:
        yield client


def test_a_client_of_a_collection_works_in_it_alone(
    start: Callable[..., Server], picture: Picture, bundle: Bundle
) -> None:
    server, image = start(), picture(SHEET)

    async def in_fleet_b() -> list[str]:
        async with umzero.AsyncClient(server.url, collection="fleet-b") as client:
            made = await client.register("Other", SHEET, class_id="x")
            assert (await client.classify(image, scope="unseen")).best.name == "Other"
            return [made.class_id, (await client.get("x")).name]

    with umzero.Client(server.url, collection="fleet-a") as client:
        client.register_many([umzero.NewClass("Mine", SHEET, class_id="x")])
        assert client.classify(image).best.name == "Mine"
        assert client.explain(image, "x").name == "Mine"
        assert [near.class_id for near in client.neighbours("x", 99)] != []
        assert asyncio.run(in_fleet_b()) == ["x", "Other"]
        assert client.replace("x", "Renamed", SHEET).name == "Renamed"
        assert [item.name for item in client.classes() if not item.seen] == ["Renamed"]
        client.remove("x")
        assert all(item.seen for item in client.classes())
    with umzero.Client(server.url) as client:
        assert len(list(client.classes())) == len(bundle.classes)


def test_a_class_is_registered_recognised_replaced_and_removed(
    client: umzero.Client, picture: Picture
) -> None:
    image = picture(SHEET)
    made = client.register("Of a client", SHEET, class_id="of-a-client", metadata={"by": "test"})
    assert (made.class_id, made.name, made.seen) == ("of-a-client", "Of a client", False)
    assert made.warnings == []
    found = client.classify(image, min_revision=made.revision)
    assert found.best.class_id == "of-a-client"
    assert found.bundle == "fake"
    assert "of-a-client" in {item.class_id for item in client.classes()}
    replaced = client.replace("of-a-client", "Renamed", SHEET)
    assert client.classify(image, min_revision=replaced.revision).best.name == "Renamed"
    revision = client.remove("of-a-client")
    assert client.classify(image, min_revision=revision).best.class_id != "of-a-client"


def test_a_client_classifies_by_what_it_wrote_whichever_replica_answers(
    start: Callable[..., Server], picture: Picture
) -> None:
    writes, reads = (start(refresh_s="3600") for _ in range(2))
    image = picture(SHEET)

    class Turned(httpx.HTTPTransport):
        """Questions go to the replica that didn't write."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            return super().handle_request(_turned(request, reads))

    class TurnedToo(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return await super().handle_async_request(_turned(request, reads))

    async def in_a_loop() -> None:
        async with umzero.AsyncClient(writes.url, transport=TurnedToo()) as client:
            await client.register("Of a loop", SHEET, class_id="x")
            assert (await client.classify(image)).best.name == "Of a loop"
            await client.replace("x", "Renamed", SHEET)
            assert (await client.classify(image)).best.name == "Renamed"
            await client.remove("x")
            assert (await client.classify(image)).best.seen
            await client.register_many([umzero.NewClass("Many", SHEET)])
            assert (await client.classify(image)).best.name == "Many"

    with umzero.Client(writes.url, transport=Turned()) as client:
        client.register("Mine", SHEET, class_id="x")
        assert client.classify(image, min_revision=0).best.seen
        assert client.classify(image).best.name == "Mine"
        client.replace("x", "Renamed", SHEET)
        assert client.classify_many([image])[0].best.name == "Renamed"
        client.remove("x")
        assert client.classify(image).best.seen
        client.register_many([umzero.NewClass("Many", SHEET, class_id="many")])
        assert client.classify(image).best.name == "Many"
        client.remove("many")
    asyncio.run(in_a_loop())


def _turned(request: httpx.Request, reads: Server) -> httpx.Request:
    if request.url.path == "/classify":
        host, port = reads.address
        request.url = request.url.copy_with(host=host, port=port)
    return request


def test_a_revision_that_a_database_lost_is_asked_for_once(
    start: Callable[..., Server], tmp_path: Path, picture: Picture
) -> None:
    server = start()
    with umzero.Client(server.url, retries=1) as client:
        client.register("Lost", SHEET)
        server.kill()
        start(state_dir=str(tmp_path / "another"), port=str(server.address[1]))

        with pytest.raises(umzero.RequestFailed) as caught:
            client.classify(picture("Jay"))

        assert caught.value.code == "revision_unavailable"
        assert client.classify(picture("Jay")).best.name == "Jay"


def test_a_class_may_be_like_another_one_and_have_photographs(
    client: umzero.Client, picture: Picture, tmp_path: Path
) -> None:
    data = picture(SHEET)
    path = tmp_path / "photograph.png"
    path.write_bytes(data)
    pixels = Image.open(io.BytesIO(data))

    made = client.register(
        "Of a client", {"has_wing::red": 40}, like="jay", examples=[path, data, np.asarray(pixels)]
    )

    full = client.get(made.class_id)
    assert (made.examples, full.examples, made.given) == (3, 3, 1)
    assert full.attributes == [0, 0, 100, 0, 100, 0, 40, 0, 100]
    assert {c.class_id: c.examples for c in client.classes()} == {
        made.class_id: 3,
        **dict.fromkeys(("robin", "jay", "cardinal", "parrot"), 0),
    }
    with_photographs = _score(client, data, made.class_id)
    bare = client.replace(made.class_id, "Of a client", like=made.class_id)
    assert (bare.examples, client.get(made.class_id).attributes) == (0, full.attributes)
    assert _score(client, data, made.class_id) < with_photographs - 0.5
    again = client.replace(made.class_id, "Of a client", like=made.class_id, examples=[path] * 3)
    assert again.examples == 3
    assert _score(client, data, made.class_id) == pytest.approx(with_photographs, abs=1e-5)
    two = [
        umzero.NewClass("First", like="jay", examples=[pixels]),
        umzero.NewClass("Second", like=made.class_id),
    ]
    assert [item.examples for item in client.register_many(two)] == [1, 0]
    with pytest.raises(umzero.RequestFailed, match="nobody") as refused:
        client.register_many([two[0], umzero.NewClass("Third", like="nobody")])
    assert (refused.value.code, refused.value.index) == ("unknown_class", 1)


def _score(client: umzero.Client, image: bytes, class_id: str) -> float:
    return client.classify(image, classes=[class_id]).best.score


def test_what_is_known_is_told_with_each_answer(client: umzero.Client, picture: Picture) -> None:
    image = picture("Jay")
    assert client.classify(image).known is None  # this bundle doesn't say how near is near
    assert client.classify(image, known_threshold=5).known is True
    many = client.classify_many([image, picture("Robin")], known_threshold=11)
    assert [getattr(item, "known", "refused") for item in many] == [False, False]


def test_photographs_may_be_bytes_paths_pictures_and_pixels(
    client: umzero.Client, picture: Picture, tmp_path: Path
) -> None:
    data = picture("Jay")
    path = tmp_path / "jay.png"
    path.write_bytes(data)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    for photograph in (data, path, str(path), image, np.asarray(image)):
        assert client.classify(photograph, 1).best.name == "Jay"


def test_a_question_is_asked_as_over_http(
    client: umzero.Client, http: httpx.Client, picture: Picture
) -> None:
    image = picture("Jay")
    only = client.classify(image, classes=["robin", "parrot"], gamma=0.0)
    assert {item.class_id for item in only.predictions} == {"robin", "parrot"}
    asked = client.classify(image, 2, box=(0, 0, 40, 30.5), scope="seen", look=2).predictions
    params = {"top_k": 2, "box": "0,0,40,30.5", "scope": "seen", "look": 2}
    expected = http.post("/classify", content=image, params=params).json()["predictions"]
    assert [asdict(item) for item in asked] == expected
    assert expected != http.post("/classify", content=image).json()["predictions"][:2]
    with pytest.raises(umzero.RequestFailed) as caught:
        client.classify(image, classes=["nobody"])
    assert (caught.value.status, caught.value.code) == (404, "unknown_class")


def test_explanations_and_descriptions_are_typed(
    client: umzero.Client, picture: Picture, bundle: Bundle
) -> None:
    found = client.explain(picture("Jay"), "jay")
    assert found.base + sum(found.contributions.values()) == pytest.approx(found.logit, abs=1e-4)
    assert found.sheet.keys() == set(bundle.manifest.attributes.names)
    png = client.explain_picture(picture("Jay"), "jay", "has_crown::blue")
    assert Image.open(io.BytesIO(png)).format == "PNG"
    described = client.describe(picture("Jay"), picture("Jay"))
    assert described.attributes["has_crown::blue"] == pytest.approx(100, abs=6)
    assert max(described.spread.values()) == pytest.approx(0, abs=1e-4)


def test_a_class_its_neighbours_and_the_attributes_are_what_http_says(
    client: umzero.Client, http: httpx.Client
) -> None:
    made = client.register("Near a jay", SHEET, class_id="near", metadata={"by": ["test"]})

    attributes = client.attributes()
    assert [asdict(item) for item in attributes] == http.get("/attributes").json()["attributes"]
    found = client.get("near")
    assert (found.name, found.given, found.revision) == ("Near a jay", made.given, made.revision)
    assert (found.metadata, found.origin) == ({"by": ["test"]}, "registered")
    sheet = dict(zip((item.name for item in attributes), found.attributes, strict=True))
    assert {name for name, value in sheet.items() if value == 100} == {
        f"{group}::{value}" for group, value in SHEET.items()
    }
    expected = http.get("/classes/near/neighbours", params={"limit": 2}).json()["neighbours"]
    assert [asdict(item) for item in client.neighbours("near", 2)] == expected


def test_many_classes_are_registered_all_or_none(client: umzero.Client) -> None:
    made = client.register_many(
        [umzero.NewClass("One", SHEET, class_id="one"), umzero.NewClass("Two", SHEET)]
    )
    assert [item.name for item in made] == ["One", "Two"]
    assert made[0].warnings == [
        "it is nearly the same as 'Two'; images will hardly tell them apart"
    ]
    with pytest.raises(umzero.RequestFailed) as caught:
        client.register_many([umzero.NewClass("Three", SHEET), umzero.NewClass("Two", SHEET)])
    assert (caught.value.code, caught.value.index) == ("name_taken", 1)
    assert "Three" not in {item.name for item in client.classes()}


def test_many_images_keep_their_order_and_one_bad_image_its_place(
    client: umzero.Client, picture: Picture, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["Jay", "Robin", "Cardinal", "Parrot"] * 5
    images = [picture(name) for name in names]
    images[7] = b"no image"
    found = client.classify_many(images, 1, progress=True)
    assert isinstance(found[7], umzero.RequestFailed)
    for at, (name, item) in enumerate(zip(names, found, strict=True)):
        assert at == 7 or item.best.name == name
    shown = capsys.readouterr()
    assert "images" in shown.err
    assert "20/20" in shown.err
    assert shown.out == ""


def test_the_asynchronous_client_does_the_same(http: httpx.Client, picture: Picture) -> None:
    async def test() -> None:
        async with umzero.AsyncClient(str(http.base_url)) as client:
            image = picture(SHEET)
            made = await client.register("Of a loop", SHEET, class_id="of-a-loop")
            try:
                assert (await client.classify(image)).best.class_id == "of-a-loop"
                many = await client.classify_many([image, b"x", picture("Jay")], 1)
                assert many[0].best.class_id == "of-a-loop"
                assert isinstance(many[1], umzero.RequestFailed)
                assert (await client.explain(image, "of-a-loop")).class_id == "of-a-loop"
                assert (await client.explain_picture(image, "jay")).startswith(b"\x89PNG")
                assert (await client.describe(image)).attributes
                assert (await client.get("of-a-loop")).attributes
                assert len(await client.neighbours("of-a-loop", 2)) == 2
                assert len(await client.attributes()) == 9
                missing = Path("missing.png")
                files = await client.classify_files([missing], progress=False)
                assert isinstance(files[missing], umzero.RequestFailed)
                two = await client.register_many([umzero.NewClass("Second", SHEET)])
                await client.remove(two[0].class_id)
                ids = [item.class_id async for item in client.classes()]
                assert "of-a-loop" in ids
                again = await client.replace("of-a-loop", "Of a loop", SHEET)
                assert again.revision > made.revision
                like = await client.replace("of-a-loop", "Like", like="jay", examples=[image])
                assert like.examples == (await client.get("of-a-loop")).examples == 1
                assert (await client.classify(image, known_threshold=11)).known is False
            finally:
                await client.remove("of-a-loop")

    asyncio.run(test())


def test_a_busy_server_is_asked_again_when_it_says() -> None:
    asked: list[str] = []

    def busy_twice(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) < 3:
            problem = {"code": "overloaded", "detail": "too many requests"}
            return httpx.Response(503, headers={"Retry-After": "0"}, json=problem)
        return httpx.Response(200, json={"class_id": "a", "revision": 7})

    client = umzero.Client(transport=httpx.MockTransport(busy_twice))
    assert client.remove("a") == 7
    assert asked == ["/classes/a"] * 3
    asked.clear()
    patient = umzero.Client(retries=1, transport=httpx.MockTransport(busy_twice))
    with pytest.raises(umzero.RequestFailed) as caught:
        patient.remove("a")
    assert (caught.value.status, caught.value.code) == (503, "overloaded")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("error", "times"), [(httpx.ConnectError("no"), 2), (httpx.ReadError("cut"), 1)]
)
def test_a_removal_that_may_have_arrived_is_not_sent_again(error: Exception, times: int) -> None:
    asked = []

    def broken(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        raise error

    client = umzero.Client(retries=1, transport=httpx.MockTransport(broken))
    with pytest.raises(umzero.RequestFailed) as caught:
        client.remove("a")
    assert (caught.value.status, caught.value.code) == (0, "unreachable")
    assert len(asked) == times


class Lossy(httpx.HTTPTransport):
    """Loses the first answer on its way."""

    is_lost = False

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        if not self.is_lost:
            self.is_lost = True
            response.close()
            raise httpx.ReadError("cut")
        return response


def test_a_registration_whose_answer_was_lost_is_sent_again_and_made_once(
    shared_server: Server, http: httpx.Client
) -> None:
    before = http.get("/classes").json()["revision"]
    with umzero.Client(shared_server.url, transport=Lossy()) as client:
        made = client.register("Kite", SHEET)
    with umzero.Client(shared_server.url, transport=Lossy()) as client:
        both = client.register_many([umzero.NewClass(name, SHEET) for name in ("A", "B")])

    listed = http.get("/classes").json()
    assert listed["revision"] == before + 2
    registered = {item["class_id"] for item in listed["classes"] if not item["seen"]}
    assert registered == {made.class_id, *(item.class_id for item in both)}


def test_a_server_that_is_at_the_same_registration_is_asked_again() -> None:
    keys: list[str] = []

    def at_it(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        if len(keys) < 3:
            return httpx.Response(
                409, json={"code": "idempotency_in_progress", "detail": "try again"}
            )
        return httpx.Response(409, json={"code": "name_taken", "detail": "another's"})

    client = umzero.Client(transport=httpx.MockTransport(at_it))
    for _ in range(2):
        with pytest.raises(umzero.RequestFailed) as caught:
            client.register("Name", SHEET)
        assert caught.value.code == "name_taken"
    # One key for the three attempts, another for what is another registration.
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert len(keys) == 4


def test_an_answer_that_is_no_problem_is_told_all_the_same() -> None:
    page = httpx.Response(502, text="<h1>Bad Gateway</h1>")
    client = umzero.Client(transport=httpx.MockTransport(lambda _: page))
    with pytest.raises(umzero.RequestFailed, match="Bad Gateway") as caught:
        client.remove("a")
    assert caught.value.status == 502
