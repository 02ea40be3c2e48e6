"""Tests of which quantities do not depend on the signs: whether the deepest code determines all supports, and ReLU."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dcsc.errors import UserError
from dcsc.guarantees.checks import has_negative
from dcsc.guarantees.interference import largest_write_counts
from dcsc.model.cascade import Cascade
from dcsc.ragged import RaggedCodes


def out_of_reach(codes: list[RaggedCodes], rule: str) -> tuple[NDArray, NDArray]:
    """
    Tell which paths ReLU does not return, with the signs at hand or with others.

    Parameters
    ----------
    codes : list of RaggedCodes, batch shape (code,)
        [X^(1), ..., X^(L)].
    rule : str
        Nothing is out of reach of other rules than "relu".

    Returns
    -------
    signed, inner : ndarray of bool, shape (code,)
        Whether some code has negative entries, and whether some inner code has entries at all: the signs of the
        layer below it then make them negative for some draws.
    """
    nothing = np.zeros(len(codes[0].row_size), dtype=bool)
    if rule != "relu":
        return nothing, nothing
    inner = [code.row_size > 0 for code in codes[:-1]]
    return np.any([has_negative(code) for code in codes], axis=0), np.any([nothing, *inner], axis=0)


def separate_writes(model: Cascade, codes: list[RaggedCodes]) -> NDArray:
    """
    Tell whether no two active atoms write to one entry of the layer above, at any layer.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : list of RaggedCodes, batch shape (code,)
        [X^(1), ..., X^(L)].

    Returns
    -------
    ndarray of bool, shape (code,)
        Where it is so, the deepest support and magnitudes fix those of every layer, whatever the signs of D-CSC-R.
    """
    separate = np.ones(len(codes[-1].row_size), dtype=bool)
    for dictionary, code in zip(model.dictionaries[1:], codes[1:], strict=True):
        separate &= largest_write_counts(dictionary, code) <= 1
    return separate


def disjoint_columns(codes: list[RaggedCodes], columns: list[RaggedCodes]) -> NDArray:
    """
    Tell whether the columns of each deepest code have disjoint supports, at every layer above it.

    Parameters
    ----------
    codes : list of RaggedCodes
        [X^(1), ..., X^(L)] of the plain model.
    columns : list of RaggedCodes
        What the active deepest atoms make of every layer, from `Propagation.columns`.

    Returns
    -------
    ndarray of bool, shape (code,)
        Where they are, and make the supports of the codes, the deepest support and magnitudes fix those of every layer.

    Raises
    ------
    UserError
        When codes do not follow from the deepest ones.
    """
    n_codes = len(codes[-1].row_size)
    of_column = np.repeat(np.arange(n_codes), codes[-1].row_size)
    disjoint = np.ones(n_codes, dtype=bool)
    for layer, (code, column) in enumerate(zip(codes[:-1], columns[:-1], strict=True), start=1):
        n_atoms = math.prod(code.code_shape)
        rows = np.repeat(of_column, column.row_size)
        places, inverse, written = np.unique(rows * n_atoms + column.atom, return_inverse=True, return_counts=True)
        disjoint[np.unique(places[written > 1] // n_atoms)] = False
        made = np.bincount(inverse, np.abs(column.value), len(places))
        true = np.repeat(np.arange(n_codes), code.row_size) * n_atoms + code.atom
        expected = np.zeros(len(places))
        nearest = np.minimum(np.searchsorted(places, true), max(len(places) - 1, 0))
        is_made = places[nearest] == true if len(places) else np.zeros(len(true), dtype=bool)
        expected[nearest[is_made]] = np.abs(code.value[is_made])
        wrong = ~np.isclose(made, expected, rtol=1e-6, atol=1e-12)
        not_made = true[~is_made & (np.abs(code.value) > 1e-12)]
        wrong_codes = np.concatenate([places[wrong], not_made]) // n_atoms
        if disjoint[wrong_codes].any():
            raise UserError(f"codes of layer {layer} do not follow from the deepest ones in the plain model.")
        # An entry of the size of rounding in only one of them makes another support, of which nothing is known.
        is_given = np.zeros(len(places), dtype=bool)
        is_given[nearest[is_made]] = True
        disjoint[np.concatenate([places[~is_given], true[~is_made]]) // n_atoms] = False
    return disjoint
