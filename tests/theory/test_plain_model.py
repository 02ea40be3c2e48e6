"""The plain model by columns that are moved along, against arrays of all atoms and sums over all signs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc.guarantees import plain_model
from dcsc.guarantees.plain_model import Propagation
from dcsc.ragged import RaggedCodes
from tests.strategies import cascades, dense_matrix
from tests.theory import support


def deepest_codes(cascade, rng, n_codes=5, most=6, unit=False):
    """Codes of a few atoms each, the first one empty."""
    below = cascade.dictionaries[-1]
    dense = np.zeros((n_codes, below.n_atoms))
    for code in dense[1:]:
        atoms = rng.choice(below.n_atoms, min(most, below.n_atoms), replace=False)
        code[atoms] = rng.choice([-1.0, 1.0], len(atoms)) * (1.0 if unit else rng.uniform(0.1, 2.0, len(atoms)))
    return dense.reshape(-1, *below.code_shape)


def dense_columns(cascade, code):
    """|x_j| B^(l) e_j of every layer for the active atoms of one code, shape (atom, atom of the layer)."""
    active = np.flatnonzero(code)
    columns = [np.zeros((len(active), code.size))]
    columns[0][np.arange(len(active)), active] = np.abs(code.ravel()[active])
    for dictionary in cascade.dictionaries[:0:-1]:
        columns.append(columns[-1] @ dense_matrix(dictionary).T)
    return columns[::-1]


@settings(max_examples=25, deadline=None)
@given(cascades(max_depth=3), st.integers(0, 2**32 - 1))
def test_columns_and_interference_are_those_of_the_dense_matrices(cascade, seed):
    rng = np.random.default_rng(seed)
    dense = deepest_codes(cascade, rng)
    listed, propagation = RaggedCodes.from_dense(dense, cascade.dictionaries[-1].code_shape), Propagation.of(cascade)
    columns = propagation.columns(listed)
    starts = listed.starts
    for layer, dictionary in enumerate(cascade.dictionaries, start=1):
        gram, found = support.dense_gram(dictionary), propagation.interference(listed, layer)
        made = columns[layer - 1].to_dense().reshape(len(listed.atom), -1)
        for column in np.split(columns[layer - 1].atom, columns[layer - 1].starts[1:-1]):
            assert (np.diff(column) > 0).all()
        for row, code in enumerate(dense):
            true = dense_columns(cascade, code)[layer - 1]
            np.testing.assert_allclose(made[starts[row] : starts[row + 1]], true, atol=1e-12)
            coefficients, own = true @ gram, np.abs(true) > 1e-12
            others = np.where(own, 0.0, coefficients)
            np.testing.assert_allclose(found.bound[row], np.abs(others).sum(axis=0), atol=1e-12)
            np.testing.assert_allclose(found.variance[row], (others**2).sum(axis=0), atol=1e-12)
            np.testing.assert_array_equal(found.active[row], own.any(axis=0))
            alone = own.sum(axis=0) == 1
            locked = (np.where(own, coefficients * np.sign(true), 0.0)).sum(axis=0)
            np.testing.assert_allclose(found.locked[row, alone], locked[alone], atol=1e-12)
            np.testing.assert_allclose(found.magnitude[row, alone], np.abs(true).sum(axis=0)[alone], atol=1e-12)


@pytest.mark.parametrize("name", support.CASCADES)
def test_a_code_alone_has_the_bits_of_the_batch(name, monkeypatch):
    cascade = support.CASCADES[name]()
    dense = deepest_codes(cascade, np.random.default_rng(7), n_codes=70)
    propagation, shape = Propagation.of(cascade), cascade.dictionaries[-1].code_shape
    listed = RaggedCodes.from_dense(dense, shape)
    monkeypatch.setattr(plain_model, "SPAN", 5)
    for layer, columns in enumerate(propagation.columns(listed), start=1):
        together = propagation.interference(listed, layer)
        for row in (0, 1, 33, 69):
            code = listed.rows(slice(row, row + 1))
            alone, column = propagation.interference(code, layer), propagation.columns(code)[layer - 1]
            for values, of_batch in zip(vars(alone).values(), vars(together).values(), strict=True):
                np.testing.assert_array_equal(values[0], of_batch[row])
            of_row = columns.rows(slice(listed.starts[row], listed.starts[row + 1]))
            np.testing.assert_array_equal(column.atom, of_row.atom)
            np.testing.assert_array_equal(column.value, of_row.value)


def test_filters_of_a_large_layer_are_taken_a_few_at_a_time(monkeypatch):
    cascade = support.CASCADES["2-D, groups, two layers"]()
    dense = deepest_codes(cascade, np.random.default_rng(8))
    propagation = Propagation.of(cascade)
    whole = propagation.interference(dense, 1)
    monkeypatch.setattr(plain_model, "ENTRIES", 3 * cascade.dictionaries[0].n_atoms)
    for values, expected in zip(vars(propagation.interference(dense, 1)).values(), vars(whole).values(), strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-14, atol=1e-16)


def test_nothing_comes_of_nothing():
    cascade = support.CASCADES["1-D, groups, two layers"]()
    nothing = RaggedCodes.from_dense(
        np.zeros((0, *cascade.dictionaries[-1].code_shape)), cascade.dictionaries[-1].code_shape
    )
    assert [columns.row_size.shape for columns in Propagation.of(cascade).columns(nothing)] == [(0,), (0,)]
    assert Propagation.of(cascade).interference(nothing, 1).bound.shape == (0, cascade.dictionaries[0].n_atoms)
