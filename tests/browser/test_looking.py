"""Photographs come in, are ranked and explained; what is shown is what the service answers."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from tests.browser.playground import Playground
from tests.integration.conftest import Server

Picture = Callable[..., bytes]


def answer(http: httpx.Client, image: bytes, **params: Any) -> list[dict[str, Any]]:
    response = http.post("/classify", content=image, params={"top_k": 4, **params})
    predictions: list[dict[str, Any]] = response.json()["predictions"]
    return predictions


def assert_shows(playground: Playground, predictions: list[dict[str, Any]]) -> None:
    """The page comes to show exactly these."""

    def check() -> None:
        ranks = playground.ranks()
        assert [(rank.name, rank.kind) for rank in ranks] == [
            (item["name"], "seen" if item["seen"] else "unseen") for item in predictions
        ]
        for rank, item in zip(ranks, predictions, strict=True):
            percent = 100 * item["probability"]
            if rank.share == "> 99.9 %":
                assert percent > 99.9
            elif rank.share == "< 0.1 %":
                assert percent < 0.1
            else:
                assert float(rank.share.removesuffix(" %")) == pytest.approx(percent, abs=0.051)

    playground.eventually(check)


def test_a_chosen_file_is_ranked_as_the_service_ranks_it(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    http.post("/classes", json={"name": "Made", "attributes": {"has_crown": "blue"}})
    image = picture("Jay")

    playground.look_at(image)

    assert_shows(playground, answer(http, image, top_k=5))
    spoken = playground.page.get_by_role("status").filter(has_text="It looks like Jay")
    expect(spoken).to_have_count(1)
    widths = playground.page.eval_on_selector_all(
        "#ranks .bar", "bars => bars.map((bar) => bar.style.getPropertyValue('--share'))"
    )
    shares = [item["probability"] for item in answer(http, image, top_k=5)]
    assert [float(width) for width in widths] == pytest.approx(shares, abs=1e-6)


def test_a_dropped_file_is_ranked(
    playground: Playground, http: httpx.Client, picture: Picture, tmp_path: Path
) -> None:
    file = tmp_path / "dropped.png"
    file.write_bytes(picture("Robin"))
    protocol = playground.page.context.new_cdp_session(playground.page)
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}

    for kind in ("dragEnter", "dragOver", "drop"):
        protocol.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 300, "data": data})

    assert_shows(playground, answer(http, file.read_bytes()))
    expect(playground.page.get_by_role("img", name="dropped.png")).to_be_visible()


def test_a_pasted_picture_is_ranked(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    image = picture("Cardinal")
    playground.run(
        """async (bytes) => navigator.clipboard.write([new ClipboardItem({
            "image/png": new Blob([new Uint8Array(bytes)], { type: "image/png" }),
        })])""",
        list(image),
    )

    playground.page.keyboard.press("Control+V")

    assert_shows(playground, answer(http, image))


def test_the_camera_s_picture_is_ranked(playground: Playground) -> None:
    page = playground.page
    page.get_by_role("button", name="Camera").click()
    take = page.get_by_role("button", name="Take the picture")
    expect(take).to_be_enabled()

    take.click()

    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.get_by_role("img", name="camera.jpg")).to_be_visible()
    expect(playground.best).to_be_visible()
    assert playground.run("document.querySelector('#camera-video').srcObject") is None


def test_a_refused_camera_is_told_and_the_device_s_own_is_offered(
    playground: Playground, picture: Picture
) -> None:
    page = playground.page
    playground.run(
        """() => { navigator.mediaDevices.getUserMedia = async () => {
            throw new DOMException("", "NotAllowedError");
        }; }"""
    )

    page.get_by_role("button", name="Camera").click()

    expect(page.get_by_role("alert").filter(has_text="Allow it")).to_be_visible()
    other = page.locator("#camera-file")
    assert other.get_attribute("capture") == "environment"
    other.set_input_files({"name": "own.png", "mimeType": "image/png", "buffer": picture("Jay")})
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(playground.best).to_contain_text("Jay")


def upright_and_turned() -> bytes:
    """A Cardinal's red left half and a Robin's right one, in a file that lies on its side."""
    image = Image.new("RGB", (120, 96), (255, 0, 0))
    for band, colour in enumerate(((0, 255, 0), (255, 0, 0), (0, 255, 0))):
        image.paste(colour, (60, 32 * band, 120, 32 * band + 32))
    file = io.BytesIO()
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned a quarter to the right
    image.transpose(Image.Transpose.ROTATE_90).save(file, "PNG", exif=turned)
    return file.getvalue()


def test_a_drawn_box_asks_in_pixels_of_the_upright_photograph(
    playground: Playground, http: httpx.Client
) -> None:
    image, page = upright_and_turned(), playground.page
    playground.look_at(image)
    frame = page.locator("#pane").bounding_box()
    assert frame is not None

    with page.expect_request("**/classify?*box=*") as asked:
        page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + 2)
        page.mouse.down()
        page.mouse.move(frame["x"] + frame["width"] - 1, frame["y"] + frame["height"] - 1)
        page.mouse.up()

    x, y, w, h = (int(v) for v in httpx.URL(asked.value.url).params["box"].split(","))
    assert (x, y) == (60, pytest.approx(0, abs=1))
    assert (x + w, y + h) == (pytest.approx(120, abs=1), pytest.approx(96, abs=1))
    expect(playground.best).to_contain_text("Robin")
    assert_shows(playground, answer(http, image, box=f"{x},{y},{w},{h}"))
    for name, value in zip("xywh", (x, y, w, h), strict=True):
        assert page.locator(f"#box-{name}").input_value() == str(value)


def test_a_box_is_typed_moved_by_keys_and_taken_away(
    playground: Playground, http: httpx.Client
) -> None:
    image, page = upright_and_turned(), playground.page
    playground.look_at(image)
    page.get_by_role("button", name="Box", exact=True).click()

    page.get_by_label("width").fill("60")
    page.get_by_label("width").press("Enter")
    expect(playground.best).to_contain_text("Cardinal")
    assert_shows(playground, answer(http, image, box="0,0,60,96"))

    box = page.get_by_role("group", name="The box around the object")
    box.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
    expect(playground.best).to_contain_text("Robin")
    assert page.locator("#box-x").input_value() == "60"  # as far as it goes
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator("#box-w").input_value() == "58"

    with page.expect_request(lambda r: "/classify" in r.url and "box" not in r.url):
        page.keyboard.press("Delete")
    expect(box).to_be_hidden()


def test_a_class_is_explained_and_one_attribute_s_map_lies_where_it_was_read(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    image = picture("Jay")
    playground.look_at(image)

    playground.why("Jay")

    truth = http.post("/explain", content=image, params={"class_id": "jay"}).json()
    parts = truth["explanations"][0]["contributions"]
    best = max(parts, key=lambda part: part["contribution"])
    reasons = playground.page.locator("#why .reason.for .reason-sum")
    assert reasons.first.text_content() == f"+{best['contribution']:.2f}"
    assert reasons.count() == min(6, sum(part["contribution"] > 1e-3 for part in parts))
    assert "Crown" in " ".join(playground.page.locator(".reason-name").all_text_contents())
    playground.page.locator('[data-attribute="has_crown::blue"]').click()

    # The fake backend reads the crown in the top third: there it glows, below it is dark.
    top, bottom = playground.pixel(0.5, 0.05), playground.pixel(0.5, 0.95)
    assert top[0] > 150 > top[2]
    assert bottom[:3] == [0, 0, 0]
    assert bottom[3] == pytest.approx(128, abs=2)
    playground.page.locator('[data-attribute="has_wing::blue"]').click()
    assert playground.pixel(0.5, 0.95)[0] > 150
    assert playground.pixel(0.5, 0.05)[:3] == [0, 0, 0]
    playground.page.get_by_role("button", name="All attributes together").click()
    assert playground.pixel(0.5, 0.05) != top


def test_the_map_lies_in_the_box_that_was_asked_about(
    playground: Playground, picture: Picture
) -> None:
    playground.look_at(picture("Jay"))
    playground.page.get_by_role("button", name="Box", exact=True).click()
    playground.page.get_by_label("x", exact=True).fill("48")
    playground.page.get_by_label("x", exact=True).press("Enter")
    expect(playground.page.locator("#box")).to_be_visible()

    playground.why("Jay")

    outside = {tuple(playground.pixel(0.25, y)) for y in (0.1, 0.5, 0.9)}
    assert outside == {(0, 0, 0, 128)}
    assert any(playground.pixel(0.75, y)[0] > 150 for y in (0.1, 0.5, 0.9))


def test_the_map_is_saved_as_the_service_s_own_picture(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    image = picture("Jay")
    playground.look_at(image)
    playground.why("Jay")
    playground.page.locator('[data-attribute="has_crown::blue"]').click()

    with playground.page.expect_download() as saved:
        playground.page.get_by_role("button", name="Save as a picture").click()

    params = {"class_id": "jay", "attribute": "has_crown::blue"}
    truth = http.post(
        "/explain", content=image, params=params, headers={"Accept": "image/png"}
    ).content
    assert Path(saved.value.path()).read_bytes() == truth


def test_the_ranking_can_be_among_unseen_classes_alone(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    http.post("/classes", json={"name": "Made", "attributes": {"has_crown": "red"}})
    image = picture("Jay")
    playground.look_at(image)

    playground.page.get_by_label("among").select_option("unseen")

    expect(playground.page.locator("#ranks li")).to_have_count(1)
    assert_shows(playground, answer(http, image, scope="unseen"))


def test_an_image_like_none_of_the_classes_is_told_in_words_until_there_is_one(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    sheet = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
    told = playground.page.locator("#unknown")
    playground.look_at(picture("Jay"))
    expect(playground.best).to_contain_text("Jay")
    expect(told).to_be_hidden()

    playground.look_at(picture(sheet))

    nearest = answer(http, picture(sheet))[0]["name"]
    said = f"Like none of the classes: even the nearest, {nearest}, is too far away."
    expect(told).to_contain_text(said)
    spoken = playground.page.locator("#spoken")
    expect(spoken).to_contain_text(f"Like none of the classes. The nearest: {nearest}")
    http.post("/classes", json={"name": "Bluebird", "attributes": sheet}).raise_for_status()
    playground.look_at(picture(sheet))
    expect(playground.best).to_contain_text("Bluebird")
    expect(told).to_be_hidden()


def test_where_nobody_can_say_what_is_known_nothing_is_said(
    playground: Playground, picture: Picture
) -> None:
    def changed(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, json=response.json() | {"known": None})

    playground.page.route("**/classify?*", changed)

    playground.look_at(picture({"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}))

    expect(playground.best).to_be_visible()
    expect(playground.page.locator("#unknown")).to_be_hidden()


def test_the_newest_of_two_photographs_is_shown_however_late_the_older_one_s_answer_comes(
    playground: Playground, picture: Picture
) -> None:
    held: list[Route] = []

    def hold_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    playground.page.route("**/classify?*", hold_first)
    playground.choose(("first.png", picture("Jay")))
    expect(playground.page.get_by_role("img", name="first.png")).to_be_visible()
    playground.choose(("second.png", picture("Robin")))
    expect(playground.best).to_contain_text("Robin")

    held[0].continue_()

    playground.page.wait_for_timeout(300)
    expect(playground.best).to_contain_text("Robin")
    assert "second.png" in (playground.page.locator("#image").get_attribute("alt") or "")


def test_the_status_line_says_what_runs(
    playground: Playground, shared_server: Server, picture: Picture, page: Page
) -> None:
    playground.look_at(picture("Jay"))
    line = page.locator("#status-words")
    expect(line).to_contain_text("median")
    words = line.text_content() or ""
    assert words.startswith("ready · fake · fake ")
    assert words.endswith(" · 4 classes")
