"""Fourth stage: compare what was recovered with the truth, trial by trial, and with what was guaranteed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dcsc import guarantees, ragged, sparsity
from dcsc.dataset import codes_from_dataset
from dcsc.model import Cascade
from dcsc.ragged import RaggedCodes
from dcsc.stages.dictionaries import cascade_of
from dcsc.stages.pursuits import runs
from dcsc.stages.signals import batch_coordinates, codes_of_replicate, depth_of, noise_of_replicate

ROWS = 256
"""Trials that are expanded at once: enough to spare Python's overhead, few enough for the cache."""

_BATCH_OF_REPLICATE = ("variant", "active", "trial")


@dataclass(frozen=True, eq=False)
class _Truth:
    """The true codes [X^(1), ..., X^(L)] of one replicate, and the patch norm of the noise on the signal."""

    cascade: Cascade
    codes: list[RaggedCodes]
    noise: NDArray

    def expanded(self, rows: slice) -> tuple[list[NDArray], NDArray]:
        """Dense codes and noise of a run of trials."""
        return [code.rows(rows).to_dense() for code in self.codes], self.noise.ravel()[rows]


def measure_recovery(
    settings: Mapping[str, Any], pursuits: xr.DataTree, signals: xr.DataTree, dictionaries: xr.DataTree
) -> xr.Dataset:
    """
    Measure recovery, sparsity and guarantees of every trial.

    Parameters
    ----------
    settings : mapping
        `pursuits` (parameters by name), `errors` (whether values were kept), `bounds` (`delta` and the
        number of `trials` for which instance guarantees are computed) and `variants` (how each is drawn).
    pursuits, signals, dictionaries : DataTree
        Of the stages before.

    Returns
    -------
    Dataset
        After the schema of the metrics stage.
    """
    depth = depth_of(signals)
    replicates = []
    for replicate in range(signals["layer_1"].sizes["replicate"]):
        cascade = cascade_of(dictionaries, replicate)
        codes = [codes_of_replicate(signals, layer, replicate) for layer in range(1, depth + 1)]
        noise = noise_of_replicate(signals, replicate)
        norms = np.zeros(codes[0].batch_shape)
        truth = _Truth(cascade, codes, norms if noise is None else sparsity.patch_l2(noise, cascade.dictionaries[0]))
        measured = _of_signals(truth)
        measured |= _instance_bounds(truth, settings, signals)
        of_pursuits = [
            _of_pursuit(truth, _found(pursuits, name, replicate, depth), options, settings["errors"])
            for name, options in settings["pursuits"].items()
        ]
        measured |= {
            name: (("pursuit", *dims), np.stack([one[name][1] for one in of_pursuits]))
            for name, (dims, _) in of_pursuits[0].items()
        }
        replicates.append(xr.Dataset(measured))
    whole = xr.concat(replicates, "replicate")
    ran = np.stack([runs(signals, options) for options in settings["pursuits"].values()])
    whole["measured"] = (("pursuit", "variant", "active"), ran)
    whole = whole.assign_coords(batch_coordinates(signals)).assign_coords(
        pursuit=list(settings["pursuits"]), layer=np.arange(1, depth + 1)
    )
    order = [dim for dim in ("pursuit", "layer", "replicate", *_BATCH_OF_REPLICATE) if dim in whole.dims]
    return whole.transpose(*order)


_Measured = dict[str, tuple[tuple[str, ...], NDArray]]


@dataclass(frozen=True, eq=False)
class _Found:
    """What a pursuit found at one layer of one replicate."""

    codes: RaggedCodes
    threshold: NDArray
    iterations: NDArray


def _found(pursuits: xr.DataTree, name: str, replicate: int, depth: int) -> list[_Found]:
    groups = [pursuits[f"{name}/layer_{layer}"] for layer in range(1, depth + 1)]
    return [
        _Found(
            codes_from_dataset(group)[replicate],
            *(group[variable].isel(replicate=replicate).to_numpy() for variable in ("threshold", "iterations")),
        )
        for group in groups
    ]


def _spans(total: int) -> list[slice]:
    return [slice(start, min(start + ROWS, total)) for start in range(0, total, ROWS)]


def _joined(blocks: list[dict[str, NDArray]], batch: tuple[int, ...]) -> _Measured:
    """Join arrays (layer, row) over blocks of rows, and unfold the rows."""
    whole = {name: np.concatenate([block[name] for block in blocks], axis=-1) for name in blocks[0]}
    return {
        name: (("layer", *_BATCH_OF_REPLICATE), values.reshape(len(values), *batch)) for name, values in whole.items()
    }


def _of_signals(truth: _Truth) -> _Measured:
    """What concerns the true codes alone."""
    cascade, rank = truth.cascade, truth.cascade.rank
    blocks = []
    for rows in _spans(truth.noise.size):
        codes, noise = truth.expanded(rows)
        guarantee = guarantees.uniform(cascade, codes, noise)
        below = [cascade.next_dictionary(layer) for layer in range(1, cascade.depth + 1)]
        blocks.append(
            {
                "stripe_sparsity": np.stack([layer.stripe_sparsity for layer in guarantee.layers]),
                "patch_sparsity": np.stack([layer.patch_sparsity for layer in guarantee.layers]),
                "contrast": np.stack([sparsity.contrast(code, rank) for code in codes]),
                "uniform_guarantee": np.stack([layer.holds for layer in guarantee.layers]),
                "magnitude": np.stack([sparsity.patch_l2(c, d, rank) for c, d in zip(codes, below, strict=True)]),
            }
        )
    return _joined(blocks, truth.codes[0].batch_shape)


def _of_pursuit(truth: _Truth, found: list[_Found], options: Mapping[str, Any], errors: bool) -> _Measured:
    """What concerns one pursuit; the guarantee is that of the thresholds it used."""
    compared = [ragged.compare(code, one.codes) for code, one in zip(truth.codes, found, strict=True)]
    exact = [(one.misses == 0) & (one.false_alarms == 0) for one in compared]
    right_signs = [one.wrong_signs == 0 for one in compared]
    per_layer = {
        "support_recovered": exact,
        "misses": [one.misses for one in compared],
        "false_alarms": [one.false_alarms for one in compared],
        "threshold": [one.threshold for one in found],
        "iterations": [one.iterations for one in found],
    }
    measured = {name: (("layer", *_BATCH_OF_REPLICATE), np.stack(values)) for name, values in per_layer.items()}
    path = np.logical_and.reduce(exact)
    blocks = [_against_guarantee(truth, found, options, errors, rows) for rows in _spans(truth.noise.size)]
    return (
        measured
        | _joined(blocks, truth.codes[0].batch_shape)
        | {
            "path_recovered": (_BATCH_OF_REPLICATE, path),
            "signs_recovered": (_BATCH_OF_REPLICATE, path & np.logical_and.reduce(right_signs)),
        }
    )


def _against_guarantee(
    truth: _Truth,
    found: list[_Found],
    options: Mapping[str, Any],
    errors: bool,
    rows: slice,
) -> dict[str, NDArray]:
    """Which trials a theorem covers as the pursuit was run, and how large errors are and may be."""
    cascade = truth.cascade
    codes, noise = truth.expanded(rows)
    covered, bounds = _guaranteed(cascade, codes, noise, options, [one.threshold.ravel()[rows] for one in found])
    measured = {"covered": covered}
    if errors:
        recovered = [one.codes.rows(rows).to_dense() for one in found]
        measured["error"] = np.stack(
            [
                sparsity.patch_l2(other - code, cascade.next_dictionary(layer), cascade.rank)
                for layer, (code, other) in enumerate(zip(codes, recovered, strict=True), start=1)
            ]
        )
        measured["error_bound"] = np.where(np.isfinite(bounds), bounds, np.nan)
    return measured


def _guaranteed(
    cascade: Cascade, codes: list[NDArray], noise: NDArray, options: Mapping[str, Any], thresholds: list[NDArray]
) -> tuple[NDArray, NDArray]:
    """Which theorem of [PRE17] speaks of a pursuit, whether it covers each layer, and its bound on the error."""
    if options["method"] == "layered-thresholding":  # Theorems 8 and 10
        guarantee = guarantees.uniform(
            cascade,
            codes,
            noise,
            rule=options["rule"] if options["rule"] in ("soft", "relu") else "hard",
            # Top-k does what the best threshold does, and any inside the interval is one.
            threshold="midpoint" if options["rule"] == "top-k" else thresholds,
        )
    elif _is_guaranteed_basis_pursuit(options):
        guarantee = guarantees.basis_pursuit(cascade, codes, noise)  # Theorems 11 and 12
        if options["parameters"]["penalty"] == 0 and np.any(noise > 0):
            noisy = (cascade.depth, *noise.shape)  # the equality form fits the noise too
            return np.zeros(noisy, dtype=bool), np.full(noisy, np.nan)
    else:
        nothing = (cascade.depth, *noise.shape)
        return np.zeros(nothing, dtype=bool), np.full(nothing, np.nan)
    return tuple(np.stack([getattr(layer, name) for layer in guarantee.layers]) for name in ("holds", "error_bound"))


def _is_guaranteed_basis_pursuit(options: Mapping[str, Any]) -> bool:
    """Whether Theorem 11 or 12 speaks of a pursuit as it was run; fitting anew what it found is another pursuit."""
    parameters = options["parameters"]
    return (
        options["method"] == "layered-basis-pursuit"
        and parameters["penalty"] in (0, "guaranteed")
        and not parameters.get("debias", False)
    )


def _instance_bounds(truth: _Truth, settings: Mapping[str, Any], signals: xr.DataTree) -> _Measured:
    """Guarantees that look at the supports, for the first trials of every cell; NaN elsewhere."""
    cascade, batch = truth.cascade, truth.codes[0].batch_shape
    names = ("instance_covered", "certified", "failure_bound")
    bounds = {name: np.full(batch, np.nan) for name in names}
    chosen = slice(0, int(np.count_nonzero(signals["layer_1"]["trial"] < settings["bounds"]["trials"])))
    certificates = [str(carried).split() for carried in signals["certificates"].to_numpy()]
    for variant, (draw, carried) in enumerate(zip(settings["variants"].values(), certificates, strict=True)):
        # The noise of a variant is scaled to its signal, hence no bound on it is known before the signs are drawn.
        statistical = draw["noise_db"] is None and any(name in carried for name in ("statistical", "statistical-plain"))
        for cell in np.flatnonzero(signals["drawn"][variant]) if chosen.stop else ():
            place = (variant, cell, chosen)
            codes = [code[variant][cell].rows(chosen).to_dense() for code in truth.codes]
            covered = guarantees.uniform(cascade, codes, truth.noise[place], form="instance")
            bounds["instance_covered"][place] = covered.holds
            if statistical:
                found = guarantees.statistical(
                    cascade,
                    codes,
                    delta=settings["bounds"]["delta"],
                    signs="rademacher" if "statistical" in carried else "deepest",
                    method="optimised" if cascade.depth == 1 else "split",
                )
                bounds["certified"][place] = found.certified
                bounds["failure_bound"][place] = found.probability
    return {name: (_BATCH_OF_REPLICATE, values) for name, values in bounds.items()}
