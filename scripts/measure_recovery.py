"""Compare what one chunk's pursuits found with the truth and the guarantees."""

from typing import Any

import job

from dcsc.stages.metrics import measure_recovery
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    inputs, read, output = snakemake.input, job.inputs(snakemake), snakemake.output.metrics
    pursuits = read.read(inputs.pursuits, schemas.PURSUITS)
    signals = read.read(inputs.signals, schemas.SIGNALS)
    dictionaries = read.read(inputs.dictionaries, schemas.DICTIONARIES)
    with job.computing():
        measured = measure_recovery(snakemake.params.settings, pursuits, signals, dictionaries)
    files = [inputs.pursuits, inputs.signals, inputs.dictionaries]
    record = job.record(snakemake, "metrics", schemas.METRICS.version, read, files, output)
    dataset.write(measured, output, record)


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
