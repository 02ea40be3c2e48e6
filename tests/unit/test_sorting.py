"""Orders and searches that kernels share: against those of numpy and of numba."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from dcsc.kernels import sorting


@numba.njit
def order_by_numba(keys):
    return np.argsort(keys)


@pytest.mark.parametrize("n", [0, 1, 2, 15, 16, 17, 200, 3000])
@pytest.mark.parametrize("values", ["many", "few", "ascending", "falling"])
def test_orders_are_those_of_numpy_and_of_numba(n, values):
    rng = np.random.default_rng(n)
    numbers = rng.integers(0, 5 if values == "few" else 10**6, n)
    if values in ("ascending", "falling"):
        numbers.sort()
    keys = numbers[::-1].copy() if values == "falling" else numbers
    assert np.array_equal(sorting.order_of(keys, np.bool_(True)), np.argsort(keys, kind="stable"))
    assert np.array_equal(sorting.order_of(keys, np.bool_(False)), order_by_numba(keys))
    found = keys.copy()
    sorting.sort(found)
    assert np.array_equal(found, np.sort(keys))
    assert np.array_equal(sorting.ascending(keys), np.sort(keys))


def test_searches_agree_with_numpy():
    values = np.array([1, 3, 3, 4, 9])
    for level in range(11):
        assert sorting.first_from(values, 5, level) == np.searchsorted(values, level)
        assert sorting.first_from(values, 3, level) == np.searchsorted(values[:3], level)


def test_extremes_are_the_first_of_equals():
    values = np.array([2, 5, 5, 1])
    assert sorting.place_of_most(values) == 1
    assert sorting.most_of(values) == 5
    assert sorting.smallest_of(values) == 1
    assert sorting.total_of(values) == 13
    assert np.array_equal(sorting.places_where(values > 1), [0, 1, 2])
    assert np.array_equal(sorting.entries_at(values, np.array([3, 0])), [1, 2])
