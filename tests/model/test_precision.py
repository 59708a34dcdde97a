"""Precision auto: int8 only where the manifest shows that it costs next to nothing."""

import copy
from typing import Any

import pytest

from model.runtime.precision import choose_precision

GOOD: dict[str, Any] = {
    "validation": {
        "fp32": {"czsl": 0.82, "u": 0.77, "s": 0.86, "h": 0.81},
        "int8": {"czsl": 0.816, "u": 0.5, "s": 0.5, "h": 0.806},
        "agreement": 0.97,
    }
}


def changed(*path: str, value: object) -> dict[str, Any]:
    """`GOOD` with one figure replaced, or left out where `value` is None."""
    result = copy.deepcopy(GOOD)
    *outer, last = path
    part = result["validation"]
    for key in outer:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return result


@pytest.mark.parametrize(
    "int8",
    [
        GOOD,
        changed("int8", "czsl", value=0.83),
        changed("int8", "h", value=0.9),
        changed("agreement", value=1.0),
    ],
)
def test_within_the_bounds_auto_is_int8(int8: dict[str, Any]) -> None:
    assert choose_precision("auto", True, int8) == "int8"


@pytest.mark.parametrize(
    "int8",
    [
        changed("int8", "czsl", value=0.814),
        changed("int8", "h", value=0.804),
        changed("agreement", value=0.969),
        changed("agreement", value=None),
        changed("fp32", "h", value=None),
        changed("int8", "czsl", value=None),
        {},
    ],
)
def test_out_of_bounds_or_unknown_auto_is_fp32(int8: dict[str, Any]) -> None:
    assert choose_precision("auto", True, int8) == "fp32"


def test_without_a_graph_auto_is_fp32() -> None:
    assert choose_precision("auto", False, GOOD) == "fp32"


@pytest.mark.parametrize("asked", ["fp32", "int8"])
@pytest.mark.parametrize("int8", [{}, GOOD])
def test_what_is_asked_for_is_taken(asked: str, int8: dict[str, Any]) -> None:
    assert choose_precision(asked, True, int8) == asked
