"""Layered orthogonal matching pursuit: atoms chosen one by one, with all values refitted after each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.layouts import from_kernel_atoms, gram_patterns, window_layout
from dcsc.errors import UserError
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_trials
from dcsc.pursuit.arguments import (
    batch_shape,
    check_layers,
    checked_signals,
    flat_batch,
    non_negative_of_layer,
    sizes_of_layer,
    support_sizes,
    true_codes,
)
from dcsc.pursuit.protocol import PursuitResult, register

MAX_ATOMS = 10000
"""Largest support of one code: a triangular factor of its square is kept."""


def orthogonal_matching_pursuit(
    dictionary: ConvolutionalDictionary, signals: NDArray, sizes: NDArray, norms: NDArray, progress: str = ""
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """
    Run orthogonal matching pursuit in one layer until the support has a given size or the residual a given norm.

    Correlations are updated through the Gram kernel, only where the newly chosen atom, made orthogonal to
    those it is connected with, reaches.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y.
    sizes : ndarray of int, shape (trial,)
        Largest number of atoms of each code.
    norms : ndarray, shape (trial,)
        Stop once |y - A x|_2 is at most this.
    progress : str
        Title of a progress bar; empty shows none.

    Returns
    -------
    codes : ndarray of float64, shape (trial, filter, *position)
        Least squares codes on the chosen supports.
    chosen : ndarray of int, shape (trial,)
        Atoms chosen.
    residuals : ndarray, shape (trial,)
        |y - A x|_2 / |y|_2; 0 for a signal of zeros.
    correlations : ndarray, shape (trial,)
        Largest correlation left.
    """
    from dcsc.kernels import greedy

    layout, rows = window_layout(dictionary), gram_patterns(dictionary, "signed", np.float64)

    def work(row: int) -> tuple[NDArray, int, float, float]:
        signal = np.array(signals[row], dtype=np.float64, order="C").reshape(layout.patterns.target_shape)
        atoms, values, square, left = greedy.orthogonal_matching_pursuit(signal, layout, rows, sizes[row], norms[row])
        code = np.zeros(dictionary.n_atoms)
        code[from_kernel_atoms(atoms, dictionary)] = values
        energy = float((signal**2).sum())
        relative = float(np.sqrt(square / energy)) if energy else 0.0
        return code.reshape(dictionary.code_shape), len(atoms), relative, left

    solved = over_trials(len(signals), work, progress)
    codes = np.array([code for code, *_ in solved]).reshape(-1, *dictionary.code_shape)
    chosen = np.array([count for _, count, *_ in solved], dtype=np.int64)
    residuals, correlations = np.array([of[2:] for of in solved]).reshape(-1, 2).T
    return codes, chosen, residuals, correlations


@register("layered-matching-pursuit")
def layered_matching_pursuit(
    model: Cascade,
    signals: ArrayLike,
    *,
    k: int | Sequence[ArrayLike] | None = None,
    residual: float | Sequence[ArrayLike] = 0.0,
    reference: Sequence[ArrayLike] | None = None,
    noise: ArrayLike = 0.0,
    progress: bool = False,
) -> PursuitResult:
    """
    Layered orthogonal matching pursuit: select atoms greedily, layer by layer ([PSE17] for one layer).

    When to take it: when the number of activations of a layer is known and small.

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the pursuit works with A^(l) T^(l).
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E.
    k : int or sequence, optional
        The support size at which to stop, one per layer (a number, or one per trial); by default that of the
        reference.
    residual : float or sequence
        The l2 norm of the residual at which to stop earlier, one per layer (a number, or one per trial).
    reference : sequence of array_like, optional
        The true codes [X^(1), ..., X^(L)], for sizes that derive from them.
    noise : array_like, shape () or (...)
        Unused; every pursuit takes it.
    progress : bool
        Show a progress bar per layer.

    Returns
    -------
    PursuitResult
        Its thresholds are the largest correlations left, its optimality |y - D x|_2 / |y|_2, its iterations
        the atoms chosen.

    Raises
    ------
    UserError
        When the signals are not finite real numbers, or sizes are missing, not allowed or too large.
    """
    given, truth = checked_signals(model, signals), true_codes(model, reference)
    current = given.astype(np.float64)
    batch = batch_shape(model, current)
    if k is None and not truth:
        raise UserError("layered-matching-pursuit needs k, or the reference codes to count.")
    check_layers(model.depth, k=k, residual=residual)
    dtype = np.result_type(model.dictionaries[0].dtype, given.dtype)
    codes, measures = [], []
    for layer, dictionary in enumerate(model.dictionaries, start=1):
        wanted = [support_sizes(code, model.rank) for code in truth] if k is None else k
        sizes = sizes_of_layer(wanted, layer, batch, min(dictionary.n_atoms, MAX_ATOMS), "k").ravel()
        norms = non_negative_of_layer(residual, layer, batch, "residual").ravel()
        title = f"matching pursuit, layer {layer}" if progress else ""
        inputs = flat_batch(current, batch, dictionary.signal_shape)
        flat, *measured = orthogonal_matching_pursuit(dictionary, inputs, sizes, norms, title)
        code = flat.reshape(*batch, *dictionary.code_shape)
        current = code if model.signs is None else model.signs[layer - 1] * code
        codes.append(current.astype(dtype if dtype.kind == "f" else np.float64))
        measures.append([values.reshape(batch) for values in measured])
    chosen, residuals, left = zip(*measures, strict=True)
    stopped = "size or residual reached"
    return PursuitResult(codes, list(left), np.stack(chosen, axis=-1), np.stack(residuals, axis=-1), stopped)
