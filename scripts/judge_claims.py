"""Put the claims of the study to the tables behind its figures."""

import json
from typing import Any

import job

from dcsc.store import dataset
from dcsc.study import claims
from dcsc.study.options.claims import ClaimOptions


def main(snakemake: Any) -> None:
    settings, output = snakemake.params.settings, snakemake.output
    tables = {
        figure: dataset.read_table(path)
        for figure, path in zip(settings["figures"], snakemake.input.tables, strict=True)
    }
    with job.computing():
        findings = [
            claims.evaluate(name, ClaimOptions.model_validate(claim), tables, settings["confidence"])
            for name, claim in settings["claims"].items()
        ]
    record = job.record(snakemake, "claims", 1, list(snakemake.input.tables))
    dataset.write_text(json.dumps(claims.as_records(findings), indent=1) + "\n", output.json, record)
    dataset.write_text(claims.as_markdown(findings), output.md, record)


job.run(snakemake, main)  # noqa: F821
