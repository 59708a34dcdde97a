"""Attribute sheets: three forms, what is filled in, and every way to be wrong."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import SheetError
from model.sheets import AttributeSpace, FilledSheet, fill

NAMES = (
    "has_size::small_(5_-_9_in)",
    "has_size::large_(16_-_32_in)",
    "has_bill::hooked",
    "has_bill::cone",
    "has_bill::dagger",
    "stripes",  # a group of one that bears its attribute's name
)
GROUPS = ("has_size", "has_size", "has_bill", "has_bill", "has_bill", "stripes")
MEAN = (11.0, 12.0, 13.0, 14.0, 15.0, 16.0)


@pytest.fixture
def space() -> AttributeSpace:
    return AttributeSpace(
        names=NAMES,
        groups=GROUPS,
        tokens=(0, 0, 1, 1, 1, 2),
        minimum=np.zeros(6, np.float32),
        maximum=np.full(6, 100, np.float32),
        mean=np.array(MEAN, np.float32),
    )


def parts(sheet: FilledSheet) -> tuple[list[float], int, int]:
    return sheet.values.tolist(), sheet.given, sheet.filled


def test_a_list_of_numbers_is_taken_as_it_is(space: AttributeSpace) -> None:
    filled = fill([0, 100, 1.5, 2, 3, 4], space)
    assert parts(filled) == ([0, 100, 1.5, 2, 3, 4], 6, 0)
    assert filled.values.dtype == np.float64


def test_a_row_of_an_array_is_a_list_of_numbers(space: AttributeSpace) -> None:
    row = np.array([1, 2, 3, 4, 5, 6], np.float32)
    assert parts(fill(row, space)) == (row.tolist(), 6, 0)  # type: ignore[arg-type]


def test_a_choice_is_the_top_of_its_group_and_other_groups_take_the_mean(
    space: AttributeSpace,
) -> None:
    sheet = fill({"has_bill": "cone"}, space)
    assert parts(sheet) == ([11, 12, 0, 100, 0, 16], 3, 3)


def test_several_choices_of_one_group_all_get_the_top(space: AttributeSpace) -> None:
    sheet = fill({"has_bill": ["dagger", "hooked"]}, space)
    assert parts(sheet) == ([11, 12, 100, 0, 100, 16], 3, 3)


def test_a_choice_may_be_the_attributes_full_name(space: AttributeSpace) -> None:
    short = fill({"has_size": ["small_(5_-_9_in)"]}, space)
    full = fill({"has_size": "has_size::small_(5_-_9_in)"}, space)
    assert parts(short) == parts(full) == ([100, 0, 13, 14, 15, 16], 2, 4)


def test_a_named_number_empties_the_rest_of_its_group(space: AttributeSpace) -> None:
    sheet = fill({"has_bill::dagger": 62.5}, space)
    assert parts(sheet) == ([11, 12, 0, 0, 62.5, 16], 3, 3)


def test_the_forms_of_a_mapping_mix(space: AttributeSpace) -> None:
    sheet = fill(
        {
            "has_bill": "hooked",
            "has_bill::cone": 40,
            "stripes": 7,
            "has_size::large_(16_-_32_in)": 1,
        },
        space,
    )
    assert parts(sheet) == ([0, 1, 100, 40, 0, 7], 6, 0)


def test_a_choice_is_the_scales_top_and_the_rest_its_bottom_whatever_they_are() -> None:
    space = AttributeSpace(
        names=("a::x", "a::y"),
        groups=("a", "a"),
        tokens=(0, 0),
        minimum=np.array([-1, -2], np.float32),
        maximum=np.array([3, 4], np.float32),
        mean=np.zeros(2, np.float32),
    )
    assert fill({"a": "y"}, space).values.tolist() == [-1, 4]


def test_filling_does_not_change_the_mean(space: AttributeSpace) -> None:
    fill({"has_bill": "cone"}, space).values[:] = -5
    assert space.mean.tolist() == list(MEAN)


def test_a_bound_that_float32_rounds_is_inside_its_scale() -> None:
    tenth = np.array([0.1], np.float32)
    space = AttributeSpace(("a",), ("a",), (0,), -tenth, tenth, 0 * tenth)
    for value in (0.1, -0.1):
        assert fill([value], space).values.tolist() == [np.float32(value)]


@pytest.mark.parametrize(
    ("sheet", "code", "words"),
    [
        ([], "attribute_count", "got 0 attributes; this bundle needs 6. See GET /attributes"),
        ([1] * 7, "attribute_count", "got 7 attributes; this bundle needs 6"),
        ([1, 2, 100.5, 1, 1, 1], "attribute_range", "'has_bill::hooked' is 100.5"),
        ([1, 2, -1, 1, 1, 1], "attribute_range", "from 0 to 100"),
        ([1, 2, 10**400, 1, 1, 1], "attribute_range", "has_bill::hooked"),
        ([1, 2, -(10**400), 1, 1, 1], "attribute_range", "has_bill::hooked"),
        ([1, 2, 1e300, 1, 1, 1], "attribute_range", "1e+300"),
        ({"stripes": 101}, "attribute_range", "'stripes' is 101"),
        ({"stripes": 10**5000}, "attribute_range", "stripes"),
        ([1, 2, 3, float("nan"), 1, 1], "attribute_not_finite", "has_bill::cone"),
        ({"stripes": float("inf")}, "attribute_not_finite", "stripes"),
        ({"stripes": float("-inf")}, "attribute_not_finite", "stripes"),
        ([1, 2, True, 1, 1, 1], "attribute_type", "true or false"),
        ([1, 2, None, 1, 1, 1], "attribute_type", "null"),
        ([1, 2, "3", 1, 1, 1], "attribute_type", "a string"),
        ([1, 2, [3], 1, 1, 1], "attribute_type", "a list"),
        ({"has_bill::cone": "yes"}, "attribute_type", "needs a number"),
        ({"has_bill::cone": False}, "attribute_type", "needs a number"),
        ({"has_bill": 50}, "attribute_type", "is a group"),
        ({"has_bill": True}, "attribute_type", "is a group"),
        ({"has_bill": None}, "attribute_type", "is a group"),
        ({"has_bill": {"cone": 1}}, "attribute_type", "is a group"),
        ({"has_bill": [3]}, "attribute_type", "are names"),
        ({"stripes": "stripes"}, "attribute_type", "needs a number"),
        ({"stripes": ["stripes"]}, "attribute_type", "needs a number"),
        ({3: 4}, "attribute_type", "is a string"),
        ("has_bill", "attribute_type", "a string"),
        (b"abcdef", "attribute_type", "bytes"),
        (None, "attribute_type", "null"),
        (7, "attribute_type", "a number"),
        ({"has_bil": "cone"}, "unknown_attribute", "did you mean 'has_bill'"),
        ({"has_bill": "con"}, "unknown_attribute", "did you mean 'cone'"),
        ({"has_bill": "has_size::small_(5_-_9_in)"}, "unknown_attribute", "has no value"),
        ({"weight": 3}, "unknown_attribute", "See GET /attributes"),
        ({"": 3}, "unknown_attribute", "neither an attribute nor a group"),
        ({"has_bill": ["cone", "cone"]}, "attribute_repeated", "has_bill::cone"),
        ({"has_bill": ["cone", "has_bill::cone"]}, "attribute_repeated", "has_bill::cone"),
        ({"has_bill": "cone", "has_bill::cone": 100}, "attribute_repeated", "has_bill::cone"),
        ({}, "attribute_empty", "no attribute"),
        ({"has_bill": []}, "attribute_empty", "has_bill"),
    ],
)
def test_a_wrong_sheet_is_refused_with_a_code_and_words(
    space: AttributeSpace, sheet: object, code: str, words: str
) -> None:
    with pytest.raises(SheetError) as caught:
        fill(sheet, space)  # type: ignore[arg-type]
    assert caught.value.code == code
    assert words in str(caught.value)


def test_a_message_repeats_only_the_start_of_an_endless_name(space: AttributeSpace) -> None:
    with pytest.raises(SheetError) as caught:
        fill({"x" * 1_000_000: 1}, space)
    assert len(str(caught.value)) < 300


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(NAMES + GROUPS),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(GROUPS), inner),
    max_leaves=6,
)


@given(sheet=ANYTHING | st.dictionaries(st.sampled_from(NAMES + GROUPS), ANYTHING))
def test_any_json_is_filled_within_the_scale_or_refused_as_a_sheet(sheet: object) -> None:
    space = AttributeSpace(
        NAMES,
        GROUPS,
        (0, 0, 1, 1, 1, 2),
        np.zeros(6, np.float32),
        np.full(6, 100, np.float32),
        np.array(MEAN, np.float32),
    )
    try:
        filled = fill(sheet, space)  # type: ignore[arg-type]
    except SheetError:
        return
    assert ((filled.values >= 0) & (filled.values <= 100)).all()
    assert filled.given + filled.filled == 6


def test_the_sheets_of_cub_speak_as_people_do(birds_dir) -> None:
    lines = (birds_dir / "attributes" / "attributes.txt").read_text().split("\n")
    names = tuple(line.split()[1] for line in lines if line)
    groups = tuple(name.split("::")[0] for name in names)
    order = sorted(set(groups))
    space = AttributeSpace(
        names,
        groups,
        tuple(order.index(group) for group in groups),
        np.zeros(312, np.float32),
        np.full(312, 100, np.float32),
        np.full(312, 50, np.float32),
    )
    sheet = fill({"has_bill_shape": "hooked_seabird", "has_size": ["small_(5_-_9_in)"]}, space)
    expected = [
        100.0
        if name in ("has_bill_shape::hooked_seabird", "has_size::small_(5_-_9_in)")
        else 0.0
        if name.startswith(("has_bill_shape::", "has_size::"))
        else 50.0
        for name in names
    ]
    assert parts(sheet) == (expected, 9 + 5, 312 - 14)


BASE = np.array([1, 2, 3, 4, 5, 6.5], np.float64)


@pytest.mark.parametrize(
    ("sheet", "expected", "own"),
    [
        ({}, [1, 2, 3, 4, 5, 6.5], 0),
        ({"has_bill::cone": 70}, [1, 2, 3, 70, 5, 6.5], 1),
        ({"has_bill::cone": 70, "has_bill::hooked": 0}, [1, 2, 0, 70, 5, 6.5], 2),
        ({"has_bill": "cone"}, [1, 2, 0, 100, 0, 6.5], 3),
        ({"has_bill": ["has_bill::cone", "dagger"]}, [1, 2, 0, 100, 100, 6.5], 3),
        ({"has_bill": "cone", "has_bill::dagger": 30}, [1, 2, 0, 100, 30, 6.5], 3),
        ({"has_bill::dagger": 30, "has_bill": "cone"}, [1, 2, 0, 100, 30, 6.5], 3),
        ({"has_bill": "cone", "has_size::large_(16_-_32_in)": 9}, [1, 9, 0, 100, 0, 6.5], 4),
        ({"stripes": 12}, [1, 2, 3, 4, 5, 12], 1),
        ([9, 8, 7, 6, 5, 4], [9, 8, 7, 6, 5, 4], 6),
    ],
)
def test_a_sheet_with_a_base_says_what_differs(
    space: AttributeSpace, sheet: Any, expected: list[float], own: int
) -> None:
    base = BASE.copy()

    filled = fill(sheet, space, base)

    assert parts(filled) == (expected, own, 6 - own)
    assert base.tolist() == BASE.tolist()
    assert filled.values is not base


def test_a_choice_starts_from_the_lower_end_of_the_scale_also_with_a_base(
    space: AttributeSpace,
) -> None:
    from_ten = replace(space, minimum=np.full(6, 10, np.float32))
    assert fill({"has_bill": "cone"}, from_ten, BASE).values.tolist() == [1, 2, 10, 100, 10, 6.5]


def test_an_attribute_that_bears_its_group_s_name_is_a_choice_of_it_all_the_same(
    space: AttributeSpace,
) -> None:
    names = ("has_size", *NAMES[1:])  # in the group has_size, of two
    odd = replace(space, names=names)

    assert parts(fill({"has_size": "has_size"}, odd, BASE)) == ([100, 0, 3, 4, 5, 6.5], 2, 4)
    assert parts(fill({"has_size": 40}, odd, BASE)) == ([40, 2, 3, 4, 5, 6.5], 1, 5)


@pytest.mark.parametrize(
    ("sheet", "code"),
    [
        ({"has_bil": "cone"}, "unknown_attribute"),
        ({"has_bill::cone": 101}, "attribute_range"),
        ({"has_bill": []}, "attribute_empty"),
        ({"has_bill": "cone", "has_bill::cone": 3}, "attribute_repeated"),
        ([1, 2], "attribute_count"),
        (None, "attribute_type"),
    ],
)
def test_what_is_wrong_with_a_sheet_is_wrong_with_a_base_too(
    space: AttributeSpace, sheet: Any, code: str
) -> None:
    with pytest.raises(SheetError) as refused:
        fill(sheet, space, BASE)
    assert refused.value.code == code
