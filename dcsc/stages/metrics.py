"""Fourth stage: compare what was recovered with the truth, trial by trial, and with what was guaranteed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc import guarantees, ragged, sampling
from dcsc.guarantees.interference import LayerInterference, layer_interference
from dcsc.model import sparsity
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.pursuit.thresholding import is_by_filter
from dcsc.ragged import RaggedCodes, take
from dcsc.stages.pursuits import RecoveredLayer, cells_of
from dcsc.stages.settings import Bounds, Measures, PursuitRun
from dcsc.store.dataset import codes_from_dataset
from dcsc.store.readers import (
    batch_coordinates,
    cascade_of,
    codes_of_replicate,
    depth_of,
    layer_signs_of_replicate,
    noise_of_replicate,
)

ROWS = {"rademacher": 128, "deepest": 32, None: 128}
"""Trials whose instance forms are computed at once: in the plain model, their interference at every atom is held."""

SIGNAL_ENTRIES = 2**22
"""Entries of signals that are held densely at once."""

_BATCH_OF_REPLICATE = ("variant", "active", "trial")


@dataclass(frozen=True, eq=False)
class _Truth:
    """The true codes [X^(1), ..., X^(L)] of one replicate, and the patch norm of the noise on the signal."""

    cascade: Cascade
    codes: list[RaggedCodes]
    noise: NDArray


def measure_recovery(
    settings: Mapping[str, Any], pursuits: xr.DataTree, signals: xr.DataTree, dictionaries: xr.DataTree
) -> xr.Dataset:
    """
    Measure recovery, sparsity and guarantees of every trial.

    Parameters
    ----------
    settings : mapping
        `pursuits` (parameters by name), `errors` (whether values were kept), `bounds` (`delta`, and the number of
        `trials` for which instance guarantees are computed) and `variants` (how each is drawn).
    pursuits, signals, dictionaries : DataTree
        Of the stages before.

    Returns
    -------
    Dataset
        After the schema of the metrics stage.
    """
    depth, chosen = depth_of(signals), Measures.from_json(settings)
    replicates = []
    for replicate in range(signals["layer_1"].sizes["replicate"]):
        cascade = cascade_of(dictionaries, replicate)
        codes = [codes_of_replicate(signals, layer, replicate) for layer in range(1, depth + 1)]
        noise = noise_of_replicate(signals, replicate)
        truth = _Truth(cascade, codes, _noise_norms(noise, cascade, codes[0].batch_shape))
        measured = _of_signals(truth)
        if noise is not None:
            measured["signal_to_noise"] = (_BATCH_OF_REPLICATE, _signal_to_noise(truth, noise, signals, replicate))
        covered, interference = _instance_coverage(truth, chosen, signals)
        measured |= covered
        found = {name: _recovered(pursuits, name, replicate, depth) for name in chosen.pursuits}
        of_pursuits = [
            _of_pursuit(truth, found[name], options, chosen.errors) for name, options in chosen.pursuits.items()
        ]
        measured |= _bounds_as_run(truth, found, chosen, signals, interference)
        measured |= {
            name: (("pursuit", *dims), np.stack([one[name][1] for one in of_pursuits]))
            for name, (dims, _) in of_pursuits[0].items()
        }
        replicates.append(xr.Dataset(measured))
    whole = xr.concat(replicates, "replicate")
    ran = np.stack([cells_of(signals, options) for options in chosen.pursuits.values()])
    whole["measured"] = (("pursuit", "variant", "active"), ran)
    whole = whole.assign_coords(batch_coordinates(signals)).assign_coords(
        pursuit=list(chosen.pursuits), layer=np.arange(1, depth + 1)
    )
    order = [dim for dim in ("pursuit", "layer", "replicate", *_BATCH_OF_REPLICATE) if dim in whole.dims]
    return whole.transpose(*order)


_Measured = dict[str, tuple[tuple[str, ...], NDArray]]


def _recovered(pursuits: xr.DataTree, name: str, replicate: int, depth: int) -> list[RecoveredLayer]:
    groups: list[Any] = [pursuits[f"{name}/layer_{layer}"] for layer in range(1, depth + 1)]
    found = []
    for group in groups:
        threshold = group["filter_threshold" if "filter_threshold" in group else "threshold"]
        numbers = (values.isel(replicate=replicate).to_numpy() for values in (threshold, group["iterations"]))
        found.append(RecoveredLayer(codes_from_dataset(group, replicate), *numbers))
    return found


def _by_layer(values: Mapping[str, Sequence[Any]]) -> _Measured:
    """Stack what was measured at each layer."""
    return {name: (("layer", *_BATCH_OF_REPLICATE), np.stack(of_layers)) for name, of_layers in values.items()}


def _of_signals(truth: _Truth) -> _Measured:
    """What concerns the true codes alone."""
    cascade, rank = truth.cascade, truth.cascade.rank
    guarantee = guarantees.uniform(cascade, truth.codes, truth.noise)
    below = [cascade.next_dictionary(layer) for layer in range(1, cascade.depth + 1)]
    return _by_layer(
        {
            "nonzeros": [code.row_size for code in truth.codes],
            "stripe_sparsity": [layer.stripe_sparsity for layer in guarantee.layers],
            "patch_sparsity": [layer.patch_sparsity for layer in guarantee.layers],
            "contrast": [sparsity.contrast(code, rank) for code in truth.codes],
            "uniform_guarantee": [layer.holds for layer in guarantee.layers],
            "magnitude": [sparsity.patch_l2(code, d, rank) for code, d in zip(truth.codes, below, strict=True)],
        }
    )


def _in_steps(rows: NDArray, first: ConvolutionalDictionary) -> Iterator[NDArray]:
    """Split rows into steps whose signals fit into memory many times over."""
    step = max(1, SIGNAL_ENTRIES // math.prod(first.signal_shape))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]


def _noise_norms(noise: NDArray | None, cascade: Cascade, batch: tuple[int, ...]) -> NDArray:
    """Patch norm of the noise on every signal, 0 without noise."""
    first, norms = cascade.dictionaries[0], np.zeros(batch)
    if noise is not None:
        flat = noise.reshape(-1, *first.signal_shape)
        for rows in _in_steps(np.arange(len(flat)), first):
            norms.reshape(-1)[rows] = sparsity.patch_l2(flat[rows], first)
    return norms


def _signal_to_noise(truth: _Truth, noise: NDArray, signals: xr.DataTree, replicate: int) -> NDArray:
    """Ratio of the powers in decibels, signal by signal; NaN without noise."""
    first, signs = truth.cascade.dictionaries[0], layer_signs_of_replicate(signals, replicate)
    ratios = np.full(truth.noise.size, np.nan)
    noise = noise.reshape(-1, *first.signal_shape)
    noisy = np.flatnonzero(truth.noise.ravel())
    for rows in _in_steps(noisy, first):
        codes = take(truth.codes[0], rows).to_dense()
        codes = codes if signs is None else codes * signs[0].reshape(-1, *first.code_shape)[rows]
        ratios[rows] = sampling.snr(first.synthesize(codes), noise[rows], first.rank)
    return ratios.reshape(truth.noise.shape)


def _of_pursuit(truth: _Truth, found: list[RecoveredLayer], options: PursuitRun, errors: bool) -> _Measured:
    """What concerns one pursuit; the guarantee is that of the thresholds it used."""
    compared = [ragged.compare(code, layer.codes) for code, layer in zip(truth.codes, found, strict=True)]
    exact = [(layer.misses == 0) & (layer.false_alarms == 0) for layer in compared]
    right_signs = [layer.wrong_signs == 0 for layer in compared]
    covered, bounds = _guaranteed(
        truth.cascade, truth.codes, truth.noise, options, [layer.threshold for layer in found]
    )
    per_layer: dict[str, Any] = {
        "support_recovered": exact,
        "misses": [layer.misses for layer in compared],
        "false_alarms": [layer.false_alarms for layer in compared],
        "threshold": [layer.common_threshold for layer in found],
        "iterations": [layer.iterations for layer in found],
        "covered": covered,
    }
    if errors:
        below = [truth.cascade.next_dictionary(number) for number in range(1, truth.cascade.depth + 1)]
        per_layer["error"] = [
            sparsity.patch_l2(ragged.difference(code, layer.codes), dictionary, truth.cascade.rank)
            for code, layer, dictionary in zip(truth.codes, found, below, strict=True)
        ]
        per_layer["error_bound"] = np.where(np.isfinite(bounds), bounds, np.nan)
    path = np.logical_and.reduce(exact)
    return _by_layer(per_layer) | {
        "path_recovered": (_BATCH_OF_REPLICATE, path),
        "signs_recovered": (_BATCH_OF_REPLICATE, path & np.logical_and.reduce(right_signs)),
    }


def _guaranteed(
    cascade: Cascade, codes: list[RaggedCodes], noise: NDArray, options: PursuitRun, thresholds: list[NDArray]
) -> tuple[NDArray, NDArray]:
    """Which theorem of [PRE17] speaks of a pursuit, whether it covers each layer, and its bound on the error."""
    if options.is_thresholding:  # Theorems 8 and 10
        guarantee = guarantees.uniform(
            cascade,
            codes,
            noise,
            rule=options.shrinkage,
            # Top-k does what the best threshold does, and any inside the interval is one.
            threshold="midpoint" if options.rule == "top-k" else thresholds,
            by_filter=is_by_filter(options.threshold),
        )
    elif options.is_guaranteed_basis_pursuit:
        guarantee = guarantees.basis_pursuit(cascade, codes, noise)  # Theorems 11 and 12
        if options.parameters["penalty"] == 0 and np.any(noise > 0):
            noisy = (cascade.depth, *noise.shape)  # the equality form fits the noise too
            return np.zeros(noisy, dtype=bool), np.full(noisy, np.nan)
    else:
        nothing = (cascade.depth, *noise.shape)
        return np.zeros(nothing, dtype=bool), np.full(nothing, np.nan)
    layers = guarantee.layers
    return np.stack([layer.holds for layer in layers]), np.stack([layer.error_bound for layer in layers])


def _instance_coverage(
    truth: _Truth, settings: Measures, signals: xr.DataTree
) -> tuple[_Measured, list[LayerInterference]]:
    """
    Whether the best thresholds recover a path for all signs, for the first trials of every cell; NaN elsewhere.

    Also the interference over all signs of these trials, layer by layer, which pursuits are measured with as well.
    """
    covered = np.full(truth.codes[0].batch_shape, np.nan)
    rows, interference = np.flatnonzero(_chosen(settings, signals)), []
    if len(rows):
        codes = [take(code, rows) for code in truth.codes]
        interference = [layer_interference(*layer) for layer in zip(truth.cascade.dictionaries, codes, strict=True)]
        noise = truth.noise.ravel()[rows]
        found = guarantees.uniform(truth.cascade, codes, noise, form="instance", known=interference)
        covered.reshape(-1)[rows] = found.holds
    return {"instance_covered": (_BATCH_OF_REPLICATE, covered)}, interference


def _chosen(settings: Measures, signals: xr.DataTree) -> NDArray:
    """Trials of the drawn cells for which instance guarantees are computed, shape (variant, active, trial)."""
    drawn = signals["drawn"].to_numpy().astype(bool)
    return drawn[..., None] & (signals["layer_1"]["trial"].to_numpy() < settings.bounds.trials)


_Bounds = tuple[NDArray, NDArray | None]
"""Whether each of some paths is recovered for all signs, and its part in a bound for random ones, or nothing."""


def _bounds_as_run(
    truth: _Truth,
    found: Mapping[str, list[RecoveredLayer]],
    settings: Measures,
    signals: xr.DataTree,
    interference: Sequence[LayerInterference],
) -> _Measured:
    """The instance forms of each pursuit as it ran, of draws without noise; NaN where none speaks of it."""
    batch = truth.codes[0].batch_shape
    bounds = {name: np.full((len(found), *batch), np.nan) for name in ("covered_as_run", "failure_bound_as_run")}
    noiseless = np.array([not draw.is_noisy for draw in settings.variants.values()])
    models = _sign_models(settings, signals)
    uncarried = noiseless & ~np.any(list(models.values()), axis=0)  # the form for all signs needs no certificate
    bounded = {name: options for name, options in settings.pursuits.items() if options.is_bounded}
    cells = {name: cells_of(signals, options) for name, options in bounded.items()}
    chosen = _chosen(settings, signals)
    numbered = np.flatnonzero(chosen)
    for signs, variants in (*models.items(), (None, uncarried)):
        every = np.flatnonzero(chosen & variants[:, None, None])
        for start in range(0, len(every) if bounded else 0, ROWS[signs]):
            rows = every[start : start + ROWS[signs]]
            there = {name: np.broadcast_to(cell[..., None], batch).ravel()[rows] for name, cell in cells.items()}
            ran = {name: bounded[name] for name, at in there.items() if at.any()}
            known = [layer.take(np.searchsorted(numbered, rows)) for layer in interference]
            of_rows = _bounds_of_rows(truth, rows, signs, ran, found, settings, known)
            for name, (covered, failure_bound) in of_rows.items():
                number, at = list(settings.pursuits).index(name), there[name]
                bounds["covered_as_run"][number].reshape(-1)[rows[at]] = covered[at]
                if failure_bound is not None:
                    bounds["failure_bound_as_run"][number].reshape(-1)[rows[at]] = failure_bound[at]
    return {name: (("pursuit", *_BATCH_OF_REPLICATE), values) for name, values in bounds.items()}


def _bounds_of_rows(
    truth: _Truth,
    rows: NDArray,
    signs: str | None,
    pursuits: Mapping[str, PursuitRun],
    found: Mapping[str, list[RecoveredLayer]],
    settings: Measures,
    known: Sequence[LayerInterference],
) -> dict[str, _Bounds]:
    """The same of some trials and of the pursuits that ran on any of them, by name."""
    codes, bounds = [take(code, rows) for code in truth.codes], {}
    thresholding = {name: options for name, options in pursuits.items() if options.is_thresholding}
    if thresholding:
        paths = guarantees.path_interference(truth.cascade, codes, signs or "rademacher", known=known)
        for name, options in thresholding.items():
            thresholds = [layer.thresholds_of(rows) for layer in found[name]]
            as_run = _as_run(paths, options, thresholds, settings.bounds)
            bounds[name] = (as_run.covered, as_run.failure_bound if signs else None)
    if len(thresholding) < len(pursuits):  # its equality form has no parameters that they depend on
        supports = _basis_pursuit(truth.cascade, codes, signs)
        bounds |= {name: supports for name in pursuits if name not in thresholding}
    return bounds


def _as_run(
    paths: guarantees.PathInterference, options: PursuitRun, thresholds: list[NDArray], bounds: Bounds
) -> guarantees.AsRun:
    """What the instance forms say at the thresholds of a pursuit; top-k does what the best ones do."""
    used = None if options.rule == "top-k" else thresholds
    by_filter = is_by_filter(options.threshold)
    return guarantees.as_run(
        paths, used, rule=options.shrinkage, debias=options.debias, delta=bounds.delta, by_filter=by_filter,
        tail=bounds.tail,
    )  # fmt: skip


def _basis_pursuit(cascade: Cascade, codes: list[RaggedCodes], signs: str | None) -> _Bounds:
    """What the supports say of layered basis pursuit; a bound is capped where the deepest code determines its path."""
    if signs is None:
        return guarantees.recovers_all_signs(cascade, codes), None
    found = guarantees.basis_pursuit_on_supports(cascade, codes, signs=signs, wanted="not below 1")
    return found.holds, found.failure_bound


def _sign_models(settings: Measures, signals: xr.DataTree) -> dict[str, NDArray]:
    """Which variants carry a statistical guarantee, by the signs that it is about."""
    carried = [str(names).split() for names in signals["certificates"].to_numpy()]
    # The noise of a variant is scaled to its signal, hence no bound on it is known before the signs are drawn.
    noiseless = np.array([not draw.is_noisy for draw in settings.variants.values()])
    independent = np.array(["statistical" in names for names in carried])
    plain = np.array(["statistical-plain" in names for names in carried]) & ~independent
    return {"rademacher": noiseless & independent, "deepest": noiseless & plain}
