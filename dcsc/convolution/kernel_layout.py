"""How the compiled pursuits take a dictionary, and how they number its atoms."""

from __future__ import annotations

import math
import threading
import weakref
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.filter_bank import FilterBank


class Prepared(NamedTuple):
    """
    A dictionary as `dcsc.kernels.lasso` takes it.

    Parameters
    ----------
    pattern, layout : ndarray
        The filters as patterns of `dcsc.kernels.scatter`.
    by_tap : ndarray, shape (channel * tap, filter)
        The filters, one a column.
    gram : ndarray, shape (filter, filter, l0, l1, l2)
        Inner products by lag.
    sizes : ndarray of int64, shape (4, 3)
        Positions, steps, taps and lags, an axis each.
    cell : ndarray of int64, shape (3,)
        Positions of one cell, in which a few atoms are chosen at a time.
    target_shape : tuple of int
        Shape (channel, g0, g1, g2) of a signal.
    """

    pattern: NDArray
    layout: NDArray
    by_tap: NDArray
    gram: NDArray
    sizes: NDArray
    cell: NDArray
    target_shape: tuple[int, ...]


_prepared: weakref.WeakKeyDictionary[FilterBank, Prepared] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def prepare(dictionary: FilterBank) -> Prepared:
    """
    Lay out a dictionary for the kernels, once.

    Parameters
    ----------
    dictionary : FilterBank
        Of at most three spatial axes.

    Returns
    -------
    Prepared
        In float64.

    Raises
    ------
    UserError
        When the dictionary has more than three spatial axes.
    """
    from dcsc.convolution import layouts

    with _lock:
        if dictionary not in _prepared:
            patterns = layouts.filter_patterns(dictionary, "signed", np.float64)
            filler = (1,) * (layouts.AXES - dictionary.rank)
            lags = tuple(2 * overlap - 1 for overlap in dictionary.overlap)
            sizes = np.array(
                [(*filler, *row) for row in (dictionary.positions, dictionary.stride, dictionary.taps, lags)],
                dtype=np.int64,
            )
            # Copies, since the kernels are compiled once more for arrays that cannot be written.
            pattern = np.array(patterns.pattern, order="C")
            by_tap = np.array(dictionary.filters.reshape(dictionary.n_filters, -1).T, dtype=np.float64, order="C")
            gram = np.array(dictionary.gram(), dtype=np.float64, order="C")
            gram = gram.reshape(dictionary.n_filters, dictionary.n_filters, *sizes[3])
            # Half an atom's reach: atoms of different cells interact little, so few are chosen in vain.
            cell = (sizes[3] + 3) // 4
            _prepared[dictionary] = Prepared(pattern, patterns.layout, by_tap, gram, sizes, cell, patterns.target_shape)
        return _prepared[dictionary]


def from_kernel_atoms(atoms: NDArray, dictionary: FilterBank) -> NDArray:
    """
    Number atoms as codes do, given as the kernels number them, neighbouring positions together.

    Parameters
    ----------
    atoms : ndarray of int64
        position * n_filters + filter.
    dictionary : FilterBank
        The dictionary.

    Returns
    -------
    ndarray of int64
        Indices in C order of (filter, *position).
    """
    places, filters = np.divmod(atoms, dictionary.n_filters)
    return filters * math.prod(dictionary.positions) + places
