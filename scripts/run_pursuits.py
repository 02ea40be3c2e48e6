"""Run every pursuit of an experiment on one chunk of signals."""

from typing import Any

import job

from dcsc import dataset, stages
from dcsc.stages.pursuits import run_pursuits


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    signals = dataset.read(snakemake.input.signals, dataset.SIGNALS)
    dictionaries = dataset.read(snakemake.input.dictionaries, dataset.DICTIONARIES)
    with job.computing():
        found = run_pursuits(snakemake.params.settings, signals, dictionaries)
    inputs = [snakemake.input.signals, snakemake.input.dictionaries, *snakemake.input.plugins]
    dataset.write(found, snakemake.output.pursuits, job.record(snakemake, "pursuits", dataset.PURSUITS.version, inputs))


job.run(snakemake, main)  # noqa: F821
