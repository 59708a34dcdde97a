"""The playground's main views -> docs/screenshots/*.webp, of a service with weights/birds.

    make screenshots

The one picture in them is service/http/static/bird.svg, drawn for this repository: no photograph of
anybody's. Needs Chromium; with Debian's fonts-noto-core the type is that of the README.
"""

import io
import shutil
import sys
from pathlib import Path

import httpx
import running
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

REPOSITORY = Path(__file__).resolve().parent.parent
OUT = REPOSITORY / "docs" / "screenshots"
LARGEST_BYTES = 150_000
DESKTOP = {"width": 1200, "height": 820}
PHONE = {"width": 360, "height": 780}

CARDINAL = {
    "Head pattern": {"crested": 95, "masked": 70, "plain": 5, "eyering": 2},
    "Bill shape": {"cone": 95, "all-purpose": 5, "hooked seabird": 0},
    "Throat color": {"black": 80, "red": 25},
    "Eye color": {"black": 98, "white": 0, "red": 2},
}


def open_page(browser: Browser, url: str, size: dict[str, int], scheme: str) -> Page:
    page = browser.new_page(
        viewport=size, color_scheme=scheme, device_scale_factor=2, reduced_motion="reduce"
    )
    page.goto(url)
    page.get_by_role("button", name="Take a drawn bird").click()
    expect(page.locator("#ranks li").first).to_be_visible()
    return page


def start_class(page: Page) -> None:
    """From the picture's own sheet, and what a field guide says of the head."""
    page.get_by_role("tab", name="Make a class").click()
    page.get_by_label("Name of the new class").fill("Northern Cardinal")
    page.get_by_role("button", name="the photograph").click()
    for group, values in CARDINAL.items():
        details = page.locator("details.group").filter(has_text=group)
        details.locator("summary").click()
        for value, number in values.items():
            box = page.get_by_label(f"{group}: {value}, as a number")
            box.fill(str(number))
            box.press("Tab")
        details.locator("summary").click()
    page.get_by_label("Search attributes").fill("head pattern")
    expect(page.locator("#outlook")).to_contain_text("1st of 80 classes")


def explain(page: Page, name: str) -> None:
    page.locator("#ranks").get_by_role("button", name=name).click()
    expect(page.locator(".reason").first).to_be_visible()


def keep(page: Page, name: str, width: int) -> None:
    """Save what the page shows, `width` pixels wide."""
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.mouse.move(0, 0)
    page.wait_for_timeout(400)
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    height = round(image.height * width / image.width)
    path = OUT / f"{name}.webp"
    image.resize((width, height), Image.Resampling.LANCZOS).save(path, quality=88, method=6)
    size = path.stat().st_size
    print(f"{path.relative_to(REPOSITORY)}: {width} x {height}, {size} bytes")
    if size > LARGEST_BYTES:
        sys.exit(f"{path.name} is larger than {LARGEST_BYTES} bytes")


def use(browser: Browser, url: str) -> None:
    """Let the service answer a few times, as it has when somebody looks at it."""
    page = browser.new_page(viewport={"width": 960, "height": 720})
    page.goto(f"{url}/static/bird.svg")
    picture = page.screenshot()
    page.close()
    for _ in range(30):
        httpx.post(f"{url}/classify", content=picture).raise_for_status()


def views(browser: Browser, url: str) -> None:
    page = open_page(browser, url, DESKTOP, "light")
    start_class(page)
    keep(page, "make", 1600)
    page.get_by_role("button", name="Save the class").click()
    expect(page.locator("#ranks li").first).to_contain_text("unseen")
    page.get_by_role("button", name="Close this message").click()
    explain(page, "Northern Cardinal")
    keep(page, "why", 1600)

    page = open_page(browser, url, DESKTOP, "dark")
    explain(page, "Northern Cardinal")
    page.locator(".reason.for").nth(1).click()
    keep(page, "dark", 1600)

    page = open_page(browser, url, PHONE, "light")
    keep(page, "phone", 720)


def main() -> None:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit("needs the program chromium")
    OUT.mkdir(exist_ok=True)
    with (
        running.service(REPOSITORY / "weights" / "birds") as (url, _),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        use(browser, url)
        views(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
