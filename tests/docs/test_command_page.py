"""docs/cli.md: what its blocks do, and that it leaves no command out."""

from pathlib import Path

from tests.docs.blocks import DOCS, blocks_of
from tests.docs.running import Reader
from umzero import cli

PAGE = (DOCS / "cli.md").read_text()


def test_every_block_runs_in_its_turn(birds_url: str, tmp_path: Path) -> None:
    with Reader(tmp_path, birds_url) as reader:
        reader.follow(blocks_of("docs/cli.md", PAGE))

    assert "registered pileated: Pileated Woodpecker" in reader.text
    told = "nothing was written; would be: 2 registered, 0 replaced, 0 skipped, 0 failed"
    assert told in reader.text
    assert "0 registered, 2 replaced, 0 skipped, 0 failed" in reader.text
    assert "exit code 1\nexit code 3\n" in reader.text
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")


def test_every_command_is_on_the_page() -> None:
    for name in cli.COMMANDS:
        assert f"umzero {name}" in PAGE
    for name, group in cli.GROUPS.items():
        for second in group.commands:
            assert f"umzero {name} {second}" in PAGE
