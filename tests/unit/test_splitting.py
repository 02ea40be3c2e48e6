"""The splitting that brings dense codes near: steps by brute force, certificates, handing over, independence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc import parallel
from dcsc.convolution.layouts import from_kernel_atoms, window_layout
from dcsc.kernels import splitting as kernel
from dcsc.pursuit import lasso, splitting
from dcsc.pursuit.lasso import StoppingRule, working_set
from dcsc.pursuit.proximal_gradient import proximal_gradient
from tests.strategies import dense_matrix, dictionaries

seeds = st.integers(0, 2**32 - 1)


def problem(shape, stride, grid, n_trials, share):
    """Random dictionary, signals of noise alone, whose codes are dense, and penalties."""
    rng = np.random.default_rng(5)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal(shape), stride, grid, normalize=True)
    signals = rng.standard_normal((n_trials, *dictionary.signal_shape))
    return dictionary, signals, share * np.abs(dictionary.correlate(signals)).reshape(n_trials, -1).max(axis=1)


def objective(dictionary, signal, penalty, code):
    return penalty * np.abs(code).sum() + ((signal - dictionary.synthesize(code)) ** 2).sum() / 2


def code_of(dictionary, found):
    flat = np.zeros(dictionary.n_atoms)
    flat[from_kernel_atoms(found.atoms, dictionary)] = found.values
    return flat.reshape(dictionary.code_shape)


def as_pieces(dictionary, atoms, layout):
    """Numbers of atoms in C order of (filter, *position), as the kernel takes them."""
    return layout.pieces(atoms.reshape(dictionary.n_filters, -1).T)


@given(dictionaries(), seeds, st.booleans(), st.sampled_from([3, 128]))
def test_a_step_is_that_of_the_dense_problem(dictionary, seed, one_sided, piece):
    rng = np.random.default_rng(seed)
    matrix = dense_matrix(dictionary)
    sizes, shape = window_layout(dictionary).sizes, window_layout(dictionary).patterns.target_shape
    state, residual = rng.standard_normal(dictionary.n_atoms), rng.standard_normal(len(matrix))
    side = rng.choice([-1.0, 1.0], dictionary.n_atoms)
    xi = 0.5

    def clipped(v):
        return side * np.minimum(side * v, xi) if one_sided else np.clip(v, -xi, xi)

    moved = state + 1.8 * (matrix.T @ residual - clipped(state))
    expected = matrix @ (2 * clipped(moved) - moved)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splitting, "PIECE", piece)
        layout = splitting._Layout(dictionary)
        states = as_pieces(dictionary, state, layout)[None]
        sides = as_pieces(dictionary, side, layout)[None] if one_sided else np.empty((0, 0, 0, 0), np.float32)
        out = np.empty((1, *shape), np.float32)
        frequencies = splitting.analyse(dictionary)
        kernel.iterate(
            states, out, residual.astype(np.float32).reshape(1, *shape), np.arange(1), frequencies.by_filter,
            frequencies.by_tap, sizes, sides, np.array([xi], np.float32), np.float32(1.8),
        )  # fmt: skip
        found = layout.flat(states[0]).T.ravel()
    np.testing.assert_allclose(found, moved, atol=1e-4)
    np.testing.assert_allclose(out.ravel(), expected, atol=1e-4 * (1 + np.abs(expected).max()))


@given(dictionaries(), seeds)
def test_the_linear_equation_is_solved(dictionary, seed):
    rng = np.random.default_rng(seed)
    matrix, shape = dense_matrix(dictionary), window_layout(dictionary).patterns.target_shape
    signals, mirrored = rng.standard_normal((2, 3, len(matrix)))
    sigma = np.array([0.1, 1.0, 5.0])
    found = splitting._solve(
        dictionary, splitting.analyse(dictionary), signals.reshape(3, *shape).astype(np.float32),
        mirrored.reshape(3, *shape).astype(np.float32), sigma.astype(np.float32),
    )  # fmt: skip
    for trial in range(3):
        operator = np.eye(len(matrix)) + sigma[trial] * matrix @ matrix.T
        expected = np.linalg.solve(operator, signals[trial] + sigma[trial] * mirrored[trial])
        np.testing.assert_allclose(found[trial].ravel(), expected, atol=1e-4 * (1 + np.abs(expected).max()))


PROBLEMS = {
    "1-D": ((6, 1, 9), 1, (200,)),
    "1-D, strided, two channels": ((20, 2, 16), 4, (160,)),
    "2-D": ((5, 1, 3, 4), 1, (18, 15)),
    "2-D, strided, two channels": ((18, 2, 4, 4), (2, 3), (12, 18)),
}


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("one_sided", [False, True])
@pytest.mark.parametrize("begun", [False, True])
def test_the_gap_is_a_certificate_and_becomes_small(name, one_sided, begun):
    dictionary, signals, penalties = problem(*PROBLEMS[name], 3, 0.05)
    orientation = np.ones((3, *dictionary.code_shape)) if one_sided else None
    best = proximal_gradient(dictionary, signals, penalties, StoppingRule("gap", 1e-10, 10**5), orientation)
    assert (best.optimality <= 1e-10).all()
    starts = []
    for trial in range(3):
        start = lasso.Trial(dictionary, signals[trial], None if orientation is None else orientation[trial])
        if begun:
            start.solve(penalties[trial], StoppingRule("gap", 0.1, 3), 1.0)
        starts.append(start.start(penalties[trial]))
    for tolerance in (1e-1, 3e-3):
        found = splitting.approach(dictionary, starts, tolerance)
        for trial in range(3):
            code = code_of(dictionary, found[trial])
            assert (code >= 0).all() or not one_sided
            values = [objective(dictionary, signals[trial], penalties[trial], x) for x in (code, best.codes[trial])]
            assert -1e-9 * values[0] <= values[0] - values[1] <= found[trial].gap * values[0] + 1e-9
            assert found[trial].gap <= tolerance
            assert found[trial].iterations < splitting.MOST_ITERATIONS


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rule", [("gap", 1e-2), ("gap", 1e-8), ("kkt", 1e-8)])
@pytest.mark.parametrize("one_sided", [False, True])
def test_the_working_set_hands_over_and_finishes(monkeypatch, name, rule, one_sided):
    dictionary, signals, penalties = problem(*PROBLEMS[name], 5, 0.02)
    orientation = np.ones((5, *dictionary.code_shape)) if one_sided else None
    alone = working_set(dictionary, signals, penalties, StoppingRule(*rule, 1000), orientation)
    monkeypatch.setattr(lasso, "SMALLEST", 0)
    monkeypatch.setattr(lasso, "DENSE", 0.2)
    helped = working_set(dictionary, signals, penalties, StoppingRule(*rule, 1000), orientation)
    assert (helped.iterations > alone.iterations + 20).all()
    for found in (alone, helped):
        assert (found.optimality <= rule[1]).all()
    for trial in range(5):
        values = [
            objective(dictionary, signals[trial], penalties[trial], x[trial]) for x in (helped.codes, alone.codes)
        ]
        assert values[0] == pytest.approx(values[1], rel=2e-2 if rule[1] == 1e-2 else 1e-7)


@settings(max_examples=5)
@given(st.integers(1, 7))
def test_a_trial_does_not_depend_on_those_that_are_split_with_it(group):
    dictionary, signals, penalties = problem((8, 1, 12), 1, (600,), 7, 0.02)
    rule = StoppingRule("gap", 1e-4, 1000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lasso, "DENSE", 0.3)
        whole = working_set(dictionary, signals, penalties, rule)
        assert (whole.iterations > splitting.FIRST_LOOK).all()
        patch.setattr(lasso, "GROUP", group)
        apart = working_set(dictionary, signals[:3], penalties[:3], rule)
    np.testing.assert_array_equal(whole.codes[:3], apart.codes)
    np.testing.assert_array_equal(whole.iterations[:3], apart.iterations)


def test_iterations_are_limited():
    dictionary, signals, penalties = problem((8, 1, 12), 1, (200,), 2, 0.02)
    starts = [lasso.Trial(dictionary, signals[trial], None).start(penalties[trial]) for trial in range(2)]
    found = splitting.approach(dictionary, starts, 1e-3, 7)
    assert [result.iterations for result in found] == [7, 7]
    assert all(1e-3 < result.gap < 1 for result in found)


def test_the_search_ends_for_what_single_precision_cannot_give():
    dictionary, signals, penalties = problem((8, 1, 12), 1, (200,), 1, 0.02)
    start = lasso.Trial(dictionary, signals[0], None).start(penalties[0])
    (found,) = splitting.approach(dictionary, [start], 1e-14)
    assert 1e-14 < found.gap < 1e-3


def test_long_strides_on_large_grids_are_left_to_the_working_set():
    filters = np.ones((2, 1, 1024))
    assert not splitting.is_affordable(dcsc.ConvolutionalDictionary(filters, 1024, (2**20,), normalize=True))
    assert splitting.is_affordable(dcsc.ConvolutionalDictionary(filters, 16, (2**14,), normalize=True))


@pytest.mark.parametrize("n_trials", [1, 4])
def test_products_of_matrices_stay_on_one_core_while_trials_are_on_threads(n_trials):
    def threads(_=None):
        return [library["num_threads"] for library in parallel._blas().info() if library["user_api"] == "blas"]

    with parallel._blas().limit(limits=3, user_api="blas"):
        before = threads()
        assert set(before) == {3}
        for found in parallel.over_trials(n_trials, threads):
            assert set(found) == {1}
        assert threads() == before
