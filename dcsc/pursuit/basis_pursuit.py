"""Layered basis pursuit: l1 minimisation in each layer, given the code of the layer above ([PRE17] section 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import patch_norm
from dcsc.parallel import over_trials
from dcsc.pursuit.arguments import (
    batch_shape,
    check_layers,
    checked_signals,
    flat_batch,
    float_type,
    non_negative_of_layer,
    of_layer,
    true_codes,
)
from dcsc.pursuit.lasso import STOPS, LassoSolution, StoppingRule, Trial, working_set
from dcsc.pursuit.least_squares import active_columns, fit, least_squares
from dcsc.pursuit.protocol import PursuitResult, register, stopped_at
from dcsc.pursuit.proximal_gradient import proximal_gradient

SOLVERS = ("working-set", "proximal-gradient")
PENALTIES = ("guaranteed", "discrepancy")

_MAX_ITERATIONS = {"working-set": 1000, "proximal-gradient": 20000}
_ZERO = 1e-10
_CONTINUATION = 0.1
_SMALLEST_PENALTY = 1e-9


def equality(
    dictionary: ConvolutionalDictionary,
    signals: NDArray,
    tolerance: float,
    orientation: NDArray | None = None,
    progress: str = "",
) -> LassoSolution:
    """
    Minimise |x|_1 subject to A x = y: basis pursuit without noise.

    Follows the Lagrangian solution as the penalty falls by tens, and finishes exactly: least squares on
    the support it has reached, with entries below 1e-10 of the largest set to 0. The residual over the
    penalty, scaled to be dual feasible, is the certificate; the path ends as soon as it proves optimality.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y.
    tolerance : float
        Largest relative residual and relative duality gap that count as solved.
    orientation : ndarray of +-1, shape (trial, filter, *position), optional
        Signs that the codes must have.
    progress : str
        Title of a progress bar; empty shows none.

    Returns
    -------
    LassoSolution
        Its optimality is the larger of |y - A x| / |y| and the duality gap over |x|_1; codes with wrong
        signs count as infinitely bad.
    """

    def work(row: int) -> tuple[NDArray, int, float]:
        oriented = None if orientation is None else orientation[row]
        return _equality_of_trial(dictionary, signals[row].astype(np.float64), tolerance, oriented)

    return LassoSolution.of_trials(over_trials(len(signals), work, progress), dictionary.code_shape)


def _equality_of_trial(
    dictionary: ConvolutionalDictionary, signal: NDArray, tolerance: float, orientation: NDArray | None
) -> tuple[NDArray, int, float]:
    best = np.zeros(dictionary.n_atoms)
    if not signal.any():
        return best.reshape(dictionary.code_shape), 0, 0.0
    trial = Trial(dictionary, signal, orientation)
    scale = trial.largest_correlation()
    total, optimality = 0, np.inf
    penalty = _CONTINUATION * scale
    while penalty >= _SMALLEST_PENALTY * scale > 0:
        rule = StoppingRule("kkt", max(1e-3 * tolerance * penalty / scale, 1e-15), _MAX_ITERATIONS["working-set"])
        total += trial.solve(penalty, rule, scale)[0]
        atoms, values, reached = _finish(dictionary, signal, trial, penalty, orientation)
        if reached < optimality:
            best[:] = 0
            best[atoms] = values
            optimality = reached
        if optimality <= tolerance:
            break
        penalty *= _CONTINUATION
    return best.reshape(dictionary.code_shape), total, optimality


def _finish(
    dictionary: ConvolutionalDictionary,
    signal: NDArray,
    trial: Trial,
    penalty: float,
    orientation: NDArray | None,
) -> tuple[NDArray, NDArray, float]:
    """Exact fit on the support of a Lagrangian solution, and how far it provably is from optimal."""
    target = signal.ravel()
    atoms, signs = trial.atoms, np.sign(trial.values)
    columns = active_columns(dictionary, atoms)
    residual = (target - columns @ trial.values).reshape(dictionary.signal_shape)
    values = fit(columns, target)
    kept = np.abs(values) > _ZERO * np.abs(values).max(initial=0.0)
    if not kept.all():
        atoms, signs, columns = atoms[kept], signs[kept], columns[:, np.flatnonzero(kept)]
        values = fit(columns, target)
    correlations = dictionary.correlate(residual)
    facing = np.abs(correlations) if orientation is None else correlations * orientation
    certificate = float((residual * signal).sum()) / max(penalty, float(facing.max()))
    length = float(np.abs(values).sum())
    missed = float(np.linalg.norm(target - columns @ values) / np.linalg.norm(target))
    gap = (length - certificate) / length if length else np.inf
    if orientation is not None and (signs * values < 0).any():
        gap = np.inf
    return atoms, values, max(missed, gap)


def discrepancy_penalties(
    dictionary: ConvolutionalDictionary,
    signals: NDArray,
    targets: NDArray,
    rule: StoppingRule,
    orientation: NDArray | None = None,
    progress: str = "",
) -> tuple[NDArray, LassoSolution]:
    """
    Solve at the penalty for which the residual has a given norm, |y - A x|_2 = delta.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y.
    targets : ndarray, shape (trial,)
        delta; one that exceeds |y| gives the code 0, one that no code reaches a penalty of 1e-9 |A^T y|_inf.
    rule : StoppingRule
        When one penalty's problem is solved.
    orientation : ndarray of +-1, shape (trial, filter, *position), optional
        Signs that the codes must have.
    progress : str
        Title of a progress bar; empty shows none.

    Returns
    -------
    penalties : ndarray, shape (trial,)
        xi, to a relative 1e-6 of delta.
    solution : LassoSolution
        At these penalties.
    """

    def work(row: int) -> tuple[float, NDArray, int, float]:
        oriented = None if orientation is None else orientation[row]
        trial = Trial(dictionary, signals[row].astype(np.float64), oriented)
        return _by_discrepancy(dictionary, trial, signals[row].astype(np.float64).ravel(), float(targets[row]), rule)

    solved = over_trials(len(signals), work, progress)
    penalties = np.array([penalty for penalty, *_ in solved])
    return penalties, LassoSolution.of_trials([trial[1:] for trial in solved], dictionary.code_shape)


def _by_discrepancy(
    dictionary: ConvolutionalDictionary, trial: Trial, signal: NDArray, target: float, rule: StoppingRule
) -> tuple[float, NDArray, int, float]:
    """Regula falsi (Illinois) on xi^2 against |r|^2, which is a line while the support stays the same."""
    scale = trial.largest_correlation()
    low, high = (0.0, -(target**2)), (scale**2, float(signal @ signal) - target**2)
    if high[1] <= 0 or scale == 0:
        return scale, trial.code(), 0, 0.0
    total, last_side = 0, 0
    penalty, smallest = 0.5 * scale, _SMALLEST_PENALTY * scale
    for _ in range(60):
        # A small gap would leave the residual uncertain to its square root.
        sharp = StoppingRule("kkt", max(1e-8 * penalty / scale, 1e-14), rule.max_iterations)
        total += trial.solve(penalty, sharp, scale)[0]
        residual = signal - active_columns(dictionary, trial.atoms) @ trial.values
        excess = float(residual @ residual) - target**2
        if abs(excess) <= 2e-6 * target**2:
            break
        if excess > 0 and penalty <= smallest:
            break
        side = 1 if excess > 0 else -1
        if side > 0:
            high = (penalty**2, excess)
            low = (low[0], low[1] / 2) if last_side == side else low
        else:
            low = (penalty**2, excess)
            high = (high[0], high[1] / 2) if last_side == side else high
        last_side = side
        penalty = max(float(np.sqrt((low[0] * high[1] - high[0] * low[1]) / (high[1] - low[1]))), smallest)
    return penalty, trial.code(), total, trial.solve(penalty, replace(rule, max_iterations=0), scale)[1]


def guaranteed_penalties(
    model: Cascade, reference: Sequence[ArrayLike], noise: ArrayLike, batch: tuple[int, ...]
) -> list[NDArray]:
    """
    Penalties of [PRE17] Theorem 12, xi_l = 4 eps_{l-1} with eps_l = 7.5 eps_{l-1} sqrt(||X^(l)||^P_{0,inf}).

    Parameters
    ----------
    model : Cascade
        The cascade.
    reference : sequence of array_like
        The true codes [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        eps_0, at least the patch norm of the noise; 0 gives 0, which stands for the equality form.
    batch : tuple of int
        Batch shape of the result.

    Returns
    -------
    list of ndarray, each of shape (...)
        Defined whether or not the theorem applies (`dcsc.guarantees.basis_pursuit` tells).
    """
    eps = real_numbers(noise, "noise", batch, low=0, finite=True).astype(np.float64)
    penalties = []
    for layer, code in enumerate(reference, start=1):
        penalties.append(4 * eps)
        eps = 7.5 * eps * np.sqrt(patch_norm(code, model.next_dictionary(layer), model.rank))
    return penalties


@register("layered-basis-pursuit")
def layered_basis_pursuit(
    model: Cascade,
    signals: ArrayLike,
    *,
    penalty: float | str | Sequence[ArrayLike],
    discrepancy: float | Sequence[ArrayLike] | None = None,
    non_negative: bool | Sequence[bool] = False,
    solver: Literal["working-set", "proximal-gradient"] = "working-set",
    accelerate: bool = True,
    step: float | None = None,
    stop: Literal["gap", "kkt"] = "gap",
    tolerance: float | None = None,
    max_iterations: int | None = None,
    debias: bool = False,
    reference: Sequence[ArrayLike] | None = None,
    noise: ArrayLike = 0.0,
    progress: bool = False,
) -> PursuitResult:
    """
    Layered basis pursuit: minimise xi |x|_1 + |y - D x|^2 / 2 layer by layer ([PRE17] section 7).

    The code of each layer is the signal of the next one.

    When to take it: when one step of thresholding is not enough. It recovers at several times the
    stripe-sparsity, and takes some hundred times as long.

    Parameters
    ----------
    model : Cascade
        The cascade; with signs T^(l) the pursuit works with D = A^(l) T^(l).
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E.
    penalty : float, str or sequence
        xi: a number, or one entry per layer (a number, or one per trial); 0 stands for the equality form,
        min |x|_1 subject to D x = y. 'guaranteed' is xi_l = 4 eps_{l-1} of [PRE17] Theorem 12, computed from the
        reference and the noise; 'discrepancy' is the xi for which the residual has the given norm.
    discrepancy : float or sequence, optional
        For 'discrepancy': the l2 norm of the residual, a number, or one entry per layer; by default the norm of
        the layer's input minus the synthesis of its true code.
    non_negative : bool or sequence of bool
        Demand codes without negative entries, in all layers or one by one.
    solver : {'working-set', 'proximal-gradient'}
        A growing set of atoms in float64 (for dense codes an approximation in float32 comes first), or ISTA and
        FISTA in the type of the model and the signals. The equality form always uses its own solver.
    accelerate : bool
        For 'proximal-gradient': FISTA with restart, or ISTA.
    step : float, optional
        For 'proximal-gradient': step of the gradient; by default 1 over the exact |A|^2. With step 1 and one
        iteration ISTA is layered soft thresholding.
    stop : {'gap', 'kkt'}
        What `tolerance` bounds, trial by trial: the duality gap over the objective, or the violation of the
        optimality conditions over the largest correlation.
    tolerance : float, optional
        By default 1e-8, or 1e-4 for 'proximal-gradient' in float32.
    max_iterations : int, optional
        Iterations per layer; by default 1000, or 20000 for 'proximal-gradient'.
    debias : bool
        Replace the values of each layer by the least squares fit on the recovered support.
    reference : sequence of array_like, optional
        The true codes [X^(1), ..., X^(L)], for penalties that derive from them.
    noise : array_like, shape () or (...)
        Bound on the patch norm of the noise, for penalties that derive from it.
    progress : bool
        Show a progress bar per layer.

    Returns
    -------
    PursuitResult
        Its thresholds are the penalties, its optimality the stopping measure; in the equality form that is
        the larger of the relative residual and the relative duality gap.

    Raises
    ------
    UserError
        When the signals are not finite real numbers, an option is unknown or incomplete, or non-negative codes are
        asked of a layer of mixed signs.

    Examples
    --------
    >>> import dcsc
    >>> import numpy as np
    >>> dictionary = dcsc.families.create("gaussian", grid=64, seed=0, n_filters=4, taps=8, stride=2)
    >>> code = np.zeros(dictionary.code_shape)
    >>> code[0, 3], code[2, 10] = 1.0, -0.1
    >>> model = dcsc.Cascade([dictionary])
    >>> found = dcsc.pursuit.layered_basis_pursuit(model, dictionary.synthesize(code), penalty=0)
    >>> bool(np.allclose(found.codes[0], code))
    True
    """
    current, truth = checked_signals(model, signals), true_codes(model, reference)
    check_choice(solver, SOLVERS, "solver")
    check_choice(stop, STOPS, "stop")
    _check(model, penalty, discrepancy, non_negative, truth)
    dtype, batch = float_type(model, current), batch_shape(model, current)
    if tolerance is None:
        tolerance = 1e-4 if solver == "proximal-gradient" and dtype == np.float32 else 1e-8
    rule = StoppingRule(stop, tolerance, _MAX_ITERATIONS[solver] if max_iterations is None else max_iterations)
    solve = working_set if solver == "working-set" else partial(proximal_gradient, accelerate=accelerate, step=step)
    named = penalty if isinstance(penalty, str) else ""
    if named == "guaranteed":
        penalty = guaranteed_penalties(model, truth, noise, batch)
    codes, penalties, iterations, optimality = [], [], [], []
    for layer, dictionary in enumerate(model.dictionaries, start=1):
        code_shape = (*batch, *dictionary.code_shape)
        signs = None if model.signs is None else np.broadcast_to(model.signs[layer - 1], code_shape)
        orientation = None
        if of_layer(non_negative, layer):
            orientation = flat_batch(np.ones(code_shape) if signs is None else signs, batch, dictionary.code_shape)
        flat = flat_batch(current, batch, dictionary.signal_shape).astype(dtype)
        title = f"basis pursuit, layer {layer}" if progress else ""
        if named == "discrepancy":
            norms = _residual_norms(model, layer, current, truth) if discrepancy is None else discrepancy
            norms = non_negative_of_layer(norms, layer, batch, "discrepancy").ravel()
            xi, solution = discrepancy_penalties(dictionary, flat, norms, rule, orientation, title)
        else:
            xi = non_negative_of_layer(penalty, layer, batch, "penalty").ravel()
            solution = _solve_layer(solve, dictionary, flat, xi, rule, orientation, title)
        code = solution.codes.reshape(code_shape)
        code = code if signs is None else signs * code
        if debias:
            code = least_squares(model, layer, current, code != 0)
        current = code.astype(dtype)
        codes.append(current)
        penalties.append(xi.reshape(batch))
        iterations.append(solution.iterations.reshape(batch))
        optimality.append(solution.optimality.reshape(batch))
    reached = np.stack(optimality, axis=-1)
    return PursuitResult(codes, penalties, np.stack(iterations, axis=-1), reached, stopped_at(reached, tolerance))


def _solve_layer(
    solve: Callable[..., LassoSolution],
    dictionary: ConvolutionalDictionary,
    signals: NDArray,
    penalties: NDArray,
    rule: StoppingRule,
    orientation: NDArray | None,
    progress: str,
) -> LassoSolution:
    """Give each trial to the solver of its form."""
    solution = LassoSolution(
        np.empty((len(signals), *dictionary.code_shape)), np.empty(len(signals), np.int64), np.empty(len(signals))
    )
    for is_equality in (True, False):
        rows = np.flatnonzero((penalties == 0) == is_equality)
        if not len(rows):
            continue
        oriented = None if orientation is None else orientation[rows]
        if is_equality:
            part = equality(dictionary, signals[rows], rule.tolerance, oriented, progress)
        else:
            part = solve(dictionary, signals[rows], penalties[rows], rule, oriented, progress)
        solution.codes[rows] = part.codes
        solution.iterations[rows], solution.optimality[rows] = part.iterations, part.optimality
    return solution


def _residual_norms(model: Cascade, layer: int, signals: NDArray, truth: Sequence[NDArray]) -> NDArray:
    """What the true code leaves of the signals of a layer, in l2 norm."""
    left = signals - model.synthesize_layer(layer, truth[layer - 1].astype(np.float64))
    return np.sqrt((left**2).sum(axis=tuple(range(-model.rank - 1, 0))))


def _check(
    model: Cascade, penalty: object, discrepancy: object, non_negative: object, truth: Sequence[NDArray]
) -> None:
    if isinstance(penalty, str):
        check_choice(penalty, PENALTIES, "penalty")
    check_layers(model.depth, penalty=penalty, discrepancy=discrepancy, non_negative=non_negative)
    named = penalty if isinstance(penalty, str) else ""
    if named == "discrepancy" and discrepancy is None and not truth:
        raise UserError("penalty 'discrepancy' needs the norm of the residual: pass it as discrepancy, or the codes.")
    if named == "guaranteed" and not truth:
        raise UserError("penalty 'guaranteed' derives from the true codes: pass them as reference.")
    if model.signs is not None and any(of_layer(non_negative, layer) for layer in range(1, model.depth)):
        raise UserError(
            "inner codes of a cascade with signs are of mixed signs: demand non-negative ones of the deepest."
        )
