"""Second stage: draw the deepest codes of every cell and derive the codes of the layers above."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc import ragged, sampling, seeds
from dcsc.model.cascade import Cascade
from dcsc.ragged import RaggedCodes
from dcsc.stages import codes_file, windows
from dcsc.stages.settings import Draw, Draws
from dcsc.store.dataset import codes_to_dataset
from dcsc.store.readers import cascades_of
from dcsc.store.schemas import BATCH, spatial_names


def sample_signals(
    settings: Mapping[str, Any], dictionaries: xr.DataTree, sweep: xr.Dataset | None = None
) -> dict[str, xr.Dataset]:
    """
    Draw the codes of one chunk of trials, for every replicate, variant and number of active atoms.

    Parameters
    ----------
    settings : mapping
        `seed`, `experiment`, `cascade` (its name in the configuration, which the members of a series share, so
        that they share draws), `active`, `trials`, `variants` (how each is drawn, by name) and `blocks` (first
        and last + 1).
    dictionaries : DataTree
        Of the dictionaries stage.
    sweep : Dataset, optional
        Of the sweeps stage: the cells to draw of each variant, in place of all of `active`.

    Returns
    -------
    dict of str to Dataset
        One group a layer, after the schema of the signals stage; the signal itself is not formed.
    """
    return draw_signals(Draws.from_json(settings), cascades_of(dictionaries), sweep)


def draw_signals(
    settings: Draws, cascades: Sequence[Cascade], sweep: xr.Dataset | None = None
) -> dict[str, xr.Dataset]:
    """
    Draw the codes of one chunk of trials.

    Parameters
    ----------
    settings : Draws
        What the draws depend on.
    cascades : sequence of Cascade
        Every replicate.
    sweep : Dataset, optional
        As for `sample_signals`.

    Returns
    -------
    dict of str to Dataset
        As from `sample_signals`.
    """
    variants = list(settings.variants)
    active = settings.active if sweep is None else [int(number) for number in sweep["active"]]
    drawn = np.ones((len(variants), len(active)), dtype=bool) if sweep is None else sweep["drawn"].to_numpy()
    trials = trials_of(settings)
    cells = [
        draw_cell(settings, cascade, replicate, variant, number, len(trials))
        if drawn[row, column]
        else _empty_cell(cascade, len(trials))
        for replicate, cascade in enumerate(cascades)
        for row, variant in enumerate(variants)
        for column, number in enumerate(active)
    ]
    lengths = (len(cascades), len(variants), len(active), len(trials))
    coordinates = (np.arange(len(cascades)), variants, active, trials)
    coordinates = dict(zip(BATCH, coordinates, strict=True))
    groups = {
        "/": xr.Dataset(
            {
                "refused": (BATCH, np.stack([cell.refused for cell in cells]).reshape(lengths)),
                "certificates": (
                    "variant",
                    [" ".join(cells[row * lengths[2] + drawn[row].argmax()].certificates) for row in range(lengths[1])],
                ),
                "drawn": (("variant", "active"), drawn),
            }
        )
    }
    for layer in range(cascades[0].depth):
        group = codes_to_dataset(ragged.concatenate([cell.codes[layer] for cell in cells]).reshape(lengths))
        if any(cell.signs is not None for cell in cells):
            n_atoms = cascades[0].dictionaries[layer].n_atoms
            plain = np.ones((len(trials), n_atoms), dtype=np.int8)
            signs = [plain if cell.signs is None else cell.signs[layer].reshape(plain.shape) for cell in cells]
            group["layer_signs"] = ((*BATCH, "coefficient"), np.stack(signs).reshape(*lengths, n_atoms))
        groups[f"/layer_{layer + 1}"] = group
    if any(cell.noise is not None for cell in cells):
        first = cascades[0].dictionaries[0]
        silence = np.zeros((len(trials), *first.signal_shape))
        noise = np.stack([silence if cell.noise is None else cell.noise for cell in cells])
        dims = (*BATCH, "channel", *spatial_names("space", first.rank))
        groups["/noise"] = xr.Dataset({"noise": (dims, noise.reshape(*lengths, *first.signal_shape))})
    return {path: group.assign_coords(coordinates) for path, group in groups.items()}


def trials_of(settings: Draws) -> NDArray:
    """
    Number the trials of one chunk.

    Parameters
    ----------
    settings : Draws
        With `blocks` and `trials`.

    Returns
    -------
    ndarray of int64, shape (trial,)
        Those of the blocks, as far as there are any.
    """
    first, last = settings.blocks
    return np.arange(first * seeds.BLOCK, min(last * seeds.BLOCK, settings.trials))


@dataclass(frozen=True, eq=False)
class Cell:
    """
    The trials of one replicate, variant and number of active atoms.

    Parameters
    ----------
    codes : list of RaggedCodes, batch shape (trial,)
        [X^(1), ..., X^(L)].
    signs : list of ndarray of int8, each of shape (trial, filter, *position), or None
        T^(1), ..., T^(L) of D-CSC-R.
    noise : ndarray, shape (trial, channel, *space), or None
        None without noise.
    refused : ndarray of int64, shape (trial,)
        As of `dcsc.sampling.DeepDraw`.
    certificates : tuple of str
        Likewise.
    """

    codes: list[RaggedCodes]
    signs: list[NDArray] | None
    noise: NDArray | None
    refused: NDArray
    certificates: tuple[str, ...]


def _empty_cell(cascade: Cascade, trials: int) -> Cell:
    """What stands where nothing is drawn."""
    none = np.zeros(trials, dtype=np.int64)
    codes = [
        RaggedCodes(none, np.empty(0, np.int32), np.empty(0), dictionary.code_shape)
        for dictionary in cascade.dictionaries
    ]
    return Cell(codes, None, None, none, ())


def draw_cell(settings: Draws, cascade: Cascade, replicate: int, variant: str, active: int, trials: int) -> Cell:
    """
    Draw the trials of one replicate, variant and number of active atoms.

    Parameters
    ----------
    settings : Draws
        What the draws depend on; its cells and trials are looked at for the codes of a file alone.
    cascade : Cascade
        Of the replicate.
    replicate : int
        Its number.
    variant : str
        Which of the variants.
    active : int
        Atoms of the deepest code.
    trials : int
        How many to keep of those of the blocks.

    Returns
    -------
    Cell
        What `sample_signals` puts together.
    """
    options = settings.variants[variant]
    blocks = [
        _draw_block(settings, options, cascade, replicate=replicate, active=active, block=block)
        for block in range(*settings.blocks)
    ]
    draws, noises = zip(*blocks, strict=True)
    used = slice(0, trials)
    return Cell(
        [ragged.concatenate([draw.codes[layer] for draw in draws]).rows(used) for layer in range(cascade.depth)],
        None
        if draws[0].signs is None
        else [np.concatenate([draw.signs[layer] for draw in draws])[used] for layer in range(cascade.depth)],
        # A copy, so that what was drawn in excess does not stay in memory.
        None if noises[0] is None else np.concatenate(noises)[used].copy(),
        np.concatenate([draw.refused for draw in draws])[used],
        draws[0].certificates,
    )


def _draw_block(
    settings: Draws, options: Draw, cascade: Cascade, *, replicate: int, active: int, block: int
) -> tuple[sampling.DeepDraw, NDArray | None]:
    """One block of trials; the streams know nothing of the variant, so that variants share what they can."""
    key: dict[str, Any] = {"replicate": replicate, "active": active, "block": block}
    key = {"experiment": settings.experiment, "cascade": settings.cascade, **key}

    def stream(purpose: str) -> np.random.Generator:
        return seeds.stream(settings.seed, purpose=purpose, **key)

    draw, observed = (
        (sampling.given_codes(cascade.dictionaries, _brought(settings, options, cascade, active, block)), None)
        if options.codes is not None
        else _draw_codes(stream, options, cascade, active)
    )
    if options.residual:
        return draw, observed - cascade.dictionaries[0].synthesize(draw.codes[0].to_dense())
    if options.noise_db is None:
        return draw, None
    first = cascade.dictionaries[0]
    signals = first.synthesize(draw.signed_codes(1).to_dense())
    noise = sampling.gaussian_noise(stream("noise"), first, seeds.BLOCK)
    return draw, sampling.scale_to_snr(signals, noise, options.noise_db, first.rank)


def _brought(settings: Draws, options: Draw, cascade: Cascade, active: int, block: int) -> RaggedCodes:
    """The deepest codes of one block of a cell, from a file; one that is not full begins again at the first."""
    deepest = cascade.dictionaries[-1]
    codes = codes_file.read_codes(str(options.codes), cascade.depth, deepest.code_shape)
    codes_file.check(str(options.codes), codes, settings.active, settings.trials)
    of_cell = codes_file.of_cell(codes, active, settings.active)
    rows = np.arange(block * seeds.BLOCK, (block + 1) * seeds.BLOCK) % len(of_cell.row_size)
    return ragged.take(of_cell, rows)


def _draw_codes(
    stream: Callable[[str], np.random.Generator], options: Draw, cascade: Cascade, active: int
) -> tuple[sampling.DeepDraw, NDArray | None]:
    """The codes of one block, and the windows that they approximate where they do."""
    if options.windows_of:
        observed = windows.draw_windows(options.windows_of, stream("codes"), cascade.dictionaries[0], seeds.BLOCK)
        deepest = windows.approximate(cascade.dictionaries, observed, active)
        return sampling.given_codes(cascade.dictionaries, deepest), observed
    name, parameters = sampling.named(options.support)
    draw = sampling.deep_codes(
        stream("codes"),
        cascade.dictionaries,
        seeds.BLOCK,
        support={"name": name, "size": active, **parameters},
        magnitudes=options.magnitudes,
        signs=options.signs,
        layer_signs=stream("layer signs") if options.layer_signs is True else options.layer_signs or None,
        constraint=options.constraint,
        floor=options.floor,
    )
    return draw, None
