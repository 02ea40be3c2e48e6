"""
The plain model, where only the signs of the deepest code are random: what its active atoms make of the layers.

Atoms of one filter make the same of a layer, moved along with their position: it is made once for each filter, and so
is what it adds to the correlations of other atoms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution import sparse_path
from dcsc.convolution.filter_bank import listed_codes
from dcsc.convolution.moved import MovedArrays
from dcsc.guarantees.interference import Interference
from dcsc.model.cascade import Cascade
from dcsc.model.layers import layers_of
from dcsc.parallel import over_blocks, over_spans
from dcsc.ragged import RaggedCodes, take

ENTRIES = 2**21
"""Correlations with what deepest filters make of a layer that are held at once."""

SPAN = 1024
"""Columns that are moved at once."""


@dataclass(frozen=True, eq=False)
class Propagation:
    """
    What each filter of the deepest layer makes of every layer.

    Parameters
    ----------
    model : Cascade
        Layers without signs.
    at_origin : tuple of RaggedCodes, each of batch shape (filter,)
        B^(l) e_j for l = 1..L, of the atoms j at position 0.
    """

    model: Cascade
    at_origin: tuple[RaggedCodes, ...]

    @classmethod
    def of(cls, model: Cascade) -> Propagation:
        """
        Propagate one atom of each filter.

        Parameters
        ----------
        model : Cascade
            Layers without signs.

        Returns
        -------
        Propagation
            With exact supports.
        """
        deepest = model.dictionaries[-1]
        ones = np.ones(deepest.n_filters, dtype=np.int64)
        atoms = np.arange(deepest.n_filters, dtype=np.int32) * math.prod(deepest.positions)
        return cls(model, layers_of(model.dictionaries, RaggedCodes(ones, atoms, ones, deepest.code_shape))[0])

    def columns(self, deepest: RaggedCodes) -> list[RaggedCodes]:
        """
        Propagate each active atom of the deepest codes alone to every layer.

        Parameters
        ----------
        deepest : RaggedCodes
            X^(L).

        Returns
        -------
        list of RaggedCodes, batch shape (non-zero of the deepest codes,)
            |x_j| B^(l) e_j for l = 1..L, whose sums with the signs of the deepest codes are the X^(l).
        """
        return [self._columns_of_layer(deepest, layer) for layer in range(1, self.model.depth + 1)]

    def _columns_of_layer(self, deepest: RaggedCodes, layer: int) -> RaggedCodes:
        origin, magnitudes = self.at_origin[layer - 1], _magnitudes(deepest)
        n_atoms = math.prod(origin.code_shape)

        def work(first: int, last: int) -> tuple[NDArray, NDArray]:
            column, source, atom = self._moved(deepest.atom[first:last], layer)
            order = np.argsort(column * n_atoms + atom, kind="stable")
            value = origin.value[source] * magnitudes[first + column]
            return atom[order].astype(np.int32), value[order]

        parts = over_spans(len(magnitudes), SPAN, work)
        atoms, values = (
            np.concatenate([nothing, *(part[which] for part in parts)])
            for which, nothing in enumerate((np.empty(0, np.int32), np.empty(0)))
        )
        return RaggedCodes(origin.row_size[_filters(deepest)], atoms, values, origin.code_shape)

    def _moved(self, atoms: NDArray, layer: int) -> tuple[NDArray, NDArray, NDArray]:
        """Entries of the columns of deepest atoms, in the order of those at the origin: column, origin's and atom."""
        origin = self.at_origin[layer - 1]
        filters, *positions = np.unravel_index(atoms, self.model.dictionaries[-1].code_shape)
        sizes = origin.row_size[filters]
        column = np.repeat(np.arange(len(filters)), sizes)
        source = np.repeat(origin.starts[filters] - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(column))
        rows, *places = np.unravel_index(origin.atom, origin.code_shape)
        atom = rows[source]
        for place, p, step, n in zip(places, positions, self._steps(layer), origin.code_shape[1:], strict=True):
            atom = atom * n + (place[source] + (p * step)[column]) % n
        return column, source, atom

    def _steps(self, layer: int) -> list[int]:
        """Positions of a layer that one of the deepest layer stands for, along each axis."""
        strides = [dictionary.stride for dictionary in self.model.dictionaries[layer:]]
        return [math.prod(along) for along in zip([1] * self.model.rank, *strides, strict=True)]

    def interference(self, deepest: ArrayLike | RaggedCodes, layer: int) -> Interference:
        """
        Describe the interference when only the signs of the deepest code are Rademacher.

        Valid where the propagated columns have disjoint supports.

        Parameters
        ----------
        deepest : array_like of shape (code, filter, *position), or RaggedCodes
            X^(L).
        layer : int
            1..L.

        Returns
        -------
        Interference
            From a_ij = |x_j| sum over p != i of g_ip B_pj, with the deepest atom of an active
            entry taken out of its sum (docs/theory.md, "Plain model").
        """
        listed = listed_codes(deepest, self.model.dictionaries[-1])
        origin, starts, magnitudes = self.at_origin[layer - 1], listed.starts, _magnitudes(listed)
        locked, magnitude, bound, variance = np.zeros((4, listed.row_size.size, math.prod(origin.code_shape)))
        own = np.zeros(len(origin.atom))
        for codes, coefficients in self._by_filter(listed.with_values(magnitudes), layer, own):
            bound += self._movable(np.abs(coefficients), layer).sums(codes)
            variance += self._movable(coefficients**2, layer).sums(codes.with_values(codes.value**2))

        def work(first: int, last: int) -> None:
            columns = slice(starts[first], starts[last])
            column, source, atom = self._moved(listed.atom[columns], layer)
            code = np.repeat(np.arange(first, last), listed.row_size[first:last])[column]
            weight = magnitudes[columns][column]
            locked[code, atom] = own[source] * weight
            magnitude[code, atom] = np.abs(origin.value[source]) * weight

        over_blocks(len(locked), work)
        return Interference(magnitude > 0, magnitude, locked, variance, bound)

    def _by_filter(self, magnitudes: RaggedCodes, layer: int, own: NDArray) -> Iterator[tuple[RaggedCodes, NDArray]]:
        """
        Part the non-zeros of deepest codes by some filters at a time, numbered anew, with their a_ij at the origin.

        In these, the entries of the columns themselves are 0; what they get, relative to their signs, goes to `own`.
        Parts depend on nothing but sizes, since the order of sums does on them.
        """
        origin, dictionary = self.at_origin[layer - 1], self.model.dictionaries[layer - 1]
        filters, of_entry = _filters(magnitudes), np.repeat(np.arange(len(origin.row_size)), origin.row_size)
        code_of = np.repeat(np.arange(len(magnitudes.row_size)), magnitudes.row_size)
        n_positions, groups = math.prod(magnitudes.code_shape[1:]), filters // max(1, ENTRIES // dictionary.n_atoms)
        for group in np.unique(groups):
            here = groups == group
            used, number = np.unique(filters[here], return_inverse=True)
            columns = take(origin, used)
            rows = np.repeat(np.arange(len(used)), columns.row_size)
            coefficients = sparse_path.correlate_with_others(dictionary, columns)
            flat = coefficients.reshape(len(used), -1)
            own[np.isin(of_entry, used)] = flat[rows, columns.atom] * np.sign(columns.value)
            flat[rows, columns.atom] = 0.0
            atoms = number * n_positions + magnitudes.atom[here] % n_positions
            sizes = np.bincount(code_of[here], minlength=len(magnitudes.row_size))
            shape = (len(used), *magnitudes.code_shape[1:])
            yield RaggedCodes(sizes, atoms.astype(np.int32), magnitudes.value[here], shape), coefficients

    def _movable(self, arrays: NDArray, layer: int) -> MovedArrays:
        """Arrays of filters over the atoms of a layer, cut out where any filter of the deepest layer reaches."""
        origin, dictionary = self.at_origin[layer - 1], self.model.dictionaries[layer - 1]
        _, *places = np.unravel_index(origin.atom, origin.code_shape)
        reached = [np.zeros(n, dtype=bool) for n in dictionary.positions]
        for where, place, overlap in zip(reached, places, dictionary.overlap, strict=True):
            where[(np.unique(place)[:, None] + np.arange(1 - overlap, overlap)) % len(where)] = True
        return MovedArrays.of(arrays, self.model.dictionaries[-1].positions, self._steps(layer), reached)


def _magnitudes(codes: RaggedCodes) -> NDArray:
    return np.abs(codes.value.astype(np.float64))


def _filters(codes: RaggedCodes) -> NDArray:
    """The filter of every non-zero."""
    return codes.atom // math.prod(codes.code_shape[1:])
