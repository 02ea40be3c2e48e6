"""Trials drawn block by block, each block from streams of its own: a chunk is the same wherever it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dcsc.errors import UserError
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_blocks
from dcsc.ragged import RaggedCodes
from dcsc.sampling.deep import DeepDraw, deep_codes
from dcsc.seeds import BLOCK, stream


def _head(codes: RaggedCodes, trials: int) -> RaggedCodes:
    """Keep the first trials."""
    sizes = codes.row_size[:trials]
    total = int(sizes.sum())
    return RaggedCodes(sizes, codes.atom[:total], codes.value[:total], codes.code_shape)


def _joined(parts: Sequence[RaggedCodes]) -> RaggedCodes:
    """Put blocks together."""
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in ("row_size", "atom", "value")]
    return RaggedCodes(*arrays, parts[0].code_shape)


def _check_span(first: int, trials: int) -> None:
    if trials < 1 or int(trials) != trials:
        raise UserError(f"trials = {trials} is not allowed: draw at least one.")
    if first < 0 or first % BLOCK:
        raise UserError(f"first = {first} is not allowed: start at a multiple of {BLOCK}, the trials of a block.")


def draw_blocks(
    study_seed: int,
    trials: int,
    draw: Callable[[np.random.Generator, int], RaggedCodes],
    *,
    first: int = 0,
    threads: int | None = None,
    **key: Any,
) -> RaggedCodes:
    """
    Draw a chunk of the trials of one layer.

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
        At most that many at once.
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
    _check_span(first, trials)

    def work(start: int, stop: int) -> RaggedCodes:
        # A block is drawn whole, so that where the trials end changes no bit.
        codes = draw(stream(study_seed, block=(first + start) // BLOCK, **key), BLOCK)
        return _head(codes, stop - start)

    return _joined(over_blocks(trials, work, threads))


def deep_blocks(
    study_seed: int,
    dictionaries: Sequence[ConvolutionalDictionary],
    trials: int,
    *,
    random_layers: bool = False,
    first: int = 0,
    threads: int | None = None,
    key: Mapping[str, Any] | None = None,
    **options: Any,
) -> DeepDraw:
    """
    Draw a chunk of deep codes.

    Parameters
    ----------
    study_seed : int
        The seed of the whole study.
    dictionaries : sequence of ConvolutionalDictionary
        A^(1), ..., A^(L).
    trials : int
        How many to draw.
    random_layers : bool
        Draw T^(1), ..., T^(L) from a stream of their own (D-CSC-R).
    first : int
        The first trial, a multiple of `dcsc.seeds.BLOCK`.
    threads : int, optional
        At most that many at once.
    key : mapping of JSON values, optional
        What defines the draw, as for `dcsc.seeds.stream`.
    **options
        As for `deep_codes`.

    Returns
    -------
    DeepDraw
        Of all trials; other chunks, or more trials, leave these as they are.

    Raises
    ------
    UserError
        When the chunk does not start at a block or is empty, or for the options.
    """
    _check_span(first, trials)
    if random_layers and "layer_signs" in options:
        raise UserError("random_layers draws T from streams of its own: leave layer_signs out.")

    def work(start: int, stop: int) -> DeepDraw:
        block = {"block": (first + start) // BLOCK, **(key or {})}
        given = dict(options)
        if random_layers:
            given["layer_signs"] = stream(study_seed, part="layer signs", **block)
        whole = deep_codes(stream(study_seed, part="deepest code", **block), dictionaries, BLOCK, **given)
        kept = stop - start
        return DeepDraw(
            tuple(_head(codes, kept) for codes in whole.codes),
            None if whole.signs is None else tuple(signs[:kept] for signs in whole.signs),
            whole.contrast[:kept],
            whole.cancelled[:kept],
            whole.refused[:kept],
            whole.certificates,
        )

    blocks = over_blocks(trials, work, threads)
    signs = [block.signs for block in blocks]
    return DeepDraw(
        tuple(_joined(layer) for layer in zip(*[block.codes for block in blocks], strict=True)),
        None if signs[0] is None else tuple(np.concatenate(layer) for layer in zip(*signs, strict=True)),
        *(np.concatenate([getattr(block, name) for block in blocks]) for name in ("contrast", "cancelled", "refused")),
        blocks[0].certificates,
    )
