"""Find the largest number of activations that each rung certifies on one cascade, for every pursuit as it is run."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.certificates import certify_draws
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    read, output = job.inputs(snakemake), snakemake.output.certificates
    dictionaries = read.read(snakemake.input.dictionaries, schemas.DICTIONARIES)
    with job.computing():
        certificates = certify_draws(snakemake.params.settings, dictionaries)
    inputs = [snakemake.input.dictionaries, *snakemake.input.plugins]
    record = job.record(snakemake, "certificates", schemas.CERTIFIED.version, read, inputs, output)
    dataset.write(certificates, output, record)


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
