"""Count the trials of every cell of an experiment."""

from typing import Any

import job

from dcsc.stages.summary import summarize
from dcsc.store import dataset, schemas


def main(snakemake: Any) -> None:
    read, output = job.inputs(snakemake), snakemake.output.summary
    paths = {name: [] for name in snakemake.params.settings["cascades"]}
    for path, name in zip(snakemake.input.metrics, snakemake.params.cascade_of_metrics, strict=True):
        paths[name].append(path)
    chunks = {name: read.read_each(parts, schemas.METRICS) for name, parts in paths.items()}
    dictionaries = {
        name: read.read(path, schemas.DICTIONARIES)
        for name, path in zip(paths, snakemake.input.dictionaries, strict=True)
    }
    files = [*snakemake.input.metrics, *snakemake.input.dictionaries]
    with job.computing():
        summary = summarize(chunks, dictionaries)
    dataset.write(summary, output, job.record(snakemake, "summary", schemas.SUMMARY.version, read, files, output))


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
