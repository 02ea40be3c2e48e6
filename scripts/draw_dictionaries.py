"""Draw all replicates of a cascade's dictionaries."""

from typing import Any

import job

from dcsc import stages
from dcsc.stages.dictionaries import draw_dictionaries
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    stages.load_plugins(snakemake.input.plugins)
    settings = snakemake.params.settings
    with job.computing():
        drawn = draw_dictionaries(settings["cascade"], settings["seed"])
    record = job.record(
        snakemake, "dictionaries", schemas.DICTIONARIES.version, [*snakemake.input.plugins, *snakemake.input.files]
    )
    dataset.write(drawn, snakemake.output.dictionaries, record)


job.run(snakemake, main)  # noqa: F821
