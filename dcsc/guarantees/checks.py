"""Checks of arguments shared by the guarantees, and the margin kept against rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.convolution.filter_bank import listed_codes
from dcsc.errors import UserError, nearest
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes


def check_choice(value: str, allowed: Sequence[str], name: str) -> None:
    """
    Refuse a misspelt option.

    Parameters
    ----------
    value : str
        What was asked for.
    allowed : sequence of str
        The options.
    name : str
        What the option sets, for the message.

    Raises
    ------
    UserError
        When the value is not among the options.
    """
    if value not in allowed:
        raise UserError(f"{name} {value!r} is unknown: {nearest(str(value), allowed)}")


def check_path(
    model: Cascade, codes: Sequence[ArrayLike | RaggedCodes], noise: ArrayLike
) -> tuple[list[RaggedCodes], NDArray]:
    """
    Check the codes of a path and the bound on the noise, and expand the bound to the batch.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        Bound on the patch norm of the noise, at least 0.

    Returns
    -------
    codes : list of RaggedCodes
        Floating-point codes of each layer, batch shape (...).
    noise : ndarray, shape (...)
        One bound a code of the batch.

    Raises
    ------
    UserError
        When the number of layers, a shape or the noise is not right.
    """
    if len(codes) != model.depth:
        raise UserError(f"{len(codes)} arrays of codes for {model.depth} layers: give [X^(1), ..., X^(L)].")
    listed = [listed_codes(code, dictionary) for code, dictionary in zip(codes, model.dictionaries, strict=True)]
    batches = {code.batch_shape for code in listed}
    if len(batches) != 1:
        raise UserError(f"the codes of the layers have different batch axes {sorted(batches)}: make them agree.")
    batch = batches.pop()
    noise = np.asarray(noise, dtype=np.float64)
    if not np.all(noise >= 0):
        raise UserError("the bound on the noise is negative or not a number: give 0 or more.")
    try:
        return listed, np.broadcast_to(noise, batch)
    except ValueError:
        raise UserError(f"the noise of shape {noise.shape} does not fit codes of batch axes {batch}.") from None


def rounding_guard(dictionary: ConvolutionalDictionary, x_max: NDArray, eps: NDArray) -> NDArray:
    """
    Margin by which a condition must hold so that rounding cannot make it a false promise.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        Whose atoms are unit norm up to rounding only.
    x_max, eps : ndarray, shape (...)
        Largest magnitude and bound on the input error, the scales of a correlation.

    Returns
    -------
    ndarray, shape (...)
        (deviation of the norms from 1 + 64 units of rounding) times the scale.
    """
    squared_norms = np.diagonal(dictionary.gram()[(..., *[n - 1 for n in dictionary.overlap])])
    relative = np.abs(squared_norms.astype(np.float64) - 1).max() + 64 * np.finfo(dictionary.dtype).eps
    return relative * (x_max + np.where(np.isfinite(eps), eps, 0.0))
