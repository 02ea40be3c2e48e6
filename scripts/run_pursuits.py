"""Run every pursuit of an experiment on one chunk of signals."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.pursuits import run_pursuits
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    read, output = job.inputs(snakemake), snakemake.output.pursuits
    signals = read.read(snakemake.input.signals, schemas.SIGNALS)
    dictionaries = read.read(snakemake.input.dictionaries, schemas.DICTIONARIES)
    with job.computing():
        found = run_pursuits(snakemake.params.settings, signals, dictionaries)
    inputs = [snakemake.input.signals, snakemake.input.dictionaries, *snakemake.input.plugins]
    dataset.write(found, output, job.record(snakemake, "pursuits", schemas.PURSUITS.version, read, inputs, output))


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
