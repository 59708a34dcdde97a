"""Fixtures that find the real data and the committed bundle, and the rules for skipping.

A test that can't run here says why in words that start with "needs". With
`UMZERO_TEST_STRICT_SKIPS=1` a skip that names a missing program fails instead: a machine that is
meant to have everything must not pass by leaving tests out.
"""

import os
import shutil
from collections.abc import Generator
from pathlib import Path

import hypothesis
import pytest

# The same examples each time, and no time limit for one of them.
hypothesis.settings.load_profile("ci")

pytest_plugins = ["tests.twins", "tests.shapes", "tests.databases"]

REPOSITORY = Path(__file__).resolve().parent.parent
STRICT = "UMZERO_TEST_STRICT_SKIPS"
MISSING_PROGRAM = "needs the program"
REAL_DATA_FIXTURES = {"shared_data", "birds_dir"}


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `UMZERO_TEST_DATA`, or `../shared/data` beside the repository."""
    path = Path(os.environ.get("UMZERO_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
    if not path.is_dir():
        pytest.skip("needs the data of ../shared/data")
    return path


@pytest.fixture(scope="session")
def birds_dir(shared_data: Path) -> Path:
    """The photographs of 94 species in CUB's official layout."""
    path = shared_data / "birds"
    if not (path / "images.txt").is_file():
        pytest.skip("needs the photographs of ../shared/data/birds")
    return path


@pytest.fixture(scope="session")
def birds_bundle() -> Path:
    """The committed bundle: it belongs to every checkout, so its absence is a failure."""
    path = REPOSITORY / "weights" / "birds"
    if not (path / "manifest.json").is_file():
        pytest.fail("weights/birds has no manifest.json: the committed bundle is missing")
    return path


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("needs the program promtool, of Debian's package prometheus")
    return found


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for real data, so that `-m "not real_data"` leaves it out."""
    for item in items:
        if REAL_DATA_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("real_data")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not cuda_is_available():
        pytest.skip("needs a CUDA device")


def cuda_is_available() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_missing_program(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_missing_program(report)
    return report


def _refuse_missing_program(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not report.skipped or os.environ.get(STRICT) != "1" or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if reason.startswith(MISSING_PROGRAM):
        report.outcome = "failed"
        report.longrepr = f"skipped although {STRICT}=1: {reason}"
