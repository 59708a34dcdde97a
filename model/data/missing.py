"""Missing attribute values: each takes the mean over the seen classes that have that attribute.

Why the seen classes: an unseen class is met after training, so nothing about it may reach a seen
class's sheet. And it is what the service does with what a sheet leaves out (`model.sheets`), so a
class reads the same whether it comes from a table or from a request.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from model.data.problems import Problems, few

WORDS = {"", "?", "nan"}  # what stands for a missing value, in small letters


def is_missing(text: str) -> bool:
    return text.strip().lower() in WORDS


def fill_missing(
    sheets: Mapping[str, Sequence[float]],
    names: Sequence[str],
    seen: Collection[str],
    problems: Problems,
) -> tuple[dict[str, list[float]], tuple[str, ...]]:
    """Complete sheets, and a note for each attribute that lacked values.

    Args:
        sheets: class -> (A,) numbers, NaN where there is none.
        names: (A,) the attributes.
        seen: the classes whose mean counts.
        problems: takes classes without any value, and attributes that no seen class has.

    Returns:
        class -> (A,) without NaN, in the order of `sheets`; a class without any value is left out.
    """
    empty = [name for name, sheet in sheets.items() if np.isnan(sheet).all()]
    problems.extend(
        f"class {name!r} has no attribute value at all; describe it, or take its images away"
        for name in empty
    )
    classes = [name for name in sheets if name not in empty]
    if not classes:
        return {}, ()
    values = np.array([sheets[name] for name in classes], np.float64)  # (K, A)
    missing = np.isnan(values)
    counted = ~missing & np.isin(classes, list(seen))[:, None]
    count = counted.sum(axis=0)  # (A,)
    mean = np.where(counted, values, 0.0).sum(axis=0) / np.maximum(count, 1)
    notes = []
    for at in np.flatnonzero(missing.any(axis=0)).tolist():
        if not count[at]:
            problems.add(f"attribute {names[at]!r} has a value in no seen class; drop its column")
            continue
        lacking = [name for name, gap in zip(classes, missing[:, at], strict=True) if gap]
        notes.append(
            f"attribute {names[at]!r} has no value in {few(map(repr, lacking))}: "
            f"it takes the mean of the seen classes that have one, {mean[at]:g}"
        )
    filled = np.where(missing, mean, values)
    return dict(zip(classes, filled.tolist(), strict=True)), tuple(notes)
