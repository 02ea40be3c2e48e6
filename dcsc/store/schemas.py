"""Schemas of the datasets: the variables of every kind, their dimensions and units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

BATCH = ("replicate", "variant", "active", "trial")
"""Sweep axes of signals, in their order in every stage."""


@dataclass(frozen=True)
class Variable:
    """
    One variable of a schema.

    Parameters
    ----------
    dims : tuple of str
        Its dimensions; "*" stands for the spatial ones.
    long_name : str
        What it is.
    kinds : str
        Allowed numpy kind codes.
    units : str
        Unit, "1" for pure numbers.
    required : bool
        Whether a dataset without it is refused.
    """

    dims: tuple[str, ...]
    long_name: str
    kinds: str = "f"
    units: str = "1"
    required: bool = True


@dataclass(frozen=True)
class Schema:
    """
    What the datasets of a stage hold.

    Parameters
    ----------
    name : str
        The stage.
    version : int
        Counts changes that older readers would not understand.
    groups : mapping of str to mapping of str to Variable
        Variables by a regular expression of the group's path.
    """

    name: str
    version: int
    groups: Mapping[str, Mapping[str, Variable]]


_CODES = {
    "row_size": Variable(BATCH, "number of non-zeros of each code", "i"),
    "atom": Variable(("nonzero",), "index of each non-zero in C order of (filter, *position)", "i"),
    "value": Variable(("nonzero",), "coefficient, or sign, of each non-zero", "if"),
    "code_shape": Variable(("code_axis",), "shape (filter, *position) of a code", "i"),
}
_FILTERS = ("replicate", "filter", "channel", "*")

DICTIONARIES = Schema(
    "dictionaries",
    1,
    {
        r"/layer_\d+": {
            "filters": Variable(_FILTERS, "unit-norm filters"),
            "integer_filters": Variable(_FILTERS, "integers proportional to the filters", "i", required=False),
            "stride": Variable(("axis",), "distance of neighbouring positions", "i", units="grid points"),
            "grid": Variable(("axis",), "size of the periodic grid", "i", units="grid points"),
            "mutual_coherence": Variable(("replicate",), "largest inner product of two different atoms"),
            "welch_bound": Variable((), "lower bound on the mutual coherence at these sizes"),
        }
    },
)
_SWEPT = ("variant", "active")
SWEEPS = Schema(
    "sweeps",
    1,
    {
        "/": {
            "drawn": Variable(_SWEPT, "whether the cell is drawn for the variant", "b"),
            "coarse": Variable(_SWEPT, "whether the coarse sweep looked at the cell", "b"),
            "recovered": Variable(("pursuit", *_SWEPT), "paths that were recovered in the coarse sweep", "i"),
            "trials": Variable(("pursuit", *_SWEPT), "trials of the coarse sweep", "i"),
        }
    },
)
SIGNALS = Schema(
    "signals",
    2,
    {
        "/": {
            "drawn": Variable(_SWEPT, "whether the cell is drawn for the variant, or left empty", "b"),
            "refused": Variable(BATCH, "insertions, or whole draws, that the constraint refused", "i"),
            "certificates": Variable(("variant",), "guarantees that the draws of a variant can carry", "OUT"),
        },
        r"/layer_\d+": {
            **_CODES,
            "layer_signs": Variable(
                (*BATCH, "coefficient"), "T of D-CSC-R in C order of (filter, *position)", "i", required=False
            ),
        },
        "/noise": {"noise": Variable((*BATCH, "channel", "*"), "noise added to the signal")},
    },
)
PURSUITS = Schema(
    "pursuits",
    2,
    {
        r"/[^/]+/layer_\d+": {
            **_CODES,
            "threshold": Variable(BATCH, "threshold, or penalty, of the layer; NaN where there is none"),
            "filter_threshold": Variable(
                (*BATCH, "filter"), "threshold of each filter, where each has its own", required=False
            ),
            "iterations": Variable(BATCH, "steps taken at the layer, 0 where the pursuit did not run", "i"),
        }
    },
)
_RUNS = ("pursuit", *BATCH)
_CODES_OF = ("layer", *BATCH)
_TRIALS = ("pursuit", "layer", *BATCH)
METRICS = Schema(
    "metrics",
    4,
    {
        "/": {
            "measured": Variable(("pursuit", *_SWEPT), "whether the pursuit ran on the cell", "b"),
            "path_recovered": Variable(_RUNS, "all supports are exact", "b"),
            "signs_recovered": Variable(_RUNS, "all supports and all signs are exact", "b"),
            "support_recovered": Variable(_TRIALS, "the support of the layer is exact", "b"),
            "misses": Variable(_TRIALS, "active atoms that were not found", "i"),
            "false_alarms": Variable(_TRIALS, "inactive atoms that were found", "i"),
            "nonzeros": Variable(_CODES_OF, "number of non-zeros of the code", "i"),
            "stripe_sparsity": Variable(_CODES_OF, "largest number of non-zeros in a stripe", "i"),
            "patch_sparsity": Variable(_CODES_OF, "largest number of non-zeros in a patch", "i"),
            "contrast": Variable(_CODES_OF, "smallest over largest non-zero magnitude"),
            "uniform_guarantee": Variable(_CODES_OF, "[PRE17] Thm 8 holds up to this layer", "b"),
            "instance_covered": Variable(
                BATCH, "1 where the uniform instance form covers the path at the best thresholds, else 0"
            ),
            "covered_as_run": Variable(
                _RUNS,
                "1 where the uniform instance form covers the path with the pursuit's thresholds, else 0",
                required=False,
            ),
            "failure_bound_as_run": Variable(
                _RUNS,
                "part of a draw in the mean that bounds the failure rate with the pursuit's thresholds; may exceed 1",
                required=False,
            ),
            "signal_to_noise": Variable(
                BATCH,
                "power of the synthesis over that of what was added to it, NaN without",
                units="dB",
                required=False,
            ),
            "covered": Variable(_TRIALS, "a theorem of [PRE17] holds up to this layer, as it was run", "b"),
            "threshold": Variable(_TRIALS, "threshold, or penalty, of the layer; NaN where there is none"),
            "iterations": Variable(_TRIALS, "steps taken at the layer, 0 where the pursuit did not run", "i"),
            "error": Variable(_TRIALS, "largest l2 error of a patch", required=False),
            "magnitude": Variable(_CODES_OF, "largest l2 norm of a patch"),
            "error_bound": Variable(_TRIALS, "[PRE17] bound on the error, NaN where none holds", required=False),
        }
    },
)
_CELLS = ("cascade", "replicate", "pursuit", "variant", "active")
_DRAWN = ("cascade", "replicate", "variant", "active")
SUMMARY = Schema(
    "summary",
    4,
    {
        "/": {
            "recovered": Variable(_CELLS, "trials whose whole path was recovered", "i"),
            "recovered_with_signs": Variable(_CELLS, "trials whose whole path and all signs were recovered", "i"),
            "trials": Variable(_CELLS, "trials, 0 where the pursuit did not run", "i"),
            "covered": Variable(_CELLS, "trials whose whole path a theorem of [PRE17] covers", "i"),
            "violations": Variable(_CELLS, "covered trials whose path was not recovered", "i"),
            "bounded": Variable(_CELLS, "trials for which a statistical instance form bounds the failure", "i"),
            "bounded_failures": Variable(_CELLS, "of these, those whose path was not recovered", "i"),
            "failure_bound": Variable(_CELLS, "bound on their failure rate, NaN where there is none"),
            "assured": Variable(_CELLS, "trials that the uniform instance form covers, as it was run", "i"),
            "assured_failures": Variable(_CELLS, "of these, those whose path was not recovered", "i"),
            "welch_bound": Variable(("cascade",), "lower bound on the coherence of the first layer"),
            "stripe_sparsity": Variable(_DRAWN, "mean stripe-sparsity of the first layer, NaN if not drawn"),
            "nonzeros": Variable((*_DRAWN, "layer"), "mean number of non-zeros, NaN if not drawn or no such layer"),
            "atoms": Variable(("cascade", "layer"), "atoms of the layer, 0 if there is no such layer", "i"),
            "mutual_coherence": Variable(("cascade", "replicate"), "mutual coherence of the first layer"),
        }
    },
)
_PARTS = ("pursuit", "variant", "rung", "part")
CERTIFIED = Schema(
    "certificates",
    1,
    {
        "/": {
            "applies": Variable(_PARTS, "whether the rung speaks of the pursuit and of these signs", "b"),
            "active": Variable(_PARTS, "largest certified number of active deepest atoms, 0 for none", "i"),
            "next_active": Variable(_PARTS, "next number, which is not certified, 0 where none was offered", "i"),
            "limit": Variable(_PARTS, "upper confidence limit of the failure rate at the certified number"),
            "draws": Variable(_PARTS, "draws behind that limit, pooled over all replicates", "i"),
            "stripe_sparsity": Variable(
                (*_PARTS, "layer"), "mean stripe-sparsity at the certified number; NaN if none"
            ),
            "next_stripe_sparsity": Variable(
                (*_PARTS, "layer"), "mean stripe-sparsity at the next number; NaN if none"
            ),
            "density": Variable((*_PARTS, "layer"), "mean share of active atoms at the certified number"),
            "mutual_coherence": Variable(("replicate",), "mutual coherence of the first layer"),
        }
    },
)
CERTIFICATE = Schema(
    "certificate",
    1,
    {
        "/": {
            "n_filters": Variable(("layer",), "number of filters", "i"),
            "n_channels": Variable(("layer",), "number of channels of a filter", "i"),
            "taps": Variable(("layer", "axis"), "size of a filter", "i", units="grid points"),
            "stride": Variable(("layer", "axis"), "distance of neighbouring positions", "i", units="grid points"),
            "grid": Variable(("layer", "axis"), "size of the periodic grid", "i", units="grid points"),
            "n_atoms": Variable(("layer",), "number of atoms on this grid", "i"),
            "stripe_size": Variable(("layer",), "number of atoms in a stripe", "i"),
            "smallest_norm": Variable(("layer",), "smallest norm of a filter before it was scaled to 1"),
            "largest_norm": Variable(("layer",), "largest norm of a filter before it was scaled to 1"),
            "smallest_threshold": Variable(("layer",), "smallest threshold that a bias stands for"),
            "largest_threshold": Variable(("layer",), "largest threshold that a bias stands for"),
            "mutual_coherence": Variable(("layer",), "largest inner product of two different atoms"),
            "welch_bound": Variable(("layer",), "lower bound on the mutual coherence at these sizes"),
            "segment": Variable(("layer",), "cascade that the layer is in, from 0", "i", required=False),
            "activation": Variable(("layer",), "what follows the layer, empty if not known", "OUT", required=False),
            "coherence_alone": Variable(
                ("layer",), "coherence on its own input, without the norms of the layer before", required=False
            ),
            "random_coherence": Variable(("layer",), "coherence of random filters of the same shape", required=False),
            "certified_sparsity": Variable(
                ("rung", "layer"), "largest stripe-sparsity that a rung certifies, -1 where not asked for", "i"
            ),
            "certified_limit": Variable(("rung", "layer"), "the same as a real number, for closed forms"),
            "note": Variable(("remark",), "what was assumed, changed or left out", "OUT", required=False),
        },
        r"/layer_\d+": {
            "babel": Variable(("k",), "Babel function, largest sum of k coherences of an atom"),
            "babel2": Variable(("k",), "2-Babel function, largest l2 norm of k coherences of an atom"),
        },
        r"/measured_\d+": {
            "active": Variable(("trial",), "non-zeros of a code", "i"),
            "n_atoms": Variable((), "number of atoms of the measured codes", "i"),
            "n_whole": Variable((), "those of them within the input, -1 if not known", "i", required=False),
            "smallest_norm": Variable((), "what the border of the input leaves of an atom", required=False),
            "stripe_sparsity": Variable(("trial",), "largest number of non-zeros in a stripe", "i"),
            "contrast": Variable(("trial",), "smallest over largest non-zero magnitude"),
            "misfit": Variable(("trial",), "part of the input that the code does not synthesize, in l2"),
            "covered": Variable(("rung", "trial"), "the rung covers the signal that the code synthesizes", "b"),
            "covered_by_biases": Variable(("trial",), "ReLU with the biases of the layer is sure to recover it", "b"),
            "failure_by_biases": Variable(("trial",), "bound on the failure of soft thresholding with them"),
        },
    },
)
_OF_LAYER, _OF_FILTERS = ("layer",), ("layer", "filters")
PLANTED = Schema(
    "planted",
    2,
    {
        "/": {
            "activation": Variable(_OF_LAYER, "what follows the layer", "OUT"),
            "n_filters": Variable(_OF_LAYER, "number of filters that are not zero", "i"),
            "n_channels": Variable(_OF_LAYER, "number of channels of a filter", "i"),
            "taps": Variable(_OF_LAYER, "size of a filter, axis by axis", "OUT"),
            "stride": Variable(_OF_LAYER, "distance of neighbouring positions, axis by axis", "OUT"),
            "n_atoms": Variable(_OF_LAYER, "number of atoms on this input", "i"),
            "mutual_coherence": Variable(_OF_FILTERS, "largest inner product of two different atoms; NaN if none"),
            "welch_bound": Variable(_OF_LAYER, "lower bound on the mutual coherence at these sizes"),
            "active": Variable((*_OF_LAYER, "trial"), "non-zeros that the forward pass leaves", "i"),
            "stripe_sparsity": Variable(
                (*_OF_LAYER, "support", "share", "trial"), "largest number of planted non-zeros in a stripe", "i"
            ),
            "f1": Variable(
                (*_OF_FILTERS, "support", "signs", "threshold", "magnitudes", "share", "trial"),
                "harmonic mean of precision and recall of the support of one step; NaN if nothing is planted",
            ),
            "unexplained": Variable(
                (*_OF_LAYER, "trial"), "part of the input, in l2, that the best multiple of its code leaves"
            ),
            "unexplained_at_best": Variable(
                (*_OF_FILTERS, "trial"), "part of the input, in l2, that the best code on the support leaves, at most"
            ),
        }
    },
)
SCHEMAS = {
    schema.name: schema
    for schema in (DICTIONARIES, SWEEPS, SIGNALS, PURSUITS, METRICS, SUMMARY, CERTIFIED, CERTIFICATE, PLANTED)
}


def spatial_names(prefix: str, rank: int) -> list[str]:
    """
    Name the spatial dimensions of an array.

    Parameters
    ----------
    prefix : str
        Such as "tap" or "position".
    rank : int
        Number of spatial axes.

    Returns
    -------
    list of str
        ["tap"] in 1-D, ["tap_0", "tap_1"] in 2-D.
    """
    return [prefix] if rank == 1 else [f"{prefix}_{axis}" for axis in range(rank)]
