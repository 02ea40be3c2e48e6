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
from dcsc.guarantees import RUNGS
from dcsc.store import dataset, provenance, schemas

WIDTH = 100
"""Columns of a terminal that the text fits."""

_SHORT = {
    "uniform-coherence": "coherence",
    "uniform-babel": "Babel",
    "uniform-instance": "instance",
    "statistical-coherence": "coherence",
    "statistical-babel2": "2-Babel",
    "statistical-instance": "instance",
}


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
        parts.append(_measured(certificate.measured))
    if certificate.notes:
        wrapped = (textwrap.wrap(note, WIDTH - 2, break_long_words=False) for note in certificate.notes)
        parts.append("\n".join(["Notes", *("- " + "\n  ".join(lines) for lines in wrapped)]))
    return "\n\n".join(parts)


def _table(rows: Sequence[Sequence[str]], groups: Mapping[str, tuple[int, int]] | None = None) -> str:
    """Align columns, the first one left; groups of columns carry a heading above a line."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        name, *cells = row
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
    rungs = [rung for rung in RUNGS if rung in certificate.layers[0].certified]
    rows = [("layer", *(_SHORT[rung] for rung in rungs))]
    rows += [(x.name, *(str(x.certified[rung].stripe_sparsity) for rung in rungs)) for x in certificate.layers]
    drawn = f", {certificate.draws} uniform draws for each size" if certificate.draws else ""
    return (
        "Certified stripe-sparsity, uniform for all signs, statistical for random ones\n"
        f"(contrast {certificate.contrast:g}, delta {certificate.delta:g}{drawn})\n" + _table(rows, _groups(rungs, 1))
    )


def _groups(rungs: Sequence[str], first: int) -> dict[str, tuple[int, int]]:
    uniform = sum(rung.startswith("uniform") for rung in rungs)
    return {
        "uniform": (first, first + uniform - 1),
        "statistical": (first + uniform, first + len(rungs) - 1),
    }


def _measured(measured: Sequence[MeasuredLayer]) -> str:
    trials = max(len(layer.active) for layer in measured)
    rows = [("layer", "atoms", "active", "stripe-sparsity", "contrast", "misfit")]
    covered = [("layer", *(_SHORT[rung] for rung in RUNGS))]
    for layer in measured:
        misfit = "-" if np.isnan(layer.misfit).all() else f"{np.nanmedian(layer.misfit):.3g}"
        active = f"{np.median(layer.active) / layer.n_atoms:.3%}"
        contrast = f"{np.median(layer.contrast):.2g}"
        rows.append((layer.name, str(layer.n_atoms), active, _range(layer.stripe_sparsity, 10), contrast, misfit))
        covered.append((layer.name, *(f"{layer.covered[rung].mean():.0%}" for rung in RUNGS)))
    heading = f"Measured on {trials} code{'s' * (trials > 1)}, medians and the range of the stripe-sparsity\n"
    return heading + _table(rows) + "\n\nShare of them that a rung covers\n" + _table(covered, _groups(RUNGS, 1))


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
            "n_filters": layer.dictionary.n_filters,
            "n_channels": layer.dictionary.n_channels,
            "taps": list(layer.dictionary.taps),
            "stride": list(layer.dictionary.stride),
            "grid": list(layer.dictionary.grid),
            "n_atoms": layer.dictionary.n_atoms,
            "stripe_size": layer.dictionary.stripe_size,
            "norms": _plain(layer.norms),
            "thresholds": _plain(layer.thresholds),
            "mutual_coherence": layer.mutual_coherence,
            "welch_bound": layer.welch_bound,
            "welch_ratio": _finite(layer.welch_ratio),
            "babel": _plain(layer.babel),
            "babel2": _plain(layer.babel2),
            "certified": {
                rung: {"stripe_sparsity": found.stripe_sparsity, "limit": _finite(found.limit), "how": found.obtained}
                for rung, found in layer.certified.items()
            },
        }
        for layer in certificate.layers
    ]
    measured = [
        {
            "name": layer.name,
            "n_atoms": layer.n_atoms,
            "active": layer.active.tolist(),
            "stripe_sparsity": layer.stripe_sparsity.tolist(),
            "contrast": _plain(layer.contrast),
            "misfit": _plain(layer.misfit),
            "covered": {rung: covered.tolist() for rung, covered in layer.covered.items()},
        }
        for layer in certificate.measured
    ]
    return {
        "name": certificate.name,
        "is_cascade": certificate.is_cascade,
        "contrast": certificate.contrast,
        "delta": certificate.delta,
        "draws": certificate.draws,
        "seed": certificate.seed,
        "layers": layers,
        "measured": measured,
        "notes": list(certificate.notes),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _plain(values: np.ndarray) -> list[float | None]:
    return [_finite(value) for value in values.tolist()]


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

    def of(values: Iterable[Any]) -> tuple[str, np.ndarray]:
        return "layer", np.asarray(list(values))

    def by_axis(sizes: Iterable[Sequence[int]]) -> tuple[tuple[str, str], np.ndarray]:
        return ("layer", "axis"), np.array([[*size, *[1] * (rank - len(size))] for size in sizes])

    def by_rung(attribute: str, missing: float) -> tuple[tuple[str, str], list[list[Any]]]:
        found = [[getattr(x.certified.get(rung), attribute, missing) for x in layers] for rung in RUNGS]
        return ("rung", "layer"), found

    made = [layer.dictionary for layer in layers]
    root = {
        "n_filters": of(x.n_filters for x in made),
        "n_channels": of(x.n_channels for x in made),
        "taps": by_axis(x.taps for x in made),
        "stride": by_axis(x.stride for x in made),
        "grid": by_axis(x.grid for x in made),
        "n_atoms": of(x.n_atoms for x in made),
        "stripe_size": of(x.stripe_size for x in made),
        "smallest_norm": of(x.norms.min() for x in layers),
        "largest_norm": of(x.norms.max() for x in layers),
        "smallest_threshold": of(x.thresholds.min() for x in layers),
        "largest_threshold": of(x.thresholds.max() for x in layers),
        "mutual_coherence": of(x.mutual_coherence for x in layers),
        "welch_bound": of(x.welch_bound for x in layers),
        "certified_sparsity": by_rung("stripe_sparsity", -1),
        "certified_limit": by_rung("limit", math.nan),
    }
    if certificate.notes:
        root["note"] = ("remark", np.array(certificate.notes, dtype=object))
    groups = {"/": xr.Dataset(root, coords={"layer": names, "rung": list(RUNGS)})}
    for number, layer in enumerate(layers, start=1):
        groups[f"/layer_{number}"] = xr.Dataset({"babel": ("k", layer.babel), "babel2": ("k", layer.babel2)})
    for seen in certificate.measured:
        groups[f"/measured_{names.index(seen.name) + 1}"] = xr.Dataset(
            {
                "active": ("trial", seen.active),
                "n_atoms": ((), seen.n_atoms),
                "stripe_sparsity": ("trial", seen.stripe_sparsity),
                "contrast": ("trial", seen.contrast),
                "misfit": ("trial", seen.misfit),
                "covered": (("rung", "trial"), np.array([seen.covered[rung] for rung in RUNGS])),
            },
            coords={"rung": list(RUNGS)},
        )
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
