"""Labelled datasets on disk: the schema of every stage, deterministic atomic writing, validated reading."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dcsc.errors import UserError
from dcsc.ragged import RaggedCodes
from dcsc.store import provenance, seals
from dcsc.store.provenance import sidecar
from dcsc.store.schemas import BATCH, SCHEMAS, Schema, Variable

if TYPE_CHECKING:
    import pandas as pd

NETCDF = threading.RLock()
"""Held while a file is opened, read or written: the netCDF library knows no threads, and xarray guards only a part."""

if hasattr(os, "register_at_fork"):  # a child must not inherit a library in the midst of a file
    os.register_at_fork(before=NETCDF.acquire, after_in_parent=NETCDF.release, after_in_child=NETCDF.release)


def codes_to_dataset(codes: RaggedCodes) -> xr.Dataset:
    """
    Write codes as a dataset with the batch axes of a stage.

    Parameters
    ----------
    codes : RaggedCodes
        With batch axes (replicate, variant, active, trial).

    Returns
    -------
    xarray.Dataset
        Whole numbers that fit are kept in one byte, which is exact.
    """
    with np.errstate(invalid="ignore"):  # what does not fit is seen in the comparison
        small = codes.value.astype(np.int8)
    variables = {
        "row_size": (BATCH, codes.row_size),
        "atom": ("nonzero", codes.atom),
        "value": ("nonzero", small if np.array_equal(small, codes.value) else codes.value),
        "code_shape": ("code_axis", np.asarray(codes.code_shape, dtype=np.int64)),
    }
    return xr.Dataset(variables, coords={"code_axis": np.arange(len(codes.code_shape))})


def codes_from_dataset(dataset: xr.Dataset | xr.DataTree, replicate: int | None = None) -> RaggedCodes:
    """
    Read codes of a dataset.

    Parameters
    ----------
    dataset : xarray.Dataset or DataTree
        As from `codes_to_dataset`.
    replicate : int, optional
        Which entry of the first batch axis is wanted; the values of the others are not copied. All by default.

    Returns
    -------
    RaggedCodes
        With float64 values; without the first batch axis where one replicate was asked for.
    """
    row_size = dataset["row_size"].to_numpy().astype(np.int64, copy=False)
    entries = slice(None)
    if replicate is not None:
        first = int(row_size[:replicate].sum())
        row_size = row_size[replicate]
        entries = slice(first, first + int(row_size.sum()))
    atom = dataset["atom"].to_numpy()[entries].astype(np.int32, copy=False)
    value = dataset["value"].to_numpy()[entries].astype(np.float64, copy=False)
    return RaggedCodes(row_size, atom, value, tuple(int(n) for n in dataset["code_shape"].to_numpy()))


SPARE = 2**20
"""Bytes; a disk with less to spare is full for our purposes."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """
    Write to a temporary name in the target's folder and rename, so that no reader meets half a file.

    Parameters
    ----------
    path : Path
        The target.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    UserError
        When the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except (OSError, RuntimeError) as error:  # netCDF reports a full disk as a RuntimeError
            raise UserError(f"{path} cannot be written, {_remedy(error, path.parent)}, then run again.") from None
    finally:
        with contextlib.suppress(OSError):  # what went wrong was said above; on a read-only disk nothing can be tidied
            temporary.unlink(missing_ok=True)


def _remedy(error: Exception, folder: Path) -> str:
    """Say why writing failed and what to do; the C libraries report a full disk as anything but that."""
    try:
        full = shutil.disk_usage(folder).free < SPARE
        closed = not os.access(folder, os.W_OK)
        fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
    except OSError:
        full = closed = fixed = False
    if full or getattr(error, "errno", None) == errno.ENOSPC:
        return "the disk is full: free space"
    if fixed or getattr(error, "errno", None) == errno.EROFS:
        return f"{os.strerror(errno.EROFS)}: make it writable"
    if closed:
        return "its folder is not writable: make it writable"
    return f"{getattr(error, 'strerror', None) or error}: make its folder writable"


def write(
    content: xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset], path: str | Path, record: dict[str, Any]
) -> None:
    """
    Write a dataset of a stage and its digest, byte for byte the same for the same content.

    Parameters
    ----------
    content : Dataset, DataTree or mapping of group paths to Dataset
        The data; dimensions without coordinates get their indices.
    path : str or Path
        The target, replaced at once when all is written.
    record : dict
        From `provenance.record`; names the schema that is checked before writing.

    Raises
    ------
    UserError
        When the file cannot be written.
    ValueError
        When the content does not fit its schema.
    """
    path = Path(path)
    groups = _groups(content)
    problem = _mismatch(groups, SCHEMAS[record["schema"]])
    if problem:
        raise ValueError(f"{path} does not fit the schema {record['schema']!r}: {problem}")
    tree = xr.DataTree.from_dict({name: _described(group, name, record) for name, group in groups.items()})
    tree.attrs = {
        "Conventions": "CF-1.11",
        "title": f"dcsc {record['schema']}",
        "provenance": provenance.canonical(record),
    }
    encoding = {
        node.path: {
            name: {"zlib": True, "complevel": 1, "shuffle": True}
            for name, variable in node.to_dataset(inherit=True).variables.items()
            if variable.size > 64 and variable.dtype.kind in "ifb"
        }
        for node in tree.subtree
    }
    with NETCDF, replacing(path) as temporary:
        tree.to_netcdf(temporary, engine="netcdf4", encoding=encoding, write_inherited_coords=True)
        head = seals.head_of(record, provenance.file_digest(temporary), temporary.stat().st_size)
    with replacing(sidecar(path)) as temporary:
        temporary.write_text(seals.beside(path, head), encoding="utf-8")


def read(path: str | Path, schema: Schema, place: str = "") -> xr.DataTree:
    """
    Read a dataset of a stage into memory, and refuse one that is not what it should be.

    Parameters
    ----------
    path : str or Path
        The file; its recorded digest is checked before it is opened.
    schema : Schema
        What it must hold.
    place : str
        Where it lies, relative to the results folder: refused if it was written elsewhere. Not compared by default.

    Returns
    -------
    xarray.DataTree
        Loaded; the file is closed.

    Raises
    ------
    UserError
        When the file is missing, altered, truncated, of another schema, version or place.
    """
    tree, record = _loaded(Path(path))
    if place:
        provenance.check_place(record, path, place)
    if record["schema"] != schema.name:
        raise UserError(f"{path} holds {record['schema']!r}, not {schema.name!r}: name another file.")
    return _checked(tree, record, schema, path)


def open_results(path: str | Path, results: str | Path | None = None) -> xr.DataTree:
    """
    Open a dataset that the workflow wrote, for use in a notebook, after a check of its content.

    Parameters
    ----------
    path : str or Path
        A netCDF file that the workflow wrote.
    results : str or Path, optional
        The results folder that it lies in: a file that was written at another place of it is refused. Not compared
        by default, as files may be copied elsewhere.

    Returns
    -------
    xarray.DataTree
        Loaded and validated; `.attrs["provenance"]` says where it comes from.

    Raises
    ------
    UserError
        When the file is missing, altered, truncated, foreign or in the wrong place.
    """
    tree, record = _loaded(Path(path))
    if results is not None:
        provenance.check_place(record, path, os.path.relpath(path, results))
    if record["schema"] not in SCHEMAS:
        raise UserError(f"{path} holds {record['schema']!r}, which this version does not know: update dcsc.")
    return _checked(tree, record, SCHEMAS[record["schema"]], path)


def _loaded(path: Path) -> tuple[xr.DataTree, dict[str, Any]]:
    """Load a dataset whose digest is right, and its provenance; nothing of it is left to be read later."""
    provenance.check_digest(path)
    loaded = None
    with NETCDF:
        try:
            with xr.open_datatree(path, engine="netcdf4") as tree:
                loaded = tree.load()
        except Exception:  # the C libraries raise OSError, RuntimeError, ValueError or KeyError on a damaged file
            pass  # the error holds the open file, and is dropped here, where no other thread reads
    if loaded is None:
        raise UserError(f"{path} is not a readable netCDF file: delete it and run again.")
    return loaded, record_of(loaded, path)


def _checked(tree: xr.DataTree, record: Mapping[str, Any], schema: Schema, path: str | Path) -> xr.DataTree:
    """Give a dataset back if it is as its schema says."""
    if record["version"] != schema.version:
        raise UserError(
            f"{path} has version {record['version']} of the schema {schema.name!r}, this dcsc reads {schema.version}: "
            "delete the file and run again."
        )
    problem = _mismatch(_groups(tree), schema)
    if problem:
        raise UserError(f"{path} does not fit the schema {schema.name!r} ({problem}): delete it and run again.")
    return tree


def record_of(tree: xr.DataTree | xr.Dataset, path: Path) -> dict[str, Any]:
    """
    Read the provenance record of an open dataset.

    Parameters
    ----------
    tree : DataTree or Dataset
        The dataset.
    path : Path
        Its file, for the message.

    Returns
    -------
    dict
        As from `provenance.record`.

    Raises
    ------
    UserError
        When there is none.
    """
    try:
        record = json.loads(tree.attrs["provenance"])
        if not provenance.is_older(record):
            return provenance.check_record(record)
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        raise UserError(f"{path} has no provenance of dcsc: name a file that its workflow wrote.") from None
    raise UserError(f"{path} {provenance.OLDER}: delete it and run again; {provenance.FORGET} deletes every such file.")


def _groups(content: xr.Dataset | xr.DataTree | Mapping[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    if isinstance(content, xr.Dataset):
        return {"/": content}
    if isinstance(content, xr.DataTree):
        return {node.path: node.to_dataset() for node in content.subtree}
    return dict(content)


def _variables_of(path: str, schema: Schema) -> Mapping[str, Variable] | None:
    return next((variables for group, variables in schema.groups.items() if re.fullmatch(group, path)), None)


def _mismatch(groups: Mapping[str, xr.Dataset], schema: Schema) -> str:
    """Say in words where a dataset departs from its schema, or nothing."""
    is_known = False
    for path, group in groups.items():
        variables = _variables_of(path, schema)
        if variables is None:
            if group.data_vars:
                return f"the group {path} is not expected"
            continue
        is_known = True
        for name, variable in variables.items():
            if name in group:
                problem = _departs(group[name], variable)
                if problem:
                    return f"the variable {name} {problem}"
            elif variable.required:
                return f"the variable {name} is missing in {path}"
        unknown = {str(name) for name in group.data_vars} - set(variables)
        if unknown:
            return f"the variable {min(unknown)} is not expected in {path}"
    return "" if is_known else "no group of it is there"


def _departs(values: xr.DataArray, variable: Variable) -> str:
    """Say in words where a variable departs from its schema, or nothing."""
    ends_freely = variable.dims[-1:] == ("*",)
    expected = variable.dims[:-1] if ends_freely else variable.dims
    if values.dims[: len(expected)] != expected or (values.dims != expected and not ends_freely):
        return f"has dimensions {values.dims}, not {variable.dims}"
    kind = values.dtype.kind
    if kind not in variable.kinds and not (variable.kinds == "b" and kind in "iu"):
        return f"is of type {values.dtype}"
    return ""


def _described(group: xr.Dataset, path: str, record: Mapping[str, Any]) -> xr.Dataset:
    """Give every variable its unit and name, and every dimension but the ragged one a coordinate."""
    variables = _variables_of(path, SCHEMAS[record["schema"]]) or {}
    described = group.copy()
    for dim in group.dims:
        if dim not in group.coords and dim != "nonzero":
            described = described.assign_coords({dim: np.arange(group.sizes[dim])})
    for name, variable in variables.items():
        if name in described:
            described[name].attrs = {"units": variable.units, "long_name": variable.long_name}
    for name in described.coords:
        described[name].attrs = {"units": "1", "long_name": str(name).replace("_", " ")}
    return described


def join_chunks(chunks: Sequence[xr.Dataset]) -> xr.Dataset:
    """
    Join the chunks of a stage along the trials.

    Parameters
    ----------
    chunks : sequence of Dataset
        Of one experiment and cascade, in order.

    Returns
    -------
    Dataset
        With the trial axis in its place.
    """
    if len(chunks) == 1:
        return chunks[0]
    return xr.concat(chunks, "trial", data_vars="minimal", coords="minimal", compat="equals", join="exact")


def write_text(text: str, path: str | Path, record: Mapping[str, Any], **metadata: Any) -> None:
    """
    Write a table or page, and its digest and provenance beside it.

    Parameters
    ----------
    text : str
        The content.
    path : str or Path
        The target; the metadata goes to the same name with "-metadata.json" appended, in the vocabulary of
        CSV on the Web.
    record : mapping
        From `provenance.record`.
    **metadata
        Further entries of the metadata.

    Raises
    ------
    UserError
        When the folder cannot be written or the disk is full.
    """
    path = Path(path)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        digest = provenance.file_digest(temporary)
    content = {
        "@context": "http://www.w3.org/ns/csvw",
        "url": path.name,
        **metadata,
        "sha256": digest,
        "seal": seals.BLANK,
        "provenance": dict(record),
    }
    with replacing(provenance.metadata_of(path)) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        seals.seal_file(temporary)


def read_table(path: str | Path, place: str = "") -> pd.DataFrame:
    """
    Read the table behind a figure, after a check of its digest.

    Parameters
    ----------
    path : str or Path
        A .csv file of the workflow.
    place : str
        As for `read`.

    Returns
    -------
    pandas.DataFrame
        Its rows.

    Raises
    ------
    UserError
        When the file or its metadata is missing or changed, or belongs elsewhere.
    """
    import pandas as pd

    seals.check_text(path, place)
    return pd.read_csv(path)
