"""Holistic pursuit ([ASE19]): estimate the deepest code and the zeros of the upper layers' codes in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.errors import UserError
from dcsc.model.cascade import Cascade
from dcsc.pursuit.arguments import (
    batch_shape,
    check_layers,
    checked_signals,
    sizes_of_layer,
    support_sizes,
    true_codes,
)
from dcsc.pursuit.least_squares import fit_dense
from dcsc.pursuit.multilayer import deepest_columns
from dcsc.pursuit.protocol import PursuitResult, register
from dcsc.pursuit.thresholding import soft

MAX_ATOMS = 3000
"""Most deepest atoms: null spaces of dense matrices of that size are needed."""

ITERATIONS = 400
"""Of the alternating directions method, each round."""

_RANK = 1e-9


def null_basis(matrix: NDArray) -> NDArray:
    """
    Orthonormal basis of the vectors that a matrix sends to 0.

    Parameters
    ----------
    matrix : ndarray, shape (row, column)
        The constraints.

    Returns
    -------
    ndarray, shape (column, dimension)
        One basis vector a column.
    """
    if not matrix.size:
        return np.eye(matrix.shape[1])
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    return vectors[:, values <= _RANK * max(1.0, values[-1])]


def constrained_lasso(columns: NDArray, target: NDArray, basis: NDArray, penalty: float) -> NDArray:
    """
    Minimise lambda |x|_1 + |y - B x|^2 / 2 over a subspace, by ADMM.

    Parameters
    ----------
    columns : ndarray, shape (row, column)
        B.
    target : ndarray, shape (row,)
        y.
    basis : ndarray, shape (column, dimension)
        Orthonormal basis of the subspace.
    penalty : float
        lambda.

    Returns
    -------
    ndarray, shape (column,)
        The sparse variable of the splitting.
    """
    reduced = columns @ basis
    rho = max(float(np.linalg.norm(columns, "fro") ** 2) / columns.shape[1], 1e-12)
    values, vectors = np.linalg.eigh(reduced.T @ reduced)
    rotated = basis @ vectors
    pull = rotated.T @ (columns.T @ target)
    sparse, dual = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for _ in range(ITERATIONS):
        point = rotated @ ((pull + rho * (rotated.T @ (sparse - dual))) / (values + rho))
        sparse = soft(point + dual, penalty / rho)
        dual += point - sparse
    return sparse


@register("holistic-pursuit")
def holistic_pursuit(
    model: Cascade,
    signals: ArrayLike,
    *,
    penalty: float | ArrayLike,
    zeros: int | Sequence[ArrayLike] | None = None,
    rounds: int = 10,
    reference: Sequence[ArrayLike] | None = None,
    noise: ArrayLike = 0.0,
    progress: bool = False,
) -> PursuitResult:
    """
    Holistic pursuit: alternate between coding the deepest layer and finding zeros of the layers above (after [ASE19]).

    When to take it: for small cascades with noise, when the codes of all layers must be consistent with one deepest
    code, and a long computation is acceptable.

    Synthesis: the l1-penalised deepest code of the effective dictionary, among the codes that vanish at the
    zeros found so far. Analysis: the smallest entries of the upper codes join these zeros. The last deepest
    code is refitted on its support within the same subspace. Dense, for cascades of up to 3000 deepest atoms.

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the pursuit works with A^(l) T^(l).
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E.
    penalty : float or array_like, shape () or (...)
        lambda of the deepest code.
    zeros : int or sequence, optional
        Zeros of the layers 1..L-1 to be found, one entry per layer (a number, or one per trial); by default
        those of the reference.
    rounds : int
        Rounds in which they are found, equally many in each.
    reference : sequence of array_like, optional
        The true codes [X^(1), ..., X^(L)], for numbers of zeros that derive from them.
    noise : array_like, shape () or (...)
        Unused; every pursuit takes it.
    progress : bool
        Show a progress bar over the trials.

    Returns
    -------
    PursuitResult
        Codes of every layer that agree with one another; the optimality is the relative residual
        |y - X^(0)|_2 / |y|_2, for there is no objective.

    Raises
    ------
    UserError
        When the signals are not finite real numbers, numbers of zeros are missing or not allowed, or the cascade is too
        large.
    """
    from tqdm import tqdm

    given = checked_signals(model, signals).astype(np.float64)
    n_atoms = model.dictionaries[-1].n_atoms
    if n_atoms > MAX_ATOMS:
        raise UserError(f"holistic-pursuit takes up to {MAX_ATOMS} deepest atoms, not {n_atoms}: use another pursuit.")
    batch = batch_shape(model, given)
    counts = _zeros(model, zeros, reference, batch)
    penalties = real_numbers(penalty, "penalty", batch, low=0).astype(np.float64)
    given = np.broadcast_to(given, (*batch, *model.dictionaries[0].signal_shape))
    dtype = np.result_type(model.dictionaries[0].dtype, np.float32)
    codes = [np.zeros((*batch, *dictionary.code_shape), dtype=dtype) for dictionary in model.dictionaries]
    residuals = np.zeros(batch)
    for trial in tqdm(list(np.ndindex(*batch)), desc="holistic pursuit", disable=not progress):
        target = given[trial].ravel()
        matrices = [deepest_columns(model, np.arange(n_atoms), trial, layer) for layer in range(model.depth)]
        estimates = _pursue(matrices, target, float(penalties[trial]), [int(count[trial]) for count in counts], rounds)
        for code, values in zip(codes, estimates, strict=True):
            code[trial] = values.reshape(code.shape[code.ndim - model.rank - 1 :])
        size = np.linalg.norm(target)
        residuals[trial] = np.linalg.norm(target - matrices[0] @ estimates[-1]) / size if size else 0.0
    each = (*batch, model.depth)
    return PursuitResult(
        codes,
        [*[np.zeros(batch) for _ in counts], np.array(penalties)],
        np.full(each, rounds + 1, dtype=np.int64),
        np.array(np.broadcast_to(residuals[..., None], each)),
        "all zeros chosen",
    )


def _pursue(matrices: list[NDArray], target: NDArray, penalty: float, counts: list[int], rounds: int) -> list[NDArray]:
    """Codes of every layer of one trial, flat."""
    effective, *upper = matrices
    chosen = [np.zeros(len(matrix), dtype=bool) for matrix in upper]
    for done in range(rounds + 1):
        constraints = [matrix[known] for matrix, known in zip(upper, chosen, strict=True)]
        basis = null_basis(np.concatenate([np.zeros((0, effective.shape[1])), *constraints]))
        deepest = constrained_lasso(effective, target, basis, penalty)
        if done == rounds:
            break
        for matrix, known, count in zip(upper, chosen, counts, strict=True):
            sizes = np.where(known, np.inf, np.abs(matrix @ deepest))
            missing = math.ceil(count * (done + 1) / rounds) - int(known.sum())
            known[np.argsort(sizes, kind="stable")[: max(missing, 0)]] = True
    support = np.flatnonzero(deepest)
    inside = null_basis(np.concatenate([np.zeros((0, len(support))), *[rows[:, support] for rows in constraints]]))
    fitted = np.zeros(effective.shape[1])
    fitted[support] = inside @ fit_dense(effective[:, support] @ inside, target)
    return [*[np.where(known, 0.0, matrix @ fitted) for matrix, known in zip(upper, chosen, strict=True)], fitted]


def _zeros(
    model: Cascade,
    zeros: int | Sequence[ArrayLike] | None,
    reference: Sequence[ArrayLike] | None,
    batch: tuple[int, ...],
) -> list[NDArray]:
    """Numbers of zeros to be found in the layers 1..L-1, one per trial."""
    upper, truth = model.dictionaries[:-1], true_codes(model, reference)
    if zeros is None and not truth:
        raise UserError("holistic-pursuit needs the numbers of zeros of the upper layers: pass the codes as reference.")
    check_layers(len(upper), zeros=zeros)
    wanted: object = zeros
    if zeros is None:
        wanted = [of.n_atoms - support_sizes(code, model.rank) for of, code in zip(upper, truth, strict=False)]
    return [sizes_of_layer(wanted, layer, batch, of.n_atoms, "zeros") for layer, of in enumerate(upper, start=1)]
