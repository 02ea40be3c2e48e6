"""
Fit the coefficients of the cost model on runs of this checkout: python -m benchmarks.cost_model CONFIG...

Time is the processor time that the jobs log, so that other work on the machine does not count; memory is what
they log, or Snakemake's timing files where that is more; disk is from the outputs. The weights lie between
those of relative errors, for which small jobs count, and of absolute ones, for which the sum comes out right;
no coefficient is below 0.
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import scipy.optimize

from dcsc.study import config
from dcsc.study.estimate.model import COEFFICIENTS, QUANTITIES, kind_of, shipped
from dcsc.study.estimate.sizes import StudySizes
from dcsc.study.estimate.timings import timed_jobs

TERMS = {
    "draw_dictionaries": {
        "seconds": ("job", "filters", "stripes", "optimised", "iterated"),
        "memory_mb": ("job", "filters", "stripes"),
        "disk_mb": ("job", "nonzeros"),
    },
    "refine_sweep": {
        "seconds": ("job", "run_entries", "run_places", "reached", "adversarial", "products", "iterations", "dense"),
        "memory_mb": ("job", "run_places", "run_entries"),
        "disk_mb": ("job",),
    },
    "certify_draws": {
        "seconds": ("job", "searched", "searched_products"),
        "memory_mb": ("job", "searched"),
        "disk_mb": ("job",),
    },
    "sample_signals": {
        "seconds": ("job", "signals", "entries", "places", "noise", "adversarial", "deep_places"),
        "memory_mb": ("job", "entries", "noise", "deep_places"),
        "disk_mb": ("signals", "entries", "noise", "deep_places"),
    },
    "run_pursuits": {
        "seconds": ("job", "runs", "run_entries", "run_places", "reached", "products", "iterations", "dense"),
        "memory_mb": ("job", "run_entries", "noise", "replicate_places", "deep_run_places"),
        "disk_mb": ("runs", "run_entries", "deep_run_places"),
    },
    "measure_recovery": {
        "seconds": ("job", "places", "run_places", "run_entries", "bounded", "bounded_products", "deep_run_places"),
        "memory_mb": ("job", "entries", "run_entries", "table", "deep_run_places"),
        "disk_mb": ("job", "signals", "runs"),
    },
    "summarize_metrics": {
        "seconds": ("job", "values", "chunks"),
        "memory_mb": ("job", "chunk_values"),
        "disk_mb": ("job",),
    },
    "render": {
        "seconds": ("job", "chunks"),
        "memory_mb": ("job",),
        "disk_mb": ("job",),
    },
    "render_trials": {
        "seconds": ("job", "values", "chunks"),
        "memory_mb": ("job", "values"),
        "disk_mb": ("job",),
    },
}
"""Sizes that each quantity is made of."""

ASSUMED = {
    "iterations": 2e-7,  # from config/iterative.yaml: fewer for large arrays, more for tiny ones
    "dense": 4e-8,  # the same, of holistic pursuit
    "figure files": 0.4,
}
"""What the reproduction does not measure: iterative pursuits; and figures have several files."""

CLOCK = 1.25
"""Time on the clock for a second of processor time, with as many jobs as cores on a machine that does nothing else."""

PROCESSOR_TIME = re.compile(r"([\d.]+) s of processor")


def main(paths: list[str]) -> None:
    """Fit, print how well it fits, and write the coefficients."""
    jobs = defaultdict(list)
    for path in paths:
        study = config.load(path)
        sizes = StudySizes(study)
        for rule, wildcards, measured in timed_jobs(sizes, study.results):
            kind = kind_of(rule) if rule.startswith("render_") else rule
            jobs[kind].append(
                (sizes.features(rule, wildcards), _processor_time(study.results, rule, measured, wildcards))
            )
    fitted = {
        kind: {
            quantity: _fit(quantity, terms, jobs[kind]) or shipped()[kind][quantity]
            for quantity, terms in TERMS[kind].items()
        }
        for kind in TERMS
    }
    for kind in ("render", "render_trials"):
        fitted[kind]["disk_mb"] = {"job": ASSUMED["figure files"]}
    for kind in ("judge_claims", "render_reproduction"):
        fitted[kind] = {"seconds": {"job": 2.0}, "memory_mb": {"job": 150.0}, "disk_mb": {"job": 0.05}}
    COEFFICIENTS.write_text(json.dumps(fitted, indent=1) + "\n", encoding="utf-8")


def _processor_time(results: str, rule: str, measured: dict[str, float], wildcards: dict[str, str]) -> dict[str, float]:
    """Put the logged processor time in place of the time on the clock; without it the time is not used."""
    log = Path("logs", results, rule, *wildcards.values())
    text = log.with_name(log.name + ".log").read_text(encoding="utf-8")
    found = PROCESSOR_TIME.search(text)
    return {**measured, "seconds": CLOCK * float(found.group(1)) if found else float("nan")}


def _fit(
    quantity: str, terms: tuple[str, ...], jobs: list[tuple[dict[str, float], dict[str, float]]]
) -> dict[str, float]:
    """Weighted least squares; nothing where nothing was measured, such as the memory of jobs that are cached."""
    known = [(sizes, measured[quantity]) for sizes, measured in jobs if np.isfinite(measured.get(quantity, np.nan))]
    if not known:
        return {}
    targets = np.array([max(value, 1e-3) for _, value in known])
    matrix = np.array([[sizes.get(term, 0.0) for term in terms] for sizes, _ in known])
    scales = np.maximum(matrix.max(axis=0), 1e-300)
    weights = 1 / np.sqrt(targets * targets.mean())
    coefficients, _ = scipy.optimize.nnls(matrix / scales * weights[:, None], targets * weights)
    coefficients = coefficients / scales * (matrix.max(axis=0) > 0)
    ratio = matrix @ coefficients / targets
    share = (matrix @ coefficients).sum() / targets.sum()
    print(
        f"{quantity:>10} {len(known):4d} jobs  ratios {ratio.min():.2f} to {ratio.max():.2f}  sum {share:.2f}  {terms}"
    )
    return {
        term: float(f"{ASSUMED.get(term, value):.3g}")
        for term, value in zip(terms, coefficients, strict=True)
        if value > 0 or term in ASSUMED
    }


if __name__ == "__main__":
    assert set(QUANTITIES) == {"seconds", "memory_mb", "disk_mb"}
    main(sys.argv[1:])
