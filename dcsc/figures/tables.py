"""Functions that the tables behind figures share: selection of rows, proportions and quantiles with their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dcsc import statistics


def select(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """
    Choose the rows in which columns have given values.

    Parameters
    ----------
    table : pandas.DataFrame
        The rows.
    **values
        A value by column.

    Returns
    -------
    pandas.DataFrame
        In their order.
    """
    return table[np.logical_and.reduce([table[name] == value for name, value in values.items()])]


def share(successes: int, trials: int, confidence: float, name: str = "rate") -> dict[str, float]:
    """
    Give a share with its Clopper-Pearson interval.

    Parameters
    ----------
    successes, trials : int
        Counts.
    confidence : float
        Level of the interval.
    name : str
        Of the column.

    Returns
    -------
    dict of str to float
        `name`, and `name` with "_lower" and "_upper"; NaN without trials.
    """
    if not trials:
        return dict.fromkeys((name, f"{name}_lower", f"{name}_upper"), np.nan)
    lower, upper = statistics.proportion_interval(successes, trials, confidence)
    return {name: float(successes / trials), f"{name}_lower": float(lower), f"{name}_upper": float(upper)}


def with_shares(table: pd.DataFrame, successes: str, confidence: float, name: str = "rate") -> pd.DataFrame:
    """
    Add shares of the trials with their Clopper-Pearson intervals.

    Parameters
    ----------
    table : pandas.DataFrame
        With `trials` and the column of successes.
    successes : str
        Column of the counts.
    confidence : float
        Level of the intervals.
    name : str
        Of the new columns, and with "_lower" and "_upper"; one that is there keeps its place.

    Returns
    -------
    pandas.DataFrame
        With the new columns.
    """
    lower, upper = statistics.proportion_interval(table[successes], table["trials"], confidence)
    return table.assign(
        **{name: table[successes] / table["trials"], f"{name}_lower": lower, f"{name}_upper": upper},
    )


def mean_of(values: ArrayLike, confidence: float, name: str) -> dict[str, float]:
    """
    Give a mean over dictionaries with its Student interval.

    Parameters
    ----------
    values : array_like
        A value per dictionary.
    confidence : float
        Level of the interval.
    name : str
        Of the column.

    Returns
    -------
    dict of str to float
        `name`, and `name` with "_lower" and "_upper"; NaN without values, the interval also with a single one.
    """
    ends = statistics.mean_interval(values, confidence)
    return dict(zip((name, f"{name}_lower", f"{name}_upper"), ends, strict=True))


def quantiles(values: ArrayLike, name: str) -> dict[str, float]:
    """
    Give the median of some draws between their 10 % and 90 % quantiles.

    Parameters
    ----------
    values : array_like
        The draws.
    name : str
        Of the column.

    Returns
    -------
    dict of str to float
        `name`, with `name` and "_lower" before and with "_upper" after it.
    """
    columns = (f"{name}_lower", name, f"{name}_upper")
    return dict(zip(columns, np.quantile(np.asarray(values), (0.1, 0.5, 0.9)).tolist(), strict=True))


def bar_lengths(table: pd.DataFrame, name: str) -> NDArray:
    """
    Give the lengths of error bars.

    Parameters
    ----------
    table : pandas.DataFrame
        With the column and its "_lower" and "_upper".
    name : str
        The column.

    Returns
    -------
    ndarray, shape (2, row)
        Below and above; 0 without an interval.
    """
    ends = table[[f"{name}_lower", f"{name}_upper"]].to_numpy(dtype=np.float64).T
    return np.nan_to_num(np.abs(ends - table[name].to_numpy(dtype=np.float64)))


def bound_tests(table: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """
    Put the bounds on failure rates to the failures of the same draws, with an error of 1 - confidence over all cells.

    Parameters
    ----------
    table : pandas.DataFrame
        With `bounded` draws, the `bounded_failures` among them and their `failure_bound`.
    confidence : float
        Level of all cells together.

    Returns
    -------
    pandas.DataFrame of bool
        `tested` where the bound says something: if all draws had failed, it would have been refuted; and `exceeded`
        where failures are too many for it.
    """
    draws = table["bounded"].clip(lower=1)
    has_bound = (table["bounded"] > 0) & table["failure_bound"].notna() & (table["failure_bound"] < 1)
    level = 1 - 2 * (1 - confidence) / max(int(has_bound.sum()), 1)  # one-sided
    at_worst, _ = statistics.proportion_interval(draws, draws, level)
    lower, _ = statistics.proportion_interval(table["bounded_failures"], draws, level)
    tested = has_bound & (at_worst > table["failure_bound"])
    return pd.DataFrame({"tested": tested, "exceeded": tested & (lower > table["failure_bound"])}, index=table.index)
