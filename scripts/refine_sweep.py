"""Find the transitions of a cascade with few trials, and choose the cells worth drawing."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.sweeps import refine_sweep
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    dictionaries = dataset.read(snakemake.input.dictionaries, schemas.DICTIONARIES)
    with job.computing():
        sweep = refine_sweep(snakemake.params.settings, dictionaries)
    inputs = [snakemake.input.dictionaries, *snakemake.input.plugins]
    dataset.write(sweep, snakemake.output.sweeps, job.record(snakemake, "sweeps", schemas.SWEEPS.version, inputs))


job.run(snakemake, main)  # noqa: F821
