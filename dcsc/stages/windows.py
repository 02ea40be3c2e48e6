"""
Windows of real signals, and the deepest codes by which a cascade approximates them.

Real signals come without a code: the deepest code found here is a sparse approximation of the window, and
it is the truth of an experiment in the sense that its synthesis is what a pursuit is given. To add a signal::

    import numpy as np

    from dcsc.stages.windows import register


    @register("my-signal")
    def my_signal():
        return np.load("my_signal.npy")[None]  # (channel, *space)

and name the file under ``plugins:`` in the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dcsc.errors import UserError
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.pursuit.greedy import orthogonal_matching_pursuit
from dcsc.ragged import RaggedCodes
from dcsc.registry import Registry, returned

Source = Callable[[], NDArray]
SIGNALS: Registry[Source] = Registry("real signal")
register, names = SIGNALS.register, SIGNALS.names


@register("electrocardiogram")
def electrocardiogram() -> NDArray:
    """
    Give the electrocardiogram that PyWavelets ships.

    When to take it: for one-dimensional signals of nature without any file.

    Returns
    -------
    ndarray, shape (1, 1024)
        In the units of the recording.
    """
    import pywt

    return pywt.data.ecg()[None].astype(np.float64)


@register("photograph")
def photograph() -> NDArray:
    """
    Give the photograph of a cameraman that PyWavelets ships.

    When to take it: for two-dimensional signals of nature without any file.

    Returns
    -------
    ndarray, shape (1, 512, 512)
        Grey levels.
    """
    import pywt

    return pywt.data.camera()[None].astype(np.float64)


def check(name: str, dictionaries: Sequence[ConvolutionalDictionary]) -> None:
    """
    Check that a real signal has windows for a cascade, and that they can be approximated.

    Parameters
    ----------
    name : str
        A registered name.
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L); the grid of the first is the size of a window.

    Raises
    ------
    UserError
        When the name is unknown, the signal does not fit, or the effective atoms are too long for the grid.
    """
    _fitting(name, dictionaries[0])
    _effective(dictionaries)


def _fitting(name: str, dictionary: ConvolutionalDictionary) -> NDArray:
    expected = "finite real numbers of shape (channel, *space)"
    signal = returned(SIGNALS.described(name), SIGNALS.call(name), expected).astype(np.float64)
    window = dictionary.signal_shape
    fits = signal.ndim == len(window) and signal.shape[0] == window[0]
    if not fits or any(have < want for have, want in zip(signal.shape[1:], window[1:], strict=True)):
        raise UserError(f"real signal {name!r} of shape {signal.shape} has no windows of shape {window}: fit the grid.")
    return signal


def draw_windows(name: str, rng: np.random.Generator, dictionary: ConvolutionalDictionary, trials: int) -> NDArray:
    """
    Draw windows of a real signal at uniform places, and take the mean of each away.

    Windows may overlap, and a window's ends meet in the periodic model: the jump there is part of the signal.

    Parameters
    ----------
    name : str
        A registered name.
    rng : numpy.random.Generator
        The stream of this block.
    dictionary : ConvolutionalDictionary
        The first layer, whose grid is the size of a window.
    trials : int
        How many to draw.

    Returns
    -------
    ndarray, shape (trials, channel, *space)
        The windows.

    Raises
    ------
    UserError
        When the signal is unknown or does not fit.
    """
    signal = _fitting(name, dictionary)
    sizes = dictionary.signal_shape[1:]
    offsets = [have - want + 1 for have, want in zip(signal.shape[1:], sizes, strict=True)]
    starts = np.stack([rng.integers(0, offset, trials) for offset in offsets], axis=-1)
    windows = np.stack(
        [
            signal[(slice(None), *(slice(first, first + size) for first, size in zip(start, sizes, strict=True)))]
            for start in starts
        ]
    )
    return windows - windows.mean(axis=tuple(range(1, windows.ndim)), keepdims=True)


def approximate(dictionaries: Sequence[ConvolutionalDictionary], windows: NDArray, size: int) -> RaggedCodes:
    """
    Find deepest codes whose synthesis through all layers is close to given signals.

    Orthogonal matching pursuit with the effective dictionary A^(1)...A^(L), whose atoms are made unit-norm for it.

    Parameters
    ----------
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    windows : ndarray, shape (trial, channel, *space)
        The signals.
    size : int
        Active atoms of a code.

    Returns
    -------
    RaggedCodes
        Deepest codes, batch shape (trial,).

    Raises
    ------
    UserError
        When the effective atoms are too long for the grid.
    """
    effective, lengths = _effective(dictionaries)
    sizes, norms = np.full(len(windows), size), np.zeros(len(windows))
    codes = orthogonal_matching_pursuit(effective, windows, sizes, norms)[0]
    return RaggedCodes.from_dense(codes / lengths, dictionaries[-1].code_shape)


def _effective(dictionaries: Sequence[ConvolutionalDictionary]) -> tuple[ConvolutionalDictionary, NDArray]:
    """A^(1)...A^(L) with unit-norm atoms, and the norms that they had, against the axes of a code."""
    filters = Cascade(dictionaries).effective_dictionary(0)
    steps = tuple(map(math.prod, zip(*(dictionary.stride for dictionary in dictionaries), strict=True)))
    lengths = np.sqrt((filters**2).sum(axis=tuple(range(1, filters.ndim))))
    return (
        ConvolutionalDictionary(filters, steps, dictionaries[0].grid, normalize=True),
        lengths.reshape(-1, *[1] * len(steps)),
    )
