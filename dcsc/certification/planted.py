"""
Planted codes in a layer of a network: whether one step of the layer recovers the support of a known code.

A signal y = A x is made of a code x, of which supports, signs and filters are the network's own or drawn, and a step of
the layer, ReLU of the correlations above a threshold, is asked for the support. Where the signs are drawn, the step is
one of both signs: an atom is found if the magnitude of its correlation lies above the threshold.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dcsc import seeds
from dcsc.arrays import LARGEST
from dcsc.certification.forward import LayerRun, run_segment
from dcsc.certification.network import ConvolutionLayer, Network, of_filters, placed_in_groups
from dcsc.families.optimised import minimise_coherence
from dcsc.model import coherence, sparsity
from dcsc.model.coherence import Atoms
from dcsc.model.grouped import GroupedDictionary

FILTERS = ("trained", "shuffled", "random", "optimised")
"""Those of the network; their entries shuffled within each; Gaussian ones; these moved to low coherence."""
SUPPORTS = ("measured", "uniform")
"""Those of the forward pass; as many non-zeros, of the same magnitudes, anywhere."""
SIGNS = ("as they are", "random")
"""Positive, as ReLU leaves them; drawn."""
MAGNITUDES = ("measured", "equal")
"""Those of the forward pass; the root mean square of these for all non-zeros of a code."""
THRESHOLDS = ("own biases", "best by filter")
"""Those of the network; for each filter the one by which the F1 of all signals together is largest."""

Planted = tuple[str, str, str, float]
"""Support, signs, magnitudes and share of a code that is planted."""

_CONVERGED = 1e-20
"""Squared gradients below that share of the first are rounding, along which no step is taken."""


@dataclass(frozen=True)
class PlantedSettings:
    """
    How codes are planted.

    Parameters
    ----------
    seed : int
        Of all draws.
    shares : tuple of float
        Which share of the non-zeros is kept, drawn at random.
    magnitudes : tuple of str
        Of the non-zeros, from `MAGNITUDES`; supports and signs are the same for all.
    iterations : int
        Steps by which the coherence of the optimised filters is lowered.
    most_optimised : int
        Filters above whose number none are optimised.
    steps : int
        Steps of conjugate gradients for the best code on a support.
    """

    seed: int = 0
    shares: tuple[float, ...] = (1.0,)
    magnitudes: tuple[str, ...] = MAGNITUDES
    iterations: int = 60
    most_optimised: int = 64
    steps: int = 20


@dataclass(frozen=True, eq=False)
class PlantedLayer:
    """
    What was found of a layer.

    Parameters
    ----------
    layer : ConvolutionLayer
        The layer on its own input.
    coherence : ndarray, shape (filters,)
        Of each kind of `FILTERS`; NaN where there are none.
    welch_bound : float
        The smallest coherence that these sizes allow.
    n_atoms : int
        Atoms that the layer has on this input.
    active : ndarray, shape (trial,)
        Non-zeros that the forward pass leaves.
    stripe_sparsity : ndarray of int, shape (support, share, trial)
        Largest number of planted non-zeros in a stripe.
    f1 : ndarray, shape (filters, support, sign, threshold, magnitudes, share, trial)
        Harmonic mean of precision and recall of the support; NaN where no code is planted.
    unexplained : ndarray, shape (trial,)
        Part of the layer's input, in l2, that the best multiple of what its own code synthesizes leaves.
    unexplained_at_best : ndarray, shape (filters, trial)
        Part that the best code on its support leaves, an upper bound: so far as the steps came.
    """

    layer: ConvolutionLayer
    coherence: NDArray
    welch_bound: float
    n_atoms: int
    active: NDArray
    stripe_sparsity: NDArray
    f1: NDArray
    unexplained: NDArray
    unexplained_at_best: NDArray


def runs_alone(segment: Network, inputs: NDArray, largest: int = LARGEST) -> list[LayerRun]:
    """
    Run a segment as the network does, and take every layer on its own input.

    Parameters
    ----------
    segment : Network
        A cascade whose padding is known.
    inputs : ndarray, shape (trial, channel, *space)
        What it acts on.
    largest : int
        Bytes that the codes may take.

    Returns
    -------
    list of LayerRun
        As from `run_segment`, on the scale of filters without the norms of the layer before.

    Raises
    ------
    UserError
        When the input does not fit, or takes too much memory.
    """
    alone = []
    for run in run_segment(segment, inputs, largest):
        layer = run.layer.alone
        scale = run.layer.norms / layer.norms
        given = run.given * of_filters(run.layer.channel_scale, layer.rank)
        codes = run.codes * of_filters(scale, layer.rank)
        alone.append(
            replace(run, layer=layer, dictionary=placed_in_groups(layer, run.dictionary.grid), given=given, codes=codes)
        )
    return alone


def other_filters(layer: ConvolutionLayer, settings: PlantedSettings) -> dict[str, ConvolutionLayer]:
    """
    Give a layer other filters of the same shape and norms.

    Parameters
    ----------
    layer : ConvolutionLayer
        On its own input.
    settings : PlantedSettings
        Seed and effort.

    Returns
    -------
    dict of str to ConvolutionLayer
        By the names of `FILTERS`; none are optimised of more filters than the settings allow, or in groups.
    """
    key = {"purpose": "filters of a layer", "layer": layer.name, "shape": list(layer.weight.shape)}
    flat = layer.weight.reshape(len(layer.weight), -1)
    shuffled = seeds.stream(settings.seed, kind="shuffled", **key).permuted(flat, axis=1)
    gaussian = seeds.stream(settings.seed, kind="random", **key).standard_normal(layer.weight.shape)
    made = {"trained": layer.weight, "shuffled": shuffled.reshape(layer.weight.shape), "random": gaussian}
    if layer.groups == 1 and len(layer.weight) <= settings.most_optimised:
        made["optimised"] = minimise_coherence(gaussian, layer.stride, iterations=settings.iterations)
    return {name: _of_norms(layer, weight) for name, weight in made.items()}


def _of_norms(layer: ConvolutionLayer, weight: NDArray) -> ConvolutionLayer:
    if weight is layer.weight:
        return layer
    norms = np.linalg.norm(weight.reshape(len(weight), -1), axis=1)
    return replace(layer, weight=weight * of_filters(layer.norms / norms, layer.rank + 1))


def plant(run: LayerRun, settings: PlantedSettings) -> dict[Planted, NDArray]:
    """
    Make the codes that are planted.

    Parameters
    ----------
    run : LayerRun
        From `runs_alone`.
    settings : PlantedSettings
        Seed, shares and magnitudes.

    Returns
    -------
    dict of (str, str, str, float) to ndarray, shape (trial, filter, *position)
        By support, signs, magnitudes and share, at the positions that the network has.
    """
    measured = run.active_codes
    planted: dict[Planted, NDArray] = {}
    for support, kind, share in itertools.product(SUPPORTS, settings.magnitudes, settings.shares):
        magnitudes = np.zeros_like(measured)
        signs = np.ones_like(measured)
        for trial, code in enumerate(measured):
            rng = seeds.stream(
                settings.seed, purpose="planted", layer=run.layer.name, trial=trial, support=support, share=share
            )
            magnitudes[trial] = _drawn(rng, code, support, share, kind == "equal")
            signs[trial] = rng.choice([-1.0, 1.0], size=code.shape)
        planted[support, SIGNS[0], kind, share] = magnitudes
        planted[support, SIGNS[1], kind, share] = magnitudes * signs
    return planted


def _drawn(rng: np.random.Generator, code: NDArray, support: str, share: float, equal: bool) -> NDArray:
    """Keep a share of a code's non-zeros, where they are or anywhere."""
    flat, drawn = code.ravel(), np.zeros(code.size)
    active = np.flatnonzero(flat)
    kept = rng.permutation(active)[: math.ceil(share * len(active))]
    values = np.full(len(kept), math.sqrt(np.mean(flat[active] ** 2))) if equal and len(kept) else flat[kept]
    drawn[kept if support == "measured" else rng.choice(code.size, len(kept), replace=False)] = values
    return drawn.reshape(code.shape)


def f1_scores(found: NDArray, planted: NDArray) -> NDArray:
    """
    Compare supports.

    Parameters
    ----------
    found, planted : ndarray of bool, shape (trial, ...)
        Supports.

    Returns
    -------
    ndarray, shape (trial,)
        2 hits / (found + planted), NaN where nothing is planted.
    """
    axes = tuple(range(1, planted.ndim))
    hits, wanted = (found & planted).sum(axis=axes), planted.sum(axis=axes)
    among = found.sum(axis=axes) + wanted
    return np.divide(2.0 * hits, among, out=np.full(len(planted), np.nan), where=wanted > 0)


def best_thresholds(scores: NDArray, planted: NDArray) -> NDArray:
    """
    Find the threshold of each filter by which the F1 of all signals together is largest.

    Parameters
    ----------
    scores : ndarray, shape (trial, filter, *position)
        Found is what lies above the threshold.
    planted : ndarray of bool, shape of scores
        The supports.

    Returns
    -------
    ndarray, shape (filter,)
        The first score that is not to be found, minus infinity where all are.

    Notes
    -----
    F1 is a ratio of sums over the filters, so that for a given value v every filter by itself maximises twice its hits
    minus v times what it finds; v grows to the maximum in few rounds [Dinkelbach, 1967].
    """
    count = scores.shape[1]
    flat, true = (np.moveaxis(of, 1, 0).reshape(count, -1) for of in (scores, planted))
    order = np.argsort(-flat, axis=1, kind="stable")
    flat, true = np.take_along_axis(flat, order, axis=1), np.take_along_axis(true, order, axis=1)
    hits = np.pad(np.cumsum(true, axis=1), [(0, 0), (1, 0)]).astype(np.float64)
    found = np.arange(flat.shape[1] + 1)
    between = np.ones(hits.shape, dtype=bool)  # a threshold does not tell equal scores apart
    between[:, 1:-1] = flat[:, :-1] > flat[:, 1:]
    wanted, value, rows = true.sum(), 0.0, np.arange(count)
    while True:
        # Of equal gains the first, which finds fewest.
        cut = np.argmax(np.where(between, 2.0 * hits - value * found, -np.inf), axis=1)
        reached = 2.0 * hits[rows, cut].sum() / max(wanted + cut.sum(), 1)
        if reached <= value:
            break
        value = reached
    # Found is what exceeds the first score that is not to be found.
    return np.pad(flat, [(0, 0), (0, 1)], constant_values=-np.inf)[rows, cut]


def measure(run: LayerRun, settings: PlantedSettings) -> PlantedLayer:
    """
    Plant codes in a layer and ask one step of it for their supports.

    Parameters
    ----------
    run : LayerRun
        From `runs_alone`.
    settings : PlantedSettings
        How.

    Returns
    -------
    PlantedLayer
        By signal.
    """
    trials, shares = len(run.codes), settings.shares
    layers = other_filters(run.layer, settings)
    dictionaries = {name: placed_in_groups(layer, run.dictionary.grid) for name, layer in layers.items()}
    codes = plant(run, settings)
    stripes = np.zeros((len(SUPPORTS), len(shares), trials), dtype=np.int64)
    for i, support in enumerate(SUPPORTS):
        for j, share in enumerate(shares):
            full = _on_grid(run, codes[support, SIGNS[0], settings.magnitudes[0], share])
            # Groups share stripes, whatever channels they see.
            bank = run.dictionary.bank if isinstance(run.dictionary, GroupedDictionary) else run.dictionary
            stripes[i, j] = sparsity.stripe_norm(full, bank)
    found = {name: _found(run, dictionary, codes, settings) for name, dictionary in dictionaries.items()}
    f1 = np.stack([found.get(name, np.full_like(found[FILTERS[0]], np.nan)) for name in FILTERS])
    mu, at_best = np.full(len(FILTERS), np.nan), np.full((len(FILTERS), trials), np.nan)
    for number, name in enumerate(FILTERS):
        if name in dictionaries:
            mu[number] = coherence.mutual_coherence(dictionaries[name])
            at_best[number] = unexplained_on_support(run, dictionaries[name], settings.steps)
    active = np.count_nonzero(run.active_codes, axis=tuple(range(1, run.codes.ndim)))
    return PlantedLayer(
        run.layer, mu, coherence.welch_bound(run.dictionary), run.n_atoms, active, stripes, f1, unexplained(run),
        at_best,
    )  # fmt: skip


def _on_grid(run: LayerRun, code: NDArray) -> NDArray:
    full = np.zeros((len(code), *run.dictionary.code_shape))
    full[:, :, *[slice(count) for count in run.positions]] = code
    return full


def _found(
    run: LayerRun,
    dictionary: Atoms,
    codes: Mapping[Planted, NDArray],
    settings: PlantedSettings,
) -> NDArray:
    """F1 of one step, shape (support, sign, threshold, magnitudes, share, trial)."""
    own = (slice(None), slice(None), *map(slice, run.positions))
    kinds, shares = settings.magnitudes, settings.shares
    shape = len(SUPPORTS), len(SIGNS), len(THRESHOLDS), len(kinds), len(shares), len(run.codes)
    f1 = np.full(shape, np.nan)
    for (support, signs, kind, share), code in codes.items():
        scores = dictionary.correlate(dictionary.synthesize(_on_grid(run, code)))[own]
        if signs == "random":
            scores = np.abs(scores)
        true = code != 0
        for number, thresholds in enumerate((run.layer.thresholds, best_thresholds(scores, true))):
            found = scores > of_filters(thresholds, run.layer.rank)
            place = SUPPORTS.index(support), SIGNS.index(signs), number, kinds.index(kind), shares.index(share)
            f1[place] = f1_scores(found, true)
    return f1


def unexplained(run: LayerRun) -> NDArray:
    """
    Measure what a layer's code leaves of its input.

    Parameters
    ----------
    run : LayerRun
        From `runs_alone`.

    Returns
    -------
    ndarray, shape (trial,)
        Relative l2 distance of the input from the best multiple of what the code synthesizes, within the input.
    """
    axes = tuple(range(1, run.given.ndim))
    made = run.within(run.dictionary.synthesize(run.codes))
    inner, power, norm = (run.given * made).sum(axes), (made**2).sum(axes), (run.given**2).sum(axes)
    explained = np.divide(inner**2, power * norm, out=np.zeros(len(inner)), where=(power > 0) & (norm > 0))
    return np.where(norm > 0, np.sqrt(np.maximum(1 - explained, 0.0)), np.nan)


def unexplained_on_support(run: LayerRun, dictionary: Atoms, steps: int) -> NDArray:
    """
    Bound what the best code on the measured support leaves of a layer's input, by conjugate gradients.

    Parameters
    ----------
    run : LayerRun
        From `runs_alone`; its supports.
    dictionary : ConvolutionalDictionary or GroupedDictionary
        On the same grid.
    steps : int
        Each lowers what is left.

    Returns
    -------
    ndarray, shape (trial,)
        Relative l2 norm of what is left after them.
    """
    support, axes = run.codes != 0, tuple(range(1, run.given.ndim))

    def inner(first: NDArray, second: NDArray) -> NDArray:
        return (first * second).sum(axis=axes, keepdims=True)

    def ratio(over: NDArray, under: NDArray) -> NDArray:
        return np.divide(over, under, out=np.zeros_like(over), where=under > 1e-300)

    left = run.given.copy()
    gradient = dictionary.correlate(left) * support
    direction, slope = gradient, inner(gradient, gradient)
    first = slope
    for _ in range(steps):
        moved = run.within(dictionary.synthesize(direction))
        length = ratio(slope, inner(moved, moved)) * (slope > _CONVERGED * first)
        left = left - length * moved
        gradient = dictionary.correlate(left) * support
        before, slope = slope, inner(gradient, gradient)
        direction = gradient + ratio(slope, before) * direction
    norm = inner(run.given, run.given)
    return np.where(norm > 0, np.sqrt(ratio(inner(left, left), norm)), np.nan).reshape(len(left))
