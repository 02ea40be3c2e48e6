"""Draw the codes of one chunk of trials through a cascade."""

from typing import Any

import job

from dcsc import dataset, stages
from dcsc.stages.signals import sample_signals


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    dictionaries = dataset.read(snakemake.input.dictionaries, dataset.DICTIONARIES)
    sweeps = [dataset.read(path, dataset.SWEEPS).to_dataset() for path in snakemake.input.sweep]
    with job.computing():
        signals = sample_signals(snakemake.params.settings, dictionaries, *sweeps)
    inputs = [snakemake.input.dictionaries, *snakemake.input.sweep, *snakemake.input.plugins]
    record = job.record(snakemake, "signals", dataset.SIGNALS.version, inputs)
    dataset.write(signals, snakemake.output.signals, record)


job.run(snakemake, main)  # noqa: F821
