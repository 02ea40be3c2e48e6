"""What the instance forms say of thresholding as it is run, with its thresholds and debiasing, noiseless."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.guarantees.bounds import INJECTIVE
from dcsc.guarantees.checks import check_choice, check_path, rounding_guard
from dcsc.guarantees.interference import (
    Interference,
    plain_interference,
    propagated_columns,
    rademacher_interference,
    support_gram,
)
from dcsc.guarantees.levels import Levels, choose_threshold, error_bound
from dcsc.guarantees.statistical_thresholding import SIGNS, disjoint_columns
from dcsc.guarantees.tails import failure
from dcsc.model import Cascade
from dcsc.ragged import RaggedCodes, reduce_codes
from dcsc.sparsity import extreme_magnitudes


@dataclass(frozen=True, eq=False)
class PathInterference:
    """
    The interference in every layer of the paths of a batch; it serves all thresholds.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : list of RaggedCodes, batch shape (code,)
        [X^(1), ..., X^(L)].
    batch : tuple of int
        Shape of the batch.
    uniform : list of Interference
        Over all signs of each layer.
    random : list of Interference
        Over the random signs.
    determined : ndarray of bool, shape (code,)
        Whether the statistical forms apply: always in D-CSC-R; in the plain model where the deepest support
        and magnitudes fix those of every layer.
    """

    model: Cascade
    codes: list[RaggedCodes]
    batch: tuple[int, ...]
    uniform: list[Interference]
    random: list[Interference]
    determined: NDArray


def path_interference(
    model: Cascade, codes: Sequence[ArrayLike | RaggedCodes], signs: str = "rademacher"
) -> PathInterference:
    """
    Describe the interference in every layer of some paths.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    signs : {"rademacher", "deepest"}
        Independent signs at every layer (D-CSC-R), or only those of the deepest code (plain D-CSC).

    Returns
    -------
    PathInterference
        For `as_run`.
    """
    check_choice(signs, SIGNS, "signs")
    listed, eps = check_path(model, codes, 0.0)
    flat = [code.reshape((eps.size,)) for code in listed]
    uniform = [rademacher_interference(*layer) for layer in zip(model.dictionaries, flat, strict=True)]
    if signs == "rademacher":
        # Given X^(l), its signs are Rademacher, however its support came about.
        return PathInterference(model, flat, eps.shape, uniform, uniform, np.ones(eps.size, dtype=bool))
    columns = propagated_columns(model, flat[-1])
    random = [plain_interference(model, flat[-1], layer, column) for layer, column in enumerate(columns, start=1)]
    return PathInterference(model, flat, eps.shape, uniform, random, disjoint_columns(flat, columns))


@dataclass(frozen=True, eq=False)
class AsRun:
    """
    What holds for paths thresholded with given thresholds.

    Parameters
    ----------
    covered : ndarray of bool, shape (...)
        Whether the path is recovered for all signs of every layer.
    failure_bound : ndarray, shape (...)
        Its mean over draws bounds their failure rate; 0 for a covered path. It bounds the failure of a
        single draw where the deepest support and magnitudes fix those of every layer.
    """

    covered: NDArray
    failure_bound: NDArray


def as_run(
    paths: PathInterference, thresholds: Sequence[ArrayLike], *, debias: bool = False, delta: float = 0.01
) -> AsRun:
    """
    Evaluate the instance forms at the thresholds that a pursuit used, for hard thresholding without noise.

    Parameters
    ----------
    paths : PathInterference
        From `path_interference`.
    thresholds : sequence of array_like, each of shape () or (...)
        beta_l, chosen without looking at the signs.
    debias : bool
        Least squares on the recovered support after each layer; then no error is passed on, and the
        failure bound is the sum of the layers' instance forms (docs/theory.md, "Debiasing").
    delta : float
        Without debiasing: the failure bound is delta for paths that are certified with equal shares of
        it (docs/theory.md, "Path with random signs"), and 1 for others.

    Returns
    -------
    AsRun
        One entry a path.
    """
    betas = [np.broadcast_to(np.asarray(beta, dtype=np.float64), paths.batch).ravel() for beta in thresholds]
    covered = _holds(paths, paths.uniform, [np.inf] * paths.model.depth, betas, debias)
    if debias:
        total = np.zeros(len(betas[0]))
        for layer, beta in enumerate(betas):
            guard = _guard(paths, layer)
            total += failure(paths.random[layer], beta, np.zeros_like(beta), guard)
        bound = np.where(paths.determined, np.minimum(1.0, total), 1.0)
        for row in np.flatnonzero(~covered & (bound < 1)):
            bound[row] = bound[row] if _injective(paths, row) else 1.0
    else:
        growths = [2 * math.log(2 * paths.model.depth * layer.n_atoms / delta) for layer in paths.model.dictionaries]
        certified = _holds(paths, paths.random, growths, betas, debias) & paths.determined
        bound = np.where(certified, delta, 1.0)
    bound = np.where(covered, 0.0, bound)
    return AsRun(covered.reshape(paths.batch), bound.reshape(paths.batch))


def _guard(paths: PathInterference, layer: int, eps: ArrayLike = 0.0) -> NDArray:
    dictionary = paths.model.dictionaries[layer]
    largest = extreme_magnitudes(paths.codes[layer], dictionary.rank)[1]
    return rounding_guard(dictionary, largest, np.broadcast_to(np.asarray(eps, np.float64), largest.shape))


def _holds(
    paths: PathInterference,
    interferences: Sequence[Interference],
    growths: Sequence[float],
    betas: Sequence[NDArray],
    debias: bool,
) -> NDArray:
    """Whether every threshold separates, with levels sqrt(growth v) or the largest interference, whichever is less."""
    model = paths.model
    eps, holds = np.zeros(len(betas[0])), np.ones(len(betas[0]), dtype=bool)
    for layer, (found, growth, beta) in enumerate(zip(interferences, growths, betas, strict=True)):
        code = paths.codes[layer]
        uniform = math.isinf(growth)
        one = found.of_layer(code, 0.0 if uniform else growth)
        level = one.bound if uniform else np.minimum(one.bound, np.sqrt(growth * one.variance))
        levels = Levels(
            off=one.off_bound if uniform else one.off_level,
            on=reduce_codes(np.minimum, np.abs(code.value) + one.locked - level, code, np.inf),
            each=level + np.abs(one.locked),
        )
        holds = holds & choose_threshold(levels, eps, _guard(paths, layer, eps), beta).contains
        if not debias:
            below = model.next_dictionary(layer + 1)
            passed_on = error_bound(levels, code, np.where(holds, eps, 0.0), np.zeros_like(eps), below, model.rank)
            eps = np.where(holds, passed_on, np.inf)
    return holds


def _injective(paths: PathInterference, row: int) -> bool:
    """Whether the active atoms of each layer are independent, by factors of their Gram matrix less a margin."""
    for dictionary, codes in zip(paths.model.dictionaries, paths.codes, strict=True):
        gram = support_gram(dictionary, codes.rows(slice(row, row + 1)).to_dense()[0])
        try:
            np.linalg.cholesky(gram - INJECTIVE * np.eye(len(gram)))
        except np.linalg.LinAlgError:
            return False
    return True
