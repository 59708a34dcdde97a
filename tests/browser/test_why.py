"""Why a class was recognised, and the box that says where to look."""

import io
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.playground import Playground, answer, assert_shows

Picture = Callable[..., bytes]


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
    assert bottom[3] == pytest.approx(115, abs=2)
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
    assert outside == {(0, 0, 0, 115)}
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
