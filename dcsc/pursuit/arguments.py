"""What pursuits are given: signals and true codes as arrays, and options told once or layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.errors import UserError
from dcsc.model.cascade import Cascade


def batch_shape(model: Cascade, signals: NDArray) -> tuple[int, ...]:
    """
    Find the batch axes of signals and the signs of a model together.

    Parameters
    ----------
    model : Cascade
        The cascade.
    signals : ndarray, shape (..., channel, *space)
        X^(0), or X^(0) + E.

    Returns
    -------
    tuple of int
        The batch shape.

    Raises
    ------
    UserError
        When the last axes are not those of a signal of the cascade.
    """
    expected = model.dictionaries[0].signal_shape
    if signals.shape[-len(expected) :] != expected:
        raise UserError(f"signals of shape {signals.shape} do not fit: the last axes must be {expected}.")
    return np.broadcast_shapes(*[array.shape[: -model.rank - 1] for array in (signals, *(model.signs or ()))])


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
    return np.broadcast_to(arrays, (*batch, *shape)).reshape(-1, *shape)


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


def true_codes(reference: Sequence[ArrayLike] | None) -> list[NDArray]:
    """
    Make arrays of the true codes.

    Parameters
    ----------
    reference : sequence of array_like or None
        [X^(1), ..., X^(L)], if they are known.

    Returns
    -------
    list of ndarray
        The same; empty when they are not known.
    """
    return [] if reference is None else [np.asarray(code) for code in reference]


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
    Check that options told layer by layer have an entry for each.

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
            raise UserError(f"{name} has {len(option)} entries for {n_layers} layers: give one, or one a layer.")


def of_layer(option: object, layer: int) -> NDArray:
    """
    Take what an option says of a layer.

    Parameters
    ----------
    option : sequence or array_like
        One entry a layer, or what holds for all.
    layer : int
        1..L.

    Returns
    -------
    ndarray, shape () or (...)
        A number, or one a trial.
    """
    return np.asarray(option[layer - 1] if isinstance(option, Sequence) else option)


def non_negative_of_layer(option: object, layer: int, batch: tuple[int, ...], name: str) -> NDArray:
    """
    Take what an option says of a layer, in numbers from 0.

    Parameters
    ----------
    option : sequence or array_like
        One entry a layer, or what holds for all.
    layer : int
        1..L.
    batch : tuple of int
        The batch shape.
    name : str
        The option, for the message.

    Returns
    -------
    ndarray of float64, shape (...)
        One number a trial.

    Raises
    ------
    UserError
        When a number is negative.
    """
    numbers = of_layer(option, layer).astype(np.float64)
    if not (numbers >= 0).all():
        raise UserError(f"{name} {numbers.min():g} of layer {layer} is not allowed: give numbers from 0.")
    return np.broadcast_to(numbers, batch)


def check_whole(numbers: NDArray, most: int, what: str) -> None:
    """
    Demand whole numbers within bounds.

    Parameters
    ----------
    numbers : ndarray
        What the user gave.
    most : int
        The largest allowed number; the smallest is 0.
    what : str
        The option and its value, for the message.

    Raises
    ------
    UserError
        When a number is not whole, negative or too large.
    """
    if np.any(numbers < 0) or np.any(numbers > most) or np.any(numbers != np.floor(numbers)):
        raise UserError(f"{what} is not allowed: give whole numbers from 0 to {most}.")
