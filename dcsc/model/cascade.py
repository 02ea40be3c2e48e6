"""The cascade X^(l-1) = A^(l) T^(l) X^(l): convolutional dictionaries and, in D-CSC-R, known signs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import common_batch, real_array
from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary


@dataclass(frozen=True, eq=False)
class Cascade:
    """
    Convolutional dictionaries A^(1), ..., A^(L), each acting on the codes of the one below it.

    Parameters
    ----------
    dictionaries : sequence of ConvolutionalDictionary
        From the signal inwards; the codes of layer l are the signals of layer l + 1.
    signs : sequence of array_like, optional
        T^(l), one array of +-1 per layer, of shape (..., filter, *position). The batch axes hold the signs of
        each trial, drawn independently (D-CSC-R). None is the plain model D-CSC, without signs.

    Raises
    ------
    UserError
        When the layers or the signs do not fit one another.

    Examples
    --------
    >>> import dcsc
    >>> import numpy as np
    >>> first = dcsc.families.create("lapped", grid=64, n_filters=4)
    >>> second = dcsc.families.create("gaussian", grid=16, seed=0, n_filters=6, taps=2, n_channels=4)
    >>> model = dcsc.Cascade([first, second])
    >>> [codes.shape for codes in model.synthesize(np.zeros((5, *second.code_shape)))]
    [(5, 1, 64), (5, 4, 16), (5, 6, 16)]
    """

    dictionaries: tuple[ConvolutionalDictionary, ...]
    signs: tuple[NDArray, ...] | None = None

    def __init__(
        self, dictionaries: Sequence[ConvolutionalDictionary], signs: Sequence[ArrayLike] | None = None
    ) -> None:
        dictionaries = tuple(dictionaries)
        if not dictionaries:
            raise UserError("a cascade has no layers: give at least one dictionary.")
        for layer, (above, below) in enumerate(itertools.pairwise(dictionaries), start=1):
            if above.code_shape != below.signal_shape:
                raise UserError(
                    f"layer {layer + 1} acts on signals of shape {below.signal_shape}, but the codes of layer {layer} "
                    f"have shape {above.code_shape}: make its channels and grid agree with them."
                )
        if signs is not None:
            if len(signs) != len(dictionaries):
                raise UserError(f"{len(signs)} arrays of signs for {len(dictionaries)} layers: give one per layer.")
            arrays = tuple(
                real_array(sign, f"signs of layer {layer}", dictionary.code_shape, finite=False)
                for layer, (sign, dictionary) in enumerate(zip(signs, dictionaries, strict=True), start=1)
            )
            for layer, sign in enumerate(arrays, start=1):
                if not ((sign == 1) | (sign == -1)).all():
                    raise UserError(f"signs of layer {layer} hold values other than -1 and 1.")
        object.__setattr__(self, "dictionaries", dictionaries)
        object.__setattr__(self, "signs", None if signs is None else arrays)

    @property
    def depth(self) -> int:
        """Number of layers, L."""
        return len(self.dictionaries)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return self.dictionaries[0].rank

    def next_dictionary(self, layer: int) -> ConvolutionalDictionary | None:
        """
        Give the dictionary whose atoms define the patches of a layer's codes.

        Parameters
        ----------
        layer : int
            0 for the signal, 1..L for the codes.

        Returns
        -------
        ConvolutionalDictionary or None
            A^(layer + 1), or None at the deepest layer.
        """
        return self.dictionaries[layer] if layer < self.depth else None

    def _signed(self, layer: int, codes: NDArray) -> NDArray:
        if self.signs is None:
            return codes
        signs = self.signs[layer - 1]
        inner = self.rank + 1
        common_batch(f"codes and signs of layer {layer}", codes.shape[: codes.ndim - inner], signs.shape[:-inner])
        return signs.astype(codes.dtype) * codes

    def synthesize_layer(self, layer: int, codes: ArrayLike) -> NDArray:
        """
        Synthesize with one layer, A^(l) T^(l) x.

        Parameters
        ----------
        layer : int
            1..L.
        codes : array_like, shape (..., filter, *position)
            Codes of that layer.

        Returns
        -------
        ndarray, shape (..., channel, *space)
            The signals, or the codes of the layer above.

        Raises
        ------
        UserError
            When the codes are not finite real numbers of that shape.
        """
        dictionary = self.dictionaries[layer - 1]
        if self.signs is None:
            return dictionary.synthesize(codes)
        return dictionary.synthesize(
            self._signed(layer, real_array(codes, "codes", dictionary.code_shape, finite=False))
        )

    def correlate_layer(self, layer: int, signals: ArrayLike) -> NDArray:
        """
        Apply the adjoint of one layer, T^(l) A^(l)^T y.

        Parameters
        ----------
        layer : int
            1..L.
        signals : array_like, shape (..., channel, *space)
            Signals, or codes of the layer above.

        Returns
        -------
        ndarray, shape (..., filter, *position)
            Correlations with the signed atoms.

        Raises
        ------
        UserError
            When the signals are not finite real numbers of that shape.
        """
        return self._signed(layer, self.dictionaries[layer - 1].correlate(signals))

    def synthesize(self, deepest: ArrayLike) -> list[NDArray]:
        """
        Synthesize the codes of every layer and the signal from the deepest code.

        Integer codes stay integers, hence exact, through the layers that have integer
        filters; there a cancellation is an exact zero of the support.

        Parameters
        ----------
        deepest : array_like, shape (..., filter, *position)
            X^(L), real or integer.

        Returns
        -------
        list of ndarray
            The signal X^(0), shape (..., channel, *space), and the codes X^(1), ..., X^(L), each of shape
            (..., filter, *position), in floating-point numbers.

        Raises
        ------
        UserError
            When the code does not hold finite real numbers of that shape, or the integers would exceed 64 bits.
        """
        current = real_array(deepest, "codes", self.dictionaries[-1].code_shape)
        scale = 1.0
        layers = [current if current.dtype.kind == "f" else current.astype(np.float64)]
        for layer in range(self.depth, 0, -1):
            dictionary = self.dictionaries[layer - 1]
            exact = current.dtype.kind in "iu" and dictionary.integer_filters is not None
            if exact:
                current = current.astype(np.int64)
                dictionary.check_integers(current)
                current = self.synthesize_layer(layer, current)
                scale *= dictionary.integer_scale
                layers.append(current * scale)
            else:
                current = self.synthesize_layer(layer, layers[-1])
                layers.append(current)
        return layers[::-1]

    def effective_dictionary(self, layer: int) -> NDArray:
        """
        Compute the filters of the product of the deeper dictionaries, B^(l) = A^(l+1) ... A^(L).

        Parameters
        ----------
        layer : int
            0..L-1; 0 gives the dictionary from the deepest code to the signal.

        Returns
        -------
        ndarray, shape (filter of layer L, filter of layer l, *tap)
            Filters of the plain model (no signs), placed at the product of the strides; not unit norm.

        Raises
        ------
        UserError
            When the layer is not one of 0..L-1.
        """
        if not 0 <= layer < self.depth:
            raise UserError(f"layer {layer} has no effective dictionary: choose one of 0..{self.depth - 1}.")
        filters = self.dictionaries[-1].filters
        for dictionary in self.dictionaries[layer : self.depth - 1][::-1]:
            filters = _compose(dictionary, filters)
        return filters


def _compose(outer: ConvolutionalDictionary, inner_filters: NDArray) -> NDArray:
    """Filters of the product A B, from A and the filters of B on A's codes."""
    inner_taps = inner_filters.shape[2:]
    taps = [(n - 1) * step + t for n, step, t in zip(inner_taps, outer.stride, outer.taps, strict=True)]
    composed = np.zeros((len(inner_filters), outer.n_channels, *taps))
    for index in np.ndindex(*inner_taps):
        window = tuple(slice(i * s, i * s + t) for i, s, t in zip(index, outer.stride, outer.taps, strict=True))
        composed[(slice(None), slice(None), *window)] += np.tensordot(
            inner_filters[(slice(None), slice(None), *index)], outer.filters, axes=1
        )
    return composed
