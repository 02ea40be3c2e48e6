"""Draw the codes of one chunk of trials through a cascade."""

from typing import Any

import job

from dcsc import dataset, stages
from dcsc.stages.signals import sample_signals


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    dictionaries = dataset.read(snakemake.input.dictionaries, dataset.DICTIONARIES)
    signals = sample_signals(snakemake.params.settings, dictionaries)
    record = job.record(
        snakemake, "signals", dataset.SIGNALS.version, [snakemake.input.dictionaries, *snakemake.input.plugins]
    )
    dataset.write(signals, snakemake.output.signals, record)


job.run(snakemake, main)  # noqa: F821
