"""Sums of periodic arrays that non-zeros of a code add, each of its filter's array, moved along with its position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.layouts import AXES, padded, run_scratch, runs_of
from dcsc.kernels import scatter
from dcsc.kernels.arguments import Patterns, Runs
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes, kernel_codes


@dataclass(frozen=True, eq=False)
class MovedArrays:
    """
    What a non-zero of each filter adds, cut out of a period where it is not 0.

    Parameters
    ----------
    pattern : ndarray of float64, shape (entry,)
        What `dcsc.kernels.scatter.add_runs` takes.
    runs : Runs
        Where its runs lie.
    back : tuple of int
        How many positions before that of a non-zero its pattern begins, one number per axis.
    """

    pattern: NDArray
    runs: Runs
    back: tuple[int, ...]

    @classmethod
    def of(
        cls, arrays: NDArray, positions: Sequence[int], steps: Sequence[int], reached: Sequence[NDArray]
    ) -> MovedArrays:
        """
        Prepare arrays.

        Parameters
        ----------
        arrays : ndarray, shape (filter, row, *place)
            What a non-zero of 1 of each filter adds at position 0, periodic in the places.
        positions : sequence of int
            Positions of the code along each axis; times the steps, they are the places.
        steps : sequence of int
            Places that the array of the next position lies further along each axis.
        reached : sequence of ndarray of bool, each of shape (place,)
            Along each axis where some array may not be 0. Where sums begin follows from it, hence their bits.

        Returns
        -------
        MovedArrays
            In float64.
        """
        cut, back, lengths = arrays, [], []
        for axis, (where, step) in enumerate(zip(reached, steps, strict=True), start=2):
            begin, length = _window(where, step)
            cut = np.take(cut, (begin + np.arange(length)) % len(where), axis=axis)
            back.append(-begin // step)
            lengths.append(length)
        pattern = cut.reshape(*arrays.shape[:2], *padded(lengths)).astype(np.float64)
        layout = np.array([padded(positions), padded(steps), [0] * AXES, [1] * AXES], dtype=np.int64)
        target_shape = (arrays.shape[1], *padded(arrays.shape[2:]).tolist())
        return cls(*runs_of(Patterns(pattern, layout, target_shape)), tuple(back))

    def sums(self, codes: RaggedCodes, *, threads: int | None = None) -> NDArray:
        """
        Add up the arrays of the non-zeros of each code, times their values.

        Parameters
        ----------
        codes : RaggedCodes
            The codes, batch shape (code,).
        threads : int, optional
            Largest number of threads used.

        Returns
        -------
        ndarray of float64, shape (code, row * place)
            Summed in the order of the non-zeros, so that bits do not depend on the batch.
        """
        i, *places = np.unravel_index(codes.atom, codes.code_shape)
        earlier = [(p - b) % n for p, b, n in zip(places, self.back, codes.code_shape[1:], strict=True)]
        atom = np.ravel_multi_index((i, *earlier), codes.code_shape)
        listed = kernel_codes(codes)._replace(atom=atom.astype(np.int32))
        out = np.empty((codes.row_size.size, self.runs.n_rows, self.runs.period))

        def work(first: int, last: int) -> None:
            part = listed.part(first, last)
            scatter.add_codes_by_runs(out[first:last], run_scratch(self.runs, out.dtype), self.pattern, self.runs, part)

        over_blocks(len(out), work, threads)
        return out.reshape(len(out), -1)


def _window(reached: NDArray, step: int) -> tuple[int, int]:
    """Where the shortest stretch begins that holds all places reached, a multiple of the step <= 0, and its length."""
    places, period = np.flatnonzero(reached), len(reached)
    if not len(places):
        return 0, 1
    gaps = np.diff(places, append=places[0] + period)
    widest = int(np.argmax(gaps))
    first = int(places[(widest + 1) % len(places)])
    begin = first // step * step
    length = period + 1 - int(gaps[widest]) + first - begin
    return (begin - period, length) if length < period else (0, period)
