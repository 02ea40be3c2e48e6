"""Test the claims of the study with the tables behind its figures."""

import json
from typing import Any

import job

from dcsc.store import dataset
from dcsc.study import claims
from dcsc.study.options.claims import ClaimOptions


def main(snakemake: Any) -> None:
    settings, read = snakemake.params.settings, job.inputs(snakemake)
    tables = {
        figure: read.read_table(path) for figure, path in zip(settings["figures"], snakemake.input.tables, strict=True)
    }
    with job.computing():
        findings = [
            claims.evaluate(name, ClaimOptions.model_validate(claim), tables, settings["confidence"])
            for name, claim in settings["claims"].items()
        ]
    pages = {"json": json.dumps(claims.as_records(findings), indent=1) + "\n", "md": claims.as_markdown(findings)}
    for kind, text in pages.items():
        output = snakemake.output[kind]
        dataset.write_text(text, output, job.record(snakemake, "claims", 1, read, snakemake.input.tables, output))


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
