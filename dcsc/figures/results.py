"""What an experiment left for its figures to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import xarray as xr


@dataclass(frozen=True, eq=False)
class Results:
    """
    The datasets of one experiment.

    Parameters
    ----------
    summary : Dataset
        Of the summary stage.
    trials : mapping of str to Dataset
        Of the metrics stage, all chunks joined, by cascade.
    dictionaries : mapping of str to DataTree
        Of the dictionaries stage, by cascade.
    """

    summary: xr.Dataset
    trials: Mapping[str, xr.Dataset]
    dictionaries: Mapping[str, xr.DataTree]
