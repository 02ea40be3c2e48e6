"""Magnitudes and signs on given supports, and codes of one layer from all three."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_array
from dcsc.convolution.arguments import checked_type
from dcsc.errors import UserError, renamed
from dcsc.model import coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes, reduce_codes
from dcsc.registry import returned
from dcsc.sampling import adversary
from dcsc.sampling.registry import MAGNITUDES, SIGNS, named, register_magnitudes, register_signs
from dcsc.sampling.supports import draw_supports


def draw_magnitudes(
    name: str, rng: Generator, count: int, supports: RaggedCodes | None = None, **parameters: Any
) -> NDArray:
    """
    Draw magnitudes by the name of their distribution.

    Parameters
    ----------
    name : str
        A registered law: 'constant', 'uniform', 'log-uniform', 'half-normal', 'by-filter', 'given' or a plug-in's.
    rng : numpy.random.Generator
        The stream of this block.
    count : int
        How many to draw.
    supports : RaggedCodes, optional
        The atoms whose magnitudes they are, `count` in all, for laws that depend on them.
    **parameters
        Those of the distribution.

    Returns
    -------
    ndarray of float64, shape (count,)
        Positive numbers.

    Raises
    ------
    UserError
        When the name or parameters are not allowed, the supports are missing, or what was drawn is not positive.
    """
    law, owner = MAGNITUDES.check(name, parameters), MAGNITUDES.described(name)
    if _takes_supports(law):
        if supports is None or len(supports.atom) != count:
            raise UserError(f"magnitude {name!r} depends on the supports: pass those of the {count} atoms.")
        parameters["supports"] = supports
    expected = f"{count} positive numbers"
    drawn = returned(owner, MAGNITUDES.call(name, rng, count, **parameters), expected, (count,))
    drawn = drawn.astype(np.float64, copy=False)
    if np.any(drawn <= 0):
        raise UserError(f"{owner} returned numbers that are not positive: it must return {expected}.")
    return drawn


@cache
def _takes_supports(law: Callable[..., Any]) -> bool:
    """Whether a law of magnitudes depends on the supports; kept, as a job asks for every block."""
    return "supports" in inspect.signature(law).parameters


def _checked_contrast(contrast: float) -> float:
    if not 0 < contrast <= 1:
        raise UserError(f"contrast = {contrast} is not allowed: give a number above 0, at most 1.")
    return float(contrast)


@register_magnitudes("constant")
def constant(rng: Generator, count: int, *, value: float = 1.0) -> NDArray:
    """
    Give all non-zeros the same magnitude.

    When to take it: for the codes that are easiest to recover, of contrast 1; only the supports then matter.

    Parameters
    ----------
    rng : numpy.random.Generator
        Not used.
    count : int
        How many.
    value : float
        The magnitude.

    Returns
    -------
    ndarray, shape (count,)
        The magnitudes.
    """
    return np.full(count, float(value))


@register_magnitudes("uniform")
def uniform(rng: Generator, count: int, *, contrast: float = 0.5) -> NDArray:
    """
    Draw magnitudes uniformly between the contrast and 1.

    When to take it: for magnitudes that vary within known limits, as most guarantees assume.

    Parameters
    ----------
    rng, count
        As for `draw_magnitudes`.
    contrast : float
        Smallest over largest possible magnitude, in (0, 1].

    Returns
    -------
    ndarray, shape (count,)
        The magnitudes.
    """
    low = _checked_contrast(contrast)
    return low + (1 - low) * rng.random(count)


@register_magnitudes("log-uniform")
def log_uniform(rng: Generator, count: int, *, contrast: float = 0.1) -> NDArray:
    """
    Draw magnitudes between the contrast and 1 whose logarithm is uniform.

    When to take it: for magnitudes over several orders of magnitude, all orders equally likely.

    Parameters
    ----------
    rng, count, contrast
        As for `uniform`.

    Returns
    -------
    ndarray, shape (count,)
        The magnitudes.
    """
    return np.exp(math.log(_checked_contrast(contrast)) * rng.random(count))


@register_magnitudes("half-normal")
def half_normal(rng: Generator, count: int, *, scale: float = 1.0) -> NDArray:
    """
    Draw magnitudes of normal numbers; their contrast has no lower bound.

    When to take it: for codes with a Gaussian prior. Thresholding always loses the smallest entries.

    Parameters
    ----------
    rng, count
        As for `draw_magnitudes`.
    scale : float
        Standard deviation of the normal numbers.

    Returns
    -------
    ndarray, shape (count,)
        The magnitudes.

    Raises
    ------
    UserError
        When the scale is not positive.
    """
    if not scale > 0:
        raise UserError(f"scale = {scale} is not allowed: give a positive number.")
    return scale * np.maximum(np.abs(rng.standard_normal(count)), np.finfo(np.float64).tiny)


@register_magnitudes("by-filter")
def by_filter(rng: Generator, count: int, *, contrast: float = 0.1, supports: RaggedCodes) -> NDArray:
    """
    Give each filter one magnitude, in geometric steps from 1 for the first to the contrast for the last.

    When to take it: when some filters are always stronger than others; a threshold for each filter is then better
    than a common one.

    Parameters
    ----------
    rng : numpy.random.Generator
        Not used.
    count : int
        How many.
    contrast : float
        Smallest over largest magnitude, in (0, 1].
    supports : RaggedCodes
        The atoms.

    Returns
    -------
    ndarray, shape (count,)
        The magnitudes; 1 where there is one filter.
    """
    n_filters, positions = supports.code_shape[0], math.prod(supports.code_shape[1:])
    return _checked_contrast(contrast) ** (supports.atom // positions / max(1, n_filters - 1))


@register_magnitudes("given")
def given_magnitudes(rng: Generator, count: int, *, values: ArrayLike, supports: RaggedCodes) -> NDArray:
    """
    Use the given magnitudes.

    When to take it: with given supports whose magnitudes are known, too.

    Parameters
    ----------
    rng : numpy.random.Generator
        Not used.
    count : int
        How many.
    values : array_like of positive numbers, shape (non-zero,) or (..., filter, *position)
        One per non-zero, or one per atom; axes of length 1 stand for any, as in [[1.0], [0.5]], one per filter of two.
    supports : RaggedCodes
        The atoms.

    Returns
    -------
    ndarray, shape (count,)
        The magnitudes.

    Raises
    ------
    UserError
        When a value is not positive, or the shape does not fit the non-zeros.
    """
    given = real_array(values, "values")
    if given.ndim == 1 and len(given) != count:
        raise UserError(f"values of shape {given.shape} do not fit {count} non-zeros: give one each, or one per atom.")
    if np.any(given <= 0):
        raise UserError(f"values hold {given[given <= 0].flat[0]}: give positive numbers.")
    return _of_nonzeros(given, "values", supports)


def draw_signs(
    name: str, rng: Generator, dictionary: ConvolutionalDictionary, magnitudes: RaggedCodes, **parameters: Any
) -> NDArray:
    """
    Choose signs by the name of their rule.

    Parameters
    ----------
    name : str
        A registered rule: 'rademacher', 'positive', 'given', 'worst-case', 'worst-case-of-atom' or a plug-in's.
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    magnitudes : RaggedCodes
        Supports and magnitudes.
    **parameters
        Those of the rule.

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        -1 or +1.

    Raises
    ------
    UserError
        When the name or parameters are not allowed, or other values come out.
    """
    checked_type(dictionary, magnitudes)
    SIGNS.check(name, parameters)
    owner, shape = SIGNS.described(name), magnitudes.value.shape
    expected = f"one -1 or +1 for each of {shape[0]} non-zeros"
    signs = returned(owner, SIGNS.call(name, rng, dictionary, magnitudes, **parameters), expected, shape)
    if not np.all(np.abs(signs) == 1):
        raise UserError(f"{owner} returned other values: it must return {expected}.")
    return signs.astype(np.int8)


@register_signs("rademacher")
def rademacher(rng: Generator, dictionary: ConvolutionalDictionary, magnitudes: RaggedCodes) -> NDArray:
    """
    Draw independent signs, +1 and -1 equally likely.

    When to take it: for the typical case, and for every statistical guarantee.

    Parameters
    ----------
    rng, dictionary, magnitudes
        As for `draw_signs`.

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        The signs.
    """
    return random_signs(rng, len(magnitudes.value))


def random_signs(rng: Generator, count: int) -> NDArray:
    """
    Draw Rademacher signs, one random bit each.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream.
    count : int
        How many.

    Returns
    -------
    ndarray of int8, shape (count,)
        -1 or +1.
    """
    bits = np.unpackbits(np.frombuffer(rng.bytes((count + 7) // 8), np.uint8), count=count)
    return (2 * bits.astype(np.int8) - 1).astype(np.int8)


@register_signs("positive")
def positive(rng: Generator, dictionary: ConvolutionalDictionary, magnitudes: RaggedCodes) -> NDArray:
    """
    Give all entries the sign +1, as ReLU needs.

    When to take it: for ReLU in one layer, or at the deepest one.

    Parameters
    ----------
    rng, dictionary, magnitudes
        As for `draw_signs`.

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        The signs.
    """
    return np.ones(len(magnitudes.value), np.int8)


@register_signs("given")
def given(rng: Generator, dictionary: ConvolutionalDictionary, magnitudes: RaggedCodes, *, signs: ArrayLike) -> NDArray:
    """
    Use the given signs.

    When to take it: when signs are given, for example by a measured code.

    Parameters
    ----------
    rng, dictionary, magnitudes
        As for `draw_signs`.
    signs : array_like of -1 and +1, shape (non-zero,) or (..., filter, *position)
        One per non-zero, or one per atom; axes of length 1 stand for any, as in [[1], [-1]], one per filter of two.

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        The signs.
    """
    return _of_nonzeros(real_array(signs, "signs", finite=False), "signs", magnitudes)


def _of_nonzeros(values: NDArray, what: str, codes: RaggedCodes) -> NDArray:
    """Take the values of a user's at the non-zeros of codes: one per non-zero as they are, or one per atom."""
    if values.ndim == 1:
        return values
    shape = (*codes.batch_shape, *codes.code_shape)
    n_trials, n_atoms = codes.row_size.size, math.prod(codes.code_shape)
    try:
        everywhere = np.broadcast_to(values, shape).reshape(n_trials, n_atoms)
    except ValueError:
        raise UserError(f"{what} of shape {values.shape} do not fit: give one per non-zero, or {shape}.") from None
    trials = np.repeat(np.arange(n_trials), codes.row_size.ravel())
    return everywhere[trials, codes.atom]


@register_signs("worst-case")
def worst_case(
    rng: Generator,
    dictionary: ConvolutionalDictionary,
    magnitudes: RaggedCodes,
    *,
    threshold: ArrayLike | Literal["statistical", "uniform"] | None = None,
    pursuit: Literal["thresholding", "basis-pursuit"] = "thresholding",
) -> NDArray:
    """
    Choose worst-case signs: recovery has the smallest margin, or fails by the most.

    When to take it: for the worst case, to compare with the guarantees for all signs.

    Parameters
    ----------
    rng, dictionary, magnitudes
        As for `draw_signs`.
    threshold : float, array_like of shape (trials,), 'statistical' or 'uniform', optional
        The threshold that must fail, 'statistical' for X_min/2 of each code, 'uniform' for the middle
        (X_min + mu X_max)/2 of [PRE17] Theorem 8; by default top-k must.
    pursuit : {'thresholding', 'basis-pursuit'}
        What must fail. Against basis pursuit in its equality form they break its certificate if any signs do, and
        likely the pursuit (worst-case-like); it has no threshold.

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        The signs.

    Raises
    ------
    UserError
        When the threshold or the pursuit is unknown, or a threshold is given for basis pursuit.
    """
    if pursuit == "basis-pursuit":
        if threshold is not None:
            raise UserError(f"threshold {threshold!r} is not for pursuit 'basis-pursuit', which has none: remove it.")
        return adversary.worst_signs_for_basis_pursuit(dictionary, magnitudes, threads=1).signs
    if pursuit != "thresholding":
        raise UserError(f"pursuit {pursuit!r} is unknown: give 'thresholding' or 'basis-pursuit'.")
    if threshold is None:
        return adversary.worst_signs_for_top_k(dictionary, magnitudes).signs
    if isinstance(threshold, str):
        if threshold not in ("statistical", "uniform"):
            raise UserError(f"threshold {threshold!r} is unknown: give a number, 'statistical' or 'uniform'.")
        smallest = reduce_codes(np.minimum, magnitudes.value, magnitudes, np.inf)
        largest = reduce_codes(np.maximum, magnitudes.value, magnitudes, 0.0)
        reach = coherence.mutual_coherence(dictionary) if threshold == "uniform" else 0.0
        threshold = (smallest + reach * largest) / 2
    return adversary.worst_signs_for_threshold(dictionary, magnitudes, threshold).signs


@register_signs("worst-case-of-atom")
def worst_case_of_atom(
    rng: Generator, dictionary: ConvolutionalDictionary, magnitudes: RaggedCodes, *, atom: ArrayLike
) -> NDArray:
    """
    Choose the signs with the largest interference at one given atom.

    When to take it: to see one atom fail, or to test a bound at an atom.

    Parameters
    ----------
    rng, dictionary, magnitudes
        As for `draw_signs`.
    atom : int or array_like of int, shape (trials,)
        The atom, in C order of (filter, *position).

    Returns
    -------
    ndarray of int8, shape (non-zero,)
        The signs.
    """
    return adversary.worst_signs_of_atom(dictionary, magnitudes, atom)


@renamed(magnitude="magnitudes")
def sample_codes(
    rng: Generator,
    dictionary: ConvolutionalDictionary,
    trials: int,
    *,
    support: str | Mapping[str, Any],
    magnitudes: str | Mapping[str, Any] = "constant",
    signs: str | Mapping[str, Any] = "rademacher",
) -> RaggedCodes:
    """
    Draw sparse codes of one layer: supports, magnitudes and signs.

    Parameters
    ----------
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The layer.
    trials : int
        How many to draw.
    support, magnitudes, signs : str or mapping
        A registered name, or a mapping of `name` and the parameters.

    Returns
    -------
    RaggedCodes
        Batch shape (trials,), float64 values.

    Raises
    ------
    UserError
        When a name or parameter is not allowed.

    Examples
    --------
    >>> import dcsc
    >>> dictionary = dcsc.families.create("gaussian", grid=64, seed=0, n_filters=4, taps=8, stride=2)
    >>> codes = dcsc.sampling.sample_codes(
    ...     dcsc.seeds.stream(0), dictionary, 5, support={"name": "uniform", "size": 3}, magnitudes="uniform"
    ... )
    >>> codes.row_size
    array([3, 3, 3, 3, 3])
    >>> codes.to_dense().shape
    (5, 4, 32)
    """
    name, parameters = named(support)
    supports = draw_supports(name, rng, dictionary, trials, **parameters)
    name, parameters = named(magnitudes)
    unsigned = supports.with_values(draw_magnitudes(name, rng, len(supports.atom), supports, **parameters))
    name, parameters = named(signs)
    return unsigned.with_values(unsigned.value * draw_signs(name, rng, dictionary, unsigned, **parameters))
