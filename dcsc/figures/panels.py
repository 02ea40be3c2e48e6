"""
Panels: the figures that an experiment can ask for, and which stages each of them reads.

It is told in the panel's own module as `PANEL = Panel(...)`, and read without importing any of them; or by a plug-in
that registers it.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from dcsc.errors import UserError, nearest, shown
from dcsc.registry import Registry

Need = Literal["dictionaries", "signals", "pursuits", "certificates", "errors", "beside"]


@dataclass(frozen=True)
class Panel:
    """
    A figure that an experiment can ask for; its arguments are written out, as they are read from the source.

    Parameters
    ----------
    needs : tuple of str
        What it is made from beside the summary, the metrics and the dictionaries: "dictionaries" needs nothing else;
        "signals", "pursuits" and "certificates" are datasets of these stages; "errors" the recovered values; "beside"
        shows numbers of other experiments' figures, where the configuration names any.
    reads_trials : bool
        Whether it reads every trial and not the counts alone, which its cost depends on.
    group : str
        The group of its rule in the profile of a cluster.
    columns : str
        Columns that its table may have, with blanks between, which claims are checked against before a run; none when
        the panel does not tell.
    takes_axis : bool
        Whether it shows recovery against what the option `axis` of an experiment says.
    caption : str
        What the report says under a figure of a plug-in; those that are built in have files of captions.
    """

    needs: tuple[Need, ...] = ()
    reads_trials: bool = False
    group: str = "figures"
    columns: str = ""
    takes_axis: bool = False
    caption: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether it shows what pursuits recovered."""
        return "dictionaries" not in self.needs


FIGURES: Registry[Callable[..., Any]] = Registry("figure")
"""What draws the figures of plug-ins."""
TABLES: Registry[Callable[..., Any]] = Registry("table of the figure")
"""What makes their numbers."""
_TOLD: dict[str, Panel] = {}

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def register(
    name: str,
    *,
    tidy: Callable[..., Any],
    needs: Iterable[Need] = (),
    reads_trials: bool = False,
    columns: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """
    Make a decorator that adds a figure under the name that configurations use.

    Parameters
    ----------
    name : str
        The name, of small letters, digits and hyphens.
    tidy : callable
        Takes the `Results` of an experiment and its `FigureSettings`, and returns a pandas.DataFrame, the numbers that
        the figure shows.
    needs : iterable of str
        As for `Panel`.
    reads_trials : bool
        Likewise.
    columns : str
        Likewise.

    Returns
    -------
    callable
        Decorates the function that takes this table and the settings, and returns a matplotlib Figure; the first
        paragraph of its docstring is the caption. It gives the function back unchanged.

    Raises
    ------
    UserError
        When the name is not allowed or taken, or the figure needs what there is not.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > 40:
        raise UserError(
            f"the figure name {shown(name)} is not allowed: use small letters, digits and hyphens, at most 40."
        )
    if name in built_in():
        raise UserError(f"the figure name {name!r} is registered already, it is built in: choose another.")
    needed = tuple(needs)
    for need in needed:
        if need not in get_args(Need):
            raise UserError(
                f"the figure {name!r} needs {shown(need)}, which is unknown: {nearest(str(need), get_args(Need))}"
            )

    def add(draw: Callable[..., Any]) -> Callable[..., Any]:
        FIGURES.register(name)(draw)
        TABLES.register(name)(tidy)
        caption = " ".join((inspect.getdoc(draw) or name).partition("\n\n")[0].split())
        _TOLD[name] = Panel(needed, reads_trials, columns=columns, caption=caption)
        return draw

    return add


def panels() -> dict[str, Panel]:
    """
    Collect the panels, those of plug-ins that are loaded after those that are built in.

    Returns
    -------
    dict of str to Panel
        By name.
    """
    return built_in() | {name: _TOLD[name] for name in FIGURES.names()}


@cache
def built_in() -> dict[str, Panel]:
    """
    Collect the panels of the library; those who only want their needs pay for no plotting library.

    Returns
    -------
    dict of str to Panel
        By name, in alphabetical order; the module `a_b` draws the panel "a-b".
    """
    told = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            match statement:
                case ast.Assign(targets=[ast.Name("PANEL")], value=ast.Call(ast.Name("Panel"), [], arguments)):
                    options = {str(argument.arg): ast.literal_eval(argument.value) for argument in arguments}
                    told[path.stem.replace("_", "-")] = Panel(**options)
    return told
