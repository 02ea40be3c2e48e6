"""Find the transitions of a cascade with few trials, and choose the cells worth drawing."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.sweeps import refine_sweep
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    read, output = job.inputs(snakemake), snakemake.output.sweeps
    dictionaries = read.read(snakemake.input.dictionaries, schemas.DICTIONARIES)
    with job.computing():
        sweep = refine_sweep(snakemake.params.settings, dictionaries)
    inputs = [snakemake.input.dictionaries, *snakemake.input.plugins]
    dataset.write(sweep, output, job.record(snakemake, "sweeps", schemas.SWEEPS.version, read, inputs, output))


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
