"""Certificates for a person, for a program and as a dataset."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dcsc.certification.certificate import Certificate, LayerCertificate, MeasuredLayer
from dcsc.guarantees.rungs import RUNGS
from dcsc.store import dataset, provenance, schemas

WIDTH = 100
"""Columns of a terminal that the text fits."""

_SHORT = {"coherence": "coherence", "babel": "Babel", "babel2": "2-Babel", "instance": "instance"}
"""What the form of a rung is called in a table."""
_PURSUITS = {
    "layered thresholding": {"uniform": "all signs", "statistical": "random signs"},
    "basis pursuit": {"basis-pursuit-uniform": "all signs", "basis-pursuit-statistical": "random"},
}
"""The pursuits, and which signs their rungs speak of."""

_SIZES = ("n_filters", "n_channels", "taps", "stride", "grid", "n_atoms", "stripe_size")
_NUMBERS = ("norms", "thresholds", "mutual_coherence", "welch_bound", "welch_ratio", "babel", "babel2")
_MEASURED = (
    "n_atoms", "active", "stripe_sparsity", "contrast", "misfit", "covered_by_biases", "failure_by_biases",
)  # fmt: skip


def as_text(certificate: Certificate) -> str:
    """
    Lay a certificate out for a terminal.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.

    Returns
    -------
    str
        Tables of at most `WIDTH` columns unless names are long, then what was assumed or left out.
    """
    count = len(certificate.layers)
    kind = "a cascade of " if certificate.is_cascade and count > 1 else ""
    title = f"{certificate.name or 'certificate'}: {kind}{count} layer{'s' * (count > 1)}"
    parts = [title, _sizes(certificate.layers), _babel(certificate.layers), _certified(certificate)]
    if certificate.measured:
        parts.append(_measured(certificate.measured, certificate.delta))
    if certificate.notes:
        wrapped = (textwrap.wrap(note, WIDTH - 2, break_long_words=False) for note in certificate.notes)
        parts.append("\n".join(["Notes", *("- " + "\n  ".join(lines) for lines in wrapped)]))
    return "\n\n".join(parts)


def _table(rows: Sequence[Sequence[str]], groups: Mapping[str, tuple[int, int]] | None = None) -> str:
    """Align columns, the first one left; groups of columns carry a heading above a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for name, *cells in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *aligned]))
    if groups:
        heading = [" "] * len(lines[0])
        for name, (first, last) in groups.items():
            start = sum(widths[:first]) + 2 * first
            end = sum(widths[: last + 1]) + 2 * last
            heading[start:end] = f" {name} ".center(end - start, "-")
        lines.insert(0, "".join(heading))
    return "\n".join(line.rstrip() for line in lines)


def _by(sizes: Iterable[int]) -> str:
    return "x".join(map(str, sizes))


def _range(values: np.ndarray, digits: int = 3) -> str:
    low, high = f"{values.min():.{digits}g}", f"{values.max():.{digits}g}"
    return low if low == high else f"{low} .. {high}"


def _sizes(layers: Sequence[LayerCertificate]) -> str:
    rows = [("layer", "filters", "channels", "taps", "stride", "grid", "norms", "coherence", "Welch", "ratio")]
    for layer in layers:
        made = layer.dictionary
        rows.append(
            (
                layer.name, str(made.n_filters), str(made.n_channels), _by(made.taps), _by(made.stride), _by(made.grid),
                _range(layer.norms), f"{layer.mutual_coherence:.4g}", f"{layer.welch_bound:.4g}",
                f"{layer.welch_ratio:.3g}" if math.isfinite(layer.welch_ratio) else "-",
            )
        )  # fmt: skip
    return _table(rows)


def _babel(layers: Sequence[LayerCertificate], most: int = 8) -> str:
    """The curve at powers of two up to the longest stripe, and where it reaches 1."""
    longest = max(len(layer.babel) for layer in layers)
    powers = [2**power for power in range(longest.bit_length()) if 2**power < longest]
    step = math.ceil(len(powers) / most) or 1
    chosen = powers[::step]
    rows = [("layer", *(f"k = {k}" for k in chosen), "reaches 1 at k", "stripe")]
    for layer in layers:
        values = [f"{layer.babel[k]:.4g}" if k < len(layer.babel) else "" for k in chosen]
        reached = np.flatnonzero(layer.babel >= 1)
        rows.append((layer.name, *values, str(reached[0]) if len(reached) else "-", str(len(layer.babel))))
    return "Babel function, mu_1(k): the largest sum of k coherences of one atom\n" + _table(rows)


def _certified(certificate: Certificate) -> str:
    rungs = [rung for rung in RUNGS if any(rung in layer.certified for layer in certificate.layers)]
    rows = [
        (layer.name, {rung: str(of.stripe_sparsity) for rung, of in layer.certified.items()})
        for layer in certificate.layers
    ]
    drawn = f", {certificate.draws} uniform draws for each size" if certificate.draws else ""
    return (
        "Certified stripe-sparsity for all signs and for random ones\n"
        f"(contrast {certificate.contrast:g}, delta {certificate.delta:g}{drawn})\n" + _by_rung(rungs, rows)
    )


def _by_rung(rungs: Sequence[str], rows: Sequence[tuple[str, Mapping[str, str]]]) -> str:
    """A table for each pursuit, with a column a rung under the signs that it speaks of."""
    tables = []
    for pursuit, signs in _PURSUITS.items():
        here = [rung for rung in rungs if rung.rsplit("-", 1)[0] in signs]
        kinds, groups = [rung.rsplit("-", 1)[0] for rung in here], {}
        for kind in dict.fromkeys(kinds):
            groups[signs[kind]] = (kinds.index(kind) + 1, kinds.index(kind) + kinds.count(kind))
        head = (pursuit, *(_SHORT[rung.rsplit("-", 1)[1]] for rung in here))
        tables.append(
            _table([head, *((name, *(cells.get(rung, "-") for rung in here)) for name, cells in rows)], groups)
        )
    return "\n\n".join(tables)


def _measured(measured: Sequence[MeasuredLayer], delta: float) -> str:
    trials = max(len(layer.active) for layer in measured)
    rows = [("layer", "atoms", "active", "stripe-sparsity", "contrast", "misfit")]
    covered: list[tuple[str, dict[str, str]]] = []
    for layer in measured:
        misfit = "-" if np.isnan(layer.misfit).all() else f"{np.nanmedian(layer.misfit):.3g}"
        active = f"{np.median(layer.active) / layer.n_atoms:.3%}"
        contrast = f"{np.median(layer.contrast):.2g}"
        rows.append((layer.name, str(layer.n_atoms), active, _range(layer.stripe_sparsity, 10), contrast, misfit))
        covered.append((layer.name, {rung: f"{holds.mean():.0%}" for rung, holds in layer.covered.items()}))
    heading = f"Measured on {trials} code{'s' * (trials > 1)}, medians and the range of the stripe-sparsity\n"
    at_biases = [("layer", "all signs", "random signs")]
    for layer in measured:
        likely = np.mean(layer.failure_by_biases <= delta)
        at_biases.append((layer.name, f"{layer.covered_by_biases.mean():.0%}", f"{likely:.0%}"))
    return (
        f"{heading}{_table(rows)}\n\nShare of them that a rung covers\n{_by_rung(RUNGS, covered)}\n\n"
        f"Share of them that thresholding with the biases of the layer recovers\n{_table(at_biases)}"
    )


def as_record(certificate: Certificate) -> dict[str, Any]:
    """
    Write a certificate as JSON values.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.

    Returns
    -------
    dict
        With the Babel functions at all k, and everything measured by trial; what is not finite is null.
    """
    layers = [
        {
            "name": layer.name,
            **{name: _json(getattr(layer.dictionary, name)) for name in _SIZES},
            **{name: _json(getattr(layer, name)) for name in _NUMBERS},
            "certified": {
                rung: {"stripe_sparsity": of.stripe_sparsity, "limit": _json(of.limit), "how": of.obtained}
                for rung, of in layer.certified.items()
            },
        }
        for layer in certificate.layers
    ]
    measured = [
        {
            **{name: _json(getattr(layer, name)) for name in ("name", *_MEASURED)},
            "covered": {rung: covered.tolist() for rung, covered in layer.covered.items()},
        }
        for layer in certificate.measured
    ]
    settings = {
        name: getattr(certificate, name) for name in ("name", "is_cascade", "contrast", "delta", "draws", "seed")
    }
    return {**settings, "layers": layers, "measured": measured, "notes": list(certificate.notes)}


def _json(value: Any) -> Any:
    """A JSON value; numbers that are not finite are null."""
    if isinstance(value, np.ndarray | tuple):
        return [_json(entry) for entry in (value.tolist() if isinstance(value, np.ndarray) else value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_datasets(certificate: Certificate) -> dict[str, xr.Dataset]:
    """
    Write a certificate as the groups of a dataset.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.

    Returns
    -------
    dict of str to Dataset
        After `dataset.CERTIFICATE`: "/", one group a layer with its Babel functions, one a measured layer.
    """
    layers = certificate.layers
    names = [layer.name for layer in layers]
    rank = max(layer.dictionary.rank for layer in layers)

    def sizes(name: str) -> tuple[Any, np.ndarray]:
        values = [getattr(layer.dictionary, name) for layer in layers]
        if isinstance(values[0], tuple):
            return ("layer", "axis"), np.array([[*size, *[1] * (rank - len(size))] for size in values])
        return "layer", np.array(values)

    def by_rung(attribute: str, missing: float) -> tuple[tuple[str, str], list[list[Any]]]:
        return ("rung", "layer"), [
            [getattr(layer.certified.get(rung), attribute, missing) for layer in layers] for rung in RUNGS
        ]

    root: dict[str, Any] = {name: sizes(name) for name in _SIZES}
    for name in ("norm", "threshold"):
        values = [getattr(layer, f"{name}s") for layer in layers]
        root[f"smallest_{name}"] = ("layer", [of_layer.min() for of_layer in values])
        root[f"largest_{name}"] = ("layer", [of_layer.max() for of_layer in values])
    for name in ("mutual_coherence", "welch_bound"):
        root[name] = ("layer", [getattr(layer, name) for layer in layers])
    root["certified_sparsity"] = by_rung("stripe_sparsity", -1)
    root["certified_limit"] = by_rung("limit", math.nan)
    if certificate.notes:
        root["note"] = ("remark", np.array(certificate.notes, dtype=object))
    groups = {"/": xr.Dataset(root, coords={"layer": names, "rung": list(RUNGS)})}
    for number, layer in enumerate(layers, start=1):
        groups[f"/layer_{number}"] = xr.Dataset({name: ("k", getattr(layer, name)) for name in ("babel", "babel2")})
    for seen in certificate.measured:
        measured: dict[str, Any] = {name: ("trial", getattr(seen, name)) for name in _MEASURED if name != "n_atoms"}
        measured |= {
            "n_atoms": seen.n_atoms,
            "covered": (("rung", "trial"), [seen.covered[rung] for rung in RUNGS]),
        }
        groups[f"/measured_{names.index(seen.name) + 1}"] = xr.Dataset(measured, coords={"rung": list(RUNGS)})
    return groups


def write(
    certificate: Certificate, path: str | Path, settings: Mapping[str, Any], inputs: Mapping[str, str | Path]
) -> None:
    """
    Write a certificate as a netCDF file with its provenance, and its digest beside it.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.
    path : str or Path
        The target, a .nc file.
    settings : mapping
        What was asked for, JSON values.
    inputs : mapping of str to str or Path
        Files that were read, by the name that is recorded.

    Raises
    ------
    UserError
        When the file cannot be written.
    """
    makers = [provenance.PACKAGE / f"{name}.py" for name in ("certification/report", "certification/network_file")]
    record = provenance.record(
        schemas.CERTIFICATE.name,
        schemas.CERTIFICATE.version,
        {"seed": certificate.seed, **settings},
        provenance.library(provenance.modules(*makers)),
        {name: provenance.file_digest(file) for name, file in inputs.items()},
    )
    dataset.write(to_datasets(certificate), path, record)
