"""Ragged codes: exact round trips, slices, and refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsc import RaggedCodes, ragged
from dcsc.errors import UserError
from dcsc.store import dataset
from tests.strategies import sparse_codes


@given(st.integers(0, 2**32 - 1), st.sampled_from([(2, 3, 2, 4), (1, 1, 1, 5)]), st.floats(0, 1))
def test_round_trips_are_exact(seed, batch, density):
    dense = sparse_codes(np.random.default_rng(seed), (3, 2, 2), density, batch)
    codes = RaggedCodes.from_dense(dense, (3, 2, 2))
    np.testing.assert_array_equal(codes.to_dense(), dense)
    again = dataset.codes_from_dataset(dataset.codes_to_dataset(codes))
    np.testing.assert_array_equal(again.to_dense(), dense)
    np.testing.assert_array_equal(codes[1 % batch[0]].to_dense(), dense[1 % batch[0]])
    np.testing.assert_array_equal(codes.rows(slice(1, 4)).to_dense(), dense.reshape(-1, 3, 2, 2)[1:4])
    halves = [codes.rows(slice(0, 2)), codes.rows(slice(2, int(np.prod(batch))))]
    np.testing.assert_array_equal(ragged.concatenate(halves).reshape(batch).to_dense(), dense)


def test_signs_are_kept_in_one_byte():
    codes = RaggedCodes.from_dense(np.array([[[[[[1.0, 0.0, -1.0]]]]]]), (1, 3))
    assert dataset.codes_to_dataset(codes)["value"].dtype == np.int8
    assert dataset.codes_to_dataset(codes.with_values(codes.value * 300))["value"].dtype == np.float64


def test_codes_that_disagree_are_refused():
    with pytest.raises(UserError, match="row sizes add up to 2"):
        RaggedCodes(np.array([2]), np.array([0]), np.array([1.0]), (3,))
    with pytest.raises(UserError, match=r"outside 0\.\.2"):
        RaggedCodes(np.array([1]), np.array([3]), np.array([1.0]), (3,))


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.floats(0, 1))
def test_comparison_counts_what_differs(seed, density, other_density):
    rng = np.random.default_rng(seed)
    truth, found = (sparse_codes(rng, (2, 3), share, (4, 2)) for share in (density, other_density))
    compared = ragged.compare(*(RaggedCodes.from_dense(codes, (2, 3)) for codes in (truth, found)))
    np.testing.assert_array_equal(compared.misses, ((truth != 0) & (found == 0)).sum(axis=(-2, -1)))
    np.testing.assert_array_equal(compared.false_alarms, ((truth == 0) & (found != 0)).sum(axis=(-2, -1)))
    np.testing.assert_array_equal(compared.wrong_signs, (truth * found < 0).sum(axis=(-2, -1)))


def test_one_replicate_is_what_all_hold_of_it():
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((3, 2, 4, 5, 2, 8)) * (rng.random((3, 2, 4, 5, 2, 8)) < 0.2)
    stored = dataset.codes_to_dataset(RaggedCodes.from_dense(dense, (2, 8)))
    for replicate in range(3):
        assert np.array_equal(dataset.codes_from_dataset(stored, replicate).to_dense(), dense[replicate])


def test_what_was_measured_of_codes_is_kept_and_cannot_be_spoilt():
    codes, asked = RaggedCodes.from_dense(np.eye(3), (3,)), []

    def measure():
        asked.append(True)
        return np.arange(3)

    codes.measured("name", measure)[:] = 7
    assert codes.measured("name", measure).tolist() == [0, 1, 2]
    assert len(asked) == 1
    codes.reshape((1, 3)).measured("name", measure)
    assert len(asked) == 2


def test_kernels_that_read_are_given_the_lists_themselves():
    codes = RaggedCodes(np.array([2, 1]), np.array([0, 3, 2], np.int32), np.array([1.0, -2.0, 3.0]), (2, 2))
    listed = ragged.kernel_codes(codes)
    assert np.shares_memory(listed.atom, codes.atom)
    assert np.shares_memory(listed.value, codes.value)
    for values in (codes.value.astype(np.int8), np.repeat(codes.value, 2)[::2]):
        listed = ragged.kernel_codes(codes.with_values(values))
        assert not np.shares_memory(listed.value, values)
        np.testing.assert_array_equal(listed.value, codes.value)
    codes.value.flags.writeable = False  # another type, for which no kernel is compiled
    assert ragged.kernel_codes(codes).value.flags.carray
