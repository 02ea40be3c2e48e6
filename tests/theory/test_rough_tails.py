"""What is decided by rough sums of closed tails is as it is by exact ones."""

import math

import numba
import numpy as np
import pytest
from scipy.special import erfc

from dcsc import RaggedCodes
from dcsc.guarantees import sharp_tails
from dcsc.guarantees.interference import layer_failure
from dcsc.guarantees.plain_model import Propagation
from dcsc.guarantees.sharp_tails import DrawnAtoms, best_failure, failure_at, tail_probability
from dcsc.kernels.sharpen import COARSE, COARSE_WIDTH, FINE, FINE_WIDTH
from dcsc.kernels.tails import GAUSSIAN_FACTOR, ROUGH, rough_tails
from dcsc.model.cascade import Cascade
from tests.theory import support


@numba.njit
def tails_of(out, margin, variance, bound, noise):
    rough_tails(out, margin, variance, bound, noise, len(out))


def test_rough_tails_are_off_by_the_share_that_is_allowed_for_at_most():
    rng, n = np.random.default_rng(1), 2**16
    ratio, noise = np.linspace(1e-9, 37.0, n), 0.25  # exp(-37^2 / 2) is near the smallest that is told apart
    variance, found = np.exp(rng.uniform(-9, 9, n)), np.empty(n)
    margin = ratio * np.sqrt(variance + noise)
    tails_of(found, margin, variance, np.full(n, np.inf), noise)
    gaussian, hoeffding = GAUSSIAN_FACTOR * erfc(ratio / np.sqrt(2)), np.exp(-(ratio**2) / 2)
    assert (gaussian < hoeffding).mean() > 0.9
    np.testing.assert_allclose(found, np.minimum(gaussian, hoeffding), rtol=ROUGH / 4)


def test_no_margin_gives_one_and_one_beyond_all_that_signs_can_reach_gives_none():
    found = np.empty(16)
    margin, variance, bound = np.full(16, 0.5), np.ones(16), np.ones(16)
    margin[:4], variance[4:8], bound[8:12] = [0.0, -1.0, np.nan, -np.inf], 0.0, 0.4
    tails_of(found, margin, variance, bound, 0.0)
    assert found[:8].tolist() == [1.0] * 8
    assert found[8:12].tolist() == [0.0] * 4
    assert (found[12:] > 0).all()
    assert (found[12:] < 1).all()


def drawn_codes(name, count=64, seed=5):
    dictionary, rng = support.DICTIONARIES[name](), np.random.default_rng(seed)
    contrasts = rng.choice([1.0, 0.8, 0.5], count // 2)
    sizes = rng.integers(0, 14, (2, count // 2))
    dense = np.concatenate(
        [
            support.random_codes(rng, dictionary.code_shape, sizes[0], contrasts, dictionary.overlap),
            support.near_limit_codes(rng, dictionary, np.maximum(sizes[1], 2)),
        ]
    )
    smallest = np.where(dense != 0, np.abs(dense), np.inf).reshape(count, -1).min(axis=1)
    smallest = np.where(np.isfinite(smallest), smallest, 1.0)
    eps = smallest * rng.choice([0.0, 0.0, 0.05], count)
    return dictionary, RaggedCodes.from_dense(dense, dictionary.code_shape), smallest, eps, np.full(count, 1e-14)


def test_the_smaller_closed_tail_is_taken_at_every_margin():
    margins = np.concatenate([np.linspace(1e-3, 6, 4000), np.sqrt(2 * np.array([0.1, 0.22, 0.5]))])
    a = np.full(400, 0.05)
    found = tail_probability(np.tile(a, len(margins)), np.full(len(margins), 400), margins, tail="gaussian")
    variance, bound = 0.0, 0.0
    for x in np.abs(a):
        bound, variance = bound + x, variance + x * x
    for margin, value in zip(margins, found, strict=True):
        slack = 4 * 2.0**-52 * 401 * bound
        exponent = (margin - slack) * (margin - slack) / (2 * variance)
        tail = min(math.exp(-exponent), GAUSSIAN_FACTOR * math.erfc(math.sqrt(exponent)))
        assert value == min(1.0, tail * (1 + 8 * 2.0**-52 * (1 + exponent)))


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_rough_bounds_are_barely_above_those_by_gaussian_tails(name):
    dictionary, codes, smallest, eps, guard = drawn_codes(name)
    rng, informative = np.random.default_rng(1), 0
    by_filter = smallest[:, None] * rng.uniform(0.3, 0.7, (len(smallest), dictionary.n_filters))
    for threshold in (smallest / 2, smallest * 0.35, smallest * 0.02, by_filter):
        for noise in (0.0, 1e-3):
            how = {"tail": "gaussian", "noise_variance": noise}
            exact = failure_at(dictionary, codes, threshold, eps, guard, **how)
            rough = failure_at(dictionary, codes, threshold, eps, guard, **how, rough=True)
            assert (rough >= exact).all()
            assert (rough <= exact * (1 + 3e-6) + 1e-290).all()
            informative += np.count_nonzero((exact > 1e-12) & (exact < 0.9))
    for tail in ("hoeffding", "gaussian", "exact"):
        _, exact = best_failure(dictionary, codes, eps, guard, tail=tail)
        _, rough = best_failure(dictionary, codes, eps, guard, tail=tail, rough=True)
        assert (rough >= exact).all()
        assert (rough <= layer_failure(dictionary, codes, eps, guard)[2] * (1 + 3e-6) + 1e-290).all()
    assert informative > 5 or "orthonormal" in name


def test_rough_bounds_of_columns_are_barely_above_those_by_gaussian_tails():
    dictionary, codes, smallest, eps, guard = drawn_codes(next(iter(support.DICTIONARIES)))
    model = Cascade([dictionary])
    known = Propagation.of(model).columns(codes)[0], Propagation.of(model).interference(codes, 1)
    plain = (model, codes, 1)
    at = {"tail": "gaussian", "known": known}
    exact = sharp_tails.plain_failure_at(*plain, smallest / 2, eps, guard, **at)
    rough = sharp_tails.plain_failure_at(*plain, smallest / 2, eps, guard, **at, rough=True)
    assert (rough >= exact).all()
    assert (rough <= exact * (1 + 3e-6) + 1e-290).all()
    assert (
        sharp_tails.plain_best_failure(*plain, eps, guard, **at, rough=True)[1]
        >= sharp_tails.plain_best_failure(*plain, eps, guard, **at)[1]
    ).all()


def searched(dictionary, codes, eps, guard):
    """The search with closed tails, every sum by itself and exact."""
    _, threshold, closed = layer_failure(dictionary, codes, eps, guard)

    def at(beta):
        return failure_at(dictionary, codes, beta, eps, guard, tail="gaussian")

    beta, bound, searching = threshold.copy(), at(threshold), np.ones(len(eps), bool)
    for _ in range(2):
        steps = np.arange(COARSE) - COARSE // 2
        grid = [np.maximum(beta * (1 + COARSE_WIDTH * step / (COARSE // 2)), eps) for step in steps]
        grid[COARSE // 2] = beta.copy()
        totals = np.array([at(one) for one in grid])
        best = totals.argmin(axis=0)
        rows = np.arange(len(eps))
        better = searching & (totals[best, rows] < bound)
        beta = np.where(better, np.array(grid)[best, rows], beta)
        bound = np.where(better, totals[best, rows], bound)
        searching &= (best == 0) | (best == COARSE - 1)
    return threshold, closed, beta, bound


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_a_search_by_rough_sums_ends_where_one_by_exact_sums_does(name):
    dictionary, codes, _, eps, guard = drawn_codes(name)
    threshold, closed, beta, bound = searched(dictionary, codes, eps, guard)
    found = best_failure(dictionary, codes, eps, guard, tail="gaussian")
    uncapped = bound < 1  # sums above 1 are told apart by the search, and not by what is seen of them here
    is_worse = bound >= closed
    np.testing.assert_array_equal(found[1][uncapped], np.where(is_worse, closed, bound)[uncapped])
    np.testing.assert_array_equal(found[0][uncapped], np.where(is_worse, threshold, beta)[uncapped])
    drawn = DrawnAtoms.of(np.random.default_rng(2), len(eps), room=0.2)
    moved, _ = best_failure(dictionary, codes, eps, guard, tail="exact", drawn=drawn)
    at = failure_at(dictionary, codes, moved, eps, guard, tail="gaussian")
    for row in np.flatnonzero((bound > 0) & (bound < 1)):
        steps = np.arange(FINE) - FINE // 2
        assert moved[row] in np.maximum(beta[row] * (1 + FINE_WIDTH * steps / (FINE // 2)), eps[row])
        assert at[row] <= max(bound[row], 0.2)
