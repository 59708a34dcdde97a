"""`GET /` and the files of the page: their headers, and that the page needs nothing else."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

Problem = Callable[..., dict[str, Any]]

STATIC = Path(__file__).resolve().parents[2] / "service" / "http" / "static"
FILES = sorted(path.name for path in STATIC.iterdir())
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
    "form-action": "'none'",
}


def policy_of(response: httpx.Response) -> dict[str, str]:
    parts = response.headers["content-security-policy"].split(";")
    return dict(part.strip().split(" ", 1) for part in parts)


@pytest.mark.parametrize("path", ["/", *(f"/static/{name}" for name in FILES)])
def test_every_file_is_served_as_what_it_is_under_a_strict_policy(
    http: httpx.Client, path: str
) -> None:
    response = http.get(path)

    name = path.rpartition("/")[2] or "index.html"
    assert response.status_code == 200
    assert response.content == (STATIC / name).read_bytes()
    kind = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
    expected = kind.get(Path(name).suffix, "image/svg+xml")
    assert response.headers["content-type"].startswith(expected)
    assert policy_of(response) == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-cache"


def test_a_file_that_one_has_already_is_not_sent_again(http: httpx.Client) -> None:
    tag = http.get("/").headers["etag"]

    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        response = http.get("/", headers={"If-None-Match": known})
        assert (response.status_code, response.content) == (304, b""), known
        assert response.headers["etag"] == tag
    assert http.get("/", headers={"If-None-Match": '"other"'}).status_code == 200
    head = http.head("/")
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)


@pytest.mark.parametrize("name", ["nothing.js", "..%2fproblems.py", "%2e%2e%2fdeps.py", "."])
def test_only_the_page_s_own_files_are_served(
    http: httpx.Client, problem: Problem, name: str
) -> None:
    problem(http.get(f"/static/{name}"), 404, "not_found")


def test_the_page_names_its_own_files_alone_and_holds_no_program_or_style() -> None:
    page = (STATIC / "index.html").read_text()
    named = re.findall(r'(?:src|href)="([^"#]+)"', page)

    assert {name.removeprefix("static/") for name in named} - {"docs"} <= set(FILES)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)|https?://", page)
    for name in FILES:
        text = (STATIC / name).read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        outside = set(re.findall(r"https?://[^\s\"'`)]+", text))
        assert outside <= {"http://www.w3.org/2000/svg"}, name
        for other in re.findall(r'from "\./([^"]+)"', text):
            assert other in FILES, f"{name} imports {other}"
