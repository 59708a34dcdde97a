"""What is made of raw values."""

import numpy as np
import pytest


def entry(per_s, before, after, dropped=()):
    limits = [
        {kind: {"per_s": rate, "cpu_ms": 10.0} for kind in ("alone", "together")}
        for rate in (before, after)
    ]
    return {
        "system": "umzero",
        "before": limits[0],
        "after": limits[1],
        "dropped": list(dropped),
        "points": {"8": {"per_s": per_s}},
    }


def test_a_ratio_is_to_the_mean_of_the_two_limits_around_it_and_dropped_rounds_have_none():
    from table import ratios

    results = {"rounds": [entry(90, 100, 80), entry(50, 100, 50, ["together"])]}
    assert ratios(results, "umzero", 8) == [90 / 90]
    assert ratios(results, "mosec", 8) == []


def test_a_system_that_failed_in_a_round_has_no_values_of_it():
    from table import ratios

    failed = entry(90, 100, 100) | {"failed": "no answer"}
    assert ratios({"rounds": [failed]}, "umzero", 8) == []


@pytest.mark.parametrize("percent", [1, 50, 95, 99, 100])
def test_a_percentile_is_the_nearest_rank(percent):
    from table import percentile

    values = sorted(np.random.default_rng(0).random(137).tolist())
    expected = np.percentile(values, percent, method="inverted_cdf")
    assert percentile(values, percent) == expected


def test_photographs_are_the_same_every_time_and_broken_ones_are_broken(tmp_path):
    import photographs

    from model.errors import ImageError
    from model.preprocess import to_input

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        photographs.lay_out(tmp_path / name, source=tmp_path / "none")
    first, second = (photographs.laid_out(tmp_path / name) for name in ("first", "second"))
    assert first == second
    assert len(first) == photographs.COUNT
    assert to_input(first[0], 8, 10**6).shape == (8, 8, 3)
    for body in photographs.broken(first, 4):
        with pytest.raises(ImageError):
            to_input(body, 8, 10**6)
