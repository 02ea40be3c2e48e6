"""What an experiment left for its figures to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
import xarray as xr

from dcsc.store import dataset, schemas


class TrialsOnDemand(Mapping[str, xr.Dataset]):
    """
    Metrics by cascade that are read when a figure asks for them: most show counts alone.

    Parameters
    ----------
    paths : mapping of str to sequence of str
        The chunks of the metrics stage, by cascade.
    """

    def __init__(self, paths: Mapping[str, Sequence[str]]) -> None:
        self._paths = paths
        self._read: dict[str, xr.Dataset] = {}

    def __getitem__(self, name: str) -> xr.Dataset:
        """Read all chunks of a cascade, once."""
        if name not in self._read:
            self._read[name] = dataset.join_chunks(list(dataset.read_each(self._paths[name], schemas.METRICS)))
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Name the cascades."""
        return iter(self._paths)

    def __len__(self) -> int:
        """Count the cascades."""
        return len(self._paths)


@dataclass(frozen=True, eq=False)
class Results:
    """
    The datasets of one experiment; a figure gets those that `dcsc.study.options.experiments.PANELS` says it needs.

    Parameters
    ----------
    dictionaries : mapping of str to DataTree
        Of the dictionaries stage, by cascade.
    summary : Dataset or None
        Of the summary stage; None for figures that show dictionaries alone.
    trials : mapping of str to Dataset
        Of the metrics stage, all chunks joined, by cascade.
    signals, pursuits : mapping of str to sequence of DataTree
        Of these stages, the chunks in order, by cascade.
    certificates : mapping of str to Dataset
        Of the certificates stage, by cascade.
    beside : mapping of str to pandas.DataFrame
        Numbers of other experiments' figures, by experiment-panel.
    """

    dictionaries: Mapping[str, xr.DataTree]
    summary: xr.Dataset | None = None
    trials: Mapping[str, xr.Dataset] = field(default_factory=dict)
    signals: Mapping[str, Sequence[xr.DataTree]] = field(default_factory=dict)
    pursuits: Mapping[str, Sequence[xr.DataTree]] = field(default_factory=dict)
    certificates: Mapping[str, xr.Dataset] = field(default_factory=dict)
    beside: Mapping[str, pd.DataFrame] = field(default_factory=dict)
