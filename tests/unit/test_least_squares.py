"""Fits on supports: the compiled kernel against numpy's dense least squares, trial by trial and in batches."""

import numpy as np
import pytest

import dcsc
from dcsc.convolution import layouts
from dcsc.kernels import envelope
from dcsc.pursuit import least_squares as fitting

CASES = {
    "one axis": ("gaussian", (64,), {"n_filters": 6, "taps": 7, "stride": 1}),
    "a stride": ("gaussian", (96,), {"n_filters": 9, "taps": 8, "stride": 4}),
    "channels": ("gaussian", (60,), {"n_filters": 5, "taps": 5, "stride": 2, "n_channels": 3}),
    "two axes": ("gaussian", (16, 20), {"n_filters": 4, "taps": 3, "stride": 2}),
    "few taps": ("low-coherence-sparse", (256,), {"n_filters": 8, "taps": 16, "stride": 2, "n_nonzeros": 3}),
}


def problem(case, density, trials=5, seed=0):
    family, grid, parameters = CASES[case]
    dictionary = dcsc.families.create(family, grid=grid, seed=seed, **parameters)
    rng = np.random.default_rng(seed)
    supports = rng.random((trials, dictionary.n_atoms)) < density
    supports[0] = False
    targets = rng.standard_normal((trials, *dictionary.signal_shape))
    rows, atoms = np.nonzero(supports)
    return dictionary, targets, atoms, np.searchsorted(rows, np.arange(trials + 1))


def dense_fit(dictionary, target, atoms):
    return np.linalg.lstsq(dictionary.to_sparse().toarray()[:, atoms], target.ravel(), rcond=None)[0]


@pytest.mark.parametrize("density", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_fits_are_those_of_a_dense_factorisation(case, density):
    dictionary, targets, atoms, starts = problem(case, density)
    values = fitting.fit_supports(dictionary, targets, atoms, starts)
    assert len(values) == len(atoms) > 0
    for trial, target in enumerate(targets):
        own = slice(starts[trial], starts[trial + 1])
        if own.start < own.stop:
            np.testing.assert_allclose(values[own], dense_fit(dictionary, target, atoms[own]), atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_a_trial_alone_has_the_bits_of_the_batch(case):
    dictionary, targets, atoms, starts = problem(case, 0.05, trials=40)
    together = fitting.fit_supports(dictionary, targets, atoms, starts)
    for trial in range(len(targets)):
        own = slice(starts[trial], starts[trial + 1])
        alone = fitting.fit_supports(dictionary, targets[[trial]], atoms[own], np.array([0, own.stop - own.start]))
        np.testing.assert_array_equal(alone, together[own])


def test_dependent_atoms_get_the_coefficients_of_minimum_norm():
    dictionary, targets, _, _ = problem("one axis", 0.1, trials=2)
    atoms = np.arange(dictionary.n_atoms)  # six times as many as the signal has entries
    starts = np.array([0, len(atoms), 2 * len(atoms)])
    values = fitting.fit_supports(dictionary, targets, np.tile(atoms, 2), starts)
    for trial, target in enumerate(targets):
        expected = dense_fit(dictionary, target, atoms)
        np.testing.assert_allclose(values[starts[trial] : starts[trial + 1]], expected, atol=1e-10)


def test_atoms_all_around_the_grid_are_fitted_by_the_kernel(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("left to the dense fit")

    monkeypatch.setattr(fitting, "fit", refuse)
    dictionary = dcsc.families.create("perturbed", grid=(512,), seed=1, base="lapped", n_filters=16, perturbation=0.2)
    atoms = np.arange(3, dictionary.n_atoms, 5)  # every atom meets the next one, and the last the first
    target = np.random.default_rng(0).standard_normal((1, *dictionary.signal_shape))
    values = fitting.fit_supports(dictionary, target, atoms, np.array([0, len(atoms)]))
    np.testing.assert_allclose(values, dense_fit(dictionary, target[0], atoms), atol=1e-10)


def test_full_gram_matrices_are_left_to_the_library(monkeypatch):
    by_library, fit = [], fitting.fit
    monkeypatch.setattr(fitting, "fit", lambda *problem: by_library.append(problem) or fit(*problem))
    monkeypatch.setattr(fitting, "MOST_MULTIPLICATIONS", 10.0)
    dictionary, targets, atoms, starts = problem("one axis", 0.1)
    values = fitting.fit_supports(dictionary, targets, atoms, starts)
    for trial in range(1, len(targets)):
        own = slice(starts[trial], starts[trial + 1])
        np.testing.assert_allclose(values[own], dense_fit(dictionary, targets[trial], atoms[own]), atol=1e-10)
    assert len(by_library) == np.count_nonzero(np.diff(starts))


@pytest.mark.parametrize("seed", range(20))
def test_the_order_is_a_permutation_within_few_places(seed):
    rng = np.random.default_rng(seed)
    size = 60
    adjacent = np.abs(np.subtract.outer(np.arange(size), np.arange(size))) <= 2  # a chain, whose atoms are shuffled
    shuffled = rng.permutation(size)
    adjacent = adjacent[np.ix_(shuffled, shuffled)]
    firsts = np.concatenate([[0], adjacent.sum(axis=1).cumsum()])
    order = envelope.envelope_order(firsts, np.nonzero(adjacent)[1])
    assert sorted(order) == list(range(size))
    rank = np.argsort(order)
    one, other = np.nonzero(adjacent)
    assert np.abs(rank[one] - rank[other]).max() <= 4


@pytest.mark.parametrize("n_filters", [6, 60])
def test_atoms_that_meet_are_all_listed_however_many(n_filters):
    dictionary = dcsc.families.create("gaussian", grid=(24,), seed=0, n_filters=n_filters, taps=8, stride=4)
    gram, atoms = layouts.padded_gram(dictionary, np.float64), np.arange(dictionary.n_atoms)
    positions = np.array([1, 1, 6])
    filters, places = envelope.place_atoms(atoms, positions)
    firsts, neighbours, values = envelope.meeting_atoms(filters, places, positions, gram)
    assert (np.diff(firsts).max() > envelope.MET) == (n_filters == 60)
    found = np.zeros((len(atoms), len(atoms)))
    found[np.repeat(atoms, np.diff(firsts)), neighbours] = values
    dense = dictionary.to_sparse().toarray()
    np.testing.assert_allclose(found, dense.T @ dense, atol=1e-12)


@pytest.mark.parametrize("distance", [1e-1, 1e-2, 1e-3, 4e-4])
def test_filters_in_single_precision_are_fitted_in_double(distance):
    """Inner products that are rounded to float32 are no Gram matrix of filters that nearly agree."""
    rng = np.random.default_rng(0)
    one, change = rng.standard_normal((2, 1, 1, 8))
    filters = np.concatenate([one, one + distance * change])
    dictionary = dcsc.ConvolutionalDictionary(filters, 4, (64,), normalize=True).astype(np.float32)
    atoms = np.flatnonzero(np.arange(dictionary.n_atoms) % 4 == 0)
    target = rng.standard_normal((1, *dictionary.signal_shape))
    values = fitting.fit_supports(dictionary, target, atoms, np.array([0, len(atoms)]))
    expected = np.linalg.lstsq(
        dictionary.to_sparse().toarray()[:, atoms].astype(np.float64), target.ravel(), rcond=None
    )[0]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10 * np.abs(expected).max())
