"""Every code block of the site, the README and the docstrings that the site shows is run or read.

Shell and Python run, the rest is parsed; what a test can't run says so in its title.
"""

import csv
import io
import json
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from docs.generate.__main__ import PAGES
from docs.generate.commands import commands
from tests.docs.blocks import REPOSITORY, Block, blocks_of, docstring_blocks, written_pages
from tests.docs.running import Reader, Served

OWN_TEST = "docs/tutorial.md", "docs/cli.md"
LANGUAGES = {"bash", "python", "text", "json", "yaml", "promql", "csv"}
REASONS = {
    "it installs packages",
    "it trains",
    "it needs a CUDA device",
    "it needs Docker",
    "it needs a Kubernetes cluster",
    "it needs PostgreSQL",
    "it needs a Ray cluster",
    "it needs the birds' photographs",
}
MOST_LEFT_OUT = 12


def sources() -> dict[str, str]:
    """Every page of the site, made ones included, and the README: name -> text."""
    written = {str(path.relative_to(REPOSITORY)): path.read_text() for path in written_pages()}
    return written | {f"docs/reference/{name}": page() for name, page in PAGES.items()}


BLOCKS = {page: blocks_of(page, text) for page, text in sources().items()}
ALL = [block for blocks in BLOCKS.values() for block in blocks]
LEFT_OUT = [block for block in ALL if block.left_out is not None]
RUN = [
    page for page, blocks in BLOCKS.items() if any(b.language in ("bash", "python") for b in blocks)
]


@pytest.mark.parametrize("page", [page for page in RUN if page not in OWN_TEST])
def test_the_blocks_of_a_page_run_in_their_turn(
    page: str, birds_url: str, furnish: Callable[[Path], None], tmp_path: Path
) -> None:
    furnish(tmp_path)

    with Reader(tmp_path, birds_url) as reader:
        reader.follow(BLOCKS[page])

    for shown, said in answers(BLOCKS[page], reader):
        if shown.printed:
            assert said == shown.text, f"{shown}\n{said}"
        else:
            assert has_shape(last_json(said), json.loads(shown.text)), f"{shown}\n{said}"


def answers(blocks: list[Block], reader: Reader) -> Iterator[tuple[Block, str]]:
    """The blocks that show what the one before them prints, and what that one printed."""
    said: dict[Block, str] = dict(reader.said)
    last = None
    for block in blocks:
        if block in said:
            last = block
        elif last is not None and (block.printed or block.answered):
            yield block, said[last]
            last = None


def last_json(text: str) -> Any:
    """The last of the JSON documents that stand one behind the other."""
    decoder, found, text = json.JSONDecoder(), None, text.strip()
    while text:
        found, end = decoder.raw_decode(text)
        text = text[end:].strip()
    return found


def has_shape(answer: Any, shown: Any) -> bool:
    """Whether each member that a page shows is in the answer, and of the same kind; an item of a
    list may be like any of those that are shown, whose order is the picture's."""
    if isinstance(shown, dict):
        return isinstance(answer, dict) and all(
            key in answer and has_shape(answer[key], value) for key, value in shown.items()
        )
    if isinstance(shown, list):
        return isinstance(answer, list) and all(
            any(has_shape(one, other) for other in shown) for one in answer[: len(shown)]
        )
    numbers = (int, float)
    if isinstance(shown, numbers) and not isinstance(shown, bool):
        return isinstance(answer, numbers) and not isinstance(answer, bool)
    return type(answer) is type(shown)


@pytest.mark.parametrize(
    ("answer", "shown", "same"),
    [
        ({"a": 1, "b": "x"}, {"a": 2.5}, True),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 3}]}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": None}, {"a": "x"}, False),
    ],
)
def test_an_answer_with_another_shape_than_the_page_shows_is_found(
    answer: Any, shown: Any, same: bool
) -> None:
    assert has_shape(answer, shown) is same


@pytest.mark.parametrize("block", docstring_blocks(), ids=str)
def test_the_program_in_a_docstring_runs(
    block: Block, birds_url: str, furnish: Callable[[Path], None], tmp_path: Path
) -> None:
    furnish(tmp_path)

    with Reader(tmp_path, birds_url) as reader:
        reader.follow([block])


def test_blocks_are_of_languages_that_are_looked_at() -> None:
    assert {block.language for block in ALL} <= LANGUAGES
    assert {block.page for block in docstring_blocks()} >= {"umzero.Client", "umzero.Classifier"}


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    assert {block.left_out for block in LEFT_OUT} <= REASONS
    assert len(LEFT_OUT) <= MOST_LEFT_OUT
    assert {block.language for block in LEFT_OUT} == {"bash"}


def test_what_is_left_out_names_commands_extras_and_targets_that_exist() -> None:
    known = {words: _options(command) for words, command, _ in commands()}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = [line.split(" #")[0] for block in LEFT_OUT for line in block.text.splitlines()]

    for line in lines:
        for extra in re.findall(r"\.\[([\w,]+)\]", line):
            assert set(extra.split(",")) <= project["optional-dependencies"].keys()
        if line.startswith("make "):
            done = subprocess.run([*line.split(), "-n"], cwd=REPOSITORY, check=False)
            assert done.returncode == 0, line
        if line.startswith("umzero "):
            words = tuple(line.split()[1:])
            command = next(known[words[:n]] for n in (1, 2) if words[:n] in known)
            assert set(re.findall(r"(?<= )--[\w-]+", line)) <= command, line


def _options(command: Any) -> set[str]:
    return {name for item in command.params for name in (*item.opts, *item.secondary_opts)}


@pytest.mark.parametrize(
    "block", [b for b in ALL if b.language in ("json", "yaml", "csv")], ids=str
)
def test_data_is_well_formed(block: Block) -> None:
    match block.language:
        case "json":
            json.loads(block.text, object_pairs_hook=_once_each)
        case "yaml":
            assert yaml.safe_load(block.text)
        case "csv":
            assert len({len(row) for row in csv.reader(io.StringIO(block.text))}) == 1


def _once_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(members)) == len(members), f"a name stands twice in {members}"
    return dict(members)


@pytest.mark.parametrize("block", [b for b in ALL if b.title.endswith(".yml")], ids=str)
def test_prometheus_takes_its_files(block: Block, promtool: str, tmp_path: Path) -> None:
    file = tmp_path / block.title
    file.write_text(block.text)
    kind = "rules" if "groups" in yaml.safe_load(block.text) else "config"

    _check(promtool, "check", kind, str(file))


def test_queries_can_be_parsed_and_ask_for_metrics_that_there_are(
    promtool: str, birds_server: Served, tmp_path: Path
) -> None:
    queries = [block for block in ALL if block.language == "promql"]
    rules = [{"record": f"page:{i}", "expr": b.text} for i, b in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "page", "rules": rules}]}))
    httpx.post(f"{birds_server.url}/classify", content=b"no image")
    exposition = httpx.get(f"{birds_server.url}/metrics").text
    there = set(re.findall(r"^(?:# TYPE )?(umzero_\w+)", exposition, re.M))

    _check(promtool, "check", "rules", str(file))
    asked = [b for b in ALL if b.language in ("promql", "yaml")]
    named = {name for b in asked for name in re.findall(r"\bumzero_\w+", b.text)}
    assert len(queries) >= 4
    assert named <= there
    assert 'route="/classify"' in exposition


def _check(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
