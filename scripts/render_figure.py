"""Render one figure of an experiment in every format, with the numbers it shows beside it."""

import importlib
from typing import Any

import job

from dcsc import dataset
from dcsc.figures import style
from dcsc.figures.results import Results, TrialsOnDemand


def main(snakemake: Any) -> None:
    settings, inputs = snakemake.params.settings, snakemake.input
    figure_module = importlib.import_module(f"dcsc.figures.{snakemake.params.drawing}")
    paths = {name: [] for name in settings["cascades"]}
    for path, name in zip(inputs.metrics, snakemake.params.cascade_of_metrics, strict=True):
        paths[name].append(path)
    results = Results(
        summary=dataset.read(inputs.summary, dataset.SUMMARY).to_dataset(),
        trials=TrialsOnDemand(paths),
        dictionaries={
            name: dataset.read(path, dataset.DICTIONARIES)
            for name, path in zip(paths, inputs.dictionaries, strict=True)
        },
    )
    with job.computing():
        table = figure_module.tidy(results, settings)
    files = [inputs.summary, *inputs.metrics, *inputs.dictionaries]
    record = job.record(snakemake, "figure", 1, files)
    with style.applied(settings["style"]), job.computing():
        figure = figure_module.draw(table, settings)
    style.save(figure, [snakemake.output[name] for name in style.FORMATS], settings["style"], record)
    style.save_table(table, snakemake.output.csv, record)


job.run(snakemake, main)  # noqa: F821
