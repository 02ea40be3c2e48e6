"""Certificates as text, as JSON and as a dataset."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dcsc.certification.certificate import Certificate, LayerCertificate, MeasuredLayer
from dcsc.errors import UserError, nearest, shown
from dcsc.guarantees.rungs import RUNGS, CertifiedSparsity
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
_NUMBERS = (
    "segment", "activation", "norms", "thresholds", "mutual_coherence", "coherence_alone", "random_coherence",
    "welch_bound", "welch_ratio", "babel", "babel2", "random_babel",
)  # fmt: skip
_MEASURED = (
    "n_atoms", "active", "stripe_sparsity", "contrast", "misfit", "covered_by_biases", "failure_by_biases",
    "n_whole", "smallest_norm",
)  # fmt: skip
_ONCE = ("n_atoms", "n_whole", "smallest_norm")
"""What is told once of all codes of a layer."""


_FOLDED = 12
"""Layers above whose number repeated blocks take one line per layer of the block."""
_LONGEST_BLOCK = 16


def as_text(certificate: Certificate, layer: str | None = None) -> str:
    """
    Lay a certificate out for a terminal.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.
    layer : str, optional
        Tell all of this one, as is done of an only one.

    Returns
    -------
    str
        Five lines of verdict and one line per layer, or all tables of one; then what was assumed or left out.

    Raises
    ------
    UserError
        When there is no such layer.
    """
    if layer in certificate.refused:
        raise UserError(f"layer {layer!r} could not be done: {certificate.refused[layer]}")
    names = [of.name for of in certificate.layers]
    if layer is not None and layer not in names:
        raise UserError(f"there is no layer {shown(layer)}: {nearest(layer, names)}")
    parts = ["\n".join(_wrapped(line) for line in verdict(certificate))]
    if layer is None and len(names) == 1:
        layer = names[0]
    if layer is None:
        parts.append(_overview(certificate))
    else:
        parts += _all_of(certificate, names.index(layer))
    notes = [*certificate.notes, *(f"Not done: {why}" for why in certificate.refused.values())]
    if notes:
        parts.append("\n".join(["Notes", *(_wrapped(f"- {note}") for note in notes)]))
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent="  ", break_long_words=False)


def verdict(certificate: Certificate) -> list[str]:
    """
    Say in five sentences what a certificate comes to.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.

    Returns
    -------
    list of str
        On the layers, their coherence, what is certified of thresholding and of basis pursuit, and what was measured.
    """
    layers = certificate.layers
    mu = np.array([layer.mutual_coherence for layer in layers])
    drawn, welch = (np.array([getattr(of, name) for of in layers]) for name in ("random_coherence", "welch_bound"))
    lines = [
        _of_what(certificate),
        f"Coherence {_range(mu)}, median {np.median(mu):.3g}; of random filters of the same shapes {_range(drawn)}, "
        f"median {np.median(drawn):.3g}; the Welch bound is {_range(welch)}.",
    ]
    for pursuit, signs in _PURSUITS.items():
        words = []
        for kind in signs:
            found = [sharpest(layer.certified, kind) for layer in layers]
            if None not in found:
                which = "random" if "statistical" in kind else "all"
                words.append(f"{_range(np.array(found), 6)} for {which} signs")
        lines.append(f"{pursuit.capitalize()} is certified up to a stripe-sparsity of {' and '.join(words)}.")
    return [*lines, _of_measured(certificate)]


def _of_what(certificate: Certificate) -> str:
    count = len(certificate.layers) + len(certificate.refused)
    name = certificate.name or "certificate"
    if certificate.is_cascade:
        return f"{name}: {f'a cascade of {count} layers' if count > 1 else '1 layer'}."
    longest = max(certificate.segments, key=len)
    chain = f", the longest a cascade of {len(longest)} from {longest[0]} on" if len(longest) > 1 else ""
    return f"{name}: {count} layers in {len(certificate.segments)} segments{chain}."


def _of_measured(certificate: Certificate) -> str:
    if not certificate.measured:
        return "Nothing was measured: --signals or --activations tell whether the codes are as sparse as that."
    sparsity = np.concatenate([of.stripe_sparsity for of in certificate.measured])
    covered = []
    for pursuit, signs in _PURSUITS.items():
        rungs = [rung for rung in RUNGS if rung.rsplit("-", 1)[0] in signs]
        any_rung = [np.any([of.covered[rung] for rung in rungs], axis=0) for of in certificate.measured]
        covered.append(f"{pursuit} covers {np.concatenate(any_rung).mean():.0%}")
    trials = max(len(of.active) for of in certificate.measured)
    return (
        f"The codes of {trials} signal{'s' * (trials > 1)} in {len(certificate.measured)} "
        f"layer{'s' * (len(certificate.measured) > 1)} have {_range(sparsity, 10)} non-zeros in a stripe: "
        f"{' and '.join(covered)} of them."
    )


def sharpest(certified: Mapping[str, CertifiedSparsity], kind: str) -> int | None:
    """
    Find the most that any rung of one kind of signs certifies; what holds for all signs holds for random ones.

    Parameters
    ----------
    certified : mapping of str to CertifiedSparsity
        By rung.
    kind : str
        The name of a rung without its last word.

    Returns
    -------
    int or None
        None where no such rung was asked for.
    """
    kinds = {kind, kind.replace("statistical", "uniform")}
    found = [of.stripe_sparsity for rung, of in certified.items() if rung.rsplit("-", 1)[0] in kinds]
    return max(found) if any(rung.rsplit("-", 1)[0] == kind for rung in certified) else None


def _overview(certificate: Certificate) -> str:
    """One line per layer, or for each layer of a block that is repeated."""
    head, groups = overview_heading()
    rows = [head]
    for block in _blocks(certificate):
        for same in zip(*block, strict=True):
            rows.append(tuple(overview_row(certificate, list(same))))
    longest = WIDTH - sum(2 + max(len(row[column]) for row in rows) for column in range(1, len(head)))
    rows = [(_cut(name, max(longest, 30)), *cells) for name, *cells in rows]
    seen = " Measured are the smallest and the largest of all codes." if certificate.measured else ""
    drawn = f", {certificate.draws} draws for each size" if certificate.draws else ""
    said = (
        f"Stripe-sparsity, certified for all / random signs by the sharpest rungs (contrast {certificate.contrast:g}, "
        f"delta {certificate.delta:g}{drawn}).{seen} > follows the layer above; alone is the coherence without the "
        "norms of that layer in the channels; random that of Gaussian filters of the same shape."
    )
    return f"{_wrapped(said)}\n\n{_table(rows, groups)}"


def overview_heading() -> tuple[tuple[str, ...], dict[str, tuple[int, int]]]:
    """
    Give the heading of the table of layers.

    Returns
    -------
    names : tuple of str
        Of its columns.
    groups : dict of str to (int, int)
        Headings above some of them, first and last column.
    """
    names = ("layer", "filters", "activation", "mu", "alone", "random", "Welch", "measured", "thresh.", "b. pursuit")
    return names, {"coherence": (3, 6), "stripe-sparsity": (7, 9)}


def overview_row(certificate: Certificate, same: Sequence[LayerCertificate]) -> list[str]:
    """
    Tell one layer, or several of the same shape, in a line.

    Parameters
    ----------
    certificate : Certificate
        From `certify`.
    same : sequence of LayerCertificate
        One, or those of a repeated block.

    Returns
    -------
    list of str
        A cell for each name of `overview_heading`.
    """
    first = same[0]
    measured = {of.name: of.stripe_sparsity for of in certificate.measured}
    seen = [measured[layer.name] for layer in same if layer.name in measured]
    follows = any(first.name in segment[1:] for segment in certificate.segments)
    name = _common([layer.name for layer in same]) + (f" x{len(same)}" if len(same) > 1 else "")
    numbers = [
        _short(np.array([getattr(layer, key) for layer in same]))
        for key in ("mutual_coherence", "coherence_alone", "random_coherence", "welch_bound")
    ]
    cells = []
    for signs in _PURSUITS.values():
        found = [[sharpest(layer.certified, kind) for layer in same] for kind in signs]
        cells.append(" / ".join("-" if None in of else _range(np.array(of), 6).replace(" .. ", "..") for of in found))
    return [
        f"{'> ' if follows else ''}{name}", kind_of(first), first.activation or "-", *numbers,
        _range(np.concatenate(seen), 10).replace(" .. ", "..") if seen else "-", *cells,
    ]  # fmt: skip


def _short(values: np.ndarray) -> str:
    low, high = (f"{value:.2f}".removeprefix("0") for value in (values.min(), values.max()))
    return low if low == high else f"{low}-{high}"


def kind_of(layer: LayerCertificate) -> str:
    """
    Say the shape of a layer.

    Parameters
    ----------
    layer : LayerCertificate
        The layer.

    Returns
    -------
    str
        Such as "64x3 of 7x7 /2": filters, channels, taps and stride; "dw" stands for a depthwise one, "g4" for groups.
    """
    made = layer.dictionary
    channels = made.n_channels // layer.groups if made.n_channels % layer.groups == 0 else made.n_channels
    groups = "" if layer.groups == 1 else " dw" if channels == 1 else f" g{layer.groups}"
    stride = (
        "" if set(made.stride) == {1} else f" /{made.stride[0] if len(set(made.stride)) == 1 else _by(made.stride)}"
    )
    return f"{made.n_filters}x{channels} of {_by(made.taps)}{stride}{groups}"


def _blocks(certificate: Certificate) -> list[list[list[LayerCertificate]]]:
    """Layers one by one, or where many repeat the same shapes, repetitions of a block side by side."""
    layers = list(certificate.layers)
    if len(layers) <= _FOLDED:
        return [[[layer]] for layer in layers]
    follows = {name for segment in certificate.segments for name in segment[1:]}
    seen = {of.name for of in certificate.measured}
    like = [(kind_of(of), of.activation, of.name in follows, of.name in seen) for of in layers]
    found, place = [], 0
    while place < len(layers):
        best, times = 1, 1
        for length in range(1, min(_LONGEST_BLOCK, (len(layers) - place) // 2) + 1):
            block, count = like[place : place + length], 1
            while like[place + count * length : place + (count + 1) * length] == block:
                count += 1
            if count > 1 and count * length > best * times:
                best, times = length, count
        found.append([layers[place + t * best : place + (t + 1) * best] for t in range(times)])
        place += best * times
    return found


def _common(names: Sequence[str]) -> str:
    """What names have in common, with a star for the rest."""
    first = names[0]
    if len(names) == 1:
        return first
    shortest = min(map(len, names))
    start = next((at for at in range(shortest) if len({name[at] for name in names}) > 1), shortest)
    rest = shortest - start
    end = next((back for back in range(rest) if len({name[-1 - back] for name in names}) > 1), rest)
    tail = first[len(first) - end :] if end else ""
    if any(character.isalpha() for character in tail):
        return f"{first[:start]}*{tail}"
    return f"{first}..{names[-1][start:]}"


def _cut(name: str, longest: int) -> str:
    """The end of a name tells more than its start."""
    if len(name) <= longest:
        return name
    lead = "> " if name.startswith("> ") else ""
    return f"{lead}..{name[len(name) - longest + 2 + len(lead) :]}"


def _all_of(certificate: Certificate, index: int) -> list[str]:
    """All tables of one layer."""
    layer = certificate.layers[index]
    segment = certificate.segments[layer.segment]
    place = f"{segment.index(layer.name) + 1} of {len(segment)} in its segment ({' -> '.join(segment)})"
    pair, split = layer.pair, layer.split
    told = (
        f"{layer.name}: {kind_of(layer)}, activation {layer.activation or 'not known'}, {place}. Its most coherent "
        f"atoms are of filters {pair.first} and {pair.second}, {_by(pair.lag)} positions apart: {pair.inner:.4g}. "
        f"Largest coherence at the same position {split.same_position:.4g}, of a filter with its own shift "
        f"{split.own_shift:.4g}, of different filters apart {split.across:.4g}; on its own input, without the norms of "
        f"the layer before, {layer.coherence_alone:.4g}; of random filters {layer.random_coherence:.4g}."
    )
    one = replace(certificate, layers=(layer,))
    parts = [_wrapped(told), _sizes([layer]), _babel([layer]), _certified(one)]
    measured = [of for of in certificate.measured if of.name == layer.name]
    return [*parts, _measured(measured, certificate.delta)] if measured else parts


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
    """A table for each pursuit, with a column per rung under the signs that it speaks of."""
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
            "pair": {**layer.pair._asdict(), "lag": list(layer.pair.lag)},
            "split": layer.split._asdict(),
            "groups": layer.groups,
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
    settings |= {"segments": [list(names) for names in certificate.segments], "sources": list(certificate.sources)}
    return {
        **settings,
        "refused": certificate.refused,
        "layers": layers,
        "measured": measured,
        "notes": list(certificate.notes),
    }


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
        After `dataset.CERTIFICATE`: "/", one group a layer with its Babel functions, one per measured layer.
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
    for name in ("mutual_coherence", "welch_bound", "coherence_alone", "random_coherence", "segment"):
        root[name] = ("layer", [getattr(layer, name) for layer in layers])
    root["activation"] = ("layer", np.array([layer.activation for layer in layers], dtype=object))
    root["certified_sparsity"] = by_rung("stripe_sparsity", -1)
    root["certified_limit"] = by_rung("limit", math.nan)
    if certificate.notes:
        root["note"] = ("remark", np.array(certificate.notes, dtype=object))
    groups = {"/": xr.Dataset(root, coords={"layer": names, "rung": list(RUNGS)})}
    for number, layer in enumerate(layers, start=1):
        groups[f"/layer_{number}"] = xr.Dataset({name: ("k", getattr(layer, name)) for name in ("babel", "babel2")})
    for seen in certificate.measured:
        measured: dict[str, Any] = {name: ("trial", getattr(seen, name)) for name in _MEASURED if name not in _ONCE}
        measured |= {
            "n_atoms": seen.n_atoms,
            "n_whole": -1 if seen.n_whole is None else seen.n_whole,
            "smallest_norm": seen.smallest_norm,
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
