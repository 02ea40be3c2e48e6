"""The families of filters: valid, reproducible, of the coherence that theory gives them, and clear when refused."""

import numpy as np
import pytest

import dcsc
from dcsc import families


def identity_gram(dictionary):
    expected = np.zeros(dictionary.gram().shape)
    zero_lag = tuple(overlap - 1 for overlap in dictionary.overlap)
    expected[(slice(None), slice(None), *zero_lag)] = np.eye(dictionary.n_filters)
    return expected


@pytest.mark.parametrize(
    ("grid", "n_filters", "n_channels"),
    [((40,), 8, 1), ((6,), 1, 1), ((40,), 12, 3), ((12, 16), 16, 1), ((9, 12), 18, 2)],
)
def test_lapped_filters_are_an_orthonormal_basis(grid, n_filters, n_channels):
    dictionary = families.create("lapped", grid, n_filters=n_filters, n_channels=n_channels)
    np.testing.assert_allclose(dictionary.gram(), identity_gram(dictionary), atol=1e-12)
    assert dictionary.n_atoms == np.prod(dictionary.signal_shape)


def test_meyer_has_the_coherence_of_the_replicated_study():
    assert dcsc.mutual_coherence(families.create("meyer", (600,))) == pytest.approx(2.435e-4, abs=1e-6)


@pytest.mark.parametrize("parameters", [{}, {"search": True}, {"search": True, "taps": 24, "squared_norm": 200}])
def test_integer_filters_have_coherence_one_over_their_squared_norm(parameters):
    dictionary = families.create("integer", (600,), seed=3, **parameters)
    squared_norm = parameters.get("squared_norm", 231)
    assert dcsc.mutual_coherence(dictionary) == pytest.approx(1 / squared_norm, rel=1e-12)
    assert (dictionary.integer_filters**2).sum() == squared_norm
    assert np.count_nonzero(dictionary.integer_filters) == 7
    assert np.abs(dictionary.integer_filters).max() <= 8


def test_perturbation_moves_every_filter_by_its_relative_size():
    sizes = {"n_filters": 16, "grid": (256,)}
    base = families.create("lapped", **sizes)
    assert np.array_equal(families.create("perturbed", base="lapped", perturbation=0.0, **sizes).filters, base.filters)
    small, large = (
        families.create("perturbed", seed=1, base="lapped", perturbation=size, **sizes) for size in (0.01, 0.3)
    )
    moved = np.linalg.norm(small.filters - base.filters, axis=(1, 2))
    np.testing.assert_allclose(moved, 0.01, rtol=0.5)
    assert small.stride == base.stride
    assert dcsc.mutual_coherence(small) < dcsc.mutual_coherence(large)
