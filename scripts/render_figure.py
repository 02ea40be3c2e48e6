"""Render one figure of an experiment in every format, with the numbers it shows beside it."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import job

from dcsc.figures import style
from dcsc.figures.inputs import FigureSettings, Results, TrialsOnDemand
from dcsc.store import dataset, schemas

READ = ("summary", "metrics", "signals", "pursuits", "certificates", "dictionaries", "beside")
"""Inputs that a figure is made from; the others are the digests beside them."""


def by_cascade(snakemake: Any, paths: Sequence[str]) -> dict[str, list[str]]:
    """Sort the chunks of a stage; none where the figure does not need it."""
    sorted_paths: dict[str, list[str]] = {name: [] for name in snakemake.params.settings["cascades"]} if paths else {}
    for path, name in zip(paths, snakemake.params.cascade_of_metrics if paths else (), strict=True):
        sorted_paths[name].append(path)
    return sorted_paths


def main(snakemake: Any) -> None:
    settings, inputs = snakemake.params.settings, snakemake.input
    figure_module = importlib.import_module(f"dcsc.figures.{snakemake.params.drawing}")
    results = Results(
        dictionaries={
            name: dataset.read(path, schemas.DICTIONARIES)
            for name, path in zip(settings["cascades"], inputs.dictionaries, strict=True)
        },
        counts=dataset.read(inputs.summary[0], schemas.SUMMARY).to_dataset() if inputs.summary else None,
        trials=TrialsOnDemand(by_cascade(snakemake, inputs.metrics)),
        **{
            stage: {
                name: [dataset.read(path, schema) for path in paths]
                for name, paths in by_cascade(snakemake, inputs[stage]).items()
            }
            for stage, schema in (("signals", schemas.SIGNALS), ("pursuits", schemas.PURSUITS))
        },
        certificates={
            name: dataset.read(path, schemas.CERTIFIED).to_dataset()
            for name, path in zip(settings["cascades"] if inputs.certificates else (), inputs.certificates, strict=True)
        },
        beside={Path(path).stem: dataset.read_table(path) for path in inputs.beside},
    )
    typed = FigureSettings.from_json(settings)
    with job.computing():
        table = figure_module.tidy(results, typed)
    files = [path for name in READ for path in inputs[name]]
    record = job.record(snakemake, "figure", 1, files)
    with style.applied(typed.style), job.computing():
        figure = figure_module.draw(table, typed)
    style.save(figure, [snakemake.output[name] for name in style.FORMATS], typed.style, record)
    style.save_table(table, snakemake.output.csv, record)


job.run(snakemake, main)  # noqa: F821
