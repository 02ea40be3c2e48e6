"""Render one figure of an experiment in every format, with the numbers it shows beside it."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import job

from dcsc import stages
from dcsc.figures import own, style
from dcsc.figures.inputs import FigureSettings, Results, TrialsOnDemand
from dcsc.store import schemas

READ = ("summary", "metrics", "signals", "pursuits", "certificates", "dictionaries", "beside")
"""Inputs that a figure is made from; the others are the digests beside them."""


def by_cascade(snakemake: Any, paths: Sequence[str]) -> dict[str, list[str]]:
    """Sort the chunks of a stage; none where the figure does not need it."""
    sorted_paths: dict[str, list[str]] = {name: [] for name in snakemake.params.settings["cascades"]} if paths else {}
    for path, name in zip(paths, snakemake.params.cascade_of_metrics if paths else (), strict=True):
        sorted_paths[name].append(path)
    return sorted_paths


def main(snakemake: Any) -> None:
    settings, inputs, read = snakemake.params.settings, snakemake.input, job.inputs(snakemake)
    stages.load_plugins(inputs.plugins)
    figure_module: Any = own.Drawing(snakemake.params.panel)
    if snakemake.params.drawing:
        figure_module = importlib.import_module(f"dcsc.figures.{snakemake.params.drawing}")
    results = Results(
        dictionaries={
            name: read.read(path, schemas.DICTIONARIES)
            for name, path in zip(settings["cascades"], inputs.dictionaries, strict=True)
        },
        counts=read.read(inputs.summary[0], schemas.SUMMARY).to_dataset() if inputs.summary else None,
        trials=TrialsOnDemand(
            by_cascade(snakemake, inputs.metrics), lambda paths: read.read_each(paths, schemas.METRICS)
        ),
        **{
            stage: {
                name: [read.read(path, schema) for path in paths]
                for name, paths in by_cascade(snakemake, inputs[stage]).items()
            }
            for stage, schema in (("signals", schemas.SIGNALS), ("pursuits", schemas.PURSUITS))
        },
        certificates={
            name: read.read(path, schemas.CERTIFIED).to_dataset()
            for name, path in zip(settings["cascades"] if inputs.certificates else (), inputs.certificates, strict=True)
        },
        beside={Path(path).stem: read.read_table(path) for path in inputs.beside},
    )
    typed = FigureSettings.from_json(settings)
    with job.computing():
        table = figure_module.tidy(results, typed)
    files = [*(path for name in READ for path in inputs[name]), *inputs.plugins]
    pictures = [snakemake.output[name] for name in style.FORMATS]
    records = {
        output: job.record(snakemake, "figure", 1, read, files, output) for output in (*pictures, snakemake.output.csv)
    }
    with style.applied(typed.style), job.computing():
        figure = figure_module.draw(table, typed)
    for output in pictures:
        style.save(figure, [output], typed.style, records[output])
    style.save_table(table, snakemake.output.csv, records[snakemake.output.csv])


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
