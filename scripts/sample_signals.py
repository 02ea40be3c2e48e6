"""Draw the codes of one chunk of trials through a cascade."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.signals import sample_signals
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    read, output = job.inputs(snakemake), snakemake.output.signals
    dictionaries = read.read(snakemake.input.dictionaries, schemas.DICTIONARIES)
    sweeps = [read.read(path, schemas.SWEEPS).to_dataset() for path in snakemake.input.sweep]
    with job.computing():
        signals = sample_signals(snakemake.params.settings, dictionaries, *sweeps)
    brought = [*snakemake.input.plugins, *snakemake.input.codes]
    inputs = [snakemake.input.dictionaries, *snakemake.input.sweep, *brought]
    record = job.record(snakemake, "signals", schemas.SIGNALS.version, read, inputs, output)
    dataset.write(signals, output, record)


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
