"""Fifth stage: count the trials of every cell over all chunks and cascades of an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr


def summarize(metrics: Mapping[str, Sequence[xr.Dataset]], coherences: Mapping[str, np.ndarray]) -> xr.Dataset:
    """
    Pool the trials of every cell.

    Parameters
    ----------
    metrics : mapping of str to sequence of Dataset
        The chunks of the metrics stage by cascade.
    coherences : mapping of str to ndarray of shape (replicate,)
        Mutual coherence of the first layer by cascade.

    Returns
    -------
    Dataset
        After the schema of the summary stage.
    """
    cascades = []
    for name, chunks in metrics.items():
        counts = [_counts(chunk) for chunk in chunks]
        total = sum(counts[1:], start=counts[0])
        sparsity = sum(_stripe_sums(chunk) for chunk in chunks) / sum(chunk.sizes["trial"] for chunk in chunks)
        cascades.append(
            total.assign(stripe_sparsity=sparsity, mutual_coherence=("replicate", np.asarray(coherences[name])))
        )
    return xr.concat(cascades, xr.DataArray(list(metrics), dims="cascade", name="cascade"))


def _counts(chunk: xr.Dataset) -> xr.Dataset:
    recovered = chunk["path_recovered"].astype(bool)
    covered = chunk["covered"].astype(bool).all("layer")
    counts = xr.Dataset(
        {
            "recovered": recovered.sum("trial"),
            "recovered_with_signs": chunk["signs_recovered"].sum("trial"),
            "trials": xr.ones_like(recovered, dtype=np.int64).sum("trial"),
            "covered": covered.sum("trial"),
            "violations": (covered & ~recovered).sum("trial"),
        }
    ).astype(np.int64)
    return counts.transpose("replicate", "pursuit", "variant", "active")


def _stripe_sums(chunk: xr.Dataset) -> xr.DataArray:
    first = chunk["stripe_sparsity"].isel(layer=0, drop=True)
    return first.sum("trial").astype(np.float64).transpose("replicate", "variant", "active")
