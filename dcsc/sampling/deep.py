"""
Sampling of deep codes: draws of X^(L), and the codes X^(1), ..., X^(L) that follow from it.

Overlapping atoms of one layer can cancel, or nearly cancel, in the code above it, and no pursuit can find an entry
that nearly cancelled. The constraints of a draw avoid this in different ways, and decide which guarantees apply to the
draws (docs/theory.md, "Which samplers carry which certificate").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.arguments import checked_type
from dcsc.convolution.layouts import padded
from dcsc.errors import UserError, nearest, renamed
from dcsc.kernels import deep
from dcsc.kernels.arguments import Codes
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.layers import CANCELLED, layers_of, times_signs
from dcsc.model.sparsity import contrast
from dcsc.ragged import RaggedCodes, concatenate, take
from dcsc.sampling.registry import named
from dcsc.sampling.values import random_signs, sample_codes
from dcsc.sampling.worst_signs import worst_layer_signs

CONSTRAINTS = ("none", "contrast-floor", "no-overlap", "rejection")
"""What may be asked of a draw: nothing, or one of three ways to keep cancellations out."""


@dataclass(frozen=True, eq=False)
class DeepDraw:
    """
    A block of deep codes with their signs, contrasts and numbers of refused proposals.

    Parameters
    ----------
    codes : tuple of RaggedCodes
        X^(1), ..., X^(L), batch shape (trial,), float64.
    signs : tuple of ndarray of int8, each of shape (trial, filter, *position), or None
        T^(1), ..., T^(L) of D-CSC-R; None in the plain model.
    cancelled : ndarray of int64, shape (trial, layer)
        Entries that several atoms wrote to and that cancelled; 0 at the deepest layer.
    refused : ndarray of int64, shape (trial,)
        Insertions skipped, or whole draws refused before the one kept.
    certificates : tuple of str
        Guarantees that these draws can carry: 'uniform' and 'instance-uniform'; 'statistical' in the
        form of D-CSC-R (of one layer if there is only one), and 'statistical-optimised' if its t_l may be
        optimised for each draw; 'statistical-plain' in the form of the plain model, whose condition on
        the deepest atoms must still be checked; 'given-acceptance' if the statistical bounds must be
        divided by the chance of acceptance.
    """

    codes: tuple[RaggedCodes, ...]
    signs: tuple[NDArray, ...] | None
    cancelled: NDArray
    refused: NDArray
    certificates: tuple[str, ...]

    @cached_property
    def contrast(self) -> NDArray:
        """r_l = X_min / X_max obtained, shape (trial, layer); 1 for a code without non-zeros."""
        return np.stack([contrast(code, len(code.code_shape) - 1) for code in self.codes], axis=-1)

    @property
    def acceptance(self) -> float:
        """Share of whole draws that were accepted, an estimate of P(accept) under rejection."""
        return len(self.refused) / (len(self.refused) + int(self.refused.sum()))

    def signed_codes(self, layer: int) -> RaggedCodes:
        """
        Give the code that the convolutional dictionary of a layer acts on, T^(l) X^(l).

        The correlations of a layer with noiseless input are A^T A of it, up to the signs T^(l), so that
        `dcsc.convolution.sparse_path.margins` of it decides a trial.

        Parameters
        ----------
        layer : int
            1..L.

        Returns
        -------
        RaggedCodes
            X^(l) itself in the plain model.
        """
        return times_signs(self.codes[layer - 1], None if self.signs is None else self.signs[layer - 1])

    def cascade(self, dictionaries: Sequence[ConvolutionalDictionary]) -> Cascade:
        """
        Put the dictionaries together with the signs drawn.

        Parameters
        ----------
        dictionaries : sequence of ConvolutionalDictionary
            A^(1), ..., A^(L).

        Returns
        -------
        Cascade
            The model of these trials.
        """
        return Cascade(dictionaries, self.signs)


def _insertion_tables(dictionaries: Sequence[ConvolutionalDictionary]) -> deep.Layers:
    """Describe a cascade as the kernels take it, once."""
    return dictionaries[0].prepared(("layers", *dictionaries), lambda: _layers(dictionaries))


def _layers(dictionaries: Sequence[ConvolutionalDictionary]) -> deep.Layers:
    offset = np.cumsum([0, *[dictionary.n_atoms for dictionary in dictionaries]]).astype(np.int64)
    counts, indices, values, filter_offset = [np.zeros(1, np.int64)], [], [], [0]
    for dictionary in dictionaries:
        filters = dictionary.filters
        if dictionary.integer_filters is not None:
            filters = dictionary.integer_filters * dictionary.integer_scale
        filters = filters.reshape(*filters.shape[:2], *padded(dictionary.taps))
        nonzero = np.argwhere(filters)
        counts.append(np.bincount(nonzero[:, 0], minlength=dictionary.n_filters))
        indices.append(nonzero[:, 1:])
        values.append(filters[tuple(nonzero.T)].astype(np.float64))
        filter_offset.append(filter_offset[-1] + dictionary.n_filters)
    tap_start = np.cumsum(np.concatenate(counts)).astype(np.int64)
    return deep.Layers(
        offset,
        np.array([[padded(d.positions), padded(d.stride), padded(d.grid)] for d in dictionaries]),
        np.array(filter_offset[:-1], np.int64),
        tap_start,
        np.ascontiguousarray(np.concatenate(indices)),
        np.concatenate(values),
    )


def _reached(dictionaries: Sequence[ConvolutionalDictionary]) -> deep.Reached:
    """List the entries of X^(1) that the deepest atom of every filter at the origin writes to."""
    layers, fits, lists = _insertion_tables(dictionaries), [], []
    for number in range(dictionaries[-1].n_filters):
        entries: NDArray | None = np.array([[number, 0, 0, 0]])
        for layer in range(len(dictionaries) - 1, 0, -1):
            entries = None if entries is None else _passed_up(layers, layer, entries)
        fits.append(entries is not None)
        lists.append(np.empty((0, 4), np.int64) if entries is None else entries)
    moves = np.prod(layers.geometry[1:, 1], axis=0, dtype=np.int64)
    return deep.Reached(
        np.array(fits),
        np.cumsum([0, *map(len, lists)]).astype(np.int64),
        np.ascontiguousarray(np.concatenate(lists)).astype(np.int64),
        np.array([layers.geometry[-1, 0], moves, layers.geometry[0, 0]]),
        dictionaries[0].n_atoms,
    )


def _passed_up(layers: deep.Layers, layer: int, entries: NDArray) -> NDArray | None:
    """The entries of the code above that entries of a layer write to; None where two of them write to one."""
    rows = layers.filter_offset[layer] + entries[:, 0]
    firsts, lasts = layers.tap_start[rows], layers.tap_start[rows + 1]
    if (lasts - firsts).sum() > layers.offset[layer] - layers.offset[layer - 1]:  # more than there are entries
        return None
    _, steps, grid = layers.geometry[layer]
    taps = [layers.tap_index[first:last] for first, last in zip(firsts, lasts, strict=True)]
    moved = [
        np.column_stack([tap[:, 0], (tap[:, 1:] + entry[1:] * steps) % grid])
        for tap, entry in zip(taps, entries, strict=True)
    ]
    found = np.concatenate(moved)
    return found if len(np.unique(found, axis=0)) == len(found) else None


def _inserted(
    rng: np.random.Generator,
    dictionaries: Sequence[ConvolutionalDictionary],
    proposals: RaggedCodes,
    signs: Sequence[NDArray] | None,
    constraint: str,
    floor: float,
    keep: int | None,
) -> tuple[RaggedCodes, NDArray]:
    """Keep the proposals that fit, and count those that did not."""
    n_trials = len(proposals.row_size)
    accepted, refused = np.zeros(len(proposals.atom), dtype=bool), np.zeros(n_trials, np.int64)
    listed = Codes(proposals.atom, proposals.value, proposals.starts)
    most = len(proposals.atom) if keep is None else keep
    if constraint == "no-overlap":
        reached = dictionaries[0].prepared(("reached", *dictionaries), lambda: _reached(dictionaries))
        deep.insert_disjoint(rng, listed, most, reached, accepted, refused)
    else:
        together = np.empty((0, 0), np.int8)
        if signs is not None:
            together = np.concatenate([layer.reshape(n_trials, -1) for layer in signs], axis=1)
        layers = _insertion_tables(dictionaries)
        deep.insert_sequentially(rng, listed, together, most, float(floor), CANCELLED, layers, accepted, refused)
    trials = np.repeat(np.arange(n_trials), proposals.row_size)
    sizes = np.bincount(trials[accepted], minlength=n_trials).astype(np.int64)
    kept = RaggedCodes(sizes, proposals.atom[accepted], proposals.value[accepted], proposals.code_shape)
    return kept, refused


def certificates(constraint: str, depth: int, rademacher: bool, random_layers: bool) -> tuple[str, ...]:
    """
    List the guarantees that apply to the draws of a sampler.

    Parameters
    ----------
    constraint : str
        One of CONSTRAINTS.
    depth : int
        Number of layers.
    rademacher : bool
        Whether the deepest signs are Rademacher.
    random_layers : bool
        Whether T^(l) are drawn (D-CSC-R).

    Returns
    -------
    tuple of str
        As for `DeepDraw`.
    """
    always = ("uniform", "instance-uniform")
    # With one layer, a floor looks at magnitudes alone, and the signs stay Rademacher.
    if (constraint == "contrast-floor" and depth > 1) or not (rademacher or random_layers):
        return always
    statistical: tuple[str, ...] = ("statistical",)
    if depth > 1 and not random_layers:
        statistical = ("statistical-plain",)
    elif depth == 1 or constraint == "no-overlap":
        statistical = ("statistical", "statistical-optimised")
    divided = ("given-acceptance",) if constraint == "rejection" and depth > 1 else ()
    return (*always, *statistical, *divided)


@renamed(magnitude="magnitudes")
def deep_codes(
    rng: np.random.Generator,
    dictionaries: Sequence[ConvolutionalDictionary],
    trials: int,
    *,
    support: str | Mapping[str, Any],
    magnitudes: str | Mapping[str, Any] = "constant",
    signs: str | Mapping[str, Any] = "rademacher",
    layer_signs: np.random.Generator | Literal["worst-case"] | None = None,
    constraint: str = "none",
    floor: float = 0.0,
    keep: int | None = None,
    attempts: int = 1000,
) -> DeepDraw:
    """
    Draw a block of deep codes: the code of every layer of a cascade.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    trials : int
        How many to draw.
    support, magnitudes, signs : str or mapping
        Those of the deepest code, as for `sample_codes`; proposals, if the constraint inserts one by one.
    layer_signs : numpy.random.Generator or 'worst-case', optional
        A stream of its own for T^(1), ..., T^(L), drawn afresh for every trial (D-CSC-R); the worst
        signs of each layer against top-k; None is the plain model.
    constraint : {'none', 'contrast-floor', 'no-overlap', 'rejection'}
        'contrast-floor' inserts the proposals in random order and skips one if r_l would fall below the
        floor at any layer. 'no-overlap' skips one if two active atoms of any X^(l+1), l >= 1, would write
        to one entry of X^(l). 'rejection' repeats the whole draw of a trial, T included, until r_l
        reaches the floor at all layers.
    floor : float
        Smallest contrast allowed, for 'contrast-floor' and 'rejection'.
    keep : int, optional
        Stop an insertion at that many atoms, so that proposals can be made in excess.
    attempts : int
        Whole draws of a trial before rejection gives up.

    Returns
    -------
    DeepDraw
        Codes, signs, contrasts, refusals and certificates.

    Raises
    ------
    UserError
        When names or parameters are not allowed, or rejection gives up.
    """
    model = Cascade(dictionaries)  # refuses layers that do not fit one another
    _check_constraint(constraint, floor, keep)
    if isinstance(layer_signs, str) and (layer_signs != "worst-case" or constraint == "contrast-floor"):
        raise UserError(
            f"layer signs {layer_signs!r} are not allowed with constraint {constraint!r}: "
            "give a generator, or 'worst-case' without a contrast floor."
        )
    is_rademacher = named(signs)[0] == "rademacher" and not isinstance(layer_signs, str)
    held = certificates(constraint, model.depth, is_rademacher, isinstance(layer_signs, np.random.Generator))

    def attempt() -> DeepDraw:
        inner = None
        if isinstance(layer_signs, np.random.Generator):
            inner = tuple(
                random_signs(layer_signs, trials * d.n_atoms).reshape(trials, *d.code_shape) for d in model.dictionaries
            )
        deepest = sample_codes(rng, model.dictionaries[-1], trials, support=support, magnitudes=magnitudes, signs=signs)
        refused = np.zeros(trials, np.int64)
        if constraint in ("contrast-floor", "no-overlap"):
            n_proposed = len(deepest.atom)
            deepest, refused = _inserted(rng, model.dictionaries, deepest, inner, constraint, floor, keep)
            if n_proposed and keep != 0 and not len(deepest.atom):
                raise UserError(
                    f"constraint {constraint!r} refused every atom of {trials} trials: "
                    "lower the floor, use sparser filters, or drop the constraint."
                )
        if layer_signs == "worst-case":
            inner = worst_layer_signs(model.dictionaries, deepest)
        codes, cancelled = layers_of(model.dictionaries, deepest, inner)
        return DeepDraw(codes, inner, cancelled, refused, held)

    def is_refused(draw: DeepDraw) -> NDArray:
        return np.any(draw.contrast < floor, axis=1) if constraint == "rejection" else np.zeros(trials, dtype=bool)

    draw = attempt()
    for _ in range(attempts - 1):
        refused = is_refused(draw)
        if not refused.any():
            break
        draw = _redrawn(draw, attempt(), refused)
    if is_refused(draw).any():
        raise UserError(
            f"rejection found no draw of contrast {floor} in {attempts} attempts: lower the floor or the density."
        )
    return draw


def given_codes(dictionaries: Sequence[ConvolutionalDictionary], deepest: RaggedCodes) -> DeepDraw:
    """
    Derive the codes of every layer from deepest codes that were not drawn at random.

    Parameters
    ----------
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    deepest : RaggedCodes
        X^(L), batch shape (trial,).

    Returns
    -------
    DeepDraw
        In the plain model; such codes carry the uniform guarantees alone.

    Raises
    ------
    UserError
        When the codes are not finite numbers, or of another shape.
    """
    checked_type(dictionaries[-1], deepest)
    codes, cancelled = layers_of(Cascade(dictionaries).dictionaries, deepest)
    refused = np.zeros(deepest.row_size.shape, np.int64)
    return DeepDraw(codes, None, cancelled, refused, certificates("none", len(codes), False, False))


def _check_constraint(constraint: str, floor: float, keep: int | None) -> None:
    if constraint not in CONSTRAINTS:
        raise UserError(f"constraint {constraint!r} is unknown: {nearest(constraint, CONSTRAINTS)}")
    if not 0 <= floor <= 1:
        raise UserError(f"floor = {floor} is not allowed: give a contrast from 0 to 1.")
    if floor and constraint in ("none", "no-overlap"):
        raise UserError(
            f"constraint {constraint!r} has no floor: use 'contrast-floor' or 'rejection', or leave it out."
        )
    if keep is not None and (constraint not in ("contrast-floor", "no-overlap") or keep < 0 or keep != int(keep)):
        raise UserError(f"keep = {keep} is not allowed with constraint {constraint!r}: give a whole number to insert.")


def _redrawn(draw: DeepDraw, fresh: DeepDraw, refused: NDArray) -> DeepDraw:
    """Take the refused trials from a fresh draw; its others are dropped, so that each trial keeps its first success."""
    rows = np.arange(len(refused)) + len(refused) * refused

    def chosen(old: NDArray, new: NDArray) -> NDArray:
        return np.concatenate([old, new])[rows]

    return DeepDraw(
        tuple(take(concatenate(list(pair)), rows) for pair in zip(draw.codes, fresh.codes, strict=True)),
        None if draw.signs is None or fresh.signs is None else tuple(map(chosen, draw.signs, fresh.signs)),
        chosen(draw.cancelled, fresh.cancelled),
        draw.refused + refused,
        draw.certificates,
    )
