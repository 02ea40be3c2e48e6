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
from dcsc.pursuit.protocol import PursuitResult, register

MAX_ATOMS = 10000
"""Largest support of one code: a triangular factor of its square is kept."""


def orthogonal_matching_pursuit(
    dictionary: ConvolutionalDictionary, signals: NDArray, sizes: NDArray, norms: NDArray, progress: str = ""
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """
    Choose atoms by their correlation with the residual until a code has a size or a residual a norm.

    Correlations are updated through the Gram kernel, only where the newly chosen atom, made orthogonal to
    those it is connected with, reaches.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y.
    sizes : ndarray of int, shape (trial,)
        At most that many atoms.
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

    codes, chosen, residuals, correlations = zip(*over_trials(len(signals), work, progress), strict=True)
    return np.stack(codes), np.array(chosen), np.array(residuals), np.array(correlations)


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
    Orthogonal matching pursuit layer by layer ([PSE17] for one layer).

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the pursuit works with A^(l) T^(l).
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E.
    k : int or sequence, optional
        The support size at which to stop, one a layer (a number, or one a trial); by default that of the
        reference.
    residual : float or sequence
        The l2 norm of the residual at which to stop earlier, one a layer (a number, or one a trial).
    reference : sequence of array_like, optional
        The true codes [X^(1), ..., X^(L)], for sizes that derive from them.
    noise : array_like
        Unused; every pursuit takes it.
    progress : bool
        Show a progress bar a layer.

    Returns
    -------
    PursuitResult
        Its thresholds are the largest correlations left, its optimality |y - D x|_2 / |y|_2, its iterations
        the atoms chosen.

    Raises
    ------
    UserError
        When sizes are missing, not allowed or too large.
    """
    current = np.asarray(signals, dtype=np.float64)
    expected = model.dictionaries[0].signal_shape
    if current.shape[-len(expected) :] != expected:
        raise UserError(f"signals of shape {current.shape} do not fit: the last axes must be {expected}.")
    if k is None and reference is None:
        raise UserError("layered-matching-pursuit needs k, or the reference codes to count.")
    for name, value in (("k", k), ("residual", residual)):
        if isinstance(value, Sequence) and len(value) != model.depth:
            raise UserError(f"{name} has {len(value)} entries for {model.depth} layers: give one, or one a layer.")
    signs = () if model.signs is None else model.signs
    batch = np.broadcast_shapes(*[array.shape[: -model.rank - 1] for array in (current, *signs)])
    dtype = np.result_type(model.dictionaries[0].dtype, np.asarray(signals).dtype)
    codes, left, chosen, residuals = [], [], [], []
    for layer, dictionary in enumerate(model.dictionaries, start=1):
        sizes = _sizes(k, reference, layer, batch, dictionary)
        norms = np.broadcast_to(np.asarray(residual[layer - 1] if isinstance(residual, Sequence) else residual), batch)
        flat = np.broadcast_to(current, (*batch, *dictionary.signal_shape)).reshape(-1, *dictionary.signal_shape)
        title = f"matching pursuit, layer {layer}" if progress else ""
        found = orthogonal_matching_pursuit(dictionary, flat, sizes.ravel(), norms.astype(float).ravel(), title)
        code = found[0].reshape(*batch, *dictionary.code_shape)
        current = code if model.signs is None else model.signs[layer - 1] * code
        codes.append(current.astype(dtype if dtype.kind == "f" else np.float64))
        for parts, values in zip((chosen, residuals, left), found[1:], strict=True):
            parts.append(values.reshape(batch))
    return PursuitResult(
        codes, left, np.stack(chosen, axis=-1), np.stack(residuals, axis=-1), "size or residual reached"
    )


def _sizes(
    k: int | Sequence[ArrayLike] | None,
    reference: Sequence[ArrayLike] | None,
    layer: int,
    batch: tuple[int, ...],
    dictionary: ConvolutionalDictionary,
) -> NDArray:
    """Support sizes of one layer, one a trial."""
    if k is None:
        sizes = np.count_nonzero(reference[layer - 1], axis=tuple(range(-dictionary.rank - 1, 0)))
    else:
        sizes = np.asarray(k[layer - 1] if isinstance(k, Sequence) else k)
    limit = min(dictionary.n_atoms, MAX_ATOMS)
    if np.any(sizes < 0) or np.any(sizes > limit) or np.any(sizes != np.floor(sizes)):
        raise UserError(f"k = {sizes.tolist()} of layer {layer} is not allowed: give whole numbers from 0 to {limit}.")
    return np.broadcast_to(sizes, batch).astype(np.int64)
