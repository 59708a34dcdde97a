"""The list of classes: searched, deleted, brought back; names are text whatever they hold."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Route, expect

from tests.browser.playground import Playground
from tests.integration.conftest import Server

SHEET = {"has_crown": "blue", "has_breast": "blue", "has_wing": "red"}
MARKUP = "<img src=x onerror=\"document.title='ran'\"><script>document.title='ran'</script>"


def test_all_classes_are_listed_with_their_origin_and_searched(
    playground: Playground, http: httpx.Client
) -> None:
    http.post("/classes", json={"name": "Blue Jay", "attributes": SHEET, "class_id": "b"})

    playground.tab("Classes")

    row = playground.page.locator("#classes li").filter(has_text="Blue Jay")
    expect(row).to_contain_text("registered")
    assert playground.classes() == ["Blue Jay", "Cardinal", "Jay", "Parrot", "Robin"]
    expect(playground.page.locator("#classes li").filter(has_text="Robin")).to_contain_text(
        "bundle"
    )
    playground.page.get_by_label("Search classes").fill("JAY")
    expect(playground.page.locator("#class-count")).to_have_text("2 classes of 5")
    assert playground.classes() == ["Blue Jay", "Jay"]
    expect(playground.page.get_by_role("button", name="Delete Jay", exact=True)).to_have_count(0)


def test_more_classes_than_one_page_are_all_found(
    start: Callable[..., Server], visit: Callable[[Server], Playground]
) -> None:
    server = start()
    playground = visit(server)
    many = [{"name": f"Class {n}", "class_id": f"c{n}", "attributes": SHEET} for n in range(1100)]
    server.client.post("/classes", json={"classes": many}).raise_for_status()

    playground.tab("Classes")

    expect(playground.page.locator("#class-count")).to_contain_text("1,104 classes")
    playground.page.get_by_label("Search classes").fill("class 1099")
    expect(playground.page.locator("#classes li")).to_have_count(1)


def test_a_deleted_class_comes_back_as_it_was(playground: Playground, http: httpx.Client) -> None:
    content = {"name": "Old", "class_id": "old", "attributes": SHEET, "metadata": {"a": [1]}}
    http.post("/classes", json=content).raise_for_status()
    before = http.get("/classes/old").json()
    playground.tab("Classes")

    playground.page.get_by_role("button", name="Delete Old").click()

    notice = playground.notice("“Old” is deleted")
    expect(notice).to_be_visible()
    assert http.get("/classes/old").status_code == 404
    expect(playground.page.locator("#classes li").filter(has_text="Old")).to_have_count(0)
    notice.get_by_role("button", name="Undo").click()
    expect(playground.page.locator("#classes li").filter(has_text="Old")).to_be_visible()
    after = http.get("/classes/old").json()
    kept = ("class_id", "name", "attributes", "metadata")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}


def test_after_a_change_the_list_is_fetched_once(
    playground: Playground, http: httpx.Client
) -> None:
    http.post("/classes", json={"name": "Old", "class_id": "old", "attributes": SHEET})
    page, fetched = playground.page, []
    with page.expect_response("**/metrics"):  # the next look is far away
        playground.tab("Classes")
    button = page.get_by_role("button", name="Delete Old")
    expect(button).to_be_visible()
    page.on(
        "request", lambda request: fetched.append(request.url) if "limit=" in request.url else None
    )

    with page.expect_response("**/metrics"):  # which tells the new revision, too
        button.click()

    page.wait_for_timeout(300)
    assert len(fetched) == 1


def test_a_class_that_someone_else_deleted_is_told_and_leaves_the_list(
    playground: Playground, http: httpx.Client, complaints: list[str]
) -> None:
    complaints.append("status of 404")
    http.post("/classes", json={"name": "Gone", "class_id": "gone", "attributes": SHEET})
    playground.tab("Classes")
    button = playground.page.get_by_role("button", name="Delete Gone")
    expect(button).to_be_visible()
    http.delete("/classes/gone").raise_for_status()

    button.click()

    expect(playground.notice("gone")).to_be_visible()
    expect(button).to_have_count(0)


@pytest.mark.parametrize("name", [MARKUP, '=HYPERLINK("http://x")', "\u202eevil", "{{7*7}}"])
def test_a_name_is_text_wherever_it_is_shown(
    playground: Playground,
    shared_server: Server,
    http: httpx.Client,
    name: str,
    picture: Callable[..., bytes],
) -> None:
    content = {"name": name, "class_id": "named", "attributes": SHEET}
    http.post("/classes", json=content).raise_for_status()
    page, title = playground.page, playground.page.title()
    page.reload()
    playground.look_at(picture(SHEET))

    expect(playground.best.locator(".rank-name")).to_have_text(name)
    playground.best.get_by_role("button").click()
    expect(page.locator("#why h2")).to_have_text(f"Why {name}?")
    playground.tab("Make a class")
    playground.name_class(name)
    playground.set_value("Crown", "red", 3)
    expect(page.locator(".rank.draft .rank-name")).to_contain_text(name)
    playground.tab("Classes")
    expect(page.locator("#classes .class-name").first).to_have_text(name)
    page.get_by_role("button", name="Delete").click()
    expect(playground.notice("is deleted")).to_contain_text(name)
    page.wait_for_timeout(200)
    assert page.title() == title
    assert page.locator("img[src='x'], body script").count() == 0


def test_the_tests_hear_of_what_the_policy_forbids(
    playground: Playground, complaints: list[str]
) -> None:
    complaints.extend(("Content Security Policy", "status of 404"))
    forbidden = playground.page.evaluate(
        """() => new Promise((done) => {
            addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
            const image = document.createElement("p");
            image.innerHTML = `<img src="static/none.png" onerror="document.title = 'ran'">`;
            document.body.append(image);
        })"""
    )
    assert forbidden == "script-src-attr"
    assert playground.page.title() != "ran"


def test_what_others_register_appears_by_itself(
    playground: Playground, http: httpx.Client, picture: Callable[..., bytes]
) -> None:
    playground.look_at(picture(SHEET))
    playground.tab("Classes")

    http.post("/classes", json={"name": "Theirs", "class_id": "t", "attributes": SHEET})

    expect(playground.best).to_contain_text("Theirs")
    expect(playground.page.locator("#classes li").filter(has_text="Theirs")).to_be_visible()


def test_what_was_made_or_deleted_here_is_seen_whichever_replica_answers(
    start: Callable[..., Server],
    visit: Callable[[Server], Playground],
    picture: Callable[..., bytes],
) -> None:
    writes, reads = (start(refresh_s="3600") for _ in range(2))
    playground = visit(writes)
    page, lists = playground.page, []

    def to_reads(route: Route) -> None:
        route.continue_(url=route.request.url.replace(writes.url, reads.url))

    def in_turn(route: Route) -> None:
        lists.append(route)
        if len(lists) % 2:
            to_reads(route)
        else:
            route.continue_()

    page.route("**/metrics", to_reads)
    page.route("**/classify?*", to_reads)
    page.route("**/preview?*", to_reads)
    page.route("**/classes?limit=*", in_turn)
    playground.look_at(picture(SHEET))
    playground.tab("Make a class")
    playground.name_class("Bluebird")
    playground.set_value("Crown", "blue", 100)
    playground.set_value("Breast", "blue", 100)
    playground.save()

    expect(playground.best).to_contain_text("Bluebird")
    expect(playground.best).to_contain_text("unseen")
    assert "Bluebird" in playground.classes()
    playground.tab("Classes")
    page.get_by_role("button", name="Delete Bluebird").click()
    expect(playground.notice("“Bluebird” is deleted")).to_be_visible()
    expect(page.locator("#ranks")).not_to_contain_text("Bluebird")
    assert "Bluebird" not in playground.classes()
