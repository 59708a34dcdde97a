"""Every row of the contract of `POST /classify`, over a real socket."""

import base64
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from model.bundle import Bundle

Picture = Callable[..., bytes]
Problem = Callable[..., dict[str, Any]]

KITE = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}


def best(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    name: str = response.json()["predictions"][0]["name"]
    return name


def register(http: httpx.Client, name: str = "Kite", **sheet: Any) -> dict[str, Any]:
    response = http.post("/classes", json={"name": name, "attributes": sheet or KITE})
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_the_answer_has_the_shape_of_the_contract(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    answer = http.post("/classify", content=picture("Jay")).json()

    assert answer.keys() == {
        "predictions",
        "known",
        "attributes",
        "bundle",
        "revision",
        "timings_ms",
    }
    assert (answer["bundle"], isinstance(answer["revision"], int)) == ("fake", True)
    assert answer["timings_ms"].keys() == {"decode", "inference", "score", "total"}
    for item in answer["predictions"]:
        assert item.keys() == {"class_id", "name", "score", "probability", "seen"}
    scores = [item["score"] for item in answer["attributes"]]
    assert scores == sorted(scores, reverse=True)
    strongest = {item["name"] for item in answer["attributes"][:3]}
    assert strongest == {"has_crown::blue", "has_breast::green", "has_wing::blue"}
    assert answer["attributes"][0]["score"] == pytest.approx(100, abs=5)


def test_with_or_without_a_query_the_answer_is_the_same(
    http: httpx.Client, picture: Picture
) -> None:
    # Without one, a request takes a shorter way through the service.
    for body in (picture("Jay"), b"no image", b""):
        short = http.post("/classify", content=body)
        whole = http.post("/classify", content=body, params={"top_k": 5})
        assert short.status_code == whole.status_code
        assert short.headers.keys() == whole.headers.keys()
        assert without_timings(short) == without_timings(whole)


def without_timings(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    answer.pop("timings_ms", None)
    return answer


@pytest.mark.parametrize(
    "kind",
    [
        "image/png",
        "image/jpeg",
        "application/octet-stream",
        "application/x-www-form-urlencoded",  # what curl says of --data-binary
        None,
    ],
)
def test_a_raw_image_is_classified(http: httpx.Client, picture: Picture, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}

    assert best(http.post("/classify", content=picture("Robin"), headers=headers)) == "Robin"


def test_an_image_in_a_form_is_classified(http: httpx.Client, picture: Picture) -> None:
    files = {"image": ("photo.jpg", picture("Parrot", "JPEG"), "image/jpeg")}

    assert best(http.post("/classify", files=files)) == "Parrot"


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_an_image_in_base64_is_classified(
    http: httpx.Client, picture: Picture, prefix: str
) -> None:
    text = prefix + base64.b64encode(picture("Cardinal")).decode()

    assert best(http.post("/classify", json={"image": text})) == "Cardinal"


def test_a_body_of_unknown_length_is_classified(http: httpx.Client, picture: Picture) -> None:
    data = picture("Jay")
    parts = (data[start : start + 100] for start in range(0, len(data), 100))

    assert best(http.post("/classify", content=parts)) == "Jay"


def test_several_images_have_a_result_each_and_a_bad_one_its_problem(
    http: httpx.Client, picture: Picture
) -> None:
    images = [picture("Jay"), b"not an image", picture("Robin")]
    as_form = http.post("/classify", files=[("image", ("x", data)) for data in images])
    encoded = [base64.b64encode(data).decode() for data in images]
    as_json = http.post("/classify", json={"image": [*encoded[:2], "!", encoded[2]]})

    for response, bad in ((as_form, [1]), (as_json, [1, 2])):
        assert response.status_code == 200
        answer = response.json()
        assert answer.keys() == {"results", "bundle", "revision", "timings_ms"}
        results = answer["results"]
        good = [result["predictions"][0]["name"] for result in results if "problem" not in result]
        assert good == ["Jay", "Robin"]
        assert [i for i, result in enumerate(results) if "problem" in result] == bad
        assert results[1]["problem"]["code"] == "image_unreadable"
        assert results[1]["problem"]["status"] == 422
        assert all("attributes" in result for result in results if "problem" not in result)
    assert as_json.json()["results"][2]["problem"]["code"] == "base64_invalid"


def test_a_large_answer_has_the_results_of_small_ones(http: httpx.Client, picture: Picture) -> None:
    sheets = [{"name": f"Kite {n}", "attributes": KITE} for n in range(200)]
    http.post("/classes", json={"classes": sheets}).raise_for_status()
    images = [picture(name) for name in ("Jay", "Robin", "Parrot", "Cardinal")]
    every = {"top_k": 1000}

    files = [("image", image) for image in (*images * 13, b"no image")]
    answer = http.post("/classify", files=files, params=every).json()

    alone = [http.post("/classify", content=image, params=every).json() for image in images]
    *found, bad = answer["results"]
    assert sum(len(result["predictions"]) for result in found) == 52 * 204
    for result, expected in zip(found, alone * 13, strict=True):
        assert result.keys() == {"predictions", "known", "attributes"}
        assert result == {key: expected[key] for key in result}
    assert bad["problem"]["code"] == "image_unreadable"
    assert (answer["bundle"], answer["revision"]) == ("fake", alone[0]["revision"])


@pytest.mark.parametrize("count", [1, 3, 50])
def test_top_k_is_clamped_to_the_candidates(
    http: httpx.Client, picture: Picture, count: int
) -> None:
    response = http.post("/classify", params={"top_k": count}, content=picture("Jay"))

    assert len(response.json()["predictions"]) == min(count, 4)


def test_scores_are_logits_before_gamma_and_probabilities_come_after_it(
    http: httpx.Client, picture: Picture
) -> None:
    register(http)
    answers = {
        gamma: http.post(
            "/classify", params={"gamma": gamma, "top_k": 9}, content=picture("Robin")
        ).json()["predictions"]
        for gamma in (0, 4.25, -3)
    }
    scores = {item["class_id"]: item["score"] for item in answers[0]}

    for gamma, predictions in answers.items():
        assert len(predictions) == 5
        powers = {}
        for item in predictions:
            assert item["score"] == pytest.approx(scores[item["class_id"]])
            powers[item["class_id"]] = math.exp(item["score"] - gamma * item["seen"])
        for item in predictions:
            expected = powers[item["class_id"]] / sum(powers.values())
            assert item["probability"] == pytest.approx(expected, rel=1e-3, abs=1e-9)
        listed = [item["probability"] for item in predictions]
        assert listed == sorted(listed, reverse=True)


def test_the_bundles_gamma_counts_when_none_is_given(
    http: httpx.Client, picture: Picture, bundle: Bundle
) -> None:
    register(http)
    image = picture("Robin")
    default = http.post("/classify", content=image).json()["predictions"]
    named = http.post("/classify", params={"gamma": bundle.manifest.gamma}, content=image).json()[
        "predictions"
    ]
    none = http.post("/classify", params={"gamma": 0}, content=image).json()["predictions"]

    assert default == named
    assert default != none


def test_a_large_gamma_puts_every_unseen_class_first(http: httpx.Client, picture: Picture) -> None:
    register(http)

    assert best(http.post("/classify?gamma=1000", content=picture("Robin"))) == "Kite"


def test_scope_chooses_among_seen_and_unseen(http: httpx.Client, picture: Picture) -> None:
    register(http)
    seen = {
        scope: [
            item["seen"]
            for item in http.post(
                "/classify", params={"scope": scope, "top_k": 9}, content=picture("Jay")
            ).json()["predictions"]
        ]
        for scope in ("all", "seen", "unseen")
    }

    assert (len(seen["all"]), seen["seen"], seen["unseen"]) == (5, [True] * 4, [False])


def test_classes_restrict_the_candidates(http: httpx.Client, picture: Picture) -> None:
    response = http.post("/classify?classes=jay,%20parrot,jay", content=picture("Robin"))

    predictions = response.json()["predictions"]
    assert {item["class_id"] for item in predictions} == {"jay", "parrot"}
    assert sum(item["probability"] for item in predictions) == pytest.approx(1)


def test_a_box_is_in_pixels_of_the_upright_original(http: httpx.Client, picture: Picture) -> None:
    both = Image.new("RGB", (192, 96))
    both.paste(Image.open(io.BytesIO(picture("Robin"))), (0, 0))
    both.paste(Image.open(io.BytesIO(picture("Parrot"))), (96, 0))
    turned = both.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise by 90 degrees
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)

    def seen_in(box: str) -> str:
        return best(http.post("/classify", params={"box": box}, content=file.getvalue()))

    assert seen_in("0,0,96,96") == "Robin"
    assert seen_in("96,0,96,96") == "Parrot"
    assert seen_in("96.0,-50,5000,146") == "Parrot"


def test_two_looks_say_where_the_second_one_was(http: httpx.Client, picture: Picture) -> None:
    once = http.post("/classify", params={"look": 1}, content=picture("Jay")).json()
    twice = http.post("/classify", params={"look": 2}, content=picture("Jay")).json()
    boxed = http.post("/classify?look=2&box=10,20,500,30.5", content=picture("Jay")).json()

    assert {"looks", "window"}.isdisjoint(once)
    assert twice.keys() == once.keys() | {"looks", "window"}
    # The fake network finds no foreground: the window is the whole picture.
    assert (twice["looks"], twice["window"]) == (2, [0, 0, 96, 96])
    assert boxed["window"] == [10, 20, 86, 31]
    for item, expected in zip(twice["predictions"], once["predictions"], strict=True):
        assert item["class_id"] == expected["class_id"]
        assert item["score"] == pytest.approx(expected["score"], abs=1e-4)


def test_each_of_several_images_gets_a_second_look_of_its_own(
    http: httpx.Client, picture: Picture
) -> None:
    images = [picture("Jay"), b"not an image", picture("Robin", "JPEG", 64)]
    files = [("image", ("x", data)) for data in images]

    answer = http.post("/classify", params={"look": 2}, files=files).json()

    windows = [result.get("window") for result in answer["results"]]
    assert windows == [[0, 0, 96, 96], None, [0, 0, 64, 64]]
    assert answer["results"][1]["problem"]["code"] == "image_unreadable"
    assert [answer["results"][i]["predictions"][0]["name"] for i in (0, 2)] == ["Jay", "Robin"]
    assert {"looks", "window"}.isdisjoint(answer)


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ("1,2,3", "box_invalid"),
        ("a,b,c,d", "box_invalid"),
        ("nan,0,5,5", "box_invalid"),
        ("0,0,inf,5", "box_invalid"),
        ("0,0,0,5", "box_invalid"),
        ("0,0,5,-5", "box_invalid"),
        ("500,0,5,5", "box_outside"),
        ("-10,0,10,10", "box_outside"),
    ],
)
def test_a_box_that_can_not_be_used_is_refused(
    http: httpx.Client, picture: Picture, problem: Problem, box: str, code: str
) -> None:
    problem(http.post("/classify", params={"box": box}, content=picture("Jay")), 422, code)


@pytest.mark.parametrize(
    "query",
    [
        "top_k=0",
        "top_k=-1",
        "top_k=many",
        "gamma=nan",
        "gamma=inf",
        "gamma=1e300",
        "gamma=x",
        "scope=some",
        "min_revision=-1",
        "min_revision=x",
        "look=0",
        "look=3",
        "look=x",
        "look=1.5",
    ],
)
def test_a_question_that_makes_no_sense_is_refused(
    http: httpx.Client, picture: Picture, problem: Problem, query: str
) -> None:
    body = problem(http.post(f"/classify?{query}", content=picture("Jay")), 422, "validation")

    assert query.split("=", maxsplit=1)[0] in body["errors"][0]["field"]


def test_unknown_candidates_are_a_404(
    http: httpx.Client, picture: Picture, problem: Problem
) -> None:
    response = http.post("/classify?classes=jay,dodo", content=picture("Jay"))

    assert "dodo" in problem(response, 404, "unknown_class")["detail"]


@pytest.mark.parametrize("query", ["scope=unseen", "classes=jay&scope=unseen", "classes="])
def test_a_choice_without_candidates_is_refused(
    http: httpx.Client, picture: Picture, problem: Problem, query: str
) -> None:
    problem(http.post(f"/classify?{query}", content=picture("Jay")), 422, "no_candidates")


def test_a_client_reads_its_own_writes(http: httpx.Client, picture: Picture) -> None:
    revision = register(http)["revision"]

    response = http.post(f"/classify?min_revision={revision}", content=picture(KITE))

    assert best(response) == "Kite"
    assert response.json()["revision"] >= revision


def test_a_revision_that_does_not_come_is_a_503(
    http: httpx.Client, picture: Picture, problem: Problem
) -> None:
    response = http.post("/classify?min_revision=1000000", content=picture("Jay"))

    problem(response, 503, "revision_unavailable")
    assert int(response.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"content-type": "text/plain"}, b"x", 415, "unsupported_media_type"),
        ({"content-type": "application/json"}, b"{", 400, "json_invalid"),
        ({"content-type": "application/json"}, b"{}", 422, "image_missing"),
        ({"content-type": "application/json"}, b'{"image":"@"}', 400, "base64_invalid"),
        (
            {"content-type": "application/json"},
            b'{"image":"QQ==","image":"QQ=="}',
            422,
            "duplicate_key",
        ),
        ({"content-type": "multipart/form-data"}, b"x", 400, "multipart_invalid"),
        ({"content-encoding": "gzip"}, b"x", 415, "unsupported_encoding"),
    ],
)
def test_a_body_of_the_wrong_kind_has_a_code(
    http: httpx.Client,
    problem: Problem,
    headers: dict[str, str],
    content: bytes,
    status: int,
    code: str,
) -> None:
    problem(http.post("/classify", headers=headers, content=content), status, code)


def test_a_form_without_an_image_says_so(http: httpx.Client, problem: Problem) -> None:
    problem(http.post("/classify", files={"photo": b"x"}), 422, "image_missing")


def test_openapi_tells_every_way_to_send_an_image_and_every_problem(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    operation = document["paths"]["/classify"]["post"]

    assert set(operation["requestBody"]["content"]) == {
        "multipart/form-data",
        "image/*",
        "application/octet-stream",
        "application/json",
    }
    named = {item["name"] for item in operation["parameters"] if item["in"] == "query"}
    assert named == {
        "collection",
        "top_k",
        "classes",
        "scope",
        "gamma",
        "min_revision",
        "box",
        "look",
        "known_threshold",
    }
    for status in ("400", "404", "408", "413", "415", "422", "500", "503"):
        content = operation["responses"][status]["content"]
        assert list(content) == ["application/problem+json"]
    referenced = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {text.split('"')[0] for text in referenced} <= set(document["components"]["schemas"])
    assert http.get("/docs").status_code == 200


def test_every_reference_of_openapi_leads_somewhere(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()

    def references(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("$ref"), str):
                yield node["$ref"]
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                yield from references(item)

    found = set(references(document))
    assert "#/components/schemas/NewClassBody" in found
    for reference in found:
        target = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in target, reference
            target = target[step]


@pytest.mark.parametrize("gamma", [-1e6, 1e6])
def test_a_huge_gamma_changes_nothing_among_the_seen(
    http: httpx.Client, picture: Picture, gamma: float
) -> None:
    def asked(value: float) -> Any:
        query = {"scope": "seen", "gamma": value, "top_k": 100}
        return http.post("/classify", params=query, content=picture("Robin")).json()["predictions"]

    for shifted, plain in zip(asked(gamma), asked(0), strict=True):
        assert shifted["class_id"] == plain["class_id"]
        assert shifted["probability"] == pytest.approx(plain["probability"], abs=1e-4)


def test_no_part_of_the_time_is_longer_than_all_of_it(http: httpx.Client, picture: Picture) -> None:
    files = [("image", picture("Robin"))] * 8
    timings = http.post("/classify", files=files).json()["timings_ms"]
    assert max(timings.values()) == timings["total"]
