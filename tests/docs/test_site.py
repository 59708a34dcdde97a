"""`make docs`: the site is built, leads nowhere that isn't there, and asks no other host."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from docs.generate import http
from docs.generate.commands import commands
from docs.generate.metrics import metrics
from service.settings import Settings
from tests.docs.blocks import REPOSITORY, blocks_of
from tests.docs.running import variables

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}


@dataclass
class Page(HTMLParser):
    """What a page has."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    code_blocks: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.code_blocks += tag == "pre"
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            if (tag, name) in LOADED and value:
                self.loaded.append(value)
            if (tag, name) == ("a", "href") and value:
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site that `make docs` builds, in a copy."""
    root = tmp_path_factory.mktemp("site")
    for name in ("docs", "mkdocs.yml", "Makefile"):
        subprocess.run(["cp", "-r", str(REPOSITORY / name), str(root)], check=True)
    # What the pages are made from stays where it is.
    for name in ("umzero", "service", "model", "weights"):
        (root / name).symlink_to(REPOSITORY / name)
    programs = f"BIN={Path(sys.executable).parent}"
    done = subprocess.run(
        ["make", "--old-file", ".venv/.installed", programs, "docs"],
        cwd=root,
        env=variables() | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "build" / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = Page()
        found[path].feed(path.read_text())
    return found


def test_every_page_of_docs_is_on_the_site_and_in_its_navigation(site: Path) -> None:
    docs = site.parents[1] / "docs"
    sources = {path.relative_to(docs).with_suffix("") for path in docs.rglob("*.md")}
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    navigation = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())["nav"]

    assert built - {Path("404")} == sources
    assert set(_leaves(navigation)) == {str(path.with_suffix(".md")) for path in sources}


def test_every_link_inside_the_site_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = target.is_file() and target.is_relative_to(site.resolve())
            anchors = pages[target].anchors if target in pages else set()
            if not there or (parts.fragment and unquote(parts.fragment) not in anchors):
                dead.append(f"{path.relative_to(site)}: {link}")

    assert dead == []
    assert sum(len(page.links) for page in pages.values()) > 100


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Page]) -> None:
    loaded = {link for page in pages.values() for link in page.loaded}
    styles = "".join(path.read_text() for path in site.rglob("*.css"))

    assert {link for link in loaded if urlsplit(link).netloc} == set()
    assert len(loaded) > 3
    assert re.findall(r"(?:url\(|@import)[\s\"']*(?:https?:)?//[^)\s]*", styles) == []


def test_the_tests_of_code_blocks_see_every_one_that_a_page_shows(
    site: Path, pages: dict[Path, Page]
) -> None:
    docs = site.parents[1] / "docs"
    shown, seen = {}, {}
    for path in docs.rglob("*.md"):
        name = path.relative_to(docs).with_suffix("")
        shown[name] = pages[site / name.with_suffix(".html")].code_blocks
        seen[name] = len(blocks_of(str(name), path.read_text()))
    # Docstrings have blocks of their own, and signatures look like some.
    assert shown.pop(Path("reference/python")) > 10
    del seen[Path("reference/python")]

    assert seen == shown
    assert sum(seen.values()) > 60


def test_links_of_the_readme_lead_to_files() -> None:
    text = (REPOSITORY / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)

    assert len(links) > 5
    assert [link for link in links if not (REPOSITORY / link).is_file()] == []


def test_the_reference_has_every_operation_command_setting_and_metric(
    site: Path, pages: dict[Path, Page]
) -> None:
    reference = site / "reference"
    document = http.openapi()
    operations = {operation["operationId"] for _, _, operation in http.operations(document)}

    assert len(operations) > 15
    assert operations <= pages[reference / "http.html"].anchors
    assert {"-".join(("umzero", *words)) for words, _, _ in commands()} <= pages[
        reference / "commands.html"
    ].anchors
    assert _codes(reference / "settings.html") >= {
        f"UMZERO_{name.upper()}" for name in Settings.model_fields
    }
    assert _codes(reference / "metrics.html") >= {name for name, *_ in metrics()}


def test_the_python_reference_has_what_umzero_gives(pages: dict[Path, Page], site: Path) -> None:
    anchors = pages[site / "reference" / "python.html"].anchors

    for name in ("classifier.Classifier", "client.Client", "async_client.AsyncClient"):
        assert f"umzero.{name}" in anchors
    assert {"umzero.client.Client.classify", "umzero.errors.RequestFailed"} <= anchors


def _leaves(navigation: object) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    elif isinstance(navigation, list):
        for item in navigation:
            yield from _leaves(item)
    elif isinstance(navigation, dict):
        for item in navigation.values():
            yield from _leaves(item)


def _codes(page: Path) -> set[str]:
    return set(re.findall(r"<code>([^<]+)</code>", page.read_text()))
