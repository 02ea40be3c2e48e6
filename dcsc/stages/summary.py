"""Fifth stage: count the trials of every cell over all chunks and cascades of an experiment."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from dcsc import guarantees
from dcsc.stages.dictionaries import cascade_of

CLOSED_RUNGS = ("uniform-coherence", "uniform-babel", "statistical-coherence", "statistical-babel2")
"""Rungs of the ladder that depend on the dictionary alone."""


def summarize(
    metrics: Mapping[str, Iterable[xr.Dataset]], dictionaries: Mapping[str, xr.DataTree], delta: float
) -> xr.Dataset:
    """
    Pool the trials of every cell.

    Parameters
    ----------
    metrics : mapping of str to iterable of Dataset
        The chunks of the metrics stage by cascade; of a generator, one is held at a time.
    dictionaries : mapping of str to DataTree
        Of the dictionaries stage, by cascade.
    delta : float
        Failure probability that the statistical guarantees admit.

    Returns
    -------
    Dataset
        After the schema of the summary stage.
    """
    cascades = []
    for name, chunks in metrics.items():
        parts = [_reduced(chunk) for chunk in chunks]  # one chunk in memory at a time
        total = _added([part.counts for part in parts])
        bound = _added([part.bounds for part in parts])
        sparsity = sum(part.stripe_sums for part in parts) / sum(part.trials for part in parts)
        contrast = functools.reduce(np.minimum, [part.contrast for part in parts])
        first = dictionaries[name]["layer_1"]
        cascades.append(
            total.merge(bound[["bounded", "instance_covered", "certified"]].astype(np.int64)).assign(
                failure_bound=bound["failure_bound"] / bound["bounded"].where(bound["bounded"] > 0),
                stripe_sparsity=sparsity,
                certified_sparsity=_certified(dictionaries[name], contrast, delta),
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
    contrast: xr.DataArray
    trials: int


def _reduced(chunk: xr.Dataset) -> _Reduced:
    drawn = chunk["measured"].astype(bool).any("pursuit")
    contrast = chunk["contrast"].isel(layer=0).where(drawn).min(("replicate", "active", "trial"))
    return _Reduced(_counts(chunk), _bounds(chunk), _stripe_sums(chunk), contrast, chunk.sizes["trial"])


def _added(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    return sum(parts[1:], start=parts[0])


def _certified(dictionaries: xr.DataTree, contrast: xr.DataArray, delta: float) -> xr.DataArray:
    first = [
        cascade_of(dictionaries, number).dictionaries[0] for number in range(dictionaries["layer_1"].sizes["replicate"])
    ]
    limits = [
        [
            [
                guarantees.certified_stripe_sparsity(layer, max(float(ratio), 1e-300), delta, rung=rung).limit
                for rung in CLOSED_RUNGS
            ]
            for ratio in contrast.to_numpy()
        ]
        for layer in first
    ]
    names = {"variant": contrast["variant"].to_numpy(), "rung": list(CLOSED_RUNGS)}
    return xr.DataArray(np.array(limits), dims=("replicate", *names), coords=names)


def _bounds(chunk: xr.Dataset) -> xr.Dataset:
    computed = chunk["instance_covered"].notnull()
    counts = chunk[["instance_covered", "certified"]].fillna(0).sum("trial")
    # A draw without a bound leaves its cell without one: the mean must not be taken over the easy draws alone.
    missing = (computed & chunk["failure_bound"].isnull()).any("trial")
    total = chunk["failure_bound"].fillna(0).sum("trial").where(~missing)
    return counts.assign(bounded=computed.sum("trial"), failure_bound=total).transpose("replicate", "variant", "active")


def _counts(chunk: xr.Dataset) -> xr.Dataset:
    ran = chunk["measured"].astype(bool)
    recovered = chunk["path_recovered"].astype(bool) & ran
    covered = chunk["covered"].astype(bool).all("layer") & ran
    counts = xr.Dataset(
        {
            "recovered": recovered.sum("trial"),
            "recovered_with_signs": (chunk["signs_recovered"].astype(bool) & ran).sum("trial"),
            "trials": (xr.ones_like(recovered, dtype=np.int64) * ran).sum("trial"),
            "covered": covered.sum("trial"),
            "violations": (covered & ~recovered).sum("trial"),
            "bounded_failures": (chunk["instance_covered"].notnull() & ran & ~recovered).sum("trial"),
        }
    ).astype(np.int64)
    return counts.transpose("replicate", "pursuit", "variant", "active")


def _stripe_sums(chunk: xr.Dataset) -> xr.DataArray:
    first = chunk["stripe_sparsity"].isel(layer=0, drop=True)
    drawn = chunk["measured"].astype(bool).any("pursuit")
    return first.sum("trial").astype(np.float64).where(drawn).transpose("replicate", "variant", "active")
