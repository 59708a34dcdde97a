"""The two forms of text file that CUB and AWA2 share: numbered lines, and a matrix."""

from pathlib import Path

from model.data.problems import Problems


def numbered_lines(path: Path, problems: Problems) -> dict[str, str]:
    """Lines of "number text" -> {number: text}; a line that isn't one is a problem."""
    text = problems.text(path)
    table: dict[str, str] = {}
    for at, line in enumerate((text or "").splitlines(), 1):
        match line.split(maxsplit=1):
            case [key, value] if key not in table:
                table[key] = value.strip()
            case [key, _]:
                problems.add(f"{problems.relative(path)}:{at} has {key} a second time")
            case []:
                pass
            case _:
                problems.add(f"{problems.relative(path)}:{at} is {line!r}, expected two columns")
    if text is not None and not table:
        problems.add(f"{problems.relative(path)} is empty")
    return table


def rows(path: Path, problems: Problems) -> list[list[str]]:
    """Lines of texts between spaces; an empty or missing file is a problem, and gives none."""
    text = problems.text(path)
    found = [line.split() for line in (text or "").splitlines() if line.strip()]
    if text is not None and not found:
        problems.add(f"{problems.relative(path)} is empty")
    return found
