"""Collects what is wrong with a data set, so that it is named in one report."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from model.errors import DatasetError


def few(names: Iterable[str], shown: int = 3) -> str:
    """'a, b, c and 4 more'"""
    listed = list(names)
    more = len(listed) - shown
    return ", ".join(listed[:shown]) + (f" and {more} more" if more > 0 else "")


class Problems:
    """A growing list of problems; readers go on as far as they can before they give up."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: list[str] = []

    def add(self, problem: str) -> None:
        self._found.append(problem)

    def extend(self, problems: Iterable[str]) -> None:
        self._found.extend(problems)

    def duplicates(self, what: str, names: Iterable[str]) -> None:
        """Name each of `names` that comes more than once."""
        self.extend(f"{what} {n!r} comes {c} times" for n, c in Counter(names).items() if c > 1)

    def text(self, path: Path) -> str | None:
        """The file's text, or None after noting that it can't be read."""
        try:
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            self.add(f"{self.relative(path)} is missing")
        except (OSError, UnicodeDecodeError) as error:
            self.add(f"{self.relative(path)} can't be read: {error}")
        return None

    def relative(self, path: Path) -> str:
        return (
            path.relative_to(self._root).as_posix()
            if path.is_relative_to(self._root)
            else path.name
        )

    def raise_if_any(self) -> None:
        """
        Raises:
            DatasetError: with all problems that were found so far.
        """
        if self._found:
            count = "1 problem" if len(self._found) == 1 else f"{len(self._found)} problems"
            raise DatasetError(
                f"{self._root} can't be used as a data set, {count}:", tuple(self._found)
            )
