"""Sizes that draws certify, by confidence limits and never by interpolation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dcsc import statistics
from dcsc.guarantees import Failures, candidate_sizes, largest_certified_size
from dcsc.guarantees.certified_size import certify_upwards, failure_limit

LAWS = {
    "rare failures": lambda rng, n: (rng.random(n) < 0.01).astype(float),
    "skewed": lambda rng, n: rng.random(n) ** 60,
    "log-normal": lambda rng, n: np.minimum(1.0, np.exp(rng.normal(-8, 3, n))),
    "constant": lambda rng, n: np.full(n, 0.004),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_upper_limit_of_a_mean_is_seldom_below_it(law):
    rng = np.random.default_rng(1)
    mean = LAWS[law](rng, 2_000_000).mean()
    below = sum(statistics.mean_upper_limit(LAWS[law](rng, 300)) < mean * (1 - 1e-3) for _ in range(120))
    assert stats.binomtest(below, 120, 0.05, alternative="greater").pvalue > 1e-3


@given(st.integers(1, 2000), st.floats(0.6, 0.999))
@settings(max_examples=30)
def test_a_limit_without_failures_is_near_that_of_counts(draws, confidence):
    limit = statistics.mean_upper_limit(np.zeros(draws), confidence)
    counted = 1 - float(statistics.proportion_lower_limit(draws, draws, confidence))
    assert counted <= limit + 1e-9
    if draws > 100:
        assert limit < 2.2 * counted + 2 / draws


def test_limits_of_counts_are_those_of_clopper_and_pearson():
    failing = np.zeros(300, dtype=bool)
    assert failure_limit(failing, 0.95) == pytest.approx(1 - 0.05 ** (1 / 300))
    failing[:5] = True
    assert failure_limit(failing, 0.95) == pytest.approx(stats.beta.ppf(0.95, 6, 295))


def test_bounds_have_the_smaller_of_two_limits_at_half_the_error():
    rng = np.random.default_rng(4)
    for values, largest in ((np.where(rng.random(900) < 0.002, 1.0, 0.0), 1.0), (rng.random(900) ** 50, 1.5)):
        bet = largest * statistics.mean_upper_limit(values / largest, 0.975)
        failing = np.count_nonzero(values)
        counted = largest * (float(stats.beta.ppf(0.975, failing + 1, 900 - failing)) if failing < 900 else 1.0)
        assert failure_limit(values, 0.95, largest) == pytest.approx(min(bet, counted))
    assert counted > bet  # of many small bounds the bet knows more


@given(st.integers(2, 3000), st.floats(0.6, 0.99))
@settings(max_examples=30)
def test_bounds_of_draws_that_are_all_covered_cost_no_more_than_halving_the_error(draws, confidence):
    covered = failure_limit(np.zeros(draws, dtype=bool), (1 + confidence) / 2)
    assert failure_limit(np.zeros(draws), confidence) == pytest.approx(covered)


@pytest.mark.parametrize("law", LAWS)
def test_the_limit_of_bounds_is_seldom_below_their_mean(law):
    rng = np.random.default_rng(3)
    mean = LAWS[law](rng, 2_000_000).mean()
    below = sum(failure_limit(LAWS[law](rng, 300), 0.9) < mean * (1 - 1e-3) for _ in range(120))
    assert stats.binomtest(below, 120, 0.1, alternative="greater").pvalue > 1e-3


def test_parts_of_a_mean_may_exceed_one():
    parts = np.where(np.arange(400) < 2, 1.5, 0.001)
    limit = failure_limit(parts, 0.95, largest=1.5)
    assert parts.mean() < limit < 0.05
    assert failure_limit(parts / 1.5, 0.95) * 1.5 == pytest.approx(limit)


@pytest.mark.parametrize("law", LAWS)
def test_the_limit_with_a_ceiling_is_seldom_below_the_mean_and_needs_few_sharp_bounds(law):
    """Cheap bounds of many draws tell how seldom one stands out; sharp ones, never above them, are taken of some."""
    rng, ceiling = np.random.default_rng(4), 0.2
    mean = LAWS[law](rng, 2_000_000).mean()

    def found(n_cheap, n_sharp):
        sharp = LAWS[law](rng, n_cheap)
        excess = np.maximum(np.minimum(1.0, 5 * sharp) - ceiling, 0.0)
        return Failures(np.minimum(sharp, ceiling)[:n_sharp], 1.0, excess, ceiling)

    below = sum(found(1200, 150).limit(0.9) < mean * (1 - 1e-3) for _ in range(120))
    assert stats.binomtest(below, 120, 0.1, alternative="greater").pvalue > 1e-3
    narrow = Failures(np.full(384, 0.004), 1.0, np.zeros(3072), ceiling)
    assert narrow.draws == 3072
    assert narrow.mean == pytest.approx(0.004)
    assert narrow.limit(0.95) < failure_limit(np.full(768, 0.004), 0.95)
    assert Failures(np.full(1, ceiling), 1.0, np.zeros(3072), ceiling).limit(0.95) > ceiling


def test_no_size_beyond_the_true_one_is_claimed_more_often_than_admitted():
    """Failure rates grow with the size and pass delta at 40; every claim of 40 or more is wrong."""
    sizes = candidate_sizes(200)
    wrong, claimed = 0, []
    for repetition in range(120):
        rng = np.random.default_rng(repetition)

        def failures(size, purpose, rng=rng):
            return Failures(rng.random(64 if purpose == "pilot" else 600) < 0.01 * (size / 40) ** 2)

        found = largest_certified_size(failures, sizes, 0.01)
        claimed.append(found.size)
        wrong += found.size > 40
        assert found.limit <= 0.01
        if found.size:
            assert found.next_size == sizes[sizes.index(found.size) + 1]
    assert stats.binomtest(wrong, 120, 0.05, alternative="greater").pvalue > 1e-3
    assert np.median(claimed) > 5


def test_what_cheap_bounds_exceed_a_ceiling_by_counts_and_no_more():
    """A hundredth of the draws has a cheap bound just above it: counted as lost they would be all that is admitted."""
    excess = np.where(np.arange(3000) % 100 == 0, 0.05, 0.0)
    few = Failures(np.full(400, 0.005), 1.0, excess, 0.2)
    assert few.mean == pytest.approx(0.0055)
    assert few.limit(0.95) < 0.0105
    again = few.repeated(1200, 9000)
    assert (again.values.size, again.draws) == (1200, 9000)
    assert again.limit(0.95) < few.limit(0.95)


def test_a_claim_is_of_a_size_that_was_computed():
    seen = []

    def failures(size):
        seen.append(size)
        return Failures(np.full(500, size > 7))

    found = certify_upwards(failures, [2, 5, 9, 20], 0.01)
    assert (found.size, found.next_size, found.draws) == (5, 9, 500)
    assert seen == [2, 5, 9]
    assert certify_upwards(lambda size: Failures(np.zeros(50, dtype=bool)), [1], 0.01).size == 0  # too few draws
    assert certify_upwards(lambda size: Failures(np.zeros(500, dtype=bool)), [1, 3], 0.01).next_size is None


def test_a_pilot_that_is_too_hopeful_costs_sizes_and_never_the_claim():
    def failures(size, purpose):
        return Failures(np.full(600, purpose == "draws" and size > 4))

    found = largest_certified_size(failures, candidate_sizes(100), 0.01)
    assert (found.size, found.next_size) == (4, 5)
    nothing = largest_certified_size(lambda size, purpose: Failures(np.ones(600, dtype=bool)), [1, 2], 0.01)
    assert (nothing.size, nothing.next_size) == (0, 1)
