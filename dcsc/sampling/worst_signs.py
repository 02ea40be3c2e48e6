"""Worst-case layer signs T^(1), ..., T^(L) of a cascade."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.arguments import checked_type
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.layers import layers_of
from dcsc.ragged import RaggedCodes
from dcsc.sampling import adversary


def worst_layer_signs(
    dictionaries: Sequence[ConvolutionalDictionary],
    deepest: RaggedCodes,
    thresholds: Sequence[ArrayLike] | None = None,
) -> tuple[NDArray, ...]:
    """
    Choose worst-case layer signs T^(L), ..., T^(1), in this order, each for the code that follows from the deeper ones.

    Parameters
    ----------
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    deepest : RaggedCodes
        X^(L), batch shape (trial,).
    thresholds : sequence of float or array_like, each of shape () or (trial,), optional
        The threshold of each layer that must fail; by default top-k must.

    Returns
    -------
    tuple of ndarray of int8, each of shape (trial, filter, *position)
        T^(1), ..., T^(L), with +1 off the supports.

    Raises
    ------
    UserError
        When the codes or thresholds are not numbers, or of another shape.
    """
    checked_type(dictionaries[-1], deepest)
    trials, current, chosen = len(deepest.row_size), deepest, []
    for layer in range(len(dictionaries), 0, -1):
        dictionary = dictionaries[layer - 1]
        if thresholds is None:
            attack = adversary.worst_signs_for_top_k(dictionary, current, threads=1).signs
        else:
            attack = adversary.worst_signs_for_threshold(dictionary, current, thresholds[layer - 1], threads=1).signs
        signs = np.ones((trials, dictionary.n_atoms), np.int8)
        signs[np.repeat(np.arange(trials), current.row_size), current.atom] = attack * np.sign(current.value)
        chosen.append(signs.reshape(trials, *dictionary.code_shape))
        if layer > 1:
            # The codes are made anew from the deepest one, so that integers stay exact through all layers.
            above, _ = layers_of(dictionaries[layer - 2 :], deepest, [None, *chosen[::-1]])
            current = above[0]
    return tuple(chosen[::-1])
