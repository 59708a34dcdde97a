"""A real Chromium on pages of a real server; a page that complains fails its test."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from model.bundle import Bundle
from model.runtime.fake import write_fake_bundle
from tests.browser.playground import Playground
from tests.integration.conftest import (
    Server,
    document_of,
    environment,
    http,
    picture,
    shared_server,
    start,
    umzero,
)

__all__ = ["environment", "http", "picture", "shared_server", "start", "umzero"]

PATIENCE_MS = 15_000
expect.set_options(timeout=PATIENCE_MS)
FLAGS = [
    "--no-sandbox",  # CI runs as root
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """One that knows its classes, and that it knows no others."""
    path = tmp_path_factory.mktemp("bundles") / "fake"
    return write_fake_bundle(path, calibration={"known_threshold": 5.0, "sheet_counts": 2.0})


@pytest.fixture(scope="session", autouse=True)
def described(bundle: Bundle, birds_bundle: Path) -> None:
    """What answers are held against is made in a loop of its own, before Playwright has one."""
    for path in (bundle.path, birds_bundle):
        document_of(str(path))


# Not for the whole session: Playwright keeps an event loop in this thread for as long, and other
# tests run their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs the program chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the console says in a test and must say, as regular expressions."""
    return []


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One for a module: what a page has fetched, the next one needn't."""
    opened = browser.new_context(
        viewport={"width": 1280, "height": 900},
        permissions=["clipboard-read", "clipboard-write", "camera"],
        accept_downloads=True,
    )
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    opened.close()


@pytest.fixture
def page(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """A page without an error of a program, on its console or against its policy."""
    opened = context.new_page()
    heard: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            heard.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    opened.on("console", note)
    opened.on("pageerror", lambda error: heard.append(f"page: {error}"))
    yield opened
    opened.evaluate("localStorage.clear()")
    opened.close()
    unexpected = [line for line in heard if not any(re.search(one, line) for one in complaints)]
    assert unexpected == []
    unheard = [one for one in complaints if not any(re.search(one, line) for line in heard)]
    assert unheard == [], heard


@pytest.fixture
def visit(page: Page) -> Callable[[Server], Playground]:
    """Opens a server's playground."""

    def to(server: Server) -> Playground:
        playground = Playground(page, server.url)
        playground.open()
        return playground

    return to


@pytest.fixture
def playground(
    shared_server: Server, http: object, visit: Callable[[Server], Playground]
) -> Playground:
    """The playground of a server that has the bundle's classes alone."""
    return visit(shared_server)
