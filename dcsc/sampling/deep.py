"""
Deep codes: draws of X^(L) whose codes X^(1), ..., X^(L) all stay usable.

Overlapping atoms of one layer can cancel, or nearly, in the code above it, and no pursuit can see what
nearly cancelled. The constraints differ in what they do about it, and in the guarantees that their
draws still carry (docs/theory.md, "Which samplers carry which certificate").
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dcsc.dictionary import ConvolutionalDictionary
from dcsc.errors import UserError, nearest
from dcsc.kernels import deep
from dcsc.model import Cascade
from dcsc.ragged import RaggedCodes
from dcsc.sampling.layers import CANCELLED, contrasts, layers_of, times_signs, worst_layer_signs
from dcsc.sampling.registry import named
from dcsc.sampling.values import random_signs, sample_codes
from dcsc.sparse_path import AXES

CONSTRAINTS = ("none", "contrast-floor", "no-overlap", "rejection")
"""What may be asked of a draw: nothing, or one of three ways to keep cancellations out."""


@dataclass(frozen=True, eq=False)
class DeepDraw:
    """
    A block of deep codes, and how it came about.

    Parameters
    ----------
    codes : tuple of RaggedCodes
        X^(1), ..., X^(L), batch shape (trial,), float64.
    signs : tuple of ndarray of int8, each of shape (trial, filter, *position), or None
        T^(1), ..., T^(L) of D-CSC-R; None in the plain model.
    contrast : ndarray, shape (trial, layer)
        r_l = X_min / X_max obtained; 1 for a code without non-zeros.
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
    contrast: NDArray
    cancelled: NDArray
    refused: NDArray
    certificates: tuple[str, ...]

    @property
    def acceptance(self) -> float:
        """Share of whole draws that were accepted, an estimate of P(accept) under rejection."""
        return len(self.refused) / (len(self.refused) + int(self.refused.sum()))

    def signed_codes(self, layer: int) -> RaggedCodes:
        """
        Give the code that the convolutional dictionary of a layer acts on, T^(l) X^(l).

        The correlations of a layer with noiseless input are A^T A of it, up to the signs T^(l), so that
        `dcsc.sparse_path.margins` of it decides a trial.

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


@functools.lru_cache(maxsize=16)
def _insertion_tables(dictionaries: tuple[ConvolutionalDictionary, ...]) -> tuple[NDArray, ...]:
    """The arrays of `dcsc.kernels.deep` that describe a cascade."""
    offset = np.cumsum([0, *[dictionary.n_atoms for dictionary in dictionaries]]).astype(np.int64)
    geometry = np.ones((len(dictionaries), 3, AXES), dtype=np.int64)
    counts, indices, values, filter_offset = [np.zeros(1, np.int64)], [], [], [0]
    for layer, dictionary in enumerate(dictionaries):
        for row, numbers in enumerate((dictionary.positions, dictionary.stride, dictionary.grid)):
            geometry[layer, row, AXES - dictionary.rank :] = numbers
        exact = dictionary.integer_filters is not None
        filters = dictionary.integer_filters * dictionary.integer_scale if exact else dictionary.filters
        padded = filters.reshape(*filters.shape[:2], *[1] * (AXES - dictionary.rank), *dictionary.taps)
        nonzero = np.argwhere(padded)
        counts.append(np.bincount(nonzero[:, 0], minlength=dictionary.n_filters))
        indices.append(nonzero[:, 1:])
        values.append(padded[tuple(nonzero.T)].astype(np.float64))
        filter_offset.append(filter_offset[-1] + dictionary.n_filters)
    tap_start = np.cumsum(np.concatenate(counts)).astype(np.int64)
    return (
        offset,
        geometry,
        np.array(filter_offset[:-1], np.int64),
        tap_start,
        np.ascontiguousarray(np.concatenate(indices)),
        np.concatenate(values),
    )


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
    flat = [] if signs is None else [layer.reshape(n_trials, -1) for layer in signs]
    together = np.concatenate(flat, axis=1) if flat else np.empty((0, 0), np.int8)
    accepted, refused = np.zeros(len(proposals.atom), dtype=bool), np.zeros(n_trials, np.int64)
    deep.insert_sequentially(
        rng,
        proposals.atom,
        proposals.value,
        proposals.starts,
        together,
        len(proposals.atom) if keep is None else keep,
        float(floor),
        CANCELLED,
        constraint == "no-overlap",
        *_insertion_tables(tuple(dictionaries)),
        accepted,
        refused,
    )
    trials = np.repeat(np.arange(n_trials), proposals.row_size)
    sizes = np.bincount(trials[accepted], minlength=n_trials).astype(np.int64)
    kept = RaggedCodes(sizes, proposals.atom[accepted], proposals.value[accepted], proposals.code_shape)
    return kept, refused


def certificates(constraint: str, depth: int, rademacher: bool, random_layers: bool) -> tuple[str, ...]:
    """
    Guarantees that draws of a sampler can carry.

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
    if depth > 1 and not random_layers:
        held = (*always, "statistical-plain")
    elif depth == 1 or constraint == "no-overlap":
        held = (*always, "statistical", "statistical-optimised")
    else:
        held = (*always, "statistical")
    return (*held, "given-acceptance") if constraint == "rejection" and depth > 1 else held


def deep_codes(
    rng: np.random.Generator,
    dictionaries: Sequence[ConvolutionalDictionary],
    trials: int,
    *,
    support: str | Mapping[str, Any],
    magnitude: str | Mapping[str, Any] = "constant",
    signs: str | Mapping[str, Any] = "rademacher",
    layer_signs: np.random.Generator | Literal["worst-case"] | None = None,
    constraint: str = "none",
    floor: float = 0.0,
    keep: int | None = None,
    attempts: int = 1000,
) -> DeepDraw:
    """
    Draw a block of deep codes.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    trials : int
        How many to draw.
    support, magnitude, signs : str or mapping
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

    def attempt() -> tuple[RaggedCodes, tuple[NDArray, ...] | None, tuple[RaggedCodes, ...], NDArray, NDArray]:
        inner = None
        if isinstance(layer_signs, np.random.Generator):
            inner = tuple(
                random_signs(layer_signs, trials * d.n_atoms).reshape(trials, *d.code_shape) for d in model.dictionaries
            )
        deepest = sample_codes(rng, model.dictionaries[-1], trials, support=support, magnitude=magnitude, signs=signs)
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
        return inner, codes, cancelled, refused

    inner, codes, cancelled, refused = attempt()
    contrast = np.stack([contrasts(code) for code in codes], axis=-1)
    missing = np.any(contrast < floor, axis=1) if constraint == "rejection" else np.zeros(trials, dtype=bool)
    for _ in range(attempts - 1):
        if not missing.any():
            break
        refused[missing] += 1
        fresh_inner, fresh_codes, fresh_cancelled, _ = attempt()
        # Draws of a repeated block that are not missing are dropped, so that each trial keeps its first success.
        codes = tuple(_replaced(old, new, missing) for old, new in zip(codes, fresh_codes, strict=True))
        cancelled[missing] = fresh_cancelled[missing]
        if inner is not None:
            inner = tuple(
                np.where(missing.reshape(-1, *[1] * (old.ndim - 1)), new, old)
                for old, new in zip(inner, fresh_inner, strict=True)
            )
        contrast = np.stack([contrasts(code) for code in codes], axis=-1)
        missing = np.any(contrast < floor, axis=1)
    if missing.any():
        raise UserError(
            f"rejection found no draw of contrast {floor} in {attempts} attempts: lower the floor or the density."
        )
    name, _ = named(signs)
    drawn = isinstance(layer_signs, np.random.Generator)
    held = certificates(constraint, model.depth, name == "rademacher" and not isinstance(layer_signs, str), drawn)
    return DeepDraw(codes, inner, contrast, cancelled, refused, held)


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
    """
    codes, cancelled = layers_of(Cascade(dictionaries).dictionaries, deepest)
    contrast = np.stack([contrasts(code) for code in codes], axis=-1)
    refused = np.zeros(deepest.row_size.shape, np.int64)
    return DeepDraw(codes, None, contrast, cancelled, refused, certificates("none", len(codes), False, False))


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


def _replaced(old: RaggedCodes, new: RaggedCodes, where: NDArray) -> RaggedCodes:
    """Take some codes of a batch from another one."""
    sizes = np.where(where, new.row_size, old.row_size)
    sources = [(new if taken else old, trial) for trial, taken in enumerate(where)]
    starts = {id(codes): codes.starts for codes in (old, new)}
    spans = [(codes, slice(starts[id(codes)][trial], starts[id(codes)][trial + 1])) for codes, trial in sources]
    atoms = np.concatenate([codes.atom[span] for codes, span in spans])
    values = np.concatenate([codes.value[span] for codes, span in spans])
    return RaggedCodes(sizes, atoms, values, old.code_shape)
