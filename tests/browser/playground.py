"""The playground as a person uses it: what tests do with its page, and what they read there."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from playwright.sync_api import FilePayload, Locator, Page, expect

NEW = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}  # like none of the bundle's


@dataclass(frozen=True)
class Rank:
    name: str
    kind: str  # seen, unseen or draft
    share: str


class Playground:
    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self) -> None:
        self.page.goto(self.url)
        # The last thing that the page does before it is ready for everything.
        expect(self.page.locator("#class-count")).not_to_be_empty()

    def choose(self, *files: tuple[str, bytes]) -> None:
        """Pick files as the dialog of the browser gives them."""
        payload = [FilePayload(name=n, mimeType="image/png", buffer=data) for n, data in files]
        self.page.set_input_files("#file", payload)

    def look_at(self, image: bytes, name: str = "picture.png") -> None:
        """Choose one photograph, and wait for its ranking."""
        with self.page.expect_response("**/classify?*"):
            self.choose((name, image))
        expect(self.page.locator("#stage")).not_to_have_class("stage busy")
        expect(self.page.get_by_role("img", name=f"The photograph {name}")).to_be_visible()

    def ranks(self) -> list[Rank]:
        found: list[dict[str, str]] = self.page.eval_on_selector_all(
            "#ranks .rank",
            """rows => rows.map((row) => ({
                name: row.querySelector(".rank-name").textContent,
                kind: row.querySelector(".tag").textContent,
                share: row.querySelector(".rank-share").textContent,
            }))""",
        )
        return [Rank(**row) for row in found]

    @property
    def best(self) -> Locator:
        return self.page.locator("#ranks li").first

    def why(self, name: str) -> None:
        """Click a class, and wait for its reasons."""
        self.page.locator("#ranks").get_by_role("button", name=name).click()
        expect(self.page.get_by_role("heading", name=f"Why {name}?")).to_be_visible()
        expect(self.page.locator("#why")).not_to_have_attribute("aria-busy", "true")

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def name_class(self, name: str) -> None:
        self.page.get_by_label("Name of the new class").fill(name)

    def set_value(self, group: str, value: str, number: float) -> None:
        """Type an attribute's number."""
        details = self.page.locator("details.group").filter(has_text=group)
        if details.get_attribute("open") is None:
            details.locator("summary").click()
        box = self.page.get_by_label(f"{group}: {value}, as a number")
        box.fill(str(number))
        box.press("Tab")

    def outlook(self) -> Locator:
        return self.page.locator("#outlook")

    def save(self) -> None:
        self.page.get_by_role("button", name="Save the class").click()

    def notice(self, words: str) -> Locator:
        return self.page.locator(".notice", has_text=words)

    def classes(self) -> list[str]:
        """The names in the list of classes."""
        names: list[str] = self.page.locator("#classes .class-name").all_text_contents()
        return names

    def pixel(self, x: float, y: float) -> list[int]:
        """Red, green, blue and alpha of the heat at a share of its width and height."""
        found: list[int] = self.page.eval_on_selector(
            "#heat",
            """(canvas, [x, y]) => {
                const copy = new OffscreenCanvas(canvas.width, canvas.height);
                const context = copy.getContext("2d", { willReadFrequently: true });
                context.drawImage(canvas, 0, 0);
                const at = [x * (copy.width - 1), y * (copy.height - 1)].map(Math.floor);
                return [...context.getImageData(...at, 1, 1).data];
            }""",
            [x, y],
        )
        return found

    def eventually(self, check: Callable[[], None], limit_s: float = 10) -> None:
        """Check again and again until it holds."""
        end = time.monotonic() + limit_s
        while True:
            try:
                return check()
            except AssertionError:
                if time.monotonic() > end:
                    raise
            self.page.wait_for_timeout(50)

    def run(self, program: str, given: Any = None) -> Any:
        return self.page.evaluate(program, given)


def registered(http: httpx.Client) -> list[dict[str, Any]]:
    listed = http.get("/classes", params={"limit": 1000}).json()["classes"]
    return [http.get(f"/classes/{c['class_id']}").json() for c in listed if not c["seen"]]


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
