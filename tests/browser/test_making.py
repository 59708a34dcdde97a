"""Classes are made, seen before they are saved, used at once, and taken back."""

import base64
import io
import re
from collections.abc import Callable

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.browser.playground import NEW, Playground, registered

Picture = Callable[..., bytes]


def by_sliders(playground: Playground) -> None:
    for group, value in NEW.items():
        words = group.removeprefix("has_").capitalize()
        for colour in ("red", "green", "blue"):
            playground.set_value(words, colour, 100 if colour == value else 0)


def test_a_class_made_from_sliders_wins_as_its_preview_said(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    image = picture(NEW)
    playground.look_at(image)
    assert "Bluebird" not in (playground.best.text_content() or "")
    playground.tab("Make a class")
    playground.name_class("Bluebird")

    by_sliders(playground)

    expect(playground.outlook()).to_contain_text("Bluebird would be 1st of 5 classes")
    expect(playground.best).to_contain_text("draft")
    playground.page.wait_for_load_state("networkidle")
    preview = playground.ranks()
    assert registered(http) == []
    playground.save()
    expect(playground.notice("“Bluebird” is a class now")).to_be_visible()
    expect(playground.best).to_contain_text("unseen")
    after = playground.ranks()
    assert [(rank.name, rank.share) for rank in after] == [
        (rank.name, rank.share) for rank in preview
    ]
    assert preview[0].kind == "draft"
    (made,) = registered(http)
    assert made["name"] == "Bluebird"
    assert made["attributes"] == [0, 0, 100, 0, 0, 100, 100, 0, 0]
    truth = http.post("/classify", content=image).json()["predictions"]
    assert [item["name"] for item in truth] == [rank.name for rank in after]


def test_dragging_a_slider_moves_the_ranking_of_the_open_photograph(
    playground: Playground, picture: Picture
) -> None:
    playground.look_at(picture(NEW))
    playground.tab("Make a class")
    page = playground.page
    page.locator("details.group").filter(has_text="Wing").locator("summary").click()
    slider = page.get_by_role("slider", name="red")
    frame = slider.bounding_box()
    assert frame is not None

    page.mouse.move(frame["x"] + frame["width"] * 0.4, frame["y"] + frame["height"] / 2)
    page.mouse.down()
    page.mouse.move(frame["x"] + frame["width"] * 0.9, frame["y"] + frame["height"] / 2)
    page.mouse.up()

    assert float(slider.input_value()) == pytest.approx(90, abs=5)
    expect(playground.outlook()).to_contain_text("New class would be ")
    expect(page.locator(".rank.draft")).to_contain_text("New class")


def test_sliders_have_the_scale_of_the_sheet_and_start_at_the_mean(
    playground: Playground, http: httpx.Client
) -> None:
    attributes = http.get("/attributes").json()["attributes"]
    playground.tab("Make a class")
    page = playground.page
    for group in page.locator("details.group > summary").all():
        group.click()

    for index, attribute in enumerate(attributes):
        slider = page.locator(f"#value-{index}")
        assert float(slider.get_attribute("min") or "") == attribute["min"]
        assert float(slider.get_attribute("max") or "") == attribute["max"]
        assert float(slider.input_value()) == pytest.approx(attribute["mean"])


def test_attributes_are_found_by_any_words_of_them(playground: Playground) -> None:
    playground.tab("Make a class")
    page = playground.page
    search = page.get_by_label("Search attributes")

    search.fill("red wing")

    expect(page.locator(".slider:visible")).to_have_count(1)
    expect(page.locator(".slider:visible")).to_contain_text("red")
    expect(page.locator("#attribute-count")).to_have_text("1 attribute of 9")
    search.fill("")
    expect(page.locator(".slider:visible")).to_have_count(0)
    expect(page.locator("details.group:visible")).to_have_count(3)
    playground.set_value("Crown", "green", 77)
    page.get_by_label("changed only").check()
    expect(page.locator(".slider:visible")).to_have_count(1)
    expect(page.locator(".slider:visible")).to_contain_text("green")


def test_undo_after_saving_removes_the_class_and_gives_the_draft_back(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    playground.look_at(picture(NEW))
    playground.tab("Make a class")
    playground.name_class("Bluebird")
    by_sliders(playground)
    playground.save()
    notice = playground.notice("“Bluebird” is a class now")

    notice.get_by_role("button", name="Undo").click()

    expect(notice).to_have_count(0)
    assert registered(http) == []
    expect(playground.page.get_by_label("Name of the new class")).to_have_value("Bluebird")
    expect(playground.best).to_contain_text("draft")
    playground.save()
    expect(playground.notice("“Bluebird” is a class now")).to_be_visible()
    assert [item["attributes"] for item in registered(http)] == [[0, 0, 100, 0, 0, 100, 100, 0, 0]]


ALSO = "Use the open photograph as an example too"


def test_the_open_photograph_can_be_an_example_of_the_class(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    image, page = picture(NEW), playground.page
    playground.tab("Make a class")
    also = page.get_by_label(ALSO)
    expect(also).to_be_disabled()
    playground.look_at(image)
    playground.name_class("Bluebird")
    playground.set_value("Crown", "blue", 100)
    expect(playground.outlook()).to_contain_text("Bluebird would be")
    by_sheet = playground.outlook().text_content() or ""

    with page.expect_response("**/preview?*"):
        also.check()

    expect(playground.outlook()).not_to_have_text(by_sheet)
    expect(playground.best).to_contain_text("Bluebird")
    preview = playground.ranks()
    playground.save()
    expect(playground.notice("“Bluebird” is a class now")).to_be_visible()
    expect(also).not_to_be_checked()
    expect(playground.best).to_contain_text("unseen")
    assert [(rank.name, rank.share) for rank in playground.ranks()] == [
        (rank.name, rank.share) for rank in preview
    ]
    (made,) = registered(http)
    assert made["examples"] == 1
    # The very file: sent over HTTP it makes the same class.
    body = {"name": "Over HTTP", "class_id": "over-http", "attributes": made["attributes"]}
    body["examples"] = [base64.b64encode(image).decode()]
    http.post("/classes", json=body).raise_for_status()
    found = http.post("/classify", content=image, params={"scope": "unseen"}).json()["predictions"]
    assert found[0]["score"] == pytest.approx(found[1]["score"], abs=1e-5)
    playground.tab("Classes")
    row = page.locator("#classes li", has_text="Bluebird")
    expect(row).to_contain_text(f"1 example photograph · {made['class_id']}")
    expect(page.locator("#classes li", has_text="Parrot")).not_to_contain_text("photograph")


def test_what_is_in_the_box_is_the_example_where_there_is_a_box(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    bird = Image.open(io.BytesIO(picture(NEW)))
    scene = Image.new("RGB", (3 * bird.width, 2 * bird.height), "gray")
    scene.paste(bird, (2 * bird.width, bird.height))
    file = io.BytesIO()
    scene.save(file, "PNG")
    playground.look_at(file.getvalue())
    page = playground.page
    page.get_by_role("button", name="Box", exact=True).click()
    box = {"x": 2 * bird.width, "y": bird.height, "width": bird.width, "height": bird.height}
    for label, number in box.items():
        page.get_by_label(label, exact=True).fill(str(number))
        page.get_by_label(label, exact=True).press("Tab")
    playground.tab("Make a class")
    playground.name_class("Bluebird")
    playground.set_value("Crown", "blue", 100)

    page.get_by_label("Use what is in the box as an example too").check()
    playground.save()

    expect(playground.notice("“Bluebird” is a class now")).to_be_visible()
    (made,) = registered(http)
    body = {"name": "Cut out", "class_id": "cut-out", "attributes": made["attributes"]}
    body["examples"] = [base64.b64encode(picture(NEW)).decode()]
    http.post("/classes", json=body).raise_for_status()
    listed = http.post("/classify", content=picture(NEW)).json()["predictions"]
    scores = {item["name"]: item["score"] for item in listed}
    assert scores["Bluebird"] == pytest.approx(scores["Cut out"], abs=0.1)
    http.put("/classes/cut-out", json=body | {"examples": []}).raise_for_status()
    listed = http.post("/classify", content=picture(NEW)).json()["predictions"]
    scores = {item["name"]: item["score"] for item in listed}
    assert scores["Bluebird"] > scores["Cut out"] + 0.5


def test_an_example_is_of_the_photograph_that_it_was_chosen_for(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    playground.look_at(picture(NEW))
    playground.tab("Make a class")
    playground.name_class("Bluebird")
    playground.set_value("Crown", "blue", 100)
    also = playground.page.get_by_label(ALSO)
    also.check()
    playground.look_at(picture("Jay"), "another.png")
    expect(also).not_to_be_checked()
    also.check()
    playground.save()
    saved = playground.notice("“Bluebird” is a class now")
    expect(saved).to_be_visible()
    assert [item["examples"] for item in registered(http)] == [1]

    saved.get_by_role("button", name="Undo").click()

    expect(also).to_be_checked()
    assert registered(http) == []
    also.uncheck()
    playground.save()
    expect(playground.notice("“Bluebird” is a class now")).to_be_visible()
    assert [item["examples"] for item in registered(http)] == [0]


def test_steps_of_the_sheet_are_undone_and_redone(playground: Playground) -> None:
    playground.tab("Make a class")
    page = playground.page
    playground.set_value("Crown", "red", 90)
    playground.set_value("Crown", "blue", 10)
    red, blue = (page.get_by_label(f"Crown: {c}, as a number") for c in ("red", "blue"))
    undo = page.get_by_role("button", name="Undo the last change")

    undo.click()
    expect(red).to_have_value("90")
    expect(blue).to_have_value("25")
    undo.click()
    expect(red).to_have_value("50")
    expect(undo).to_be_disabled()
    page.get_by_role("button", name="Redo").click()
    expect(red).to_have_value("90")


def test_undo_and_redo_of_a_sheet_keep_a_name_that_was_typed(playground: Playground) -> None:
    page = playground.page
    name = page.get_by_label("Name of the new class")
    undo = page.get_by_role("button", name="Undo the last change")
    redo = page.get_by_role("button", name="Redo")
    playground.tab("Make a class")
    playground.set_value("Crown", "red", 77)
    name.fill("Typed")

    undo.click()

    expect(page.locator("#make-summary")).to_be_empty()
    expect(name).to_have_value("Typed")
    name.fill("Typed again")
    redo.click()
    expect(page.locator("#make-summary")).not_to_be_empty()
    expect(name).to_have_value("Typed again")
    # A line's name came with its sheet, and goes with it.
    name.fill("")
    page.get_by_text("a CSV line", exact=True).click()
    page.get_by_label("A name and all numbers").fill("Finch" + ",9" * 9)
    page.get_by_role("button", name="Read it").click()
    expect(name).to_have_value("Finch")
    undo.click()
    expect(name).to_have_value("")
    redo.click()
    expect(name).to_have_value("Finch")


def test_what_is_missing_or_taken_is_told_before_a_class_is_saved(
    playground: Playground, http: httpx.Client, complaints: list[str]
) -> None:
    complaints.append("status of 409")
    playground.tab("Make a class")
    alert = playground.page.get_by_role("alert")

    playground.save()
    expect(alert.filter(has_text="Give the class a name first")).to_be_visible()
    playground.name_class("Jay")
    playground.save()
    expect(alert.filter(has_text="say what is special")).to_be_visible()
    playground.set_value("Crown", "red", 3)
    playground.save()
    expect(alert.filter(has_text=re.compile("Jay.*Choose another name"))).to_be_visible()
    assert registered(http) == []


def test_a_class_that_is_nearly_another_one_is_saved_with_a_warning(
    playground: Playground,
) -> None:
    playground.tab("Make a class")
    page = playground.page
    page.get_by_text("another class", exact=True).click()
    page.get_by_label("Its name").fill("Parrot")
    page.get_by_role("button", name="Take its sheet").click()
    playground.name_class("Second Parrot")

    playground.save()

    expect(playground.notice("nearly the same as 'Parrot'")).to_be_visible()


def test_a_draft_that_loses_is_shown_at_its_place(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    for number in range(8):
        sheet = {"has_crown": "green", "has_breast": ["red", "blue"], "has_wing::red": number}
        http.post("/classes", json={"name": f"Rival {number}", "attributes": sheet})
    playground.page.reload()
    playground.look_at(picture("Robin"))
    playground.tab("Make a class")
    playground.name_class("Last")
    by_sliders(playground)

    draft = playground.page.locator(".rank.draft")
    place = playground.outlook()
    expect(draft).to_contain_text("Last")
    expect(place).to_contain_text("of 13 classes")
    at = re.search(r"Last would be (\d+)\w\w of", place.text_content() or "")
    assert at is not None
    assert int(at[1]) > 5
    assert (draft.locator(".rank-name").text_content() or "") == f"{at[1]}. Last"


def test_the_page_of_a_collection_makes_and_shows_its_classes_alone(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    address = playground.url
    Playground(playground.page, f"{address}/?collection=of-the-browser").open()
    expect(playground.page.get_by_text("collection of-the-browser")).to_be_visible()
    playground.look_at(picture(NEW))
    playground.tab("Make a class")
    playground.name_class("Kept here")
    by_sliders(playground)

    playground.save()

    expect(playground.best).to_contain_text("Kept here")
    playground.tab("Classes")
    expect(playground.page.locator("#classes li").filter(has_text="Kept here")).to_be_visible()
    assert (
        http.get("/export", params={"collection": "of-the-browser"}).json()["name"] == "Kept here"
    )
    playground.open()
    expect(playground.page.get_by_text("collection of-the-browser")).to_have_count(0)
    playground.tab("Classes")
    assert "Kept here" not in playground.classes()
    playground.page.goto(f"{address}/?collection=of-the-browser")
    playground.tab("Classes")
    playground.page.get_by_role("button", name="Delete Kept here").click()
    expect(playground.page.locator("#classes li").filter(has_text="Kept here")).to_have_count(0)
