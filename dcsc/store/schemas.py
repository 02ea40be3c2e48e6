"""What datasets hold: the variables of every kind, their dimensions and units."""

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
    kinds : str
        Allowed numpy kind codes.
    units : str
        Unit, "1" for pure numbers.
    long_name : str
        What it is.
    required : bool
        Whether a dataset without it is refused.
    """

    dims: tuple[str, ...]
    kinds: str
    units: str
    long_name: str
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
    "row_size": Variable(BATCH, "i", "1", "number of non-zeros of each code"),
    "atom": Variable(("nonzero",), "i", "1", "index of each non-zero in C order of (filter, *position)"),
    "value": Variable(("nonzero",), "if", "1", "coefficient, or sign, of each non-zero"),
    "code_shape": Variable(("code_axis",), "i", "1", "shape (filter, *position) of a code"),
}
_FILTERS = ("replicate", "filter", "channel", "*")

DICTIONARIES = Schema(
    "dictionaries",
    1,
    {
        r"/layer_\d+": {
            "filters": Variable(_FILTERS, "f", "1", "unit-norm filters"),
            "integer_filters": Variable(_FILTERS, "i", "1", "integers proportional to the filters", required=False),
            "stride": Variable(("axis",), "i", "grid points", "distance of neighbouring positions"),
            "grid": Variable(("axis",), "i", "grid points", "size of the periodic grid"),
            "mutual_coherence": Variable(("replicate",), "f", "1", "largest inner product of two different atoms"),
            "welch_bound": Variable((), "f", "1", "lower bound on the mutual coherence at these sizes"),
        }
    },
)
_SWEPT = ("variant", "active")
SWEEPS = Schema(
    "sweeps",
    1,
    {
        "/": {
            "drawn": Variable(_SWEPT, "b", "1", "whether the cell is drawn for the variant"),
            "coarse": Variable(_SWEPT, "b", "1", "whether the coarse sweep looked at the cell"),
            "recovered": Variable(("pursuit", *_SWEPT), "i", "1", "paths that were recovered in the coarse sweep"),
            "trials": Variable(("pursuit", *_SWEPT), "i", "1", "trials of the coarse sweep"),
        }
    },
)
SIGNALS = Schema(
    "signals",
    2,
    {
        "/": {
            "drawn": Variable(_SWEPT, "b", "1", "whether the cell is drawn for the variant, or left empty"),
            "refused": Variable(BATCH, "i", "1", "insertions, or whole draws, that the constraint refused"),
            "certificates": Variable(("variant",), "OUT", "1", "guarantees that the draws of a variant can carry"),
        },
        r"/layer_\d+": {
            **_CODES,
            "layer_signs": Variable(
                (*BATCH, "coefficient"), "i", "1", "T of D-CSC-R in C order of (filter, *position)", required=False
            ),
        },
        "/noise": {"noise": Variable((*BATCH, "channel", "*"), "f", "1", "noise added to the signal")},
    },
)
PURSUITS = Schema(
    "pursuits",
    2,
    {
        r"/[^/]+/layer_\d+": {
            **_CODES,
            "threshold": Variable(BATCH, "f", "1", "threshold, or penalty, of the layer; NaN where there is none"),
            "iterations": Variable(BATCH, "i", "1", "steps taken at the layer, 0 where the pursuit did not run"),
        }
    },
)
_TRIALS = ("pursuit", "layer", *BATCH)
METRICS = Schema(
    "metrics",
    4,
    {
        "/": {
            "measured": Variable(("pursuit", *_SWEPT), "b", "1", "whether the pursuit ran on the cell"),
            "path_recovered": Variable(("pursuit", *BATCH), "b", "1", "all supports are exact"),
            "signs_recovered": Variable(("pursuit", *BATCH), "b", "1", "all supports and all signs are exact"),
            "support_recovered": Variable(_TRIALS, "b", "1", "the support of the layer is exact"),
            "misses": Variable(_TRIALS, "i", "1", "active atoms that were not found"),
            "false_alarms": Variable(_TRIALS, "i", "1", "inactive atoms that were found"),
            "nonzeros": Variable(("layer", *BATCH), "i", "1", "number of non-zeros of the code"),
            "stripe_sparsity": Variable(("layer", *BATCH), "i", "1", "largest number of non-zeros in a stripe"),
            "patch_sparsity": Variable(("layer", *BATCH), "i", "1", "largest number of non-zeros in a patch"),
            "contrast": Variable(("layer", *BATCH), "f", "1", "smallest over largest non-zero magnitude"),
            "uniform_guarantee": Variable(("layer", *BATCH), "b", "1", "[PRE17] Thm 8 holds up to this layer"),
            "instance_covered": Variable(
                BATCH, "f", "1", "1 where the uniform instance form covers the path at the best thresholds, else 0"
            ),
            "covered_as_run": Variable(
                ("pursuit", *BATCH),
                "f",
                "1",
                "1 where the uniform instance form covers the path with the pursuit's thresholds, else 0",
                required=False,
            ),
            "failure_bound_as_run": Variable(
                ("pursuit", *BATCH),
                "f",
                "1",
                "part of a draw in the mean that bounds the failure rate with the pursuit's thresholds; may exceed 1",
                required=False,
            ),
            "signal_to_noise": Variable(
                BATCH,
                "f",
                "dB",
                "power of the synthesis over that of what was added to it, NaN without",
                required=False,
            ),
            "covered": Variable(_TRIALS, "b", "1", "a theorem of [PRE17] holds up to this layer, as it was run"),
            "threshold": Variable(_TRIALS, "f", "1", "threshold, or penalty, of the layer; NaN where there is none"),
            "iterations": Variable(_TRIALS, "i", "1", "steps taken at the layer, 0 where the pursuit did not run"),
            "error": Variable(_TRIALS, "f", "1", "largest l2 error of a patch", required=False),
            "magnitude": Variable(("layer", *BATCH), "f", "1", "largest l2 norm of a patch"),
            "error_bound": Variable(
                ("pursuit", "layer", *BATCH),
                "f",
                "1",
                "[PRE17] bound on the error, NaN where none holds",
                required=False,
            ),
        }
    },
)
_CELLS = ("cascade", "replicate", "pursuit", "variant", "active")
_DRAWN = ("cascade", "replicate", "variant", "active")
SUMMARY = Schema(
    "summary",
    3,
    {
        "/": {
            "recovered": Variable(_CELLS, "i", "1", "trials whose whole path was recovered"),
            "recovered_with_signs": Variable(_CELLS, "i", "1", "trials whose whole path and all signs were recovered"),
            "trials": Variable(_CELLS, "i", "1", "trials, 0 where the pursuit did not run"),
            "covered": Variable(_CELLS, "i", "1", "trials whose whole path a theorem of [PRE17] covers"),
            "violations": Variable(_CELLS, "i", "1", "covered trials whose path was not recovered"),
            "bounded": Variable(_CELLS, "i", "1", "trials for which a statistical instance form bounds the failure"),
            "bounded_failures": Variable(_CELLS, "i", "1", "of these, those whose path was not recovered"),
            "failure_bound": Variable(_CELLS, "f", "1", "bound on their failure rate, NaN where there is none"),
            "assured": Variable(_CELLS, "i", "1", "trials that the uniform instance form covers, as it was run"),
            "assured_failures": Variable(_CELLS, "i", "1", "of these, those whose path was not recovered"),
            "welch_bound": Variable(("cascade",), "f", "1", "lower bound on the coherence of the first layer"),
            "stripe_sparsity": Variable(_DRAWN, "f", "1", "mean stripe-sparsity of the first layer, NaN if not drawn"),
            "mutual_coherence": Variable(("cascade", "replicate"), "f", "1", "mutual coherence of the first layer"),
        }
    },
)
_PARTS = ("pursuit", "variant", "rung", "part")
CERTIFIED = Schema(
    "certificates",
    1,
    {
        "/": {
            "applies": Variable(_PARTS, "b", "1", "whether the rung speaks of the pursuit and of these signs"),
            "active": Variable(_PARTS, "i", "1", "largest certified number of active deepest atoms, 0 for none"),
            "next_active": Variable(_PARTS, "i", "1", "next number, which is not certified, 0 where none was offered"),
            "limit": Variable(_PARTS, "f", "1", "upper confidence limit of the failure rate at the certified number"),
            "draws": Variable(_PARTS, "i", "1", "draws behind that limit, pooled over all replicates"),
            "stripe_sparsity": Variable(
                (*_PARTS, "layer"), "f", "1", "mean stripe-sparsity at the certified number; NaN if none"
            ),
            "next_stripe_sparsity": Variable(
                (*_PARTS, "layer"), "f", "1", "mean stripe-sparsity at the next number; NaN if none"
            ),
            "density": Variable((*_PARTS, "layer"), "f", "1", "mean share of active atoms at the certified number"),
            "mutual_coherence": Variable(("replicate",), "f", "1", "mutual coherence of the first layer"),
        }
    },
)
CERTIFICATE = Schema(
    "certificate",
    1,
    {
        "/": {
            "n_filters": Variable(("layer",), "i", "1", "number of filters"),
            "n_channels": Variable(("layer",), "i", "1", "number of channels of a filter"),
            "taps": Variable(("layer", "axis"), "i", "grid points", "size of a filter"),
            "stride": Variable(("layer", "axis"), "i", "grid points", "distance of neighbouring positions"),
            "grid": Variable(("layer", "axis"), "i", "grid points", "size of the periodic grid"),
            "n_atoms": Variable(("layer",), "i", "1", "number of atoms on this grid"),
            "stripe_size": Variable(("layer",), "i", "1", "number of atoms in a stripe"),
            "smallest_norm": Variable(("layer",), "f", "1", "smallest norm of a filter before it was scaled to 1"),
            "largest_norm": Variable(("layer",), "f", "1", "largest norm of a filter before it was scaled to 1"),
            "smallest_threshold": Variable(("layer",), "f", "1", "smallest threshold that a bias stands for"),
            "largest_threshold": Variable(("layer",), "f", "1", "largest threshold that a bias stands for"),
            "mutual_coherence": Variable(("layer",), "f", "1", "largest inner product of two different atoms"),
            "welch_bound": Variable(("layer",), "f", "1", "lower bound on the mutual coherence at these sizes"),
            "certified_sparsity": Variable(
                ("rung", "layer"), "i", "1", "largest stripe-sparsity that a rung certifies, -1 where not asked for"
            ),
            "certified_limit": Variable(("rung", "layer"), "f", "1", "the same as a real number, for closed forms"),
            "note": Variable(("remark",), "OUT", "1", "what was assumed, changed or left out", required=False),
        },
        r"/layer_\d+": {
            "babel": Variable(("k",), "f", "1", "Babel function, largest sum of k coherences of an atom"),
            "babel2": Variable(("k",), "f", "1", "2-Babel function, largest l2 norm of k coherences of an atom"),
        },
        r"/measured_\d+": {
            "active": Variable(("trial",), "i", "1", "non-zeros of a code"),
            "n_atoms": Variable((), "i", "1", "number of atoms of the measured codes"),
            "stripe_sparsity": Variable(("trial",), "i", "1", "largest number of non-zeros in a stripe"),
            "contrast": Variable(("trial",), "f", "1", "smallest over largest non-zero magnitude"),
            "misfit": Variable(("trial",), "f", "1", "part of the input that the code does not synthesize, in l2"),
            "covered": Variable(("rung", "trial"), "b", "1", "the rung covers the signal that the code synthesizes"),
        },
    },
)
SCHEMAS = {
    schema.name: schema
    for schema in (DICTIONARIES, SWEEPS, SIGNALS, PURSUITS, METRICS, SUMMARY, CERTIFIED, CERTIFICATE)
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
