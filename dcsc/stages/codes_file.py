"""Codes from a user's file, of any layer, as the deepest codes of a cascade that ends at this layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcsc.arrays import LARGEST, check_finite, check_kind, check_real, in_gib, open_arrays
from dcsc.errors import UserError, shown
from dcsc.ragged import RaggedCodes, take
from dcsc.store import provenance
from dcsc.store.dataset import NETCDF

LISTS = ("row_size", "atom", "value", "code_shape")
"""Variables of codes as lists, as `dcsc.dataset.codes_to_dataset` writes them."""

NETCDF_SUFFIXES = (".nc", ".nc4")


def read_codes(path: str | Path, layer: int, code_shape: tuple[int, ...]) -> RaggedCodes:
    """
    Read the codes of one layer.

    Parameters
    ----------
    path : str or Path
        A .npz file with an array `layer_<number>` or `codes`, or its only one, or a .npy file, of shape (code, filter,
        *position); or a netCDF file with a group `layer_<number>`, or without groups, that holds a variable `codes`,
        or its only one, of that shape, or lists: `row_size`, `atom`, `value` and `code_shape`.
    layer : int
        1 next to the signal.
    code_shape : tuple of int
        (filter, *position) of that layer.

    Returns
    -------
    RaggedCodes
        Batch shape (code,), float64 values, in the order of the file; codes without a non-zero are left out.

    Raises
    ------
    UserError
        When the file cannot be read, holds no such codes, or these are not finite or do not fit; it names the file.
    """
    path = Path(path)
    try:
        seen = path.stat()
    except OSError as error:
        raise UserError(f"the file {path} cannot be read ({error.strerror}): correct the path.") from None
    return _read(path, seen.st_mtime_ns, seen.st_size, layer, code_shape)


def of_cell(codes: RaggedCodes, active: int, cells: Sequence[int]) -> RaggedCodes:
    """
    Choose the codes of a cell: those of at most so many non-zeros, and of more than the next smaller cell has.

    Parameters
    ----------
    codes : RaggedCodes, batch shape (code,)
        All.
    active : int
        The cell.
    cells : sequence of int
        All cells.

    Returns
    -------
    RaggedCodes
        In the same order.
    """
    below = max((size for size in cells if size < active), default=0)
    return take(codes, np.flatnonzero((codes.row_size > below) & (codes.row_size <= active)))


def check(path: str | Path, codes: RaggedCodes, cells: Sequence[int], trials: int) -> None:
    """
    Compare the trials of every cell with the codes of a file.

    Parameters
    ----------
    path : str or Path
        The file, for the message.
    codes : RaggedCodes
        Of it.
    cells : sequence of int
        All cells.
    trials : int
        Codes that each must have.

    Raises
    ------
    UserError
        When a cell has fewer.
    """
    for active in sorted(cells):
        count, below = len(of_cell(codes, active, cells).row_size), max((n for n in cells if n < active), default=0)
        if count < trials:
            sizes = str(active) if below == active - 1 else f"{below + 1} to {active}"
            remedy = f"set trials to {count} or less" if count else "leave this number out"
            raise UserError(
                f"the file {path} has {count} codes of {sizes} non-zeros, fewer than the {trials} trials: {remedy}, or "
                "store more codes."
            )


@functools.lru_cache(maxsize=8)
def _read(path: Path, _mtime: int, _size: int, layer: int, code_shape: tuple[int, ...]) -> RaggedCodes:
    """As `read_codes`; a file that changed is read again."""
    name, arrays = _of_netcdf(path, layer) if path.suffix in NETCDF_SUFFIXES else _of_numpy(path, layer)
    if set(LISTS) <= arrays.keys():
        codes = _of_lists(path, name, arrays, code_shape)
    else:
        ((name, values),) = arrays.items()
        what = f"the array {name!r} of {path}"
        if values.shape[-len(code_shape) :] != code_shape:
            letters = ", ".join(map(str, code_shape))
            raise UserError(
                f"{what} has shape {values.shape}, but a code of layer {layer} has shape {code_shape}: store (code, "
                f"{letters})."
            )
        check_kind(values.dtype, f"codes of {path}")
        check_finite(values, f"codes of {path}")
        codes = RaggedCodes.from_dense(values.astype(np.float64).reshape(-1, *code_shape), code_shape)
    there = take(codes, np.flatnonzero(codes.row_size))
    if not len(there.row_size):
        raise UserError(f"the file {path} holds no code with a non-zero for layer {layer}: store some.")
    return there


def _chosen(path: Path, names: Sequence[str], layer: int) -> str:
    """Which of the arrays of a file are the codes."""
    for name in (f"layer_{layer}", "codes"):
        if name in names:
            return name
    if len(names) == 1 and not names[0].startswith("layer_"):
        return names[0]
    raise UserError(
        f"the file {path} holds {shown(sorted(names))} and no codes of layer {layer}: name an array "
        f"'layer_{layer}', or 'codes'."
    )


def _of_numpy(path: Path, layer: int) -> tuple[str, dict[str, NDArray]]:
    if path.suffix not in (".npz", ".npy"):
        raise UserError(f"the file {path} is not allowed: give codes as .npz, .npy or .nc.")
    opened = open_arrays(path)
    name = _chosen(path, list(opened.arrays), layer)
    return name, {name: opened.read(name)}


def _of_netcdf(path: Path, layer: int) -> tuple[str, dict[str, NDArray]]:
    import netCDF4

    if provenance.sidecar(path).is_file():
        provenance.check_digest(path)  # before the library that a damaged file could mislead opens it
    try:
        with NETCDF, netCDF4.Dataset(path, "r") as opened:
            opened.set_auto_maskandscale(False)
            group = opened.groups.get(f"layer_{layer}", opened)
            variables = {name: of for name, of in group.variables.items() if name not in group.dimensions}
            names = LISTS if set(LISTS) <= variables.keys() else [_chosen(path, list(variables), layer)]
            for name in names:
                _check_stored(path, name, variables[name])
            return group.name, {name: np.asarray(variables[name][...]) for name in names}
    except UserError:
        raise
    except Exception:  # a damaged file makes the library raise many kinds, and only the file is to blame
        raise UserError(f"the file {path} can't be read, it is damaged or no netCDF: write it again.") from None


def _check_stored(path: Path, name: str, variable: object) -> None:
    dtype, shape = getattr(variable, "dtype", None), getattr(variable, "shape", ())
    check_real(str(dtype), f"the variable {name!r} of {path}")
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes > LARGEST:
        raise UserError(
            f"the variable {name!r} of {path} takes {in_gib(nbytes)}, more than the {in_gib(LARGEST)} allowed: store "
            "lists."
        )


def _of_lists(path: Path, name: str, arrays: Mapping[str, NDArray], code_shape: tuple[int, ...]) -> RaggedCodes:
    """Codes as lists, whose parts must agree."""
    row_size, atom, value = (arrays[key].ravel() for key in ("row_size", "atom", "value"))
    what = f"the lists of {name} in {path}"
    if (stored := tuple(arrays["code_shape"].ravel().tolist())) != code_shape:
        raise UserError(f"{what} are of codes of shape {stored}, but the layer has codes of shape {code_shape}.")
    whole = row_size.dtype.kind in "iu" and atom.dtype.kind in "iu" and not np.any(row_size < 0)
    if not whole or row_size.sum() != len(atom) or len(atom) != len(value):
        raise UserError(f"{what} do not agree: row_size must sum up to the lengths of atom and value.")
    check_finite(value, f"codes of {path}")
    codes = RaggedCodes(row_size.astype(np.int64), atom.astype(np.int32), value.astype(np.float64), code_shape)
    descends = np.diff(atom.astype(np.int64), prepend=-1) <= 0
    descends[codes.starts[:-1][codes.row_size > 0]] = False  # where another code begins
    if descends.any() or np.any(atom < 0) or np.any(atom >= math.prod(code_shape)) or np.any(value == 0):
        raise UserError(f"{what} are no lists of non-zeros: atoms must ascend within the layer, values not be 0.")
    return codes
