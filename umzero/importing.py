"""From the lines of a file to classes of a server: first look, then write.

Every line is looked at before anything is written, so that a file with a mistake in its last line
is known to have one. The lines are read a second time to be written: they need not fit in memory.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from model.sheets import AttributeSpace
from service.errors import SheetRefused
from service.usecases.checking import Draft, checked
from umzero.calls import NewClass
from umzero.class_files.rows import BadLine, Row
from umzero.client import Client
from umzero.errors import RequestFailed
from umzero.results import RegisteredClass

OnConflict = Literal["fail", "skip", "replace"]

BATCH = 200  # classes of one request
_TOO_LARGE = 413


@dataclass
class Outcome:
    """What an import did, or would do."""

    registered: int = 0
    replaced: int = 0
    skipped: int = 0
    problems: list[BadLine] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    revision: int | None = None

    @property
    def done(self) -> int:
        return self.registered + self.replaced + self.skipped


@dataclass
class Survey:
    """What a look at every line found.

    Attributes:
        add: the lines whose classes are new.
        replace: line -> the id of the class whose place it takes.
        conflicts: lines whose class is there already, where that was not to be.
        skipped: how many classes are there already and stay.
        problems: lines that can't be used.
    """

    add: set[int] = field(default_factory=set)
    replace: dict[int, str] = field(default_factory=dict)
    skipped: int = 0
    conflicts: list[BadLine] = field(default_factory=list)
    problems: list[BadLine] = field(default_factory=list)


def survey(
    rows: Iterable[Row | BadLine],
    space: AttributeSpace,
    existing: Iterable[RegisteredClass],
    on_conflict: OnConflict,
) -> Survey:
    """What each line would do, by the server's own rules."""
    found = Survey()
    there = {item.class_id: item for item in existing}
    named = {item.name: item for item in there.values()}
    lines: dict[tuple[str, str], int] = {}
    replaced_by: dict[str, int] = {}  # id -> line
    for row in rows:
        if isinstance(row, BadLine):
            found.problems.append(row)
        elif wrong := _objection(row, space, lines):
            found.problems.append(BadLine(row.line, wrong))
        else:
            _decide(found, row, there, named, replaced_by, on_conflict)
    return found


def _objection(row: Row, space: AttributeSpace, lines: dict[tuple[str, str], int]) -> str | None:
    new = row.new
    try:
        checked(Draft(new.name, new.attributes, new.class_id, new.metadata), space)
    except SheetRefused as error:
        return error.detail
    for key, value in (("class_id", new.class_id), ("name", new.name)):
        if value is not None and (first := lines.setdefault((key, value), row.line)) != row.line:
            return f"{key} {value!r} is that of line {first} already; expected another one"
    return None


def _decide(
    found: Survey,
    row: Row,
    there: dict[str, RegisteredClass],
    named: dict[str, RegisteredClass],
    replaced_by: dict[str, int],
    on_conflict: OnConflict,
) -> None:
    new = row.new
    by_id = None if new.class_id is None else there.get(new.class_id)
    by_name = named.get(new.name)
    old = by_id or by_name
    if old is None:
        found.add.add(row.line)
    elif on_conflict == "skip":
        found.skipped += 1
    elif on_conflict == "fail":
        what = f"class_id {old.class_id!r}" if by_id else f"name {old.name!r}"
        found.conflicts.append(BadLine(row.line, f"{what} is there already"))
    elif wrong := _no_replacing(old, by_name, row, replaced_by):
        found.problems.append(BadLine(row.line, wrong))
    else:
        found.replace[row.line] = old.class_id


def _no_replacing(
    old: RegisteredClass,
    by_name: RegisteredClass | None,
    row: Row,
    replaced_by: dict[str, int],
) -> str | None:
    """Why a line can't take a class's place."""
    if old.seen:
        return f"{old.class_id!r} is one of the bundle's own classes, which can't be replaced"
    if by_name is not None and row.new.class_id not in (None, by_name.class_id):
        return f"the name {row.new.name!r} is that of class {by_name.class_id!r}; expected another"
    if old.examples:
        return (
            f"class {old.class_id!r} has {old.examples} example photographs, which no file holds "
            f"and which it would lose; `umzero classes remove {old.class_id}` first, or replace it "
            "with photographs by PUT /classes/{class_id}"
        )
    if (first := replaced_by.setdefault(old.class_id, row.line)) != row.line:
        return f"class {old.class_id!r} is the class of line {first} already; expected another"
    return None


def carry_out(
    client: Client,
    rows: Iterable[Row | BadLine],
    plan: Survey,
    outcome: Outcome,
    advance: Callable[[int], None],
) -> None:
    """Write what was planned, in batches; `outcome` is kept up to date all the while.

    Raises:
        RequestFailed: the server is gone. What was written stays, and stands in `outcome`.
    """
    waiting: list[Row] = []
    for row in rows:
        if isinstance(row, BadLine):
            continue
        if row.line in plan.add:
            waiting.append(row)
            if len(waiting) == BATCH:
                _register(client, waiting, outcome, advance)
                waiting = []
        elif row.line in plan.replace:
            _replace(client, plan.replace[row.line], row, outcome)
            advance(1)
    _register(client, waiting, outcome, advance)


def _register(
    client: Client, rows: list[Row], outcome: Outcome, advance: Callable[[int], None]
) -> None:
    while rows:
        try:
            made = client.register_many([row.new for row in rows])
        except RequestFailed as error:
            if error.status == _TOO_LARGE and len(rows) > 1:
                half = len(rows) // 2
                _register(client, rows[:half], outcome, advance)
                rows = rows[half:]
                continue
            refused = 0 if len(rows) == 1 else error.index
            if error.unavailable or refused is None:
                raise
            # Somebody else was here since the look at the lines, say.
            outcome.problems.append(BadLine(rows[refused].line, error.detail))
            rows = rows[:refused] + rows[refused + 1 :]
            advance(1)
        else:
            outcome.registered += len(made)
            _note(outcome, made)
            advance(len(made))
            return


def _replace(client: Client, class_id: str, row: Row, outcome: Outcome) -> None:
    new: NewClass = row.new
    try:
        made = client.replace(class_id, new.name, new.attributes, new.metadata)
    except RequestFailed as error:
        if error.unavailable:
            raise
        outcome.problems.append(BadLine(row.line, error.detail))
        return
    outcome.replaced += 1
    _note(outcome, [made])


def _note(outcome: Outcome, made: list[RegisteredClass]) -> None:
    outcome.revision = max(item.revision for item in made)
    outcome.warnings += [f"{item.class_id}: {text}" for item in made for text in item.warnings]


def report(outcome: Outcome, *, dry_run: bool) -> dict[str, Any]:
    """The outcome as JSON says it."""
    problems = sorted(outcome.problems, key=lambda item: item.line)
    return {
        "registered": outcome.registered,
        "replaced": outcome.replaced,
        "skipped": outcome.skipped,
        "failed": len(problems),
        "problems": [{"line": item.line, "detail": item.detail} for item in problems],
        "warnings": outcome.warnings,
        "revision": outcome.revision,
        "dry_run": dry_run,
    }
