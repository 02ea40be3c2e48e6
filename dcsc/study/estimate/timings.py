"""Read what earlier jobs took: Snakemake's timing files, and the sizes of the outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dcsc.study.estimate.sizes import StudySizes
from dcsc.study.job_times import read_log, read_timing_file
from dcsc.study.plan import FILES, RULES, Plan, wildcards_of

_OUTPUTS = {rule: FILES[stage] for stage, rule in RULES.items()}


def timed_jobs(sizes: StudySizes, results: str) -> Iterator[tuple[str, dict[str, str], dict[str, float]]]:
    """
    List the jobs of a study that have a timing file.

    Parameters
    ----------
    sizes : StudySizes
        Of the study; what it does not know any more is left out.
    results : str
        Its results folder.

    Yields
    ------
    rule : str
        Name of the job's rule.
    wildcards : dict of str to str
        Of the job.
    measured : dict of str to float
        Its `seconds`, `memory_mb` and `disk_mb`, as far as they are known.
    """
    folder = Path("logs", results)
    # Dictionaries can be cached, for which Snakemake allows no timing file; their log has the time.
    logs = folder.glob("draw_dictionaries/*.log")
    paths = [*folder.rglob("*.tsv"), *(path for path in logs if not path.with_suffix(".tsv").is_file())]
    for path in sorted(paths):
        rule, *values = path.relative_to(folder).with_suffix("").parts
        # The folders below that of a rule are its wildcards; figures lie below the experiment.
        names = wildcards_of(_OUTPUTS.get(rule, "{experiment}" if rule.startswith("render_") and values else ""))
        wildcards = dict(zip(names, values))
        if len(values) != len(names) or not _known(sizes.plan, wildcards):
            continue
        logged = read_log(path.with_suffix(".log"))
        measured = read_timing_file(path) if path.suffix == ".tsv" else {"seconds": logged.whole} if logged else {}
        if measured and logged and logged.memory_mb:  # the timing file knows the process that waited for it
            measured["memory_mb"] = max(measured.get("memory_mb", 0.0), logged.memory_mb)
        output = Path(results, _OUTPUTS[rule].format(**wildcards)) if rule in _OUTPUTS else None
        if measured and output is not None and output.is_file():
            measured["disk_mb"] = output.stat().st_size / 1e6
        if measured:
            yield rule, wildcards, measured


def _known(plan: Plan, wildcards: dict[str, str]) -> bool:
    experiment, member = wildcards.get("experiment"), wildcards.get("cascade")
    if member is not None and member not in plan.members:
        return False
    if experiment is None:
        return True
    if experiment not in plan.study.experiments or (member and member not in plan.members_of(experiment)):
        return False
    return "chunk" not in wildcards or wildcards["chunk"] in plan.chunks_of(experiment)
