"""Where a sheet can start from: a photograph, another class, a line of CSV."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

import umzero as package
from model.bundle import Bundle
from tests.browser.playground import NEW, Playground, registered
from tests.integration.conftest import Server

Picture = Callable[..., bytes]
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_photograph_s_suggested_sheet_is_a_class_for_curl_and_the_client_at_once(
    playground: Playground, shared_server: Server, picture: Picture, tmp_path: Path
) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs the program curl")
    file = tmp_path / "photograph.png"
    file.write_bytes(picture(NEW))
    playground.look_at(file.read_bytes())
    playground.tab("Make a class")
    playground.page.get_by_role("button", name="the photograph").click()
    playground.name_class("From a photograph")
    expect(playground.outlook()).to_contain_text("1st of 5")

    playground.save()
    expect(playground.notice("“From a photograph” is a class now")).to_be_visible()

    said = subprocess.run(
        ["curl", "-sS", "-F", f"image=@{file}", f"{shared_server.url}/classify?top_k=1"],
        capture_output=True,
        check=True,
    )
    assert json.loads(said.stdout)["predictions"][0]["name"] == "From a photograph"
    with package.Client(shared_server.url) as client:
        assert client.classify(file).best.name == "From a photograph"
        assert not client.classify(file).best.seen


def test_a_class_starts_from_another_one(
    playground: Playground, http: httpx.Client, bundle: Bundle
) -> None:
    parrot = next(item for item in bundle.classes if item.name == "Parrot")
    playground.tab("Make a class")
    page = playground.page
    page.get_by_text("another class", exact=True).click()
    page.get_by_label("Its name").fill("Parrot")
    page.get_by_label("Its name").press("Enter")
    expect(page.locator("#make-summary")).not_to_be_empty()

    playground.set_value("Wing", "green", 40)
    playground.name_class("Green winged Parrot")
    playground.save()

    expect(playground.notice("is a class now")).to_be_visible()
    (made,) = registered(http)
    expected = [*parrot.attributes]
    expected[7] = 40
    assert made["attributes"] == expected
    page.get_by_label("Its name").fill("Nobody")
    page.get_by_role("button", name="Take its sheet").click()
    expect(page.get_by_role("alert").filter(has_text="No class is called “Nobody”")).to_be_visible()


def read_line(playground: Playground, line: str) -> None:
    playground.tab("Make a class")
    playground.page.get_by_text("a CSV line", exact=True).click()
    playground.page.get_by_label("A name and all numbers").fill(line)
    playground.page.get_by_role("button", name="Read it").click()


NUMBERS = [5, 0, 95.5, 0, 100, 0, 0, 0, 100]


@pytest.mark.parametrize(
    "line",
    [
        "Finch," + ",".join(map(str, NUMBERS)),
        '"Finch"; ' + ";".join(str(n).replace(".", ",") for n in NUMBERS),
        "Finch\t" + "\t".join(map(str, NUMBERS)),
    ],
)
def test_a_class_starts_from_a_csv_line(
    playground: Playground, http: httpx.Client, line: str
) -> None:
    read_line(playground, line)

    expect(playground.page.get_by_label("Name of the new class")).to_have_value("Finch")
    playground.save()
    expect(playground.notice("“Finch” is a class now")).to_be_visible()
    (made,) = registered(http)
    assert made["attributes"] == NUMBERS


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ("class,has_crown::blue\r\nFinch,80\r\n", "Finch"),
        ("has_crown::blue,has_crown::red\n80,", ""),
        ("class_id,has_crown::blue,name,metadata\nf,80,Finch,{}", "Finch"),
    ],
)
def test_a_csv_line_with_a_header_is_filled_as_the_service_fills_a_sheet(
    playground: Playground, http: httpx.Client, lines: str, name: str
) -> None:
    read_line(playground, lines)

    expect(playground.page.get_by_label("Name of the new class")).to_have_value(name)
    playground.name_class("Finch")
    playground.save()
    expect(playground.notice("“Finch” is a class now")).to_be_visible()
    (made,) = registered(http)
    same = {"name": "Other", "class_id": "other", "attributes": {"has_crown::blue": 80}}
    http.post("/classes", json=same).raise_for_status()
    assert made["attributes"] == pytest.approx(http.get("/classes/other").json()["attributes"])


def test_a_csv_line_may_choose_a_group_s_values(playground: Playground, http: httpx.Client) -> None:
    read_line(playground, "class_id,name,has_crown,has_wing\nf,Finch,blue | has_crown::red,green")
    playground.save()

    expect(playground.notice("“Finch” is a class now")).to_be_visible()
    (made,) = registered(http)
    sheet = {"has_crown": ["blue", "red"], "has_wing": "green"}
    same = {"name": "Other", "class_id": "other", "attributes": sheet}
    http.post("/classes", json=same).raise_for_status()
    assert made["attributes"] == pytest.approx(http.get("/classes/other").json()["attributes"])


def test_a_class_that_the_command_exported_is_read_again_as_it_was(
    playground: Playground, http: httpx.Client, umzero: Run, tmp_path: Path
) -> None:
    sheet = {"has_crown::red": 33.333333333333336, "has_breast": "blue", "has_wing": "red"}
    content = {"name": "Finch, the", "attributes": sheet, "metadata": {"by": 'a, "b"'}}
    http.post("/classes", json=content).raise_for_status()
    (before,) = registered(http)
    assert umzero("classes", "export", "all.csv").returncode == 0
    http.delete(f"/classes/{before['class_id']}").raise_for_status()

    read_line(playground, (tmp_path / "all.csv").read_text())
    playground.save()

    expect(playground.notice("“Finch, the” is a class now")).to_be_visible()
    (made,) = registered(http)
    assert made["attributes"] == before["attributes"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "There is no line"),
        ("Finch,1,2", "The line has 3 cells; a name and 9 numbers were expected"),
        ("class,has_crown::pink\nFinch,1", "No attribute is called “has_crown::pink”"),
        ("name,has_crown\nFinch,blue|pink", "“pink” is no value of has_crown"),
        ("class_id,colour,name\nf,red,Finch", "No attribute is called “colour”"),
        ("class,has_crown::red\nFinch,x", "“x” for has_crown::red is no number"),
        ("class,has_crown::red\nFinch,101", "its scale goes from 0 to 100"),
        ("class,has_crown::red", "a header line alone"),
        ("class,has_crown::red\nA,1\nB,2", "several lines"),
    ],
)
def test_a_csv_line_that_is_no_sheet_is_told_in_words(
    playground: Playground, line: str, words: str
) -> None:
    read_line(playground, line)

    page = playground.page
    expect(page.get_by_role("alert").filter(has_text=words)).to_be_visible()
    expect(page.locator("#make-summary")).to_be_empty()
