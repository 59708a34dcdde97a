"""For everyone: by keyboard alone, on a phone, in the dark, and read aloud."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import axe_playwright_python
import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.playground import Playground

Picture = Callable[..., bytes]
AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
TABS = ("Why", "Make a class", "Classes", "Many")


def focused(page: Page) -> str:
    """How the element with the focus is called."""
    name: str = page.evaluate(
        """() => {
            const e = document.activeElement;
            const text = e.matches("a, button, summary") ? e.innerText : "";
            return e.getAttribute("aria-label") ?? e.labels?.[0]?.innerText ?? text;
        }"""
    )
    return name.strip()


def tab_to(page: Page, name: str, most: int = 60) -> None:
    for _ in range(most):
        page.keyboard.press("Tab")
        if focused(page).startswith(name):
            return
    pytest.fail(f"the tab key never came to {name!r}")


def test_a_class_is_made_by_keyboard_alone(
    playground: Playground, http: httpx.Client, picture: Picture
) -> None:
    page, image = playground.page, picture("Jay")
    answered = {"name": "a.png", "mimeType": "image/png", "buffer": image}
    page.on("filechooser", lambda chooser: chooser.set_files(answered))  # type: ignore[arg-type]
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the photograph"
    page.keyboard.press("Enter")
    tab_to(page, "Choose a photograph", 3)
    page.keyboard.press("Enter")
    expect(playground.best).to_contain_text("Jay")
    tab_to(page, "Jay")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Why Jay?")).to_be_visible()
    assert focused(page).startswith("Jay")  # the focus stays where it was
    tab_to(page, "Why")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "Make a class"
    tab_to(page, "Name of the new class", 3)
    page.keyboard.type("Typed")
    tab_to(page, "Breast")
    page.keyboard.press("Enter")
    tab_to(page, "blue")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    expect(playground.outlook()).to_contain_text("Typed would be")
    tab_to(page, "Save the class")
    page.keyboard.press("Enter")
    expect(playground.notice("“Typed” is a class now")).to_be_visible()
    made = next(c for c in http.get("/classes").json()["classes"] if not c["seen"])
    values = http.get(f"/classes/{made['class_id']}").json()["attributes"]
    assert values[5] == pytest.approx(12, abs=0.5)
    tab_to(page, "Undo")
    page.keyboard.press("Enter")
    expect(playground.notice("“Typed” is a class now")).to_have_count(0)
    assert all(item["seen"] for item in http.get("/classes").json()["classes"])


def test_the_focus_can_be_seen_on_everything_that_takes_it(
    playground: Playground, picture: Picture
) -> None:
    playground.look_at(picture("Jay"))
    page = playground.page
    unseen = []
    # In a set: past the last one the browser begins anew.
    page.evaluate("globalThis.visited = new Set()")
    stops = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input, select, summary, [tabindex]")]
            .filter((one) => one.checkVisibility() && one.tabIndex >= 0 && !one.disabled).length"""
    )
    for _ in range(stops + 5):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
                const element = document.activeElement;
                if (element === document.body) return "after the last one";
                visited.add(element);
                const seen = element.matches(".file input") ? element.nextElementSibling : element;
                const { outlineStyle, outlineWidth } = getComputedStyle(seen);
                return outlineStyle === "none" ? "" : outlineWidth;
            }"""
        )
        if outline in ("", "0px"):
            unseen.append(focused(page))
    assert unseen == []
    assert page.evaluate("visited.size") == stops > 10


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_fault_that_axe_finds(
    playground: Playground, picture: Picture, scheme: Literal["light", "dark"]
) -> None:
    page = playground.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate(AXE.read_text())
    faults: set[tuple[str, str, str]] = set()

    def look() -> None:
        found = page.evaluate("axe.run()")
        assert len(found["passes"]) > 20
        for fault in found["violations"]:
            for node in fault["nodes"]:
                faults.add((fault["id"], node["html"][:120], node["failureSummary"][:300]))

    look()
    playground.look_at(picture("Jay"))
    page.get_by_role("button", name="Box", exact=True).click()
    playground.why("Jay")
    for view in TABS:
        playground.tab(view)
        if view == "Make a class":
            playground.set_value("Crown", "red", 77)
            expect(page.locator(".rank.draft")).to_be_visible()
        look()
    playground.choose(("a.png", picture("Robin")), ("b.png", picture("Jay")))
    expect(page.locator("#many-words")).to_have_text("2 of 2 photographs")
    look()
    assert faults == set()


@pytest.mark.parametrize("width", [320, 360, 768])
def test_nothing_is_wider_than_a_phone(
    playground: Playground, http: httpx.Client, picture: Picture, width: int
) -> None:
    long = "Extraordinarilylongnamewithoutanyspace" * 5
    sheet = {"has_crown": "blue", "has_breast": "green", "has_wing": "blue"}
    http.post("/classes", json={"name": long[:200], "attributes": sheet}).raise_for_status()
    page = playground.page
    page.set_viewport_size({"width": width, "height": 780})

    def assert_fits(view: str) -> None:
        size = page.evaluate("document.documentElement.scrollWidth")
        assert size <= width, f"{view} is {size} pixels wide"

    assert_fits("empty")
    playground.look_at(picture("Jay"))
    page.get_by_role("button", name="Box", exact=True).click()
    assert_fits("ranking")
    playground.best.get_by_role("button").click()
    expect(page.locator("#why h2")).to_be_visible()
    for view in TABS:
        playground.tab(view)
        if view == "Make a class":
            playground.set_value("Crown", "red", 77)
            page.get_by_text("another class", exact=True).click()
            page.get_by_text("a CSV line", exact=True).click()
        assert_fits(view)
    playground.choose((f"{long}.png", picture("Robin")), ("b.png", picture("Jay")))
    expect(page.locator("#many-words")).to_contain_text("2 of 2")
    assert_fits("table")


def test_the_theme_follows_the_system_until_one_is_chosen(playground: Playground) -> None:
    page = playground.page

    def is_dark() -> bool:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(")[:-1].split(",")) < 3 * 128

    page.emulate_media(color_scheme="dark")
    assert is_dark()
    page.emulate_media(color_scheme="light")
    assert not is_dark()
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    assert is_dark()
    page.reload()
    assert is_dark()
    button.click()
    assert not is_dark()


def test_nothing_moves_for_those_who_asked_for_that(playground: Playground) -> None:
    playground.page.emulate_media(reduced_motion="reduce")
    moving = playground.page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((element) => {
            const style = getComputedStyle(element);
            return style.animationName !== "none" || style.transitionDuration !== "0s";
        }).length"""
    )
    assert moving == 0


def test_on_a_touch_screen_a_finger_draws_a_box_only_once_that_was_asked_for(
    playground: Playground, picture: Picture
) -> None:
    playground.look_at(picture("Jay"))
    page = playground.page
    protocol = page.context.new_cdp_session(page)
    frame = page.locator("#pane").bounding_box()
    assert frame is not None

    def swipe() -> None:
        for kind, share in (("touchStart", 0.2), ("touchMove", 0.5), ("touchMove", 0.8)):
            point = {"x": frame["x"] + frame["width"] * share, "y": frame["y"] + 200 * share}
            protocol.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        protocol.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    swipe()
    expect(page.locator("#box")).to_be_hidden()
    page.get_by_role("button", name="Box", exact=True).click()
    swipe()
    expect(page.locator("#box")).to_be_visible()
