"""Which of a bundle's graphs to run: int8 where its manifest shows that it is good enough."""

import math
from collections.abc import Mapping
from typing import Any

PRECISIONS = ("auto", "fp32", "int8")
LARGEST_LOSS = 0.005  # of CZSL and of H, as fractions
LEAST_AGREEMENT = 0.97  # share of photographs with the same best class


def choose_precision(asked: str, has_int8: bool, int8: Mapping[str, Any]) -> str:
    """Turn "auto" into "fp32" or "int8".

    Args:
        asked: one of `PRECISIONS`; "fp32" and "int8" are returned as they are.
        has_int8: whether the bundle has an int8 graph.
        int8: what its manifest says of that graph, `Manifest.int8`.
    """
    if asked != "auto":
        return asked
    return "int8" if has_int8 and is_good_enough(int8) else "fp32"


def is_good_enough(int8: Mapping[str, Any]) -> bool:
    """Whether the figures are all there and within the bounds above."""
    found = int8.get("validation", {})
    before, after = found.get("fp32", {}), found.get("int8", {})
    # What is missing is NaN, and NaN is within no bound.
    losses = [before.get(key, math.nan) - after.get(key, math.nan) for key in ("czsl", "h")]
    return all(loss <= LARGEST_LOSS for loss in losses) and (
        found.get("agreement", math.nan) >= LEAST_AGREEMENT
    )
