"""Run every pursuit of an experiment on one chunk of signals."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.pursuits import run_pursuits
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    signals = dataset.read(snakemake.input.signals, schemas.SIGNALS)
    dictionaries = dataset.read(snakemake.input.dictionaries, schemas.DICTIONARIES)
    with job.computing():
        found = run_pursuits(snakemake.params.settings, signals, dictionaries)
    inputs = [snakemake.input.signals, snakemake.input.dictionaries, *snakemake.input.plugins]
    dataset.write(found, snakemake.output.pursuits, job.record(snakemake, "pursuits", schemas.PURSUITS.version, inputs))


job.run(snakemake, main)  # noqa: F821
