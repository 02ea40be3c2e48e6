"""The same tasks as a demanding user of PyTorch or scipy.fft would write them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft
import torch
from torch.nn.functional import conv1d, conv2d, conv_transpose1d, pad


class Torch:
    """
    Periodic convolutions of PyTorch, in chunks of trials.

    Parameters
    ----------
    filters : ndarray, shape (filter, 1, *tap)
        The filters, stride 1, of one or two dimensions.
    chunk : int
        Trials a call; small ones keep the result in the cache.
    """

    def __init__(self, filters: np.ndarray, chunk: int) -> None:
        self.filters = torch.from_numpy(np.array(filters))
        self.taps = filters.shape[-1]
        self.more = [n for taps in filters.shape[:1:-1] for n in (0, taps - 1)]  # the last axis first
        self.convolve = conv1d if filters.ndim == 3 else conv2d
        self.chunk = chunk

    @torch.no_grad()
    def analyse(self, signals: np.ndarray, out: np.ndarray, beta: float | None = None) -> None:
        """Convolve and, with a threshold, apply ReLU(c - beta)."""
        y, target = torch.from_numpy(signals), torch.from_numpy(out)
        for first in range(0, len(y), self.chunk):
            padded = pad(y[first : first + self.chunk], self.more, mode="circular")
            found = self.convolve(padded, self.filters)
            target[first : first + self.chunk] = found if beta is None else found.sub_(beta).relu_()

    @torch.no_grad()
    def synthesize(self, codes: np.ndarray, out: np.ndarray) -> None:
        """Transposed convolution."""
        x, target = torch.from_numpy(codes), torch.from_numpy(out)
        n = codes.shape[-1]
        for first in range(0, len(x), self.chunk):
            long = conv_transpose1d(x[first : first + self.chunk], self.filters)
            long[..., : self.taps - 1] += long[..., n:]
            target[first : first + self.chunk] = long[..., :n]

    def trial(self, codes: np.ndarray, signals: np.ndarray, correlations: np.ndarray) -> None:
        """Synthesis and analysis of each chunk, while it is in the cache."""
        for first in range(0, len(codes), self.chunk):
            rows = slice(first, first + self.chunk)
            self.synthesize(codes[rows], signals[rows])
            self.analyse(signals[rows], correlations[rows])


class TorchCascade:
    """
    A trial of layered thresholding with PyTorch: a cascade of transposed convolutions, then the forward pass.

    Parameters
    ----------
    filters : sequence of ndarray, each of shape (filter, channel, tap)
        From layer 1 on.
    strides : sequence of int
        Of each layer.
    chunk : int
        Trials a call.
    """

    def __init__(self, filters: Sequence[np.ndarray], strides: Sequence[int], chunk: int) -> None:
        self.layers = [
            (torch.from_numpy(np.array(of_one)), step) for of_one, step in zip(filters, strides, strict=True)
        ]
        self.chunk = chunk

    @torch.no_grad()
    def trial(self, deepest: np.ndarray, thresholds: list[float]) -> list[torch.Tensor]:
        """Make signals of deepest codes, and threshold the correlations of every layer by magnitude."""
        found = []
        for first in range(0, len(deepest), self.chunk):
            current = torch.from_numpy(deepest[first : first + self.chunk])
            for filters, step in self.layers[::-1]:
                points = current.shape[-1] * step
                long = conv_transpose1d(current, filters, stride=step)
                current = long[..., :points].clone()
                current[..., : long.shape[-1] - points] += long[..., points:]
            for (filters, step), beta in zip(self.layers, thresholds, strict=True):
                padded = pad(current, (0, filters.shape[-1] - step), mode="circular")
                current = conv1d(padded, filters, stride=step)
                current.masked_fill_(current.abs() <= beta, 0)
            found.append(current)
        return found


class Fourier:
    """
    Periodic convolutions of scipy.fft.

    Parameters
    ----------
    filters : ndarray, shape (filter, 1, *tap)
        The filters, stride 1.
    grid : tuple of int
        Points an axis.
    workers : int
        Threads.
    """

    def __init__(self, filters: np.ndarray, grid: tuple[int, ...], workers: int) -> None:
        self.grid = grid
        self.axes = tuple(range(-len(grid), 0))
        self.spectra = scipy.fft.rfftn(filters, grid, self.axes)[:, 0].conj()
        self.workers = workers

    def analyse(self, signals: np.ndarray, out: np.ndarray, beta: float) -> None:
        """Convolve and apply ReLU(c - beta), 16 trials at a time."""
        for first in range(0, len(signals), 16):
            spectrum = scipy.fft.rfftn(signals[first : first + 16], axes=self.axes, workers=self.workers)
            found = scipy.fft.irfftn(
                spectrum * self.spectra, self.grid, self.axes, workers=self.workers, overwrite_x=True
            )
            np.maximum(found - beta, 0, out=out[first : first + 16])
