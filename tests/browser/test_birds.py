"""The playground of `umzero serve` with the committed bundle, on a bird drawn by code."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

import umzero
from tests.browser.playground import Playground
from tests.integration.conftest import Server

COMMAND = (str(Path(sys.executable).parent / "umzero"), "serve")
# Not measured first: that takes longer than the test.
PLAN = {"UMZERO_LANES": "1", "UMZERO_THREADS": "2", "UMZERO_MAX_BATCH": "4"}


@pytest.fixture(scope="module")
def birds(birds_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("birds")
    settings = {"UMZERO_BUNDLE": str(birds_bundle), "UMZERO_STATE_DIR": str(folder), **PLAN}
    server = Server(settings, folder / "server.log", COMMAND)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def cardinal(browser: Browser, birds: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A red bird with a crest, a black mask and a thick orange bill."""
    page = browser.new_page(viewport={"width": 960, "height": 720})
    page.goto(f"{birds.url}/static/bird.svg")
    file = tmp_path_factory.mktemp("pictures") / "cardinal.png"
    page.screenshot(path=file)
    page.close()
    return file


def test_the_drawn_bird_is_ranked_and_explained(
    birds: Server, visit: Callable[[Server], Playground]
) -> None:
    playground = visit(birds)

    playground.page.get_by_role("button", name="Take a drawn bird").click()

    expect(playground.best).to_be_visible()
    best = playground.ranks()[0]
    playground.why(best.name)
    expect(playground.page.locator(".reason.for").first).to_be_visible()
    expect(playground.page.locator("#heat")).to_be_visible()
    assert "red" in " ".join(playground.page.locator(".reason-name").all_text_contents())


def test_a_class_from_a_photograph_s_sheet_is_the_answer_of_curl_and_of_the_client_at_once(
    birds: Server, visit: Callable[[Server], Playground], cardinal: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs the program curl")
    playground = visit(birds)
    playground.look_at(cardinal.read_bytes())
    before = playground.ranks()[0]
    assert before.kind == "seen"
    playground.tab("Make a class")
    playground.page.get_by_role("button", name="the photograph").click()
    playground.name_class("Northern Cardinal")
    playground.set_value("Head pattern", "crested", 95)
    expect(playground.outlook()).to_contain_text("Northern Cardinal would be 1st of 80")

    playground.save()

    expect(playground.notice("“Northern Cardinal” is a class now")).to_be_visible()
    expect(playground.best).to_contain_text("Northern Cardinal")
    said = subprocess.run(
        ["curl", "-sS", "-F", f"image=@{cardinal}", f"{birds.url}/classify?top_k=1"],
        capture_output=True,
        check=True,
    )
    (first,) = json.loads(said.stdout)["predictions"]
    assert (first["name"], first["seen"]) == ("Northern Cardinal", False)
    with umzero.Client(birds.url) as client:
        assert client.classify(cardinal).best.name == "Northern Cardinal"
    playground.why("Northern Cardinal")
    playground.notice("is a class now").get_by_role("button", name="Undo").click()
    expect(playground.best).to_contain_text(before.name)
    listed = httpx.get(f"{birds.url}/classes", params={"limit": 1000}).json()["classes"]
    assert all(item["seen"] for item in listed)
