"""Products with a Gram matrix by columns: bit for bit those by rows."""

import numpy as np
import pytest

from dcsc.kernels import gram_columns, lasso


def gram(n, positions, reach, seed):
    """Random entries where places on a circle are near each other, compressed by rows, without the diagonal."""
    rng = np.random.default_rng(seed)
    places = np.sort(rng.integers(0, positions, n))
    apart = (places[:, None] - places) % positions
    near = (np.minimum(apart, positions - apart) <= reach) & ~np.eye(n, dtype=bool)
    row = np.concatenate([[0], np.cumsum(near.sum(axis=1))])
    col = np.flatnonzero(near) % n
    return row, col.astype(np.int32), rng.standard_normal(len(col)), rng.standard_normal(n)


def by_rows(direction, row, col, val, diagonal):
    """As a sum along each row, by turns to two sums."""
    products = np.empty(len(direction))
    for k in range(len(direction)):
        sums = [diagonal[k] * direction[k], 0.0]
        for turn, pair in enumerate(range(row[k], row[k + 1])):
            sums[turn % 2] += val[pair] * direction[col[pair]]
        products[k] = sums[0] + sums[1]
    return products


@pytest.mark.parametrize(
    ("n", "positions", "reach"), [(61, 8, 4), (61, 8, 1), (97, 30, 3), (40, 1, 0), (23, 40, 20), (9, 1, 0)]
)
def test_products_by_columns_have_the_bits_of_those_by_rows(n, positions, reach):
    row, col, val, diagonal = gram(n, positions, reach, seed=n)
    columns = gram_columns.columns_of(row, col, val)
    assert len(columns.values) == len(col) + n
    direction = np.random.default_rng(0).standard_normal(n)
    direction[::5] = 0.0
    found = np.empty(n)
    gram_columns.multiply(columns, diagonal, direction, np.empty((2, n)), found)
    assert np.array_equal(found, by_rows(direction, row, col, val, diagonal))


def test_a_face_takes_columns_or_rows_and_finds_the_same():
    row, col, val, diagonal = gram(61, 8, 4, seed=3)
    columns = gram_columns.columns_of(row, col, val)
    rng, sums = np.random.default_rng(1), np.empty((2, 61))
    for size in (4, 61):
        face = np.sort(rng.choice(61, size, replace=False))
        direction, found = np.zeros(61), np.zeros(61)
        direction[face] = rng.standard_normal(size)
        lasso.face_product(direction, face, row, col, val, diagonal, columns, sums, found)
        assert np.array_equal(found[face], by_rows(direction, row, col, val, diagonal)[face])


def test_there_are_no_columns_where_rows_are_not_ascending_or_short():
    row, col, val, _ = gram(40, 1, 0, seed=5)
    assert len(gram_columns.columns_of(row, col, val).values)
    col[[0, 1]] = col[[1, 0]]
    assert not len(gram_columns.columns_of(row, col, val).values)
    row, col, val, _ = gram(40, 40, 1, seed=5)
    assert not len(gram_columns.columns_of(row, col, val).values)
