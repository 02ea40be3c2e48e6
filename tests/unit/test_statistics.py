"""Intervals against their definitions, and transition points against curves whose transition is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from dcsc import UserError, statistics


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


def test_a_measured_sparsity_may_fall_by_chance_between_neighbouring_cells():
    sparsity, successes, trials = [10.0, 20.2, 20.1, 40.0], [10, 10, 9, 0], [10] * 4
    point, censored = statistics.transition_point(sparsity, successes, trials)
    assert 20.1 < point < 40
    assert censored == ""
    with pytest.raises(UserError, match="positive"):
        statistics.transition_point([1.0, 0.0, 2.0], [10, 5, 0], [10] * 3)


def test_area_under_the_curve_counts_pairs():
    rng = np.random.default_rng(5)
    scores, positive = rng.integers(0, 6, 80), rng.random(80) < 0.4
    pairs = [np.sign(one - other) / 2 + 0.5 for one in scores[positive] for other in scores[~positive]]
    np.testing.assert_allclose(statistics.auc(scores, positive), np.mean(pairs))
    false_alarms, hits = statistics.roc_curve(scores, positive)
    np.testing.assert_allclose(np.trapezoid(hits, false_alarms), np.mean(pairs))
    assert (false_alarms[0], hits[0], false_alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert np.isnan(statistics.auc([1, 2], [True, True]))


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 40), st.floats(0, 1), st.floats(0, 1))
def test_paired_difference_is_antisymmetric_and_inside_its_interval(seed, replicates, trials, one, other):
    rng = np.random.default_rng(seed)
    first, second = (rng.random((replicates, trials)) < rate for rate in (one, other))
    difference, lower, upper = statistics.paired_difference(first, second)
    assert difference == pytest.approx(first.mean() - second.mean())
    assert -1 <= lower <= difference <= upper <= 1
    swapped = statistics.paired_difference(second, first)
    assert swapped == pytest.approx((-difference, -upper, -lower))
    won, lost = (first & ~second).sum(), (second & ~first).sum()
    test = stats.binomtest(int(won), int(won + lost)).pvalue if won + lost else 1.0
    assert test < 0.05 + 1e-9 or lower <= 0 <= upper


def test_paired_difference_covers_the_truth_when_dictionaries_differ():
    rng = np.random.default_rng(11)
    covered = 0
    for _ in range(300):
        advantage = np.clip(0.3 + 0.2 * rng.standard_normal((6, 1)), 0, 1)
        second = rng.random((6, 30)) < 0.3
        first = second | (rng.random((6, 30)) < advantage)
        _, lower, upper = statistics.paired_difference(first, second)
        covered += lower <= 0.7 * 0.3 <= upper
    assert covered >= 300 * 0.95 - 3 * np.sqrt(300 * 0.95 * 0.05)


def test_paired_difference_of_few_trials_is_no_certainty():
    difference, lower, upper = statistics.paired_difference(np.ones((1, 20)), np.zeros((1, 20)))
    assert (difference, upper) == (1, 1)
    end = 0.0125 ** (1 / 20)  # of Clopper and Pearson for 20 of 20, and for 0 of 20
    assert lower == pytest.approx(end - (1 - end))
    _, lower, upper = statistics.paired_difference(np.ones((1, 20)), np.ones((1, 20)))
    assert -lower == upper == pytest.approx(1 - end)
    assert np.isnan(statistics.paired_difference(np.ones((1, 0)), np.ones((1, 0)))).all()


def test_the_logarithm_of_a_sum_has_the_bits_of_the_general_one():
    rng, weights = np.random.default_rng(3), np.array([0.5, 0.125, 0.125, 0.125, 0.125])
    drawn = [rng.standard_normal(5) * 10.0 ** rng.uniform(-3, 4) for _ in range(500)]
    tied = [np.full(5, -1.7), np.array([2.0, 2.0, -1.0, 2.0, 0.0])]
    for exponents in drawn + tied:
        expected = np.float64(special.logsumexp(exponents, b=weights))
        assert statistics._log_of_sum(exponents, weights).tobytes() == expected.tobytes()
