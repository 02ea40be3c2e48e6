"""
Layered thresholding of the signals of sparse codes, computed on lists of non-zeros.

The result is that of `dcsc.pursuit.layered_thresholding`, up to rounding. No signal and no dense code is formed while
the lists are short; debiasing forms those of a few trials at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array
from dcsc.convolution import one_step, sparse_path
from dcsc.convolution.arguments import checked_type, thresholds_by_filter
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.layers import times_signs
from dcsc.parallel import over_blocks
from dcsc.pursuit.arguments import check_layers, of_layer
from dcsc.pursuit.least_squares import debiased
from dcsc.pursuit.thresholding import RULES, Rule
from dcsc.ragged import RaggedCodes, places_by_filter

SHARED = ("hard", "soft")
"""Rules that begin with the same correlations."""


@dataclass(frozen=True, eq=False)
class _Input:
    """What a layer is given: the codes and noise of a signal, or what was found of the layer above."""

    lists: RaggedCodes
    noise: NDArray | None
    is_codes: bool

    def dense(self, dictionary: ConvolutionalDictionary, rows: slice) -> NDArray:
        """Form the signals of some trials, counted over the batch, shape (trial, channel, *space)."""
        lists = _flat(self.lists).rows(rows)
        if not self.is_codes:
            return lists.to_dense()
        signals = sparse_path.synthesize_codes(dictionary, lists, threads=1)
        return signals if self.noise is None else signals + self.noise.reshape(-1, *dictionary.signal_shape)[rows]


def exceeding_correlations(
    model: Cascade,
    codes: RaggedCodes,
    noise: NDArray | None = None,
    *,
    threshold: NDArray,
    by_filter: bool = False,
    threads: int | None = None,
) -> RaggedCodes:
    """
    Keep the first layer's correlations that exceed its threshold: what hard and soft thresholding begin with.

    Parameters
    ----------
    model, codes, noise, by_filter, threads
        As for `threshold_codes`.
    threshold : ndarray, shape () or (...), by filter (..., filter)
        Of the first layer.

    Returns
    -------
    RaggedCodes
        The correlations themselves.
    """
    first, signed = model.dictionaries[0], _signed(model, 1, codes)
    return one_step.recovered_supports(first, signed, noise, threshold=threshold, by_filter=by_filter, threads=threads)


def threshold_codes(
    model: Cascade,
    codes: RaggedCodes,
    noise: ArrayLike | None = None,
    *,
    rule: Rule = "hard",
    threshold: float | Sequence[ArrayLike] | None = None,
    k: int | Sequence[ArrayLike] | None = None,
    by_filter: bool = False,
    debias: bool = False,
    threads: int | None = None,
    exceeding: RaggedCodes | None = None,
) -> list[RaggedCodes]:
    """
    Layered thresholding, on lists: one thresholding step per layer, as in a network's forward pass ([PRE17] section 5).

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the pursuit works with A^(l) T^(l).
    codes : RaggedCodes
        X^(1), batch axes (...): the signal is X^(0) = A^(1) T^(1) X^(1), plus the noise.
    noise : array_like, shape (..., channel, *space), optional
        E.
    rule : {'hard', 'soft', 'relu', 'top-k'}
        The non-linearity; ReLU is one-sided, for models without signs.
    threshold : float or sequence, optional
        A number, or one entry per layer. An entry is a number or one number per trial; with `by_filter` it is one
        number per filter, or one per trial and filter.
    k : int or sequence, optional
        For top-k: the support size, one per layer (a number, or one per trial).
    by_filter : bool
        Whether the last axis of every threshold is that of the filters.
    debias : bool
        Replace the values of each layer by the least squares fit on the recovered support.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.
    exceeding : RaggedCodes, optional
        From `exceeding_correlations`, at the same threshold, where pursuits of one signal share it.

    Returns
    -------
    list of RaggedCodes
        The estimated codes of every layer.

    Raises
    ------
    UserError
        When the rule is unknown or lacks what it needs, shapes do not fit, or ReLU meets signs T.
    """
    check_choice(rule, RULES, "rule")
    check_layers(model.depth, threshold=threshold, k=k)
    given, name = (k, "k") if rule == "top-k" else (threshold, "threshold")
    if given is None:
        raise UserError(f"rule {rule!r} needs {name}: a number, or one per layer.")
    if rule == "relu" and model.signs is not None:
        raise UserError("relu cannot recover codes of both signs: use rule 'soft' or 'hard' with signs T.")
    if exceeding is not None:
        checked_type(model.dictionaries[0], exceeding)
    source = _Input(_signed(model, 1, codes), None if noise is None else real_array(noise, "noise"), is_codes=True)
    found = []
    for layer, dictionary in enumerate(model.dictionaries, start=1):
        options: dict[str, Any] = {"rule": rule, name: of_layer(given, layer)}
        options |= {"by_filter": by_filter, "threads": threads}
        if source.is_codes and exceeding is not None and rule in SHARED:
            code = exceeding if rule == "hard" else _shrunk(exceeding, options[name], by_filter)
        elif source.is_codes:
            code = one_step.recovered_supports(dictionary, source.lists, source.noise, **options)
        else:
            code = one_step.thresholded_signals(dictionary, source.lists, **options)
        if debias:
            code = _fitted(dictionary, source, code, threads)
        found.append(_signed(model, layer, code))
        source = _Input(found[-1], None, is_codes=False)
    return found


def _shrunk(codes: RaggedCodes, threshold: ArrayLike, by_filter: bool) -> RaggedCodes:
    """What soft thresholding leaves of correlations that exceed the threshold: none of them becomes 0."""
    if by_filter:
        beta = thresholds_by_filter(threshold, codes.batch_shape, codes.code_shape[0])
        beta = beta.astype(codes.value.dtype).reshape(-1)[places_by_filter(codes)]
    else:
        of_trials = np.broadcast_to(np.asarray(threshold, codes.value.dtype), codes.batch_shape)
        beta = np.repeat(of_trials.ravel(), codes.row_size.ravel())
    return codes.with_values(np.where(codes.value > 0, codes.value - beta, codes.value + beta))


def _flat(codes: RaggedCodes) -> RaggedCodes:
    """One batch axis in place of several."""
    return codes.reshape((codes.row_size.size,))


def _signed(model: Cascade, layer: int, codes: RaggedCodes) -> RaggedCodes:
    """Multiply the entries of codes by T of their layer."""
    if model.signs is None:
        return codes
    signs = np.broadcast_to(model.signs[layer - 1], (*codes.batch_shape, *codes.code_shape))
    signed = times_signs(_flat(codes), signs.reshape(codes.row_size.size, *codes.code_shape))
    return signed.reshape(codes.batch_shape)


def _fitted(
    dictionary: ConvolutionalDictionary, source: _Input, codes: RaggedCodes, threads: int | None
) -> RaggedCodes:
    """Least squares on the supports, a few trials after another."""

    def work(first: int, last: int) -> NDArray:
        part = _flat(codes).rows(slice(first, last))
        targets = source.dense(dictionary, slice(first, last))
        return debiased(dictionary, targets, part.atom.astype(np.int64), part.starts)

    return codes.with_values(np.concatenate([np.empty(0), *over_blocks(codes.row_size.size, work, threads)]))
