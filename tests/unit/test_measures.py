"""Coherence, Babel functions, Welch bound, stripes and patches against loops over dense matrices."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.model.coherence import filter_coherence
from dcsc.ragged import RaggedCodes
from tests.strategies import dense_matrix, dictionaries, sparse_codes

seeds = st.integers(0, 2**32 - 1)


@given(dictionaries(max_filters=4))
@settings(max_examples=200)
def test_coherence_and_babel_agree_with_the_dense_gram_matrix(dictionary):
    matrix = dense_matrix(dictionary)
    gram = np.abs(matrix.T @ matrix)
    np.fill_diagonal(gram, 0)
    descending = -np.sort(-gram, axis=1)
    assert dcsc.mutual_coherence(dictionary) == pytest.approx(gram.max(), abs=1e-12)
    of_filters = gram.reshape(2 * (dictionary.n_filters, len(gram) // dictionary.n_filters)).max(axis=(1, 3))
    np.testing.assert_allclose(filter_coherence(dictionary), of_filters, atol=1e-12)
    for k in (0, 1, 2, 5, 10**6):
        assert dcsc.babel(dictionary, k) == pytest.approx(descending[:, :k].sum(axis=1).max(), abs=1e-12)
        assert dcsc.babel2(dictionary, k) == pytest.approx(
            np.sqrt((descending[:, :k] ** 2).sum(axis=1).max()), abs=1e-12
        )
    assert dcsc.welch_bound(dictionary) <= dcsc.mutual_coherence(dictionary) + 1e-12


def test_babel_refuses_fractions():
    dictionary = dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))
    with pytest.raises(ValueError, match="whole number"):
        dcsc.babel(dictionary, 1.5)


@given(dictionaries(), seeds)
@settings(max_examples=150)
def test_stripe_counts_are_the_active_atoms_that_overlap_a_patch(dictionary, seed):
    code = sparse_codes(np.random.default_rng(seed), dictionary.code_shape, 0.3)
    expected = np.zeros(dictionary.positions, dtype=int)
    for position in itertools.product(*map(range, dictionary.positions)):
        for index in zip(*np.nonzero(code), strict=True):
            distances = [
                min((p - q) % n, (q - p) % n) for p, q, n in zip(position, index[1:], dictionary.positions, strict=True)
            ]
            expected[position] += all(d < n for d, n in zip(distances, dictionary.overlap, strict=True))
    np.testing.assert_array_equal(dcsc.stripe_counts(code, dictionary), expected)
    batch = np.stack([code, 0 * code])
    np.testing.assert_array_equal(dcsc.stripe_norm(batch, dictionary), [expected.max(), 0])
    assert dcsc.stripe_norm(code, dictionary) == expected.max()


def test_stripe_counts_of_long_windows_use_the_cumulative_path():
    dictionary = dcsc.ConvolutionalDictionary(np.ones((1, 1, 40)), 1, (100,), normalize=True)
    code = sparse_codes(np.random.default_rng(1), dictionary.code_shape, 0.3)
    active = code[0] != 0
    expected = [sum(active[(p + d) % 100] for d in range(-39, 40)) for p in range(100)]
    np.testing.assert_array_equal(dcsc.stripe_counts(code, dictionary), expected)


@given(dictionaries(), seeds)
@settings(max_examples=150)
def test_patches_are_what_one_atom_of_the_next_dictionary_sees(dictionary, seed):
    rng = np.random.default_rng(seed)
    error = sparse_codes(rng, dictionary.signal_shape, 0.5, batch=(2,))
    ones = dcsc.ConvolutionalDictionary(
        np.ones_like(dictionary.filters), dictionary.stride, dictionary.grid, normalize=True
    )
    sees = dense_matrix(ones)[:, : dictionary.n_atoms // dictionary.n_filters] > 0
    flat = error.reshape(2, -1)
    np.testing.assert_array_equal(dcsc.patch_norm(error, dictionary), ((flat != 0).astype(int) @ sees).max(axis=1))
    np.testing.assert_allclose(dcsc.patch_l2(error, dictionary), np.sqrt((flat**2) @ sees).max(axis=1), atol=1e-12)


def test_deepest_patch_is_one_position():
    code = np.zeros((3, 4))
    code[0, 1], code[2, 1], code[1, 3] = 3, 4, 1
    assert dcsc.patch_norm(code, None) == 2
    assert dcsc.patch_l2(code, None) == 5
    assert dcsc.sparsity.contrast(code, 1) == 0.25


@pytest.mark.parametrize("active", [0, 1, 2, 9, 30])
@pytest.mark.parametrize("taps", [3, 40, 256])
def test_the_fullest_stripe_of_few_atoms_is_found_from_their_places(active, taps):
    rng = np.random.default_rng(active)
    dictionary = dcsc.families.create("gaussian", grid=(1024,), seed=0, n_filters=3, taps=taps, stride=2)
    codes = np.zeros((20, dictionary.n_atoms))
    for code in codes:
        near = rng.integers(dictionary.n_atoms // 3) + rng.integers(
            0, 60, active
        )  # within a filter, and around its ends
        code[near % dictionary.n_atoms] = 1
    codes = codes.reshape(20, *dictionary.code_shape)
    listed = RaggedCodes.from_dense(codes, dictionary.code_shape)
    expected = dcsc.sparsity.stripe_counts(codes, dictionary).max(axis=-1)
    np.testing.assert_array_equal(dcsc.sparsity.stripe_norm(listed, dictionary), expected)
