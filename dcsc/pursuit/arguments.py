"""Checks of the arguments of pursuits: signals, true codes, and options given for all layers or layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import common_batch, real_array, real_numbers
from dcsc.errors import UserError
from dcsc.model.cascade import Cascade


def checked_signals(model: Cascade, signals: ArrayLike) -> NDArray:
    """
    Check the signals given to a pursuit, and return them as an array.

    Parameters
    ----------
    model : Cascade
        The cascade.
    signals : array_like, shape (..., channel, *space)
        X^(0), or X^(0) + E; the batch may be empty.

    Returns
    -------
    ndarray, shape (..., channel, *space)
        The same.

    Raises
    ------
    UserError
        When they are not finite real numbers, or the last axes are not those of a signal of the cascade.
    """
    array = real_array(signals, "signals", model.dictionaries[0].signal_shape)
    return array.astype(np.float64) if array.dtype.kind == "b" else array


def batch_shape(model: Cascade, signals: NDArray) -> tuple[int, ...]:
    """
    Find the batch axes of signals and the signs of a model together.

    Parameters
    ----------
    model : Cascade
        The cascade.
    signals : ndarray, shape (..., channel, *space)
        From `checked_signals`.

    Returns
    -------
    tuple of int
        The batch shape.

    Raises
    ------
    UserError
        When the batch axes of signals and signs do not fit one another.
    """
    axes = [array.shape[: array.ndim - model.rank - 1] for array in (signals, *(model.signs or ()))]
    return common_batch("signals and signs", *axes)


def flat_batch(arrays: NDArray, batch: tuple[int, ...], shape: tuple[int, ...]) -> NDArray:
    """
    Put the members of a batch along one axis.

    Parameters
    ----------
    arrays : ndarray, shape (..., *shape)
        The members; their batch axes broadcast to the batch.
    batch : tuple of int
        The batch shape.
    shape : tuple of int
        Shape of a member.

    Returns
    -------
    ndarray, shape (trial, *shape)
        The members, in C order of the batch.
    """
    return np.broadcast_to(arrays, (*batch, *shape)).reshape(math.prod(batch), *shape)


def float_type(model: Cascade, signals: NDArray) -> np.dtype:
    """
    Find the type in which a pursuit gives its codes.

    Parameters
    ----------
    model : Cascade
        The cascade.
    signals : ndarray
        X^(0), or X^(0) + E.

    Returns
    -------
    dtype
        The wider one of the model's and the signals', float32 at least.
    """
    return np.result_type(model.dictionaries[0].dtype, signals if signals.dtype.kind == "f" else np.float32)


def true_codes(model: Cascade, reference: Sequence[ArrayLike] | None) -> list[NDArray]:
    """
    Check the true codes given to a pursuit, and return them as arrays.

    Parameters
    ----------
    model : Cascade
        The cascade.
    reference : sequence of array_like or None
        [X^(1), ..., X^(L)], if they are known.

    Returns
    -------
    list of ndarray
        The same; empty when they are not known.

    Raises
    ------
    UserError
        When they are not one per layer, or not finite real numbers of its shape.
    """
    if reference is None:
        return []
    if len(reference) != model.depth:
        raise UserError(f"{len(reference)} arrays of codes for {model.depth} layers: give [X^(1), ..., X^(L)].")
    shapes = [dictionary.code_shape for dictionary in model.dictionaries]
    numbered = enumerate(zip(reference, shapes, strict=True), start=1)
    return [real_array(code, f"reference codes of layer {layer}", shape) for layer, (code, shape) in numbered]


def support_sizes(codes: NDArray, rank: int) -> NDArray:
    """
    Count the active atoms of codes.

    Parameters
    ----------
    codes : ndarray, shape (..., filter, *position)
        Codes of one layer.
    rank : int
        Number of spatial axes.

    Returns
    -------
    ndarray of int, shape (...)
        Non-zeros of each code.
    """
    return np.asarray(np.count_nonzero(codes, axis=tuple(range(-rank - 1, 0))))


def check_layers(n_layers: int, **options: object) -> None:
    """
    Check that options given layer by layer have one entry per layer.

    Parameters
    ----------
    n_layers : int
        How many layers there are.
    **options
        Options by name; a text, a number or an array is for all layers.

    Raises
    ------
    UserError
        When a sequence is shorter or longer.
    """
    for name, option in options.items():
        if isinstance(option, Sequence) and not isinstance(option, str) and len(option) != n_layers:
            raise UserError(f"{name} has {len(option)} entries for {n_layers} layers: give one, or one per layer.")


def of_layer(option: Any, layer: int) -> Any:
    """
    Return the entry of an option for one layer.

    Parameters
    ----------
    option : sequence or array_like
        One entry per layer, or what holds for all.
    layer : int
        1..L.

    Returns
    -------
    array_like, shape () or (...)
        A number, or one per trial, as the user gave it.
    """
    return option[layer - 1] if isinstance(option, Sequence) and not isinstance(option, str) else option


def non_negative_of_layer(option: object, layer: int, batch: tuple[int, ...], name: str) -> NDArray:
    """
    Return the entry of an option for one layer, as numbers that are not negative.

    Parameters
    ----------
    option : sequence or array_like
        One entry per layer, or what holds for all.
    layer : int
        1..L.
    batch : tuple of int
        The batch shape.
    name : str
        The option, for the message.

    Returns
    -------
    ndarray of float64, shape (...)
        One number per trial.

    Raises
    ------
    UserError
        When a number is negative or NaN, or the numbers do not fit the batch.
    """
    return real_numbers(of_layer(option, layer), f"{name} of layer {layer}", batch, low=0).astype(np.float64)


def sizes_of_layer(option: object, layer: int, batch: tuple[int, ...], most: int, name: str) -> NDArray:
    """
    Return the entry of an option for one layer, as whole numbers within bounds.

    Parameters
    ----------
    option, layer, batch, name
        As for `non_negative_of_layer`.
    most : int
        The largest allowed number; the smallest is 0.

    Returns
    -------
    ndarray of int64, shape (...)
        One number per trial.

    Raises
    ------
    UserError
        When a number is not whole, negative or too large, or they do not fit the batch.
    """
    given, what = of_layer(option, layer), f"{name} of layer {layer}"
    return real_numbers(given, what, batch, low=0, high=most, whole=True).astype(np.int64)
