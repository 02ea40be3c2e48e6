"""
The experiment on networks: codes planted in their layers, tables, figures and claims.

It is a command and no workflow: a network is a job of a minute or less, and a dataset whose record is that of today's
settings, code and inputs is kept. Datasets, tables and figures carry the same records as those of the workflow.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from dcsc.arrays import GIB
from dcsc.certification.planted import PlantedSettings
from dcsc.errors import UserError
from dcsc.figures import networks as pictures
from dcsc.figures import style
from dcsc.figures.inputs import Style
from dcsc.stages.networks import planted_in
from dcsc.store import dataset, provenance, schemas
from dcsc.study import claims, config
from dcsc.study.options.networks import NetworkOptions, NetworksOptions

TABLES = ("networks", "networks-layers", "networks-summary", "networks-differences")
"""F1 by condition; a row per layer; a row per network; differences of F1, by layer, magnitudes and share."""
FIGURES = ("networks", "networks-sparsity")


def run(path: str | Path) -> Iterator[str]:
    """
    Do the experiment that a configuration asks for; files are named relative to where it runs.

    Parameters
    ----------
    path : str or Path
        Such as config/networks.yaml.

    Yields
    ------
    str
        What was done, a line per network, and then the verdicts of the claims.

    Raises
    ------
    UserError
        When the configuration, a network or its signals are not right.
    """
    study = load(path)
    results = Path(study.results)
    planted: dict[str, xr.Dataset] = {}
    for name, network in study.networks.items():
        place = f"planted/{name}.nc"
        record = _record(study, network, place)
        kept = _kept(results / place, record)
        if kept is None:
            made = planted_in(
                network.weights, network.signals, _settings(study), activations=study.activations,
                layers=network.layers, largest=int(study.memory * GIB),
            )  # fmt: skip
            dataset.write(made, results / place, record)
        planted[name] = dataset.read(results / place, schemas.PLANTED, place).to_dataset()
        did = "is up to date" if kept is not None else "was made"
        yield f"{name}: {results / place} {did}, {planted[name].sizes['layer']} layers"
    yield from _conclude(study, results, planted)


def load(path: str | Path) -> NetworksOptions:
    """
    Read and check the configuration of the experiment.

    Parameters
    ----------
    path : str or Path
        A YAML file.

    Returns
    -------
    NetworksOptions
        With all defaults filled in.

    Raises
    ------
    UserError
        When it cannot be read or is wrong, or a claim names an unknown table.
    """
    study = config.typed(config.read(path), NetworksOptions)
    for name, claim in study.claims.items():
        for table in claim.figures:
            if table not in TABLES:
                raise UserError(f"claims.{name} names the table {table!r}, valid are {', '.join(TABLES)}: correct it.")
    return study


def _settings(study: NetworksOptions) -> PlantedSettings:
    return PlantedSettings(
        study.seed, tuple(study.shares), tuple(study.magnitudes), study.iterations, study.most_optimised,
        study.steps,
    )  # fmt: skip


def _record(study: NetworksOptions, network: NetworkOptions, place: str) -> dict[str, Any]:
    """What a dataset is made from; files are named as the configuration does, or by their last part."""
    keys = ("seed", "activations", "shares", "magnitudes", "iterations", "most_optimised", "steps", "memory")
    dumped = study.model_dump()
    files = {_named(path): path for path in (network.weights, network.signals)}
    return provenance.record(
        schemas.PLANTED.name,
        schemas.PLANTED.version,
        {**{key: dumped[key] for key in keys}, **network.model_dump(), "weights": _named(network.weights),
         "signals": _named(network.signals)},
        provenance.library(provenance.modules(provenance.PACKAGE / "stages/networks.py")),
        {name: provenance.file_digest(file) for name, file in files.items()},
        place,
    )  # fmt: skip


def _named(path: str) -> str:
    return Path(path).name if os.path.isabs(path) or ".." in Path(path).parts else Path(path).as_posix()


def _kept(path: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a dataset that is as it would be made anew; a damaged one is made anew."""
    if not path.is_file():
        return None
    try:
        found = dataset.record_of(dataset.read(path, schemas.PLANTED, record["path"]), path)
    except UserError:
        return None
    return found if provenance.canonical(found) == provenance.canonical(record) else None


def _conclude(study: NetworksOptions, results: Path, planted: Mapping[str, xr.Dataset]) -> Iterator[str]:
    """Tables, figures and verdicts; quick, and made at every run."""
    layers = pictures.by_layer(planted, study.confidence)
    summary = pictures.by_network(layers)
    made = (
        pictures.tidy(planted, study.confidence), layers, summary, pictures.differences(planted, study.confidence),
    )  # fmt: skip
    tables = dict(zip(TABLES, made, strict=True))
    findings = [claims.evaluate(name, claim, tables, study.confidence) for name, claim in study.claims.items()]
    inputs = {f"planted/{name}.nc": provenance.recorded_digest(results / f"planted/{name}.nc") for name in planted}
    library = provenance.library(provenance.modules(provenance.PACKAGE / "study/networks.py"))
    settings = study.model_dump(mode="json", include={"confidence", "style", "claims"})

    def recorded(place: str) -> dict[str, Any]:
        return provenance.record("figure", 1, settings, library, inputs, place)

    look = Style(**study.style.model_dump())
    for name, table in tables.items():
        style.save_table(table, results / f"figures/{name}.csv", recorded(f"figures/{name}.csv"))
    with style.applied(look):
        drawn = (pictures.draw(tables["networks"], layers, look), pictures.draw_sparsity(tables["networks"], look))
        for name, figure in zip(FIGURES, drawn, strict=True):
            for ending in style.FORMATS:
                place = f"figures/{name}.{ending}"
                style.save(figure, [str(results / place)], look, recorded(place))
    verdicts = json.dumps(claims.as_records(findings), indent=1) + "\n"
    dataset.write_text(verdicts, results / "claims.json", recorded("claims.json"))
    page = f"{claims.as_markdown(findings)}\n{summary_table(summary)}"
    dataset.write_text(page, results / "networks.md", recorded("networks.md"))
    for finding in findings:
        measured = " ".join(filter(None, (claims.number(finding.measured), claims.interval(finding.interval))))
        yield f"{finding.id}: {'holds' if finding.holds else 'DOES NOT HOLD'}, {measured} ({finding.criterion})"
    yield f"Figures, tables and claims are in {results}."


def summary_table(summary: pd.DataFrame) -> str:
    """
    Lay the summary of networks out as a table.

    Parameters
    ----------
    summary : pandas.DataFrame
        The table `networks-summary`.

    Returns
    -------
    str
        Markdown, a row per network: medians over its layers, and in how many of them a difference of F1 is sure.
    """
    head = (
        "network", "layers", "trained", "shuffled", "random", "optimised", "Welch", "active", "unexplained",
        "positive - random signs", "natural - uniform", "trained - random filters",
    )  # fmt: skip
    lines = ["# By network", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in summary.to_dict("records"):
        mu = [row[f"mu_{kind}"] for kind in ("trained", "shuffled", "random", "optimised")]
        numbers = [f"{value:.2f}" if value == value else "" for value in (*mu, row["welch_bound"])]
        numbers += [f"{row['density']:.0%}", f"{row['unexplained']:.2f}"]
        for name in ("cooperation", "layout", "training"):
            numbers.append(f"{row[name]:+.2f} ({row[f'{name}_above']} above, {row[f'{name}_below']} below)")
        lines.append("| " + " | ".join([row["network"], str(row["layers"]), *numbers]) + " |")
    return "\n".join(lines) + "\n"
