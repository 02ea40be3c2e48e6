"""The inputs of a job, with checks that every file lies in its place and that all are of one run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from dcsc.errors import UserError
from dcsc.store import dataset, provenance
from dcsc.store.provenance import FORGET
from dcsc.store.schemas import Schema

if TYPE_CHECKING:
    import pandas as pd


class Inputs:
    """
    The files that a job reads; refused is what belongs elsewhere, or was made from others than those read beside it.

    Parameters
    ----------
    results : str or Path
        The results folder, which recorded paths are relative to.
    """

    def __init__(self, results: str | Path) -> None:
        self._results = results
        self._digests: dict[str, str] = {}
        self._known: dict[str, tuple[str, str]] = {}  # digest of each source, and which file says so

    def place(self, path: str | Path) -> str:
        """
        Name a file as records name it.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        str
            Relative to the results folder, unless it was named by an absolute path elsewhere.
        """
        is_elsewhere = os.path.isabs(path) and not Path(path).is_relative_to(self._results)
        return str(path) if is_elsewhere else os.path.relpath(path, self._results)

    def read(self, path: str | Path, schema: Schema) -> xr.DataTree:
        """
        Read a dataset.

        Parameters
        ----------
        path : str or Path
            The file.
        schema : Schema
            What it must hold.

        Returns
        -------
        xarray.DataTree
            As from `dataset.read`.

        Raises
        ------
        UserError
            As `dataset.read`; also when it was not made from what the job read before.
        """
        tree = dataset.read(path, schema, self.place(path))
        self._note(Path(path), provenance.recorded_digest(path), dataset.record_of(tree, Path(path)))
        return tree

    def read_each(self, paths: Iterable[str | Path], schema: Schema) -> Iterator[xr.Dataset]:
        """
        Read datasets of one group one after another.

        Parameters
        ----------
        paths : iterable of str or Path
            The files.
        schema : Schema
            What they must hold.

        Yields
        ------
        Dataset
            Validated; none is held after the next one is asked for.
        """
        for path in paths:
            yield self.read(path, schema).to_dataset()

    def read_table(self, path: str | Path) -> pd.DataFrame:
        """
        Read the table behind a figure.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        pandas.DataFrame
            As from `dataset.read_table`.
        """
        return dataset.read_table(path, self.place(path))

    def digests(self, paths: Iterable[str | Path]) -> dict[str, str]:
        """
        Give the digests of what a job was made from, for its record.

        Parameters
        ----------
        paths : iterable of str or Path
            The files.

        Returns
        -------
        dict of str to str
            By place; those of datasets as they were read.
        """
        places = {self.place(path): path for path in paths}
        return {place: self._digests.get(place) or provenance.file_digest(path) for place, path in places.items()}

    def _note(self, path: Path, digest: str, record: Mapping[str, Any]) -> None:
        """Hold a dataset against those that were read before: what it was made from, and what was made from it."""
        place = self.place(path)
        self._digests[place] = digest
        self._agree(place, digest, place)
        for entry in record["inputs"]:
            self._agree(entry["path"], entry["sha256"], place)

    def _agree(self, source: str, digest: str, said_by: str) -> None:
        known, first = self._known.setdefault(source, (digest, said_by))
        if known != digest:
            one, other = (name if name != source else "what lies there now" for name in (first, said_by))
            raise UserError(
                f"{one} and {other} do not agree on {source}: a part of {self._results} was made from another version "
                f"of it. Delete what is the older and run again; {FORGET} deletes what does not fit."
            )
