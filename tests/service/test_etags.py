"""Conditions of requests, by the rules of RFC 9110."""

import pytest

from service.http.etags import expected, is_known, tag_of, tag_of_own


@pytest.mark.parametrize(
    ("values", "revisions"),
    [
        ([], None),
        (["*"], None),
        ([" * "], None),
        (['"7"'], {7}),
        (['"7", "12"'], {7, 12}),
        (['"7"', '"12"'], {7, 12}),
        ([',, "7" ,\t, "12",'], {7, 12}),
        (['"a,b", "7"'], {7}),
        # A weak tag, and another server's tag, match no class.
        (['W/"7"'], set()),
        (['W/"7", "8"'], {8}),
        (['"x"'], set()),
        (['""'], set()),
        (['"007"'], set()),
        ([f'"{10**30}"'], set()),
        # Not even a list of tags.
        (["7"], set()),
        (['"7'], set()),
        (['"7" "8"'], set()),
        (['w/"7"'], set()),
        (['*, "7"'], set()),
        ([""], set()),
    ],
)
def test_what_if_match_allows(values: list[str], revisions: set[int] | None) -> None:
    assert expected(values) == revisions


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ([], False),
        (["*"], True),
        (['"7"'], True),
        (['W/"7"'], True),
        (['"6", W/"7"'], True),
        (['"6"', '"7"'], True),
        (['"6"'], False),
        (['"77"'], False),
        (["7"], False),
        (['"7', '"'], False),
    ],
)
def test_what_if_none_match_says_is_known(values: list[str], known: bool) -> None:
    assert is_known(values, tag_of(7)) is known


def test_classes_of_two_bundles_have_two_tags_and_none_is_a_revision() -> None:
    first, second = tag_of_own("a" * 64), tag_of_own("b" * 64)

    assert first != second
    assert expected([first]) == set()
    assert is_known([first], first)
