"""Compare what one chunk's pursuits found with the truth and the guarantees."""

from typing import Any

import job

from dcsc.stages.metrics import measure_recovery
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    inputs = snakemake.input
    pursuits = dataset.read(inputs.pursuits, schemas.PURSUITS)
    signals = dataset.read(inputs.signals, schemas.SIGNALS)
    dictionaries = dataset.read(inputs.dictionaries, schemas.DICTIONARIES)
    with job.computing():
        measured = measure_recovery(snakemake.params.settings, pursuits, signals, dictionaries)
    files = [inputs.pursuits, inputs.signals, inputs.dictionaries]
    dataset.write(measured, snakemake.output.metrics, job.record(snakemake, "metrics", schemas.METRICS.version, files))


job.run(snakemake, main)  # noqa: F821
