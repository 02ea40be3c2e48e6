"""What each panel needs, told in its own module as `PANEL = Panel(...)`, and read without importing any of them."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

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
    """

    needs: tuple[Need, ...] = ()
    reads_trials: bool = False
    group: str = "figures"
    columns: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether it shows what pursuits recovered."""
        return "dictionaries" not in self.needs


@cache
def panels() -> dict[str, Panel]:
    """
    Collect the panels; those who only want their needs pay for no plotting library, and depend on no drawing.

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
