"""Draw all replicates of a cascade's dictionaries."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.dictionaries import draw_dictionaries
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    settings, output = snakemake.params.settings, snakemake.output.dictionaries
    with job.computing():
        drawn = draw_dictionaries(settings["cascade"], settings["seed"])
    files = [*snakemake.input.plugins, *snakemake.input.files]
    version = schemas.DICTIONARIES.version
    record = job.record(snakemake, "dictionaries", version, job.inputs(snakemake), files, output)
    dataset.write(drawn, output, record)


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
