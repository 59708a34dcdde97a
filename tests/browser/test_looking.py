"""Photographs come in, are ranked and explained; what is shown is what the service answers."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.playground import Playground, answer, assert_shows
from tests.integration.conftest import Server

Picture = Callable[..., bytes]


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
    expect(line).to_have_text(re.compile(r"^ready · fake · fake \S+ · median ≈ .+ · 4 classes$"))
