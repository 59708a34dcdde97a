"""Bad files, a service that is busy, and one that goes away: told in words, and got over."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Route, expect

from tests.browser.playground import NEW, Playground, registered
from tests.integration.conftest import Server

Picture = Callable[..., bytes]
UNREADABLE = "The file can't be read any more. Open it again."
REFUSED = "ERR_CONNECTION_REFUSED|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET|ERR_SOCKET_NOT_CONNECTED"


def test_a_file_that_is_no_picture_is_told_with_what_to_do(
    playground: Playground, picture: Picture, complaints: list[str]
) -> None:
    complaints.append("status of 422")
    playground.choose(("notes.txt", b"Dear diary"))

    alert = playground.page.get_by_role("alert").filter(has_text="Choose another file")
    expect(alert).to_be_visible()
    expect(playground.page.locator("#ranking")).to_be_hidden()
    playground.look_at(picture("Jay"))
    expect(alert).to_be_hidden()
    expect(playground.best).to_contain_text("Jay")


def test_a_truncated_picture_is_told(
    playground: Playground, picture: Picture, complaints: list[str]
) -> None:
    complaints.append("status of 422")
    image = picture("Jay", "JPEG")
    playground.choose(("half.jpg", image[: len(image) // 2]))

    expect(playground.page.locator("#image-problem")).to_contain_text("not complete: copy")


def test_a_photograph_whose_file_is_gone_is_told_and_is_no_outage(
    playground: Playground, picture: Picture, complaints: list[str], tmp_path: Path
) -> None:
    complaints.append("ERR_FILE_NOT_FOUND|ERR_UPLOAD_FILE_CHANGED")
    page, file = playground.page, tmp_path / "a.png"
    file.write_bytes(picture("Jay"))
    page.set_input_files("#file", file)
    expect(playground.best).to_contain_text("Jay")
    file.unlink()

    page.locator("#scope").select_option("seen")

    expect(page.locator("#image-problem")).to_have_text(UNREADABLE)
    expect(page.locator("#outage")).to_be_hidden()
    playground.look_at(picture("Robin"))
    expect(playground.best).to_contain_text("Robin")


def test_of_many_files_those_that_are_gone_stop_no_others(
    playground: Playground, picture: Picture, complaints: list[str], tmp_path: Path
) -> None:
    complaints.append("ERR_FILE_NOT_FOUND|ERR_UPLOAD_FILE_CHANGED")
    page, files = playground.page, [tmp_path / f"{n}.png" for n in range(8)]
    for file in files:
        file.write_bytes(picture("Jay"))
    playground.run(
        """() => {
            const [ask, gone] = [fetch, new Promise((done) => (globalThis.goOn = done))];
            globalThis.fetch = (...given) => gone.then(() => ask(...given));
        }"""
    )
    page.set_input_files("#file", files)
    expect(page.locator("#many-rows tr")).to_have_count(8)
    for file in files[3:6]:
        file.unlink()
    playground.run("goOn()")

    expect(page.locator("#many-words")).to_have_text("8 of 8 photographs; 3 could not be read")
    expect(page.locator("#many-rows tr").nth(4)).to_contain_text(UNREADABLE)


def test_a_problem_of_a_server_in_between_is_told_too(
    playground: Playground, picture: Picture, complaints: list[str]
) -> None:
    complaints.append("status of 502")
    playground.page.route(
        "**/classify?*", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>")
    )
    playground.choose(("a.png", picture("Jay")))

    expect(playground.page.get_by_role("alert").filter(has_text="502")).to_be_visible()


def test_a_busy_service_is_asked_again_as_it_said(
    playground: Playground, picture: Picture, complaints: list[str]
) -> None:
    complaints.append("status of 503")
    asked: list[Route] = []
    problem = {"status": 503, "code": "overloaded", "detail": "too many wait", "title": "Busy"}

    def busy_once(route: Route) -> None:
        asked.append(route)
        if len(asked) == 1:
            route.fulfill(status=503, json=problem, headers={"Retry-After": "1"})
        else:
            route.continue_()

    playground.page.route("**/classify?*", busy_once)
    playground.choose(("a.png", picture("Jay")))

    expect(playground.best).to_contain_text("Jay")
    assert len(asked) == 2


def test_behind_a_proxy_that_keeps_the_metrics_the_page_goes_by_whether_it_is_ready(
    playground: Playground, http: httpx.Client, picture: Picture, complaints: list[str]
) -> None:
    complaints.extend(("status of 404", "status of 502"))
    page, asked = playground.page, []

    def refuse(route: Route) -> None:
        asked.append(route)
        route.fulfill(status=404, body="")

    page.goto("about:blank")  # whose polls don't count
    page.route("**/metrics", refuse)
    page.route("**/readyz", lambda route: route.fulfill(status=502, body="<h1>Bad gateway</h1>"))
    page.goto(playground.url)
    line = page.locator("#status-words")

    expect(line).to_have_text("does not answer")
    expect(page.locator("#outage")).to_contain_text("trying again")
    page.unroute("**/readyz")
    expect(line).to_have_text("ready")
    expect(page.locator("#outage")).to_be_hidden()
    assert len(asked) == 1
    # The next answer tells of what others have registered.
    playground.tab("Classes")
    playground.look_at(picture("Jay"))
    http.post("/classes", json={"name": "Theirs", "attributes": {"has_crown": "blue"}})
    playground.look_at(picture("Jay"))
    expect(page.locator("#classes li").filter(has_text="Theirs")).to_be_visible()


def test_a_page_that_is_opened_while_the_service_starts_comes_to_show_its_classes(
    playground: Playground, complaints: list[str]
) -> None:
    complaints.append("status of 503")
    page, is_ready = playground.page, False
    problem = {"status": 503, "code": "not_ready", "detail": "the service is starting; try again"}

    def metrics(route: Route) -> None:
        text = route.fetch().text()
        assert "\numzero_ready 1.0\n" in text
        ready = f"\numzero_ready {float(is_ready)}\n"
        route.fulfill(body=text.replace("\numzero_ready 1.0\n", ready))

    def classes(route: Route) -> None:
        if is_ready:
            route.continue_()
        else:
            route.fulfill(status=503, json=problem)

    page.goto("about:blank")
    page.route("**/metrics", metrics)
    page.route("**/classes?*", classes)
    page.goto(playground.url)
    expect(playground.notice("The service is starting")).to_be_visible()
    expect(page.locator("#status-words")).to_contain_text("not ready")
    expect(page.locator("#class-count")).to_be_empty()

    is_ready = True

    expect(page.locator("#class-count")).to_have_text("4 classes")


def test_a_class_whose_answer_got_lost_is_sent_again_and_made_once(
    playground: Playground, http: httpx.Client, complaints: list[str]
) -> None:
    complaints.append("ERR_FAILED")
    keys: list[str | None] = []

    def lose_first(route: Route) -> None:
        if route.request.method != "POST":
            return route.continue_()
        keys.append(route.request.header_value("idempotency-key"))
        if len(keys) > 1:
            return route.continue_()
        assert route.fetch().status == 201
        return route.abort()

    playground.page.route("**/classes", lose_first)
    playground.tab("Make a class")
    playground.name_class("Once")
    playground.set_value("Crown", "red", 77)

    playground.save()

    expect(playground.notice("“Once” is a class now")).to_be_visible()
    assert keys[0]
    assert keys == [keys[0]] * 2
    assert [item["name"] for item in registered(http)] == ["Once"]
    expect(playground.page.get_by_label("Name of the new class")).to_have_value("")


def test_of_a_removal_whose_answer_got_lost_nobody_says_that_nothing_was_done(
    playground: Playground, http: httpx.Client, complaints: list[str]
) -> None:
    complaints.append("ERR_FAILED")
    content = {"name": "Lost", "class_id": "lost", "attributes": NEW}
    http.post("/classes", json=content).raise_for_status()

    def lose(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fetch()
            route.abort()
        else:
            route.continue_()

    playground.page.route("**/classes/lost", lose)
    playground.tab("Classes")

    playground.page.get_by_role("button", name="Delete Lost").click()

    expect(playground.notice("nobody knows whether this was done")).to_be_visible()
    expect(playground.page.locator("#classes li").filter(has_text="Lost")).to_have_count(0)


def test_a_service_that_goes_away_and_comes_back_is_waited_for(
    start: Callable[..., Server],
    visit: Callable[[Server], Playground],
    picture: Picture,
    complaints: list[str],
) -> None:
    complaints.append(REFUSED)
    server = start()
    playground = visit(server)
    page = playground.page
    playground.look_at(picture("Jay"))
    playground.tab("Make a class")
    playground.name_class("Kept")
    playground.set_value("Crown", "red", 77)

    server.kill()

    away = page.get_by_role("alert").filter(has_text="The service does not answer; trying again.")
    expect(away).to_be_visible()
    expect(page.locator("#status-words")).to_have_text("does not answer")
    playground.save()
    playground.choose(("later.png", picture("Robin")))
    start(port=str(server.address[1]))
    expect(away).to_be_hidden()
    expect(page.locator("#status-words")).to_contain_text("ready")
    expect(page.get_by_role("img", name="later.png")).to_be_visible()
    expect(playground.page.locator("#ranks")).to_contain_text("Robin")
    expect(playground.notice("“Kept” is a class now")).to_be_visible()
    expect(page.locator("#make-problem")).to_be_hidden()


def test_many_photographs_go_on_when_the_service_is_back(
    start: Callable[..., Server],
    visit: Callable[[Server], Playground],
    picture: Picture,
    complaints: list[str],
) -> None:
    complaints.append(REFUSED)
    server = start(fake_delay_s="0.2")
    playground = visit(server)
    words = playground.page.locator("#many-words")
    playground.choose(*((f"{n}.png", picture("Jay")) for n in range(12)))
    expect(words).not_to_have_text("0 of 12 photographs")

    server.kill()
    expect(playground.page.locator("#outage")).to_be_visible()
    start(port=str(server.address[1]))

    expect(words).to_have_text("12 of 12 photographs")


@pytest.mark.parametrize("kind", ["draft", "photograph"])
def test_an_answer_to_what_is_no_longer_asked_changes_nothing(
    playground: Playground, picture: Picture, kind: str
) -> None:
    page = playground.page
    playground.look_at(picture("Jay"))
    playground.tab("Make a class")
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    def is_held() -> None:
        assert held

    page.route("**/preview?*", hold)
    playground.set_value("Crown", "red", 77)
    playground.eventually(is_held)

    if kind == "draft":
        page.get_by_role("button", name="the average", exact=True).click()
    else:
        playground.tab("Why")
    page.wait_for_timeout(300)
    held[0].continue_()

    page.wait_for_timeout(300)
    expect(page.locator(".rank.draft")).to_have_count(0)
    expect(page.locator("#ranking-title")).to_have_text("What it looks like")
