"""
Figures: one module a figure, each with a function from tidy data to a matplotlib Figure.

A module `name` offers `tidy(datasets, settings) -> pandas.DataFrame`, the numbers that
the figure shows and that are saved beside it, and `draw(table, settings) -> Figure`.
"""
