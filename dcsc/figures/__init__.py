"""
Figures: one module per panel, from the results of an experiment to a tidy table, and from that to a matplotlib Figure.

A module offers `PANEL`, what it needs; `tidy(results, settings) -> pandas.DataFrame`, the numbers that the figure shows
and that are saved beside it; and `draw(table, settings) -> Figure`. What several share is in `inputs`, `tables`,
`transitions` and `style`; `panels` lists them all. A plug-in adds a figure by `register`.
"""

from dcsc.figures.panels import register

__all__ = ["register"]
