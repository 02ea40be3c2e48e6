"""Fifth stage: count the trials of every cell over all chunks and cascades of an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr


def summarize(metrics: Mapping[str, Iterable[xr.Dataset]], dictionaries: Mapping[str, xr.DataTree]) -> xr.Dataset:
    """
    Pool the trials of every cell.

    Parameters
    ----------
    metrics : mapping of str to iterable of Dataset
        The chunks of the metrics stage by cascade; of a generator, one is held at a time.
    dictionaries : mapping of str to DataTree
        Of the dictionaries stage, by cascade.

    Returns
    -------
    Dataset
        After the schema of the summary stage.
    """
    cascades = []
    for name, chunks in metrics.items():
        parts = [_reduced(chunk) for chunk in chunks]  # one chunk in memory at a time
        total = _added([part.counts for part in parts])
        bounds = _added([part.bounds for part in parts])
        trials = sum(part.trials for part in parts)
        sparsity = sum(part.stripe_sums for part in parts) / trials
        nonzeros = xr.DataArray(sum(part.nonzero_sums for part in parts) / trials)
        first = dictionaries[name]["layer_1"]
        cascades.append(
            total.assign(
                failure_bound=_failure_rate_bound(bounds),
                stripe_sparsity=sparsity,
                nonzeros=nonzeros,
                atoms=("layer", [_atoms(dictionaries[name], layer) for layer in nonzeros["layer"].to_numpy()]),
                mutual_coherence=("replicate", first["mutual_coherence"].to_numpy()),
                welch_bound=((), float(first["welch_bound"])),
            )
        )
    # Every cascade has cells of its own where sweeps are refined; where one has none, it has 0 trials.
    counted = {name: 0 for name, variable in cascades[0].data_vars.items() if variable.dtype.kind == "i"}
    missing = dict.fromkeys(cascades[0].data_vars, np.nan) | counted
    names = xr.DataArray(list(metrics), dims="cascade", name="cascade")
    return xr.concat(cascades, names, join="outer", fill_value=missing)


@dataclass(frozen=True, eq=False)
class _Reduced:
    """What is counted of one chunk."""

    counts: xr.Dataset
    bounds: xr.Dataset
    stripe_sums: xr.DataArray
    nonzero_sums: xr.DataArray
    trials: int


def _reduced(chunk: xr.Dataset) -> _Reduced:
    stripes, nonzeros = _sums(chunk, "stripe_sparsity").isel(layer=0, drop=True), _sums(chunk, "nonzeros")
    return _Reduced(_counts(chunk), _bounds(chunk), stripes, nonzeros, chunk.sizes["trial"])


def _atoms(tree: xr.DataTree, number: int) -> int:
    """Atoms of a layer."""
    layer = tree.children[f"layer_{number}"]
    positions = layer["grid"].to_numpy() // layer["stride"].to_numpy()
    return layer.sizes["filter"] * int(np.prod(positions))


def _added(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    return sum(parts[1:], start=parts[0])


def _bounds(chunk: xr.Dataset) -> xr.Dataset:
    """Sums that the bounds on failure rates are made from, of the draws that have a bound."""
    bound = chunk["failure_bound_as_run"]
    sums = xr.Dataset(
        {
            "bounded": bound.notnull().sum("trial").astype(np.float64),
            "covered": chunk["covered_as_run"].where(bound.notnull()).sum("trial"),
            "bound": bound.fillna(0).sum("trial"),
        }
    )
    return sums.transpose("replicate", "pursuit", "variant", "active")


def _failure_rate_bound(sums: xr.Dataset) -> xr.DataArray:
    """Bound on the failure rate of every cell, see `dcsc.guarantees.failure_rate_bound`; NaN where no draw has one."""
    count = sums["bounded"].where(sums["bounded"] > 0)
    # NumPy's stubs do not know that its functions keep the type.
    return np.minimum(np.minimum(sums["bound"] / count, 1 - sums["covered"] / count), 1.0)  # type: ignore[return-value]


def _counts(chunk: xr.Dataset) -> xr.Dataset:
    ran = chunk["measured"].astype(bool)
    recovered = chunk["path_recovered"].astype(bool) & ran
    covered = chunk["covered"].astype(bool).all("layer") & ran
    bounded, assured = chunk["failure_bound_as_run"].notnull(), chunk["covered_as_run"] == 1
    counts = xr.Dataset(
        {
            "recovered": recovered.sum("trial"),
            "recovered_with_signs": (chunk["signs_recovered"].astype(bool) & ran).sum("trial"),
            "trials": (xr.ones_like(recovered, dtype=np.int64) * ran).sum("trial"),
            "covered": covered.sum("trial"),
            "violations": (covered & ~recovered).sum("trial"),
            "bounded": (bounded & ran).sum("trial"),
            "bounded_failures": (bounded & ran & ~recovered).sum("trial"),
            "assured": (assured & ran).sum("trial"),
            "assured_failures": (assured & ran & ~recovered).sum("trial"),
        }
    ).astype(np.int64)
    return counts.transpose("replicate", "pursuit", "variant", "active")


def _sums(chunk: xr.Dataset, name: str) -> xr.DataArray:
    """Sums over the trials of what is known of every code; NaN where none was drawn."""
    drawn = chunk["measured"].astype(bool).any("pursuit")
    sums = chunk[name].sum("trial").astype(np.float64).where(drawn)
    return sums.transpose("replicate", "variant", "active", "layer")
