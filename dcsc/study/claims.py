"""
The claims of a study, put to its own numbers.

A claim is a statement, a query about the tidy tables behind the figures, and a criterion that was
written down before the run. What comes out is the measured number with its interval, and whether
the criterion is met; a claim that fails is reported like one that holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcsc import statistics
from dcsc.errors import UserError, nearest


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


def evaluate(name: str, claim: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], confidence: float) -> Finding:
    """
    Put one claim to the tables of a run.

    Parameters
    ----------
    name : str
        Its name.
    claim : mapping
        As in the configuration, see `dcsc.study.options.claims.ClaimOptions`.
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
    rows = pd.concat([_selected(tables, figure, claim["select"], name) for figure in claim["figures"]])
    _check_columns(rows, [claim["value"], claim["out_of"], claim["among"], *(claim["interval"] or ())], name)
    if claim["out_of"]:
        measured, interval, sample = _proportion(rows, claim, confidence)
    elif claim["among"]:
        measured, interval, sample = _count(rows, claim)
    elif claim["over"]:
        bases = pd.concat([_selected(tables, figure, claim["over"], name) for figure in claim["figures"]])
        measured, interval, sample = _ratio(rows, bases, claim)
    else:
        measured, interval, sample = _aggregate(rows, claim)
    holds = measured is not None and all(test(measured, interval, sample) for test in _tests(claim))
    return Finding(
        name,
        claim["statement"],
        measured,
        interval,
        criterion(claim),
        holds,
        [f"figures/{figure}.csv" for figure in claim["figures"]],
        _counted(rows, sample, claim["counted"]),
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


_Measured = tuple[float | None, list[float] | None, int]


def _proportion(rows: pd.DataFrame, claim: Mapping[str, Any], confidence: float) -> _Measured:
    successes, trials = (int(rows[claim[key]].sum()) for key in ("value", "out_of"))
    if trials == 0:
        return None, None, 0
    lower, upper = statistics.proportion_interval(successes, trials, confidence)
    return successes / trials, [float(lower), float(upper)], trials


def _count(rows: pd.DataFrame, claim: Mapping[str, Any]) -> _Measured:
    """A number of trials among all, without an interval."""
    counted, trials = (int(rows[claim[key]].sum()) for key in ("value", "among"))
    return (float(counted) if trials else None), None, trials


def _ratio(rows: pd.DataFrame, bases: pd.DataFrame, claim: Mapping[str, Any]) -> _Measured:
    """Values over those of other rows that agree in one column."""
    joined = rows.merge(bases, on=claim["per"], suffixes=("", "_base"))
    ratios = (joined[claim["value"]] / joined[claim["value"] + "_base"]).to_numpy(dtype=float)
    return _reduced(ratios, claim["aggregate"]), None, len(ratios)


def _aggregate(rows: pd.DataFrame, claim: Mapping[str, Any]) -> _Measured:
    values = rows[claim["value"]].to_numpy(dtype=float)
    measured = _reduced(values, claim["aggregate"])
    if not claim["interval"] or measured is None:
        return measured, None, len(values)
    chosen = rows.iloc[int(np.nanargmin(np.abs(values - measured)))]
    interval = [float(chosen[column]) for column in claim["interval"]]
    return measured, None if np.isnan(interval).any() else interval, len(values)


def _reduced(values: np.ndarray, aggregate: str) -> float | None:
    """One number out of those selected; none without any, or when there should be one and are several."""
    if not len(values) or np.isnan(values).any() or (aggregate == "only" and len(values) > 1):
        return None
    return float({"only": np.max, "sum": np.sum, "min": np.min, "max": np.max}[aggregate](values))


def _tests(claim: Mapping[str, Any]) -> list[Any]:
    """The conditions of a criterion as functions of (measured, interval, sample)."""
    tests = []
    if claim["within"]:
        low, high = claim["within"]
        tests.append(lambda measured, interval, sample: low <= measured <= high)
    if claim["at_least"] is not None:
        tests.append(lambda measured, interval, sample: measured >= claim["at_least"])
    if claim["at_most"] is not None:
        tests.append(lambda measured, interval, sample: measured <= claim["at_most"])
    if claim["contains"] is not None:
        tests.append(
            lambda measured, interval, sample: interval is not None and interval[0] <= claim["contains"] <= interval[1]
        )
    if claim["above"] is not None:
        tests.append(lambda measured, interval, sample: interval is not None and interval[0] > claim["above"])
    if claim["enough"] is not None:
        tests.append(lambda measured, interval, sample: sample >= claim["enough"])
    return tests


def criterion(claim: Mapping[str, Any]) -> str:
    """
    Say the criterion of a claim in words.

    Parameters
    ----------
    claim : mapping
        As in the configuration.

    Returns
    -------
    str
        Such as "measured between -1.25 and -0.8".
    """
    phrases = {
        "at_least": "measured at least {:g}",
        "at_most": "measured at most {:g}",
        "contains": "interval contains {:g}",
        "above": "interval above {:g}",
        "enough": "at least {:,} " + claim["counted"],
    }
    words = ["measured between {:g} and {:g}".format(*claim["within"])] if claim["within"] else []
    words += [phrase.format(claim[key]) for key, phrase in phrases.items() if claim[key] is not None]
    return "; ".join(words)


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
        One a claim; numbers that are not finite become null.
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
        Markdown, a row a claim.
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
