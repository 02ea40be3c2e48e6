"""
The claims of a study, tested with its own results.

A claim is a statement, a query about the tidy tables behind the figures, and a criterion that was
written down before the run. What comes out is the measured number with its interval, and whether
the criterion is met; a claim that fails is reported like one that holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcsc import statistics
from dcsc.errors import UserError, nearest
from dcsc.study.options.claims import ClaimOptions, MeasureOptions


@dataclass(frozen=True)
class Finding:
    """
    What a run says of a claim.

    Parameters
    ----------
    id : str
        Name of the claim.
    statement : str
        What is claimed.
    measured : float or None
        The number that the run gives; None if it gives none.
    interval : list of float, or None
        Its interval, where it has one.
    criterion : str
        What must hold of them, in words.
    holds : bool
        Whether it does.
    evidence : list of str
        The tables behind it, relative to the results folder.
    sample : str
        What the number was counted over.
    """

    id: str
    statement: str
    measured: float | None
    interval: list[float] | None
    criterion: str
    holds: bool
    evidence: list[str]
    sample: str


Interval = list[float] | None

CRITERIA: dict[str, tuple[str, Callable[[Any, float, Interval, int], bool]]] = {
    "within": ("measured between {0[0]:g} and {0[1]:g}", lambda ends, measured, *_: ends[0] <= measured <= ends[1]),
    "at_least": ("measured at least {0:g}", lambda bound, measured, *_: measured >= bound),
    "at_most": ("measured at most {0:g}", lambda bound, measured, *_: measured <= bound),
    "contains": (
        "interval contains {0:g}",
        lambda value, _, interval, __: interval is not None and interval[0] <= value <= interval[1],
    ),
    "above": ("interval above {0:g}", lambda bound, _, interval, __: interval is not None and interval[0] > bound),
    "enough": ("at least {0:,} {counted}", lambda fewest, _, __, sample: sample >= fewest),
}
"""Parts of a criterion: the phrase, and the test of the bound against the number, its interval and the sample size."""


def evaluate(name: str, claim: ClaimOptions, tables: Mapping[str, pd.DataFrame], confidence: float) -> Finding:
    """
    Put one claim to the tables of a run.

    Parameters
    ----------
    name : str
        Its name.
    claim : ClaimOptions
        As in the configuration.
    tables : mapping of str to DataFrame
        Tidy tables by figure, "experiment-panel".
    confidence : float
        Level of the interval of a proportion.

    Returns
    -------
    Finding
        A number that cannot be had (an empty selection, or NaN) does not hold.

    Raises
    ------
    UserError
        When a column or figure does not exist.
    """
    measure = claim.measure
    rows = pd.concat([_selected(tables, figure, measure.select, name) for figure in claim.figures])
    _check_columns(rows, [measure.value, measure.out_of, measure.among, *(measure.interval or ())], name)
    if measure.out_of or measure.among:
        measured, interval, sample = _count(rows, measure, confidence)
    elif measure.over:
        bases = pd.concat([_selected(tables, figure, measure.over, name) for figure in claim.figures])
        measured, interval, sample = _ratio(rows, bases, measure)
    else:
        measured, interval, sample = _aggregate(rows, measure)
    bounds = claim.criterion.model_dump(exclude_none=True)
    holds = measured is not None and all(
        CRITERIA[part][1](bound, measured, interval, sample) for part, bound in bounds.items()
    )
    return Finding(
        name,
        claim.statement,
        measured,
        interval,
        "; ".join(CRITERIA[part][0].format(bound, counted=measure.counted) for part, bound in bounds.items()),
        holds,
        [f"figures/{figure}.csv" for figure in claim.figures],
        _counted(rows, sample, measure.counted),
    )


def _counted(rows: pd.DataFrame, sample: int, counted: str) -> str:
    """What a number was counted over; of a single one, the dictionaries or the trials behind it."""
    if sample != 1 or len(rows) != 1:
        return f"{sample:,} {counted}"
    for column, unit in (("replicates", "dictionaries"), ("trials", "trials" if counted == "rows" else counted)):
        behind = rows.get(column, pd.Series(np.nan, rows.index)).iloc[0]
        if not np.isnan(behind):
            return f"{int(behind):,} {unit}"
    return "one value"


def _selected(tables: Mapping[str, pd.DataFrame], figure: str, select: Mapping[str, Any], name: str) -> pd.DataFrame:
    table = tables[figure]
    _check_columns(table, select, name)
    for column, wanted in select.items():
        table = table[
            table[column].isin(wanted if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted])
        ]
    return table


def _check_columns(table: pd.DataFrame, columns: Any, name: str) -> None:
    for column in columns:
        if column and column not in table:
            raise UserError(f"claims.{name} asks for column {column!r}, which is unknown: {nearest(column, table)}")


_Measured = tuple[float | None, Interval, int]


def _count(rows: pd.DataFrame, measure: MeasureOptions, confidence: float) -> _Measured:
    """A proportion of trials with its interval, or a number among trials without one."""
    counted, trials = int(rows[measure.value].sum()), int(rows[measure.out_of or measure.among].sum())
    if trials == 0:
        return None, None, 0
    if measure.among:
        return float(counted), None, trials
    lower, upper = statistics.proportion_interval(counted, trials, confidence)
    return counted / trials, [float(lower), float(upper)], trials


def _ratio(rows: pd.DataFrame, bases: pd.DataFrame, measure: MeasureOptions) -> _Measured:
    """Values over those of other rows that agree in one column."""
    joined = rows.merge(bases, on=measure.per, suffixes=("", "_base"))
    ratios = (joined[measure.value] / joined[f"{measure.value}_base"]).to_numpy(dtype=float)
    return _reduced(ratios, measure.aggregate), None, len(ratios)


def _aggregate(rows: pd.DataFrame, measure: MeasureOptions) -> _Measured:
    values = rows[measure.value].to_numpy(dtype=float)
    measured = _reduced(values, measure.aggregate)
    if not measure.interval or measured is None:
        return measured, None, len(values)
    chosen = rows.iloc[int(np.nanargmin(np.abs(values - measured)))]
    interval = [float(chosen[column]) for column in measure.interval]
    return measured, None if np.isnan(interval).any() else interval, len(values)


def _reduced(values: np.ndarray, aggregate: str) -> float | None:
    """One number out of those selected; none without any, or when there should be one and are several."""
    if not len(values) or np.isnan(values).any() or (aggregate == "only" and len(values) > 1):
        return None
    return float(getattr(np, "max" if aggregate == "only" else aggregate)(values))


def as_records(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """
    Turn findings into what JSON holds.

    Parameters
    ----------
    findings : sequence of Finding
        From `evaluate`.

    Returns
    -------
    list of dict
        One per claim; numbers that are not finite become null.
    """
    records = [asdict(finding) for finding in findings]
    for record in records:
        if record["measured"] is not None and not math.isfinite(record["measured"]):
            record["measured"] = None
    return records


def as_markdown(findings: Sequence[Finding]) -> str:
    """
    Write a page of findings.

    Parameters
    ----------
    findings : sequence of Finding
        From `evaluate`.

    Returns
    -------
    str
        Markdown, with a line that counts the verdicts first.
    """
    held = sum(finding.holds for finding in findings)
    head = f"{held} of {len(findings)} claims hold in this run. Criteria were fixed in the configuration before it."
    return f"# Claims\n\n{head}\n\n{as_table(findings)}"


def as_table(findings: Sequence[Finding]) -> str:
    """
    Lay findings out as a table.

    Parameters
    ----------
    findings : sequence of Finding
        From `evaluate`.

    Returns
    -------
    str
        Markdown, a row per claim.
    """
    lines = [
        "| claim | measured | interval | counted over | criterion | verdict | evidence |",
        "|---|---|---|---|---|---|---|",
    ]
    for finding in findings:
        evidence = ", ".join(f"[{path.split('/')[-1].removesuffix('.csv')}]({path})" for path in finding.evidence)
        cells = [
            f"**{finding.id}**: {finding.statement}",
            number(finding.measured),
            interval(finding.interval),
            finding.sample,
            finding.criterion,
            "holds" if finding.holds else "**DOES NOT HOLD**",
            evidence,
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def number(value: float | None) -> str:
    """
    Write a measured number for a reader.

    Parameters
    ----------
    value : float or None
        The number.

    Returns
    -------
    str
        Four significant digits, or "none".
    """
    return "none" if value is None else f"{value:.4g}"


def interval(ends: Sequence[float] | None) -> str:
    """
    Write an interval for a reader.

    Parameters
    ----------
    ends : sequence of float, or None
        Lower and upper end.

    Returns
    -------
    str
        Four significant digits each, or nothing.
    """
    return "" if ends is None else "[{:.4g}, {:.4g}]".format(*ends)


def of_run(results: str | Path) -> dict[str, str]:
    """
    Write what the last run said of its claims, for the captions of the report.

    Parameters
    ----------
    results : str or Path
        The results folder; before the first run it holds no claims.

    Returns
    -------
    dict of str to str
        A list in Markdown of the claims that a figure is evidence of, by its name; all claims by "".
    """
    path = Path(results, "claims.json")
    lines: dict[str, list[str]] = {}
    for record in json.loads(path.read_text(encoding="utf-8")) if path.is_file() else ():
        finding = Finding(**record)
        measured = " ".join(filter(None, (number(finding.measured), interval(finding.interval))))
        text = (
            f"- **{finding.id} {'holds' if finding.holds else 'DOES NOT HOLD'}**: {finding.statement} "
            f"Measured {measured} over {finding.sample}; criterion: {finding.criterion}."
        )
        for figure in ("", *(Path(table).stem for table in finding.evidence)):
            lines.setdefault(figure, []).append(text)
    return {figure: "\n\n" + "\n".join(texts) for figure, texts in lines.items()}
