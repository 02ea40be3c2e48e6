"""
Pursuits of all layers at once: one deepest code whose synthesis is sparse at every layer.

========================  ==================================================================================
function                  what it minimises or does
========================  ==================================================================================
`multilayer_ista`         sum over l of lambda_l |X^(l)|_1 + |y - D^(1)...D^(L) X^(L)|^2 / 2, X^(l-1) = D^(l) X^(l)
`multilayer_fista`        the same, with momentum ([SABE20])
`projection_pursuit`      l1 on the deepest code alone, then least squares on its support, so that the layers agree
========================  ==================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.spectrum import lipschitz_constant
from dcsc.errors import UserError
from dcsc.model.cascade import Cascade
from dcsc.pursuit.arguments import batch_shape, check_layers, checked_signals, float_type, non_negative_of_layer
from dcsc.pursuit.least_squares import fit_dense
from dcsc.pursuit.protocol import Pursuit, PursuitResult, register, stopped_at
from dcsc.pursuit.thresholding import relu, soft


def layer_steps(model: Cascade, step: float = 1.0) -> list[float]:
    """
    Steps of the layers of ML-ISTA: step / (|A^(1)|^2 ... |A^(l)|^2), within the limit of [SABE20].

    Parameters
    ----------
    model : Cascade
        The cascade.
    step : float
        Step of the first layer, in units of 1 / |A^(1)|^2; at most 1.

    Returns
    -------
    list of float
        One step per layer, from exact norms.
    """
    steps = []
    for dictionary in model.dictionaries:
        step = step / lipschitz_constant(dictionary)
        steps.append(step)
    return steps


def _pass(
    model: Cascade,
    signals: NDArray,
    deepest: NDArray,
    penalties: Sequence[NDArray],
    steps: Sequence[float],
    non_negative: bool,
) -> list[NDArray]:
    """One ML-ISTA iteration: down to the signal, then up through a gradient mapping per layer; gives all new codes."""
    layers = model.synthesize(deepest)
    gradient = layers[0] - signals
    shrink = relu if non_negative else soft
    codes = []
    for layer, (penalty, step) in enumerate(zip(penalties, steps, strict=True), start=1):
        moved = layers[layer] - step * model.correlate_layer(layer, gradient)
        new = shrink(moved, step * penalty)
        gradient = (layers[layer] - new) / step
        codes.append(new)
    return codes


@dataclass(frozen=True)
class _Descent:
    """ISTA or FISTA over all layers at once."""

    accelerate: bool
    step: float
    non_negative: bool
    tolerance: float
    max_iterations: int
    title: str

    def __call__(
        self, model: Cascade, signals: NDArray, penalties: Sequence[NDArray]
    ) -> tuple[list[NDArray], NDArray, NDArray]:
        """Codes, iterations and last relative changes of every trial; a trial that is done stays as it is."""
        from tqdm import tqdm

        steps = layer_steps(model, self.step)
        batch, dtype = penalties[-1].shape[: -model.rank - 1], signals.dtype
        axes = tuple(range(-model.rank - 1, 0))
        current = np.zeros((*batch, *model.dictionaries[-1].code_shape), dtype)
        point = current
        codes = [np.zeros((*batch, *dictionary.code_shape), dtype) for dictionary in model.dictionaries]
        momentum, iterations, change = np.ones(batch), np.zeros(batch, dtype=np.int64), np.full(batch, np.inf)
        for _ in tqdm(range(self.max_iterations), desc=self.title, disable=not self.title):
            live = change > self.tolerance
            if not live.any():
                break
            spread = live[(..., *[None] * (model.rank + 1))]
            passed = _pass(model, signals, point, penalties, steps, self.non_negative)
            new = np.where(spread, passed[-1], current)
            codes = [np.where(spread, fresh, kept) for fresh, kept in zip(passed, codes, strict=True)]
            moved = np.sqrt(((new - point) ** 2).sum(axis=axes))
            size = np.sqrt((new**2).sum(axis=axes))
            change = np.where(live, moved / np.where(size > 0, size, 1.0), change)
            iterations += live
            grown = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
            uphill = ((point - new) * (new - current)).sum(axis=axes) > 0
            weight = np.where(uphill | (not self.accelerate), 0.0, (momentum - 1) / grown).astype(dtype)
            momentum = np.where(uphill, 1.0, grown)
            point = np.where(spread, new + weight[(..., *[None] * (model.rank + 1))] * (new - current), point)
            current = new
        return codes, iterations, change


def _arrays(model: Cascade, signals: ArrayLike, penalty: object) -> tuple[NDArray, list[NDArray]]:
    """The signals and, for each layer, penalties that broadcast against its codes, all in one type."""
    given = checked_signals(model, signals)
    batch, dtype = batch_shape(model, given), float_type(model, given)
    check_layers(model.depth, penalty=penalty)
    of_layers = [non_negative_of_layer(penalty, layer, batch, "penalty") for layer in range(1, model.depth + 1)]
    return given.astype(dtype), [numbers.astype(dtype)[(..., *[None] * (model.rank + 1))] for numbers in of_layers]


def _result(
    codes: list[NDArray], penalties: list[NDArray], iterations: NDArray, change: NDArray, tolerance: float
) -> PursuitResult:
    """All layers share one optimisation, hence one count and one measure."""
    codes = [code.astype(penalties[-1].dtype) for code in codes]
    numbers = [np.array(penalty.reshape(iterations.shape)) for penalty in penalties]
    counts, distances = (np.repeat(each[..., None], len(codes), axis=-1) for each in (iterations, change))
    return PursuitResult(codes, numbers, counts, distances, stopped_at(change, tolerance))


def _multilayer(accelerate: bool) -> Pursuit:
    """The pursuit that both names stand for, with momentum or without."""

    def pursuit(
        model: Cascade,
        signals: ArrayLike,
        *,
        penalty: float | Sequence[ArrayLike],
        step: float = 1.0,
        non_negative: bool = False,
        tolerance: float = 1e-6,
        max_iterations: int = 20000,
        reference: Sequence[ArrayLike] | None = None,
        noise: ArrayLike = 0.0,
        progress: bool = False,
    ) -> PursuitResult:
        """
        Multi-layer ISTA or FISTA ([SABE20]): a recurrent network whose first iteration is the forward pass from 0.

        When to take it: when the layers should correct one another under noise, as a recurrent network does; FISTA
        needs fewer iterations.

        FISTA has momentum, restarted when it points uphill. Each iteration synthesizes the layers of the current
        deepest code, then climbs from the signal: at every layer a shrunk gradient step, whose gradient mapping is
        the gradient for the next. Its fixed points are near-optimal for the multi-layer objective, the nearer the
        smaller the step; exact with one layer, or when only the deepest penalty is not 0.

        Parameters
        ----------
        model : Cascade
            The cascade; with signs T^(l) the pursuit works with A^(l) T^(l).
        signals : array_like, shape (..., channel, *space)
            X^(0), or X^(0) + E.
        penalty : float or sequence
            lambda_l: a number, or one entry per layer (a number, or one per trial).
        step : float
            Step of the first layer in units of 1 / |A^(1)|^2, at most 1; those of the others follow.
        non_negative : bool
            ReLU in place of soft thresholding.
        tolerance : float
            Largest relative change |new - old|_2 / |new|_2 of the deepest code that counts as converged.
        max_iterations : int
            Iterations after which a trial is given up.
        reference : sequence of array_like, optional
            Unused; every pursuit takes it.
        noise : array_like, shape () or (...)
            Unused; every pursuit takes it.
        progress : bool
            Show a progress bar.

        Returns
        -------
        PursuitResult
            The thresholded codes of every layer, sparse but equal to the synthesis of the deepest one only
            up to what thresholding took; the optimality is the last relative change.

        Raises
        ------
        UserError
            When an option is not allowed.
        """
        if not 0 < step <= 1:
            raise UserError(f"step {step} is not allowed: give a number above 0, at most 1.")
        if non_negative and model.signs is not None and model.depth > 1:
            raise UserError("inner codes of a cascade with signs are of mixed signs: leave non_negative at False.")
        given, penalties = _arrays(model, signals, penalty)
        title = "multi-layer pursuit" if progress else ""
        descent = _Descent(accelerate, step, non_negative, tolerance, max_iterations, title)
        codes, iterations, change = descent(model, given, penalties)
        return _result(codes, penalties, iterations, change, tolerance)

    pursuit.__name__ = pursuit.__qualname__ = "multilayer_fista" if accelerate else "multilayer_ista"
    return pursuit


multilayer_ista = register("multilayer-ista")(_multilayer(accelerate=False))
multilayer_fista = register("multilayer-fista")(_multilayer(accelerate=True))


def deepest_columns(model: Cascade, atoms: NDArray, trial: tuple[int, ...] = (), layer: int = 0) -> NDArray:
    """
    Synthesize some deepest atoms through the cascade.

    Parameters
    ----------
    model : Cascade
        The cascade.
    atoms : ndarray of int, shape (atom,)
        Deepest atoms in C order of (filter, *position).
    trial : tuple of int
        Whose signs to use, when the signs have batch axes.
    layer : int
        0 for columns of signals, l for columns of codes X^(l).

    Returns
    -------
    ndarray, shape (channel * space of the layer, atom)
        One column per atom.
    """
    shape = model.dictionaries[-1].code_shape
    if not len(atoms):
        below = model.dictionaries[layer].signal_shape
        return np.zeros((math.prod(below), 0))
    codes = np.zeros((len(atoms), math.prod(shape)))
    codes[np.arange(len(atoms)), atoms] = 1.0
    columns = one_trial(model, trial).synthesize(codes.reshape(-1, *shape))[layer]
    return columns.reshape(len(atoms), -1).T


def one_trial(model: Cascade, trial: tuple[int, ...]) -> Cascade:
    """
    Take the cascade that one trial of a batch sees.

    Parameters
    ----------
    model : Cascade
        The cascade.
    trial : tuple of int
        Index over the batch axes.

    Returns
    -------
    Cascade
        With signs without batch axes.
    """
    if model.signs is None:
        return model
    signs = []
    for sign in model.signs:
        batch = sign.shape[: -model.rank - 1]
        signs.append(sign[trial[len(trial) - len(batch) :]] if batch else sign)
    return Cascade(model.dictionaries, signs)


@register("projection-pursuit")
def projection_pursuit(
    model: Cascade,
    signals: ArrayLike,
    *,
    penalty: float | ArrayLike,
    zero: float = 1e-8,
    tolerance: float = 1e-6,
    max_iterations: int = 20000,
    reference: Sequence[ArrayLike] | None = None,
    noise: ArrayLike = 0.0,
    progress: bool = False,
) -> PursuitResult:
    """
    Projection pursuit: code the deepest layer by the effective dictionary, then project on the model (after [ASE19]).

    When to take it: when only the deepest code matters: it is estimated directly, with the product of the
    dictionaries.

    FISTA on lambda |x|_1 + |y - D^(1)...D^(L) x|^2 / 2, least squares on the support found, and synthesis of
    the layers above, which therefore agree exactly.

    Parameters
    ----------
    model, signals, tolerance, max_iterations, reference, noise, progress
        As for `multilayer_ista`.
    penalty : float or array_like, shape () or (...)
        lambda of the deepest code.
    zero : float
        Entries of an upper code below this share of its largest are cancellations, and set to 0.

    Returns
    -------
    PursuitResult
        Codes of every layer; the penalties above the deepest layer are 0.

    Raises
    ------
    UserError
        When an option is not allowed.
    """
    given, penalties = _arrays(model, signals, [*[0.0] * (model.depth - 1), penalty])
    descent = _Descent(True, 1.0, False, tolerance, max_iterations, "projection pursuit" if progress else "")
    codes, iterations, change = descent(model, given, penalties)
    batch = iterations.shape
    given = np.broadcast_to(given, (*batch, *model.dictionaries[0].signal_shape))
    deepest = project(model, given, codes[-1] != 0)
    agreeing = [without_cancellations(code, zero, model.rank) for code in model.synthesize(deepest)[1:]]
    return _result(agreeing, penalties, iterations, change, tolerance)


def project(model: Cascade, signals: NDArray, support: NDArray) -> NDArray:
    """
    Fit the deepest codes to the signals on given supports, through all layers.

    Parameters
    ----------
    model : Cascade
        The cascade.
    signals : ndarray, shape (..., channel, *space)
        The signals.
    support : ndarray of bool, shape (..., filter, *position)
        Where the deepest codes may be non-zero.

    Returns
    -------
    ndarray of float64, shape (..., filter, *position)
        Least squares codes, of minimum norm where the atoms are dependent.
    """
    batch = support.shape[: -model.rank - 1]
    fitted = np.zeros(support.shape)
    for trial in np.ndindex(*batch):
        atoms = np.flatnonzero(support[trial])
        fitted[trial].flat[atoms] = fit_dense(deepest_columns(model, atoms, trial), signals[trial].ravel())
    return fitted


def without_cancellations(codes: NDArray, zero: float, rank: int) -> NDArray:
    """
    Set to 0 what a cancellation left over.

    Parameters
    ----------
    codes : ndarray, shape (..., filter, *position)
        Synthesized codes.
    zero : float
        Share of a code's largest magnitude below which an entry is one.
    rank : int
        Number of spatial axes.

    Returns
    -------
    ndarray, shape (..., filter, *position)
        The codes.
    """
    largest = np.abs(codes).max(axis=tuple(range(-rank - 1, 0)), keepdims=True)
    return np.where(np.abs(codes) > zero * largest, codes, 0.0)
