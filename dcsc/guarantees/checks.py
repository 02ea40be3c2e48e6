"""Checks of arguments that the guarantees share, and the margin that allows for rounding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution.filter_bank import listed_codes
from dcsc.errors import UserError, nearest
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import extreme_magnitudes
from dcsc.ragged import RaggedCodes, reduce_codes

RULES = ("hard", "relu", "soft")
SIGNS = ("deepest", "rademacher")


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
        One bound per code of the batch.

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
    return listed, real_numbers(noise, "noise", batch, low=0).astype(np.float64)


def flat_path(
    model: Cascade, codes: Sequence[ArrayLike | RaggedCodes], noise: ArrayLike = 0.0
) -> tuple[list[RaggedCodes], NDArray, tuple[int, ...]]:
    """
    Check the codes of a path and the bound on the noise, and give them a single batch axis.

    Parameters
    ----------
    model, codes, noise
        As for `check_path`.

    Returns
    -------
    codes : list of RaggedCodes
        Floating-point codes of each layer, batch shape (code,).
    noise : ndarray, shape (code,)
        One bound per code.
    batch : tuple of int
        The batch shape as given.

    Raises
    ------
    UserError
        As `check_path`.
    """
    listed, eps = check_path(model, codes, noise)
    return [code.reshape((eps.size,)) for code in listed], np.array(eps).ravel(), eps.shape


def check_rule(rule: str, signs: str) -> None:
    """
    Refuse a thresholding that is unknown, or that cannot return the codes of the signs.

    Parameters
    ----------
    rule : str
        One of `RULES`.
    signs : str
        One of `SIGNS`.

    Raises
    ------
    UserError
        When the rule is unknown or does not fit the signs.
    """
    check_choice(rule, RULES, "rule")
    if rule == "relu" and signs == "deepest":
        raise UserError("signs 'deepest' gives codes of both signs, which ReLU cannot return: use rule 'soft'.")


def has_negative(codes: RaggedCodes) -> NDArray:
    """
    Tell which codes have a negative entry.

    Parameters
    ----------
    codes : RaggedCodes
        Codes of any batch shape.

    Returns
    -------
    ndarray of bool, shape (...)
        Whether some entry is below 0.
    """
    return reduce_codes(np.minimum, codes.value, codes, 0.0) < 0


def rounding_guard(dictionary: ConvolutionalDictionary, codes: RaggedCodes, eps: ArrayLike) -> NDArray:
    """
    Margin by which a condition must hold so that rounding cannot make it a false promise.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        Whose atoms are unit norm up to rounding only.
    codes : RaggedCodes
        Codes of batch shape (...), whose largest magnitude is a scale of a correlation.
    eps : array_like, shape () or (...)
        Bound on the input error, the other scale.

    Returns
    -------
    ndarray, shape (...)
        (deviation of the norms from 1 + 64 units of rounding) times the scale.
    """
    lags = dictionary.gram().reshape(dictionary.n_filters, dictionary.n_filters, -1)
    squared_norms = np.diagonal(lags[..., lags.shape[2] // 2])  # the middle is lag 0 along all axes
    relative = np.abs(squared_norms.astype(np.float64) - 1).max() + 64 * np.finfo(dictionary.dtype).eps
    return relative * (extreme_magnitudes(codes, dictionary.rank)[1] + np.where(np.isfinite(eps), eps, 0.0))
