"""
Layered thresholding of the signals of sparse codes, on lists: what one layer finds is what the next correlates with.

It finds what `dcsc.pursuit.layered_thresholding` finds, up to rounding; no signal and no dense code is formed while
lists are short, and debiasing forms those of a few trials at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution import one_step, sparse_path
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.layers import times_signs
from dcsc.pursuit.arguments import check_layers, of_layer
from dcsc.pursuit.least_squares import fit_supports
from dcsc.pursuit.thresholding import RULES, Rule
from dcsc.ragged import RaggedCodes, concatenate
from dcsc.seeds import BLOCK


@dataclass(frozen=True, eq=False)
class _Input:
    """What a layer is given: the codes and noise of a signal, or what was found of the layer above."""

    lists: RaggedCodes
    noise: NDArray | None
    is_codes: bool

    def dense(self, dictionary: ConvolutionalDictionary, rows: slice) -> NDArray:
        """Form the signals of some trials, shape (trial, channel, *space)."""
        lists = self.lists.rows(rows)
        if not self.is_codes:
            return lists.to_dense()
        signals = sparse_path.synthesize_codes(dictionary, lists, threads=1)
        return signals if self.noise is None else signals + self.noise[rows]


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
) -> list[RaggedCodes]:
    """
    Threshold the correlations of each layer once, and pass the result on ([PRE17] section 5).

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
        A number, or one entry a layer: a number, one a trial, or with `by_filter` one a filter, or a trial and filter.
    k : int or sequence, optional
        For top-k: the support size, one a layer (a number, or one a trial).
    by_filter : bool
        Whether the last axis of every threshold is that of the filters.
    debias : bool
        Replace the values of each layer by the least squares fit on the recovered support.
    threads : int, optional
        At most that many at once.

    Returns
    -------
    list of RaggedCodes
        What is found of every layer.

    Raises
    ------
    UserError
        When the rule is unknown or lacks what it needs, shapes do not fit, or ReLU meets signs T.
    """
    check_choice(rule, RULES, "rule")
    check_layers(model.depth, threshold=threshold, k=k)
    given, name = (k, "k") if rule == "top-k" else (threshold, "threshold")
    if given is None:
        raise UserError(f"rule {rule!r} needs {name}: a number, or one a layer.")
    if rule == "relu" and model.signs is not None:
        raise UserError("relu cannot recover codes of both signs: use rule 'soft' or 'hard' with signs T.")
    batch, flat = codes.batch_shape, codes.reshape((codes.row_size.size,))
    source = _Input(_signed(model, 1, flat, batch), None if noise is None else _flat(noise, batch), is_codes=True)
    found = []
    for layer, dictionary in enumerate(model.dictionaries, start=1):
        choice = _of_trials(of_layer(given, layer), batch, by_filter)
        options: dict[str, Any] = {"rule": rule, "by_filter": by_filter, "threads": threads, name: choice}
        if source.is_codes:
            code = one_step.recovered_supports(dictionary, source.lists, source.noise, **options)
        else:
            code = one_step.thresholded_signals(dictionary, source.lists, **options)
        if debias:
            code = _fitted(dictionary, source, code)
        code = _signed(model, layer, code, batch)
        found.append(code.reshape(batch))
        source = _Input(code, None, is_codes=False)
    return found


def _flat(values: ArrayLike, batch: tuple[int, ...]) -> NDArray:
    """One batch axis in place of several."""
    values = np.asarray(values)
    return values.reshape(-1, *values.shape[len(batch) :])


def _of_trials(given: NDArray, batch: tuple[int, ...], by_filter: bool) -> NDArray:
    """What is given for a layer, one a trial of the flat batch where it is one a trial."""
    axes = len(batch) + by_filter
    return _flat(given, batch) if given.ndim == axes and len(batch) > 1 else given


def _signed(model: Cascade, layer: int, codes: RaggedCodes, batch: tuple[int, ...]) -> RaggedCodes:
    """Multiply the entries of flat codes by T of their layer."""
    if model.signs is None:
        return codes
    signs = np.broadcast_to(model.signs[layer - 1], (*batch, *codes.code_shape))
    return times_signs(codes, signs.reshape(codes.row_size.size, *codes.code_shape))


def _fitted(dictionary: ConvolutionalDictionary, source: _Input, codes: RaggedCodes) -> RaggedCodes:
    """Least squares on the supports, a few trials after another."""
    parts = [codes.rows(slice(0, 0)).with_values(np.empty(0))]
    for first in range(0, codes.row_size.size, BLOCK):
        rows = slice(first, min(first + BLOCK, codes.row_size.size))
        part = codes.rows(rows)
        values = fit_supports(dictionary, source.dense(dictionary, rows), part.atom.astype(np.int64), part.starts)
        # Whether a false alarm is fitted as 0 or as 1e-17 is chance: rounding must not decide on supports.
        parts.append(part.with_values(np.where(values == 0, np.finfo(np.float64).tiny, values)))
    return concatenate(parts)
