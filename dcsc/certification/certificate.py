"""
Certificates of dictionaries, or of the layers of a network, and of codes that were measured in them.

Each layer is certified on its own: its coherence beside the Welch bound, its Babel functions, the stripe-sparsity
that every rung of the ladder certifies; and for given codes, which rungs cover them.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from dcsc import sampling, seeds
from dcsc.arrays import LARGEST, in_gib, real_array
from dcsc.certification import costs
from dcsc.certification.forward import run_segment
from dcsc.certification.network import INPUT, ConvolutionLayer, Network, from_dictionaries, placed_in_groups
from dcsc.errors import UserError, nearest, shown
from dcsc.guarantees import as_run, path_interference
from dcsc.guarantees.rungs import RUNGS, SUPPORT_RUNGS, CertifiedSparsity, certified_stripe_sparsity, ladder
from dcsc.model import coherence, sparsity
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.grouped import GroupedDictionary
from dcsc.parallel import cores
from dcsc.ragged import RaggedCodes

MOST_FACTORISED = 2048
"""Active atoms of a code up to which their inner products are factorised, which basis pursuit on supports needs."""


class CoherentPair(NamedTuple):
    """A pair of atoms with the largest inner product: their filters, distance in positions, and inner product."""

    first: int
    second: int
    lag: tuple[int, ...]
    inner: float


class Split(NamedTuple):
    """Largest coherence of filters at one position, of a filter and its shift, and of different filters shifted."""

    same_position: float
    own_shift: float
    across: float


@dataclass(frozen=True, eq=False)
class LayerCertificate:
    """
    The certificate of one layer: its coherence, and the stripe-sparsity that each rung certifies.

    Parameters
    ----------
    name : str
        Of the layer.
    dictionary : ConvolutionalDictionary or GroupedDictionary
        Its unit-norm filters on the grid that the certificate is for.
    norms : ndarray, shape (filter,)
        What the filters were divided by.
    thresholds : ndarray, shape (filter,)
        What the biases stand for, -b / norm.
    mutual_coherence, welch_bound : float
        mu, and the smallest one at these sizes.
    babel, babel2 : ndarray, shape (stripe_size,)
        mu_1(k) and mu_2(k) for k = 0, 1, ..., stripe_size - 1.
    certified : dict of str to CertifiedSparsity
        By rung.
    segment : int
        Which segment of the network it is in, from 0.
    activation : str
        What follows it in the network; empty where it is not known.
    coherence_alone : float
        mu of the filters on the layer's own input, without the norms of the layer before in the channels.
    random_coherence : float
        mu of one draw of Gaussian filters of the same shape.
    random_babel : ndarray, shape (stripe_size,)
        mu_1(k) of these.
    pair : CoherentPair
        Where the coherence is reached.
    split : Split
        It by the kinds of pairs.
    groups : int
        Groups of the convolution.
    """

    name: str
    dictionary: coherence.Atoms
    norms: NDArray
    thresholds: NDArray
    mutual_coherence: float
    welch_bound: float
    babel: NDArray
    babel2: NDArray
    certified: dict[str, CertifiedSparsity]
    segment: int
    activation: str
    coherence_alone: float
    random_coherence: float
    random_babel: NDArray
    pair: CoherentPair
    split: Split
    groups: int

    @property
    def welch_ratio(self) -> float:
        """Coherence over the Welch bound, at least 1; infinity where the bound is 0."""
        if self.welch_bound:
            return self.mutual_coherence / self.welch_bound
        return math.inf


@dataclass(frozen=True, eq=False)
class MeasuredLayer:
    """
    What was measured of the codes of one layer, and the guarantees that cover them.

    Parameters
    ----------
    name : str
        Of the layer.
    active : ndarray of int, shape (trial,)
        Non-zeros of each code.
    n_atoms : int
        Atoms of the layer, without those on appended zeros.
    stripe_sparsity : ndarray of int, shape (trial,)
        ||X||^S_{0,inf}.
    contrast : ndarray, shape (trial,)
        X_min / X_max.
    misfit : ndarray, shape (trial,)
        What the codes, synthesized and scaled as well as possible, leave of the layer's input, relative in l2;
        NaN when the input is not known.
    covered : dict of str to ndarray of bool, shape (trial,)
        By rung, whether the pursuit is guaranteed to recover the support from the signal that the code synthesizes.
    covered_by_biases : ndarray of bool, shape (trial,)
        Whether ReLU with the biases of the layer, a threshold for each filter, is guaranteed to recover the support of
        a code without negative entries.
    failure_by_biases : ndarray, shape (trial,)
        Bound on the probability that soft thresholding with them loses it when the signs are random.
    unexamined : int
        Codes with more than `MOST_FACTORISED` active atoms, which the rungs of basis pursuit on supports pass over.
    n_whole : int or None
        Atoms that lie within the input of the layer, of which the guarantees speak; None where its size is not known.
    smallest_norm : float
        What the border of the input leaves of the norm of an atom, at least.
    """

    name: str
    active: NDArray
    n_atoms: int
    stripe_sparsity: NDArray
    contrast: NDArray
    misfit: NDArray
    covered: dict[str, NDArray]
    covered_by_biases: NDArray
    failure_by_biases: NDArray
    unexamined: int
    n_whole: int | None
    smallest_norm: float


@dataclass(frozen=True, eq=False)
class Certificate:
    """
    The certificates of all layers, and what was measured of their codes.

    Parameters
    ----------
    name : str
        What was certified.
    layers : tuple of LayerCertificate
        In order.
    measured : tuple of MeasuredLayer
        Of the layers whose codes are known; empty without signals or activations.
    segments : tuple of tuple of str
        Layers that act on the codes of one another.
    sources : tuple of str
        What the input of each segment is, in words; empty where nothing is known.
    refused : dict of str to str
        Layers that could not be done, and why.
    contrast, delta : float
        r and the admitted failure probability.
    draws, seed : int
        Codes drawn for the rungs that depend on supports, and the seed of their draw.
    notes : tuple of str
        What was assumed, changed or left out, a sentence or two each.
    """

    name: str
    layers: tuple[LayerCertificate, ...]
    measured: tuple[MeasuredLayer, ...]
    segments: tuple[tuple[str, ...], ...]
    sources: tuple[str, ...]
    refused: dict[str, str]
    contrast: float
    delta: float
    draws: int
    seed: int
    notes: tuple[str, ...]

    @property
    def is_cascade(self) -> bool:
        """Whether each layer acts on the codes of the one before."""
        return len(self.segments) == 1


def certify(
    what: ConvolutionalDictionary | Cascade | Network,
    *,
    contrast: float = 1.0,
    delta: float = 0.01,
    draws: int = 400,
    seed: int = 0,
    grid: Sequence[int] | None = None,
    signals: ArrayLike | None = None,
    activations: Mapping[str, ArrayLike] | None = None,
    largest: int = LARGEST,
) -> Certificate:
    """
    Certify a dictionary, the layers of a cascade, or those of a network.

    docs/theory.md, "The ladder". Closed forms are for the contrast given; the rungs that depend on supports are
    for uniform supports with magnitudes uniform between the contrast and 1.

    Parameters
    ----------
    what : ConvolutionalDictionary, Cascade or Network
        The layers, from the signal inwards.
    contrast : float
        r = X_min / X_max in (0, 1].
    delta : float
        Failure probability that the statistical rungs admit, in (0, 1).
    draws : int
        Codes drawn for each number of non-zeros that is tried; 0 leaves the instance rungs out.
    seed : int
        Seed of these draws.
    grid : sequence of int, optional
        Grid of the signal; by default that of the dictionaries, or the smallest one that fits a network.
    signals : array_like, shape (trial, channel, *space), optional
        Signals that are run through the layers, to measure the codes; zeros are appended up to a grid that fits.
    activations : mapping of str to array_like of shape (trial, filter, *position), optional
        Codes of a network as it computed them itself, by the name of the layer; zeros are appended.
    largest : int
        Bytes that one layer may take.

    Returns
    -------
    Certificate
        The certificate of every layer, and of the codes that were given or computed.

    Raises
    ------
    UserError
        When a number is out of range, shapes do not fit, or a layer takes too much memory.

    Examples
    --------
    >>> import dcsc
    >>> dictionary = dcsc.families.create("lapped", grid=64, n_filters=4)
    >>> network = dcsc.network.from_dictionaries([dictionary])
    >>> [layer.name for layer in dcsc.certify(network, draws=0).layers]
    ['layer 1']
    """
    if not (0 < contrast <= 1 and 0 < delta < 1):
        raise UserError(f"contrast {contrast} and delta {delta} are not allowed: give one in (0, 1] and one in (0, 1).")
    if draws < 0 or seed < 0:
        raise UserError(f"draws {draws} and seed {seed} are not allowed: give whole numbers that are not negative.")
    if signals is not None and activations is not None:
        raise UserError("signals and activations were both given: give one of them.")
    network, grid = _as_network(what, grid)
    notes = list(network.notes)
    layers, refused = _all_layers(network, grid, contrast, delta, draws, seed, largest, notes)
    given: Iterable[_Codes] = ()
    if signals is not None:
        given = _of_signals(network, real_array(signals, "signals"), notes, largest)
    elif activations is not None:
        given = _of_activations(network, activations, notes)
    measured = _all_measured(given, delta, largest, notes)
    if measured:
        notes.append(
            "A rung covers a code if the pursuit is sure, or for random signs likely, to find its support in the "
            "signal that it synthesizes, with its best threshold; below them stands what holds at the thresholds that "
            "the biases of the layer are. The signs of a code without negative entries are not random: of such codes "
            "the statements for all signs speak."
        )
    notes += [
        f"{of.unexamined} codes of layer {of.name} have more than {MOST_FACTORISED} non-zeros: whether basis pursuit "
        "recovers their supports on the instance was not examined, and counts as not covered."
        for of in measured
        if of.unexamined
    ]
    segments = tuple(tuple(network.layers[index].name for index in segment) for segment in network.segments)
    return Certificate(
        network.name, layers, measured, segments, network.sources, refused, contrast, delta, draws, seed, tuple(notes)
    )


def _as_network(
    what: ConvolutionalDictionary | Cascade | Network, grid: Sequence[int] | None
) -> tuple[Network, Sequence[int] | None]:
    if isinstance(what, Network):
        return what, grid
    dictionaries = [what] if isinstance(what, ConvolutionalDictionary) else list(what.dictionaries)
    return from_dictionaries(dictionaries), dictionaries[0].grid if grid is None else grid


def _all_layers(
    network: Network,
    grid: Sequence[int] | None,
    contrast: float,
    delta: float,
    draws: int,
    seed: int,
    largest: int,
    notes: list[str],
) -> tuple[tuple[LayerCertificate, ...], dict[str, str]]:
    """Certify every layer; one of many that cannot be done is told, and the others are done."""
    made: dict[int, tuple[int, coherence.Atoms, int]] = {}
    refused: dict[int, UserError] = {}
    grids = network.smallest_grids()
    for number, segment in enumerate(network.segments):
        points = grids[segment[0]] if grid is None else tuple(grid)
        for index in segment:
            layer = network.layers[index]
            try:
                _check_filters(layer, largest)
                dictionary = placed_in_groups(layer, points)
                drawn, note = costs.draws_within(layer.name, dictionary, draws, largest)
                made[index] = number, dictionary, drawn
                notes += [note] * bool(note)
            except UserError as refusal:
                if grid is not None:
                    raise
                refused[index] = refusal
            points = tuple(n // step for n, step in zip(points, layer.stride, strict=True))
    if not made:
        raise refused[0]
    estimate = costs.told([dictionary for _, dictionary, _ in made.values()], draws, cores())
    if estimate:
        print(estimate, file=sys.stderr)
    layers = tuple(
        _certified(network.layers[index], number, dictionary, contrast, delta, drawn, seed)
        for index, (number, dictionary, drawn) in tqdm(sorted(made.items()), unit="layer", disable=None, leave=False)
    )
    return layers, {network.layers[index].name: str(refused[index]) for index in sorted(refused)}


def _check_filters(layer: ConvolutionLayer, largest: int) -> None:
    """Refuse before the filters of a layer are copied."""
    nbytes = 4 * 8 * layer.weight.size
    if nbytes > largest:
        raise UserError(
            f"the filters of layer {layer.name!r} take about {in_gib(nbytes)}, more than the "
            f"{in_gib(largest)} allowed: raise --memory."
        )


def _certified(
    layer: ConvolutionLayer,
    segment: int,
    dictionary: coherence.Atoms,
    contrast: float,
    delta: float,
    draws: int,
    seed: int,
) -> LayerCertificate:
    on_draws = [rung for rung in RUNGS if rung.endswith("instance")]
    certified = {
        rung: certified_stripe_sparsity(dictionary, contrast, delta, rung=rung)
        for rung in RUNGS
        if rung not in on_draws
    }
    if draws:
        whole = _written_out(dictionary)
        draw = costs.kept(functools.partial(_draw, whole, layer.name, contrast, draws, seed), draws)
        certified |= {
            rung: certified_stripe_sparsity(whole, contrast, delta, rung=rung, draws=draw) for rung in on_draws
        }
        certified = {rung: certified[rung] for rung in RUNGS}
    counts = np.arange(dictionary.stripe_size)
    babel, babel2 = (np.asarray(of(dictionary, counts)) for of in (coherence.babel, coherence.babel2))
    mu, welch = coherence.mutual_coherence(dictionary), coherence.welch_bound(dictionary)
    is_scaled = bool((layer.channel_scale != 1).any())
    alone = coherence.mutual_coherence(placed_in_groups(layer.alone, dictionary.grid)) if is_scaled else mu
    drawn = _random(layer, dictionary, seed)
    return LayerCertificate(
        layer.name, dictionary, layer.norms, layer.thresholds, mu, welch, babel, babel2, certified, segment,
        layer.activation, alone, coherence.mutual_coherence(drawn), np.asarray(coherence.babel(drawn, counts)),
        *_pairs(dictionary), layer.groups,
    )  # fmt: skip


def _written_out(dictionary: coherence.Atoms) -> ConvolutionalDictionary:
    """For what knows no groups: the guarantees that depend on supports."""
    return dictionary.written_out() if isinstance(dictionary, GroupedDictionary) else dictionary


def _pairs(dictionary: coherence.Atoms) -> tuple[CoherentPair, Split]:
    found = coherence.most_coherent(dictionary)
    return CoherentPair(*found[:4]), Split(*found[4:])


def _random(layer: ConvolutionLayer, dictionary: coherence.Atoms, seed: int) -> coherence.Atoms:
    """Gaussian filters of the same shape and groups."""
    rng = seeds.stream(seed, purpose="random filters", shape=list(layer.weight.shape), groups=layer.groups)
    return placed_in_groups(replace(layer.alone, weight=rng.standard_normal(layer.weight.shape)), dictionary.grid)


def _draw(
    dictionary: ConvolutionalDictionary, name: str, contrast: float, draws: int, seed: int, size: int
) -> Iterator[RaggedCodes]:
    """Draw codes of a given size, part by part; their signs do not matter to the guarantees."""
    at_once = costs.drawn_at_once(dictionary)
    for first in range(0, draws, at_once):
        yield sampling.draw_blocks(
            seed,
            min(at_once, draws - first),
            lambda rng, trials: sampling.sample_codes(
                rng,
                dictionary,
                trials,
                support={"name": "uniform", "size": size},
                magnitudes={"name": "uniform", "contrast": contrast},
            ),
            purpose="certificate",
            layer=name,
            size=size,
            first=first,
        )


class _Codes(NamedTuple):
    """
    Codes of a layer to be measured, and its thresholds.

    `given` is the input that they were computed from, if known, and `within` keeps what lies on it; `n_whole` of the
    `n_atoms` lie there, and `smallest_norm` is left of the others.
    """

    name: str
    dictionary: coherence.Atoms
    codes: NDArray
    thresholds: NDArray
    given: NDArray | None
    n_atoms: int
    n_whole: int | None
    smallest_norm: float = 1.0
    within: Callable[[NDArray], NDArray] = np.asarray


def _of_signals(network: Network, signals: NDArray, notes: list[str], largest: int) -> list[_Codes]:
    segment = _first_segment(network)
    rank, channels = segment.layers[0].rank, segment.layers[0].n_channels
    signals = _batch(signals, rank, channels, network.singleton, "signals")
    if not network.is_cascade:
        notes.append(f"Signals are run through the segment {' -> '.join(layer.name for layer in segment.layers)}.")
    if all(layer.padding is not None for layer in segment.layers):
        return _as_run(segment, signals, notes, largest)
    grid = segment.grids_from(signals.shape[2:])[0]
    if signals.shape[2:] != grid:
        notes.append(
            f"Zeros are appended to the signals of {_by(signals.shape[2:])} points: the smallest grid that holds them "
            f"and fits all layers has {_by(grid)}."
        )
    notes.append(
        "Measured are the codes that the layers themselves compute, with ReLU after each, on the periodic grid, as "
        "their padding is not known; to measure those of a network with all its parts, give its activations."
    )
    cascade = segment.cascade(grid)
    steps = zip(segment.layers, cascade.dictionaries, segment.forward(_extended(signals, grid), cascade), strict=True)
    return [
        _Codes(layer.name, of, codes, layer.thresholds, given, of.n_atoms, of.n_atoms)
        for layer, of, (given, codes) in steps
    ]


def _first_segment(network: Network) -> Network:
    """The segment that acts on signals: the only one, or the first that acts on the network's input."""
    if network.is_cascade:
        return network.segment(0)
    for number, source in enumerate(network.sources):
        if source == INPUT:
            return network.segment(number)
    raise UserError(
        f"the layers of {network.name} are {len(network.segments)} segments, none of which acts on the network's "
        "input: choose the layers of one with --layers or --chain, or give the activations."
    )


def _as_run(segment: Network, signals: NDArray, notes: list[str], largest: int) -> list[_Codes]:
    """The codes that the network itself computes."""
    runs = run_segment(segment, signals, largest)
    notes.append(
        "Measured are the codes that the network computes, with its padding; those of a last layer that another "
        "activation than ReLU follows are what is above 0 before it."
    )
    cut = [run for run in runs if run.n_whole < run.n_atoms]
    if cut:
        listed = ", ".join(f"{run.layer.name} ({run.n_whole} of {run.n_atoms})" for run in cut[:8])
        notes.append(
            f"The certificates speak of whole atoms: {listed}. The border of the input cuts the others, down to norm "
            f"{min(run.smallest_norm for run in cut):.2g}; their non-zeros are counted as if they were whole."
        )
    return [
        _Codes(run.layer.name, run.dictionary, run.codes, run.layer.thresholds, run.given, run.n_atoms, run.n_whole,
               run.smallest_norm, run.within)
        for run in runs
    ]  # fmt: skip


def _of_activations(network: Network, activations: Mapping[str, ArrayLike], notes: list[str]) -> Iterator[_Codes]:
    by_name = {layer.name: layer for layer in network.layers}
    unknown = sorted(set(activations) - set(by_name))
    if unknown:
        raise UserError(
            f"activations of {shown(unknown[0])} were given, which is no layer: {nearest(unknown[0], by_name)}"
        )
    missing = [name for name in by_name if name not in activations]
    if missing:
        notes.append(f"No activations were given of {', '.join(missing)}.")
    for name, layer in by_name.items():
        if name in activations:
            yield _of_activation(layer, real_array(activations[name], "activations"), network.singleton)


def _of_activation(layer: ConvolutionLayer, activation: NDArray, singleton: Sequence[int]) -> _Codes:
    what = f"activations of {layer.name!r}"
    codes = _batch(activation, layer.rank, layer.stored, singleton, what)[:, layer.kept]
    # An activation is the correlation with a filter as stored, of which the unit-norm atom is the direction.
    codes = codes / layer.norms.reshape(-1, *[1] * layer.rank)
    overlap = [math.ceil(taps / step) for taps, step in zip(layer.taps, layer.stride, strict=True)]
    # With that many empty positions no atom meets another across the border, as in a network, which does not wrap.
    positions = [max(n + o - 1, 2 * o - 1) for n, o in zip(codes.shape[2:], overlap, strict=True)]
    grid = [n * step for n, step in zip(positions, layer.stride, strict=True)]
    dictionary = placed_in_groups(layer, grid)
    return _Codes(layer.name, dictionary, _extended(codes, positions), layer.thresholds, None, codes[0].size, None)


def _batch(values: NDArray, rank: int, channels: int, singleton: Sequence[int], what: str) -> NDArray:
    """Bring an array to the shape (trial, channel, *space)."""
    if values.dtype.kind not in "iuf" or not values.size:
        raise UserError(f"the {what} of shape {values.shape} hold no real numbers: give an array of them.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise UserError(f"the {what} hold NaN or infinity: remove them.")
    full = rank + len(singleton)
    for first in (2, 1):  # axes of the weights along which nothing happens may still be there
        if singleton and values.ndim == full + first and all(values.shape[first + axis] == 1 for axis in singleton):
            values = values.reshape([n for axis, n in enumerate(values.shape) if axis - first not in singleton])
            break
    if singleton and values.ndim == full + 2 and values.shape[1] == channels:
        # Along these axes the layers do the same everywhere: each place is a trial.
        values = np.moveaxis(values, [2 + axis for axis in singleton], range(1, 1 + len(singleton)))
        values = values.reshape(-1, channels, *values.shape[2 + len(singleton) :])
    if values.ndim == rank + 1 and values.shape[0] == channels:
        values = values[None]
    elif values.ndim == rank + 1 and channels == 1:
        values = values[:, None]
    if values.ndim != rank + 2 or values.shape[1] != channels:
        raise UserError(
            f"the {what} have shape {values.shape}: give (trial, {channels} channels, then one axis for each of the "
            f"{rank} of the filters)."
        )
    return values


def _extended(values: NDArray, size: Sequence[int]) -> NDArray:
    """Append zeros along the spatial axes."""
    return np.pad(values, [(0, 0), (0, 0), *[(0, n - m) for n, m in zip(size, values.shape[2:], strict=True)]])


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _all_measured(given: Iterable[_Codes], delta: float, largest: int, notes: list[str]) -> tuple[MeasuredLayer, ...]:
    """Measure what can be; what cannot is a note, unless nothing can."""
    measured, refusals = [], []
    for codes in given:
        try:
            measured.append(_measured(codes, delta, largest))
        except UserError as refusal:
            refusals.append(refusal)
    if refusals and not measured:
        raise refusals[0]
    notes += [f"Not measured: {refusal}" for refusal in refusals]
    return tuple(measured)


def _measured(seen: _Codes, delta: float, largest: int) -> MeasuredLayer:
    """Measure the codes of one layer, as many at a time as the memory allows."""
    costs.check_kernel(seen.name, seen.dictionary, largest)
    codes, dictionary = seen.codes, _written_out(seen.dictionary)
    capacity = int(largest // (costs.CODE_COPIES * 8 * dictionary.n_atoms))
    if not capacity:
        raise UserError(
            f"a code of layer {seen.name!r} has {dictionary.n_atoms} atoms, which takes more than the "
            f"{in_gib(largest)} allowed: raise --memory."
        )
    covered: dict[str, list[NDArray]] = {rung: [] for rung in RUNGS}
    misfit, by_biases, failing = np.full((3, len(codes)), np.nan)
    active = np.count_nonzero(codes, axis=tuple(range(1, codes.ndim)))
    for start in range(0, len(codes), capacity):
        part = slice(start, start + capacity)
        for rung, holds in _covered(dictionary, codes[part], active[part] <= MOST_FACTORISED, delta).items():
            covered[rung].append(holds)
        paths = path_interference(Cascade([dictionary]), [codes[part]])
        run = as_run(paths, [seen.thresholds], rule="soft", delta=delta, by_filter=True)
        by_biases[part], failing[part] = run.covered, run.failure_bound
        if seen.given is not None:
            misfit[part] = _misfit(seen.given[part], seen.within(seen.dictionary.synthesize(codes[part])))
    stripes, contrasts = sparsity.stripe_norm(codes, dictionary), sparsity.contrast(codes, dictionary.rank)
    return MeasuredLayer(
        seen.name, active, seen.n_atoms, np.asarray(stripes), np.asarray(contrasts), misfit,
        {rung: np.concatenate(parts) for rung, parts in covered.items()}, by_biases.astype(bool), failing,
        int((active > MOST_FACTORISED).sum()), seen.n_whole, seen.smallest_norm,
    )  # fmt: skip


def _covered(
    dictionary: ConvolutionalDictionary, codes: NDArray, examined: NDArray, delta: float
) -> dict[str, NDArray]:
    """Which codes every rung covers; those of basis pursuit on supports none that are not to be examined."""
    model, others = Cascade([dictionary]), [rung for rung in RUNGS if rung not in SUPPORT_RUNGS]
    holds = ladder(model, [codes], delta=delta, rungs=others).holds
    for rung, found in ladder(model, [codes[examined]], delta=delta, rungs=SUPPORT_RUNGS).holds.items():
        holds[rung] = np.zeros(len(codes), dtype=bool)
        holds[rung][examined] = found
    return {rung: holds[rung] for rung in RUNGS}


def _misfit(given: NDArray, synthesized: NDArray) -> NDArray:
    """Relative l2 distance of signals from the best multiple of others."""
    axes = tuple(range(1, given.ndim))
    squared, norm = (given**2).sum(axis=axes), (synthesized**2).sum(axis=axes)
    inner = (given * synthesized).sum(axis=axes)
    explained = np.divide(inner**2, norm * squared, out=np.zeros_like(inner), where=(norm > 0) & (squared > 0))
    return np.where(squared > 0, np.sqrt(np.maximum(1 - explained, 0.0)), 0.0)
