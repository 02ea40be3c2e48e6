"""Figures that plug-ins register, called as those that are built in, with what they return checked."""

from __future__ import annotations

from numbers import Real
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dcsc.errors import UserError, shown
from dcsc.figures import panels
from dcsc.figures.inputs import FigureSettings, Results


class Drawing:
    """
    A registered figure with the two functions that a module of a built-in one has.

    Parameters
    ----------
    name : str
        A name of `panels.FIGURES`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def tidy(self, results: Results, settings: FigureSettings) -> pd.DataFrame:
        """
        Make the numbers of the figure.

        Parameters
        ----------
        results : Results
            What it asked for.
        settings : FigureSettings
            Those of its job.

        Returns
        -------
        pandas.DataFrame
            With a row at least.

        Raises
        ------
        UserError
            When the function fails or returns anything else.
        """
        table = panels.TABLES.call(self._name, results, settings)
        wrong = _misfit(table, panels.panels()[self._name].columns.split())
        if wrong:
            raise UserError(
                f"{panels.TABLES.described(self._name)} returned {wrong}: it must return a pandas.DataFrame with a row "
                "at least and columns of different names, of numbers, texts and truth values."
            )
        return table.reset_index(drop=True)

    def draw(self, table: pd.DataFrame, settings: FigureSettings) -> Figure:
        """
        Draw the numbers.

        Parameters
        ----------
        table : pandas.DataFrame
            From `tidy`.
        settings : FigureSettings
            Those of its job.

        Returns
        -------
        Figure
            That can be rendered.

        Raises
        ------
        UserError
            When the function fails or returns anything else.
        """
        figure = panels.FIGURES.call(self._name, table, settings)
        owner = panels.FIGURES.described(self._name)
        if not isinstance(figure, Figure):
            raise UserError(f"{owner} returned a {type(figure).__name__}: it must return a matplotlib Figure.")
        try:
            figure.draw_without_rendering()
        except Exception as error:  # a text that is no formula, a colour that is none, ...
            raise UserError(
                f"{owner} returned a figure that cannot be drawn, {shown(str(error))}: correct it."
            ) from None
        return figure


def _misfit(table: Any, told: list[str]) -> str:
    """What is wrong with a table; nothing when it is as it should be."""
    if not isinstance(table, pd.DataFrame):
        return f"a {type(table).__name__}"
    if table.empty:
        return "a table without numbers"
    names = list(table.columns)
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        return f"columns {shown(names)}"
    if told and (unknown := [name for name in names if name not in told]):
        return f"a column {unknown[0]!r}, which its `columns` do not tell"
    for name in names:
        other = [value for value in table[name] if not (value is None or isinstance(value, str | bool | Real))]
        if table[name].dtype == object and other:
            return f"a {type(other[0]).__name__} in column {name!r}"
    return ""
