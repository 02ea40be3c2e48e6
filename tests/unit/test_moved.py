"""Arrays that are moved along with the positions of non-zeros, against NumPy's roll."""

import math

import numpy as np
import pytest

from dcsc.convolution.moved import MovedArrays
from dcsc.ragged import RaggedCodes

CASES = {
    "one axis, around the origin": ((12,), (3,), [[34, 35, 0, 1, 2, 5]]),
    "one axis, one place": ((9,), (4,), [[7]]),
    "one axis, every place": ((5,), (2,), [range(10)]),
    "one axis, all but one place": ((5,), (3,), [[*range(7), *range(8, 15)]]),
    "two axes": ((6, 5), (2, 3), [[11, 0, 1], [3, 4, 9]]),
    "two axes, one of them whole": ((4, 6), (1, 2), [range(4), [10, 11, 0]]),
    "three axes": ((2, 3, 4), (2, 1, 3), [[3, 0], [1], [0, 11, 2]]),
}


@pytest.mark.parametrize("case", CASES)
def test_sums_are_those_of_rolled_arrays(case):
    positions, steps, reached = CASES[case]
    places = tuple(n * step for n, step in zip(positions, steps, strict=True))
    rng = np.random.default_rng(0)
    arrays, inside = np.zeros((3, 4, *places)), np.ix_(range(3), range(4), *map(list, reached))
    arrays[inside] = rng.standard_normal(arrays[inside].shape)
    masks = [np.isin(np.arange(n), list(where)) for n, where in zip(places, reached, strict=True)]
    codes = rng.standard_normal((40, 3, *positions)) * (rng.random((40, 3, *positions)) < 0.2)
    codes[7] = 0
    found = MovedArrays.of(arrays, positions, steps, masks).sums(RaggedCodes.from_dense(codes, codes.shape[1:]))
    assert found.shape == (40, 4 * math.prod(places))
    expected = np.zeros((40, 4, *places))
    for row, i, *position in zip(*np.nonzero(codes), strict=True):
        shift = tuple(p * step for p, step in zip(position, steps, strict=True))
        moved = np.roll(arrays[i], shift, axis=tuple(range(1, arrays.ndim - 1)))
        expected[row] += codes[(row, i, *position)] * moved
    np.testing.assert_allclose(found, expected.reshape(40, -1), atol=1e-13)


def test_only_what_is_reached_is_kept():
    arrays, masks = np.zeros((2, 3, 1000)), [np.isin(np.arange(1000), [998, 3])]
    arrays[:, :, 998] = arrays[:, :, 3] = 1.0
    assert MovedArrays.of(arrays, (500,), (2,), masks).runs.reach == 6
