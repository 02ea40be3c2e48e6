"""Trials drawn block by block, each block from its own random stream, so that chunks do not change any trial."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.random import Generator

from dcsc.errors import UserError
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes, concatenate
from dcsc.seeds import BLOCK, stream

FEW = 2**14
"""Non-zeros of a block below which it is mostly Python that draws them: threads would wait for its lock in turn."""


def draw_blocks(
    study_seed: int,
    trials: int,
    draw: Callable[[Generator, int], RaggedCodes],
    *,
    first: int = 0,
    threads: int | None = None,
    **key: Any,
) -> RaggedCodes:
    """
    Draw a range of the trials of one layer, block by block.

    Parameters
    ----------
    study_seed : int
        The seed of the whole study.
    trials : int
        How many to draw.
    draw : callable
        Takes a generator and a number of trials, such as ``lambda rng, trials: sample_codes(rng, D, trials, ...)``.
    first : int
        The first trial, a multiple of `dcsc.seeds.BLOCK`.
    threads : int, optional
        Largest number of threads used; by default the number of cores that this process may use.
    **key : JSON values
        What defines the draw, as for `dcsc.seeds.stream`.

    Returns
    -------
    RaggedCodes
        Batch shape (trials,); other chunks, or more trials, leave these as they are.

    Raises
    ------
    UserError
        When the chunk does not start at a block or is empty.
    """
    if trials < 1 or int(trials) != trials:
        raise UserError(f"trials = {trials} is not allowed: draw at least one.")
    if first < 0 or first % BLOCK:
        raise UserError(f"first = {first} is not allowed: start at a multiple of {BLOCK}, the trials of a block.")

    def work(start: int, stop: int) -> RaggedCodes:
        # A block is drawn whole, so that where the trials end changes no bit.
        codes = draw(stream(study_seed, block=(first + start) // BLOCK, **key), BLOCK)
        return codes.rows(slice(0, stop - start))

    begun = min(BLOCK, trials)
    first_block = work(0, begun)
    few = len(first_block.atom) < FEW
    rest = over_blocks(trials - begun, lambda start, stop: work(begun + start, begun + stop), 1 if few else threads)
    return concatenate([first_block, *rest])
