"""Intervals against their definitions, and transition points against curves whose transition is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dcsc import statistics


@given(st.integers(1, 500), st.data(), st.sampled_from([0.9, 0.95, 0.99]))
def test_clopper_pearson_inverts_the_binomial_tails(trials, data, confidence):
    successes = data.draw(st.integers(0, trials))
    lower, upper = statistics.proportion_interval(successes, trials, confidence)
    tail = (1 - confidence) / 2
    if successes:
        assert stats.binom.sf(successes - 1, trials, lower) == pytest.approx(tail, rel=1e-6)
    else:
        assert lower == 0
    if successes < trials:
        assert stats.binom.cdf(successes, trials, upper) == pytest.approx(tail, rel=1e-6)
    else:
        assert upper == 1


def test_no_failure_in_n_is_not_certainty():
    lower, upper = statistics.proportion_interval([0, 100], [100, 100])
    np.testing.assert_allclose(upper, [1 - 0.025 ** (1 / 100), 1], rtol=1e-12)
    np.testing.assert_allclose(lower, [0, 0.025 ** (1 / 100)], rtol=1e-12)


def test_mean_interval_is_students():
    values = np.random.default_rng(0).normal(size=9)
    mean, lower, upper = statistics.mean_interval([*values, np.nan], 0.9)
    half = stats.t.ppf(0.95, 8) * values.std(ddof=1) / 3
    assert (mean, lower, upper) == pytest.approx((values.mean(), values.mean() - half, values.mean() + half))
    assert np.isnan(statistics.mean_interval([3.0])[1])
    assert np.isnan(statistics.mean_interval([])[0])


@given(st.floats(1.5, 6), st.floats(0.2, 0.8))
def test_transition_point_finds_where_a_curve_falls_through_the_level(middle, level):
    sparsity = np.geomspace(1, 1000, 400)
    rates = 1 / (1 + np.exp(8 * (np.log(sparsity) - middle)))
    trials = np.full(400, 10**9)
    expected = np.exp(middle + np.log(1 / level - 1) / 8)
    point, censored = statistics.transition_point(sparsity, np.round(rates * 1e9).astype(int), trials, level)
    assert censored == ""
    assert point == pytest.approx(expected, rel=1e-3)


def test_transitions_beyond_the_cells_are_said_to_be():
    assert statistics.transition_point([1, 2, 4], [10, 10, 9], [10, 10, 10]) == (4.0, "above")
    assert statistics.transition_point([1, 2, 4], [3, 1, 0], [10, 10, 10]) == (1.0, "below")


def test_area_under_the_curve_counts_pairs():
    rng = np.random.default_rng(5)
    scores, positive = rng.integers(0, 6, 80), rng.random(80) < 0.4
    pairs = [np.sign(one - other) / 2 + 0.5 for one in scores[positive] for other in scores[~positive]]
    np.testing.assert_allclose(statistics.auc(scores, positive), np.mean(pairs))
    false_alarms, hits = statistics.roc_curve(scores, positive)
    np.testing.assert_allclose(np.trapezoid(hits, false_alarms), np.mean(pairs))
    assert (false_alarms[0], hits[0], false_alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert np.isnan(statistics.auc([1, 2], [True, True]))
