"""The rules of `conftest.py`, run on small test files in a folder of their own."""

from pathlib import Path

import pytest

SKIPPING = """
import pytest

def test_program():
    pytest.skip("needs the program node")

@pytest.mark.skipif(True, reason="needs the program docker")
def test_marked():
    pass

def test_data():
    pytest.skip("needs the photographs of ../shared/data/birds")

@pytest.mark.xfail(reason="needs the program nothing")
def test_expected_failure():
    assert False
"""

MODULE_SKIP = """
import pytest
pytest.skip("needs the program node", allow_module_level=True)
"""

GPU = """
import pytest

@pytest.mark.gpu
def test_on_the_device():
    import torch
    assert torch.cuda.is_available()
"""

DATA = """
def test_birds(birds_dir):
    assert (birds_dir / "images.txt").is_file()

def test_without():
    pass
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.delenv("UMZERO_TEST_STRICT_SKIPS", raising=False)
    monkeypatch.delenv("UMZERO_TEST_DATA", raising=False)
    pytester.makeconftest((Path(__file__).parent / "conftest.py").read_text())
    pytester.makeini("[pytest]\nmarkers =\n    gpu: device\n    real_data: data\n")
    return pytester


def test_a_skip_that_names_a_missing_program_fails_when_skips_are_strict(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMZERO_TEST_STRICT_SKIPS", "1")
    project.makepyfile(SKIPPING)

    result = project.runpytest_inprocess()

    result.assert_outcomes(failed=1, errors=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines_random(["*needs the program node", "*needs the program docker"])


def test_the_same_skips_pass_when_skips_are_not_strict(project: pytest.Pytester) -> None:
    project.makepyfile(SKIPPING)

    result = project.runpytest_inprocess()

    result.assert_outcomes(skipped=3, xfailed=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_whole_module_skipped_for_a_missing_program_fails_too(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(MODULE_SKIP)

    assert project.runpytest_inprocess().ret == pytest.ExitCode.NO_TESTS_COLLECTED

    monkeypatch.setenv("UMZERO_TEST_STRICT_SKIPS", "1")
    assert project.runpytest_inprocess().ret == pytest.ExitCode.INTERRUPTED


def test_gpu_tests_are_skipped_by_name_without_a_device(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    project.makepyfile(GPU)

    result = project.runpytest_subprocess("-rs")

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*needs a CUDA device"])


def test_tests_on_real_data_are_skipped_by_name_where_there_is_none(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMZERO_TEST_DATA", str(project.mkdir("nothing")))
    project.makepyfile(DATA)

    result = project.runpytest_inprocess("-rs")

    result.assert_outcomes(skipped=1, passed=1)
    result.stdout.fnmatch_lines(["*needs the photographs of ../shared/data/birds"])


def test_tests_on_real_data_carry_their_mark(project: pytest.Pytester) -> None:
    project.makepyfile(DATA)

    result = project.runpytest_inprocess("-m", "not real_data")

    result.assert_outcomes(passed=1, deselected=1)
