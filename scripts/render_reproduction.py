"""Render the page that walks through the figures of a run, every number read from the run's own files."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import job

from dcsc.store import dataset, seals
from dcsc.study import claims


def main(snakemake: Any) -> None:
    settings, inputs, read = snakemake.params.settings, snakemake.input, job.inputs(snakemake)
    path = Path(inputs.claims)
    seals.check_text(path, read.place(path))
    findings = [claims.Finding(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    captions = {
        figure: caption(
            environment, inputs.captions[index], experiment, settings.get("own_captions", {}).get(figure, "")
        )
        for index, (figure, experiment) in enumerate(settings["captions"].items())
    }
    page = environment.from_string(Path(inputs.template).read_text(encoding="utf-8")).render(
        results=settings["results"],
        title=settings["title"],
        introduction=settings["introduction"].strip(),
        experiments=settings["experiments"],
        captions=captions,
        findings=findings,
        sentences=[sentence(row, findings) for row in settings["sentences"]],
        held=sum(finding.holds for finding in findings),
        table=claims.as_table(findings),
        number=claims.number,
        interval=claims.interval,
    )
    files, output = [inputs.claims, inputs.template, *inputs.captions], snakemake.output.page
    dataset.write_text(page, output, job.record(snakemake, "page", 1, read, files, output))


def sentence(row: Mapping[str, Any], findings: list[claims.Finding]) -> dict[str, str]:
    """Put the verdicts on its claims beside a sentence of a source, for a row of a table."""
    named = {finding.id: finding for finding in findings}
    verdicts = []
    for name in row["claims"]:
        found = named[name]
        measured = " ".join(filter(None, (claims.number(found.measured), claims.interval(found.interval))))
        verdicts.append(f"{name} **{'holds' if found.holds else 'does not hold'}**: {measured} over {found.sample}")
    return {**row, "verdicts": "<br>".join(verdicts)}


def caption(environment: jinja2.Environment, path: str, experiment: str, own: str) -> str:
    """Read what the report says under a figure, without the verdicts that it adds; a plug-in's says it itself."""
    text = Path(path).read_text(encoding="utf-8")
    silent = SimpleNamespace(config={"verdicts": {}}, wildcards=SimpleNamespace(experiment=experiment))
    silent.params = SimpleNamespace(caption=own, panel="", settings={})
    return environment.from_string(text).render(snakemake=silent).strip().replace("``", "`")


if __name__ == "__main__":
    job.run(snakemake, main)  # noqa: F821
