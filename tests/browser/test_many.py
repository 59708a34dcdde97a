"""Many photographs at once, as a table and as CSV."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import expect

from tests.browser.playground import Playground

Picture = Callable[..., bytes]

SHEET = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}


def saved(playground: Playground) -> list[dict[str, str]]:
    with playground.page.expect_download() as download:
        playground.page.get_by_role("button", name="Save as CSV").click()
    assert download.value.suggested_filename == "umzero.csv"
    text = Path(download.value.path()).read_bytes().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_many_files_become_a_table_and_the_table_csv(
    playground: Playground, http: httpx.Client, picture: Picture, complaints: list[str]
) -> None:
    complaints.append("status of 422")
    name = '=cmd|" /C calc"!A0, "quoted"'
    http.post("/classes", json={"name": name, "class_id": "bad", "attributes": SHEET})
    names = ["Robin", "Jay", "Cardinal", "Parrot"]
    files = [(f"{n} {i}.png", picture(n)) for i in range(5) for n in names]
    files += [("-1+1.png", picture(SHEET)), ("broken.png", b"no picture")]

    playground.choose(*files)

    expect(playground.page.get_by_role("tab", name="Many")).to_have_attribute(
        "aria-selected", "true"
    )
    words = playground.page.locator("#many-words")
    expect(words).to_have_text("22 of 22 photographs; 1 could not be read")
    bar = playground.page.get_by_role("progressbar")
    assert (bar.get_attribute("max"), bar.get_attribute("value")) == ("22", "22")
    rows = saved(playground)
    assert len(rows) == 22
    for row, (file, image) in zip(rows[:20], files, strict=False):
        best, following = http.post("/classify", content=image).json()["predictions"][:2]
        assert row["file"] == file
        assert (row["class_id"], row["next_class_id"]) == (best["class_id"], following["class_id"])
        assert float(row["probability"]) == pytest.approx(best["probability"])
        assert float(row["score"]) == pytest.approx(best["score"])
        assert (row["seen"], row["problem"]) == ("true", "")
    # Spreadsheets must not run what a name says; the rest is as it was.
    assert rows[20]["file"] == "'-1+1.png"
    assert rows[20]["name"] == "'" + name
    assert rows[20]["seen"] == "false"
    assert rows[21]["file"] == "broken.png"
    assert "Choose another file" in rows[21]["problem"]
    assert rows[21]["class_id"] == ""
    body = playground.page.locator("#many-rows")
    expect(body.get_by_role("row").filter(has_text="broken.png")).to_contain_text(
        "Choose another file"
    )


def test_a_row_opens_its_photograph(playground: Playground, picture: Picture) -> None:
    playground.choose(("a.png", picture("Robin")), ("b.png", picture("Jay")))
    expect(playground.page.locator("#many-words")).to_have_text("2 of 2 photographs")

    playground.page.get_by_role("button", name="b.png").click()

    expect(playground.page.get_by_role("img", name="The photograph b.png")).to_be_visible()
    expect(playground.best).to_contain_text("Jay")


def test_what_is_done_is_kept_when_the_rest_is_stopped(
    playground: Playground, picture: Picture
) -> None:
    page = playground.page
    answered = 0

    def some(route: object) -> None:
        nonlocal answered
        if answered < 2:
            answered += 1
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/classify?top_k=2", some)
    playground.choose(*((f"{n}.png", picture("Jay")) for n in range(9)))
    expect(page.locator("#many-words")).to_have_text("2 of 9 photographs")

    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    assert len(saved(playground)) == 2


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    # No lone surrogates, and no carriage return: a cell's own line ends are written as they are.
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\0"), max_size=12),
)


def test_csv_is_read_as_it_was_written(playground: Playground) -> None:
    @settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(st.lists(cells, min_size=2, max_size=4), min_size=1, max_size=4))
    def check(rows: list[list[object]]) -> None:
        text = playground.run(
            "async (rows) => (await import(`${location.href}static/csv.js`)).written(rows)", rows
        )
        found = list(csv.reader(io.StringIO(text, newline="")))
        assert len(found) == len(rows)
        for read, row in zip(found, rows, strict=True):
            for cell, value in zip(read, row, strict=True):
                if isinstance(value, str):
                    assert cell in (value, "'" + value)
                    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
                elif isinstance(value, bool):
                    assert cell == ("true" if value else "false")
                else:
                    assert cell == ("" if value is None else str(value))

    check()
