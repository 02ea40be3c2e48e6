"""
Checks of arrays that a user gives, as arguments of functions or in a NumPy or safetensors file.

An array must hold finite real numbers and have the expected shape. Nothing in a file is executed (no pickle), and
every size is checked before memory is allocated. Every error is one sentence.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.errors import UserError, shown

GIB = 2**30
LARGEST = 2 * GIB
"""Bytes that the arrays of a file may take unless the caller allows more."""

SUFFIXES = (".npy", ".npz", ".safetensors")

_LONGEST_HEADER = 2**16
_LONGEST_NAME = 200
_MAGIC = b"\x93NUMPY"
_SAFETENSORS_TYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1",
}  # fmt: skip


REAL = "fiub"
"""Kinds of NumPy's types that stand for real numbers, truth values among them."""


def real_array(values: ArrayLike, what: str, last: tuple[int, ...] = (), *, finite: bool = True) -> NDArray:
    """
    Convert what a user gives to an array of real numbers, and check it.

    Parameters
    ----------
    values : array_like, shape (..., *last)
        What was given; its batch axes may be empty.
    what : str
        What it is, in the plural, for the message.
    last : tuple of int
        The last axes that it must have.
    finite : bool
        Whether NaN and infinity are refused. That costs a sum over the array: do it where values come in, once.

    Returns
    -------
    ndarray, shape (..., *last)
        The same values, in the type that they have.

    Raises
    ------
    UserError
        When it holds anything but real numbers, is not finite, or of another shape.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):  # nested sequences of different lengths
        raise UserError(f"{what} have parts of different lengths: give an array of real numbers.") from None
    check_kind(array.dtype, what)
    if array.ndim < len(last) or array.shape[array.ndim - len(last) :] != tuple(last):
        raise UserError(f"{what} of shape {array.shape} do not fit: the last axes must be {tuple(last)}.")
    if finite:
        check_finite(array, what)
    return array


def check_kind(dtype: np.dtype, what: str) -> None:
    """
    Refuse arrays of anything but real numbers.

    Parameters
    ----------
    dtype : dtype
        Type of the array.
    what : str
        What it is, in the plural, for the message.

    Raises
    ------
    UserError
        When its numbers are complex, or it holds no numbers.
    """
    if dtype.kind not in REAL:
        raise UserError(f"{what} of type {dtype} are not allowed: give real numbers.")


def check_finite(array: NDArray, what: str) -> None:
    """
    Refuse NaN and infinity.

    Parameters
    ----------
    array : ndarray, any shape
        Of real numbers.
    what : str
        What it is, in the plural, for the message.

    Raises
    ------
    UserError
        When a number is not finite.
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        # A finite sum has finite terms, and is had without an array of its own; large terms may have an infinite one.
        finite = np.isfinite(array.sum()) or np.isfinite(array).all()
    if not finite:
        raise UserError(f"the {what} hold values that are not finite: remove NaN and infinity.")


def real_numbers(
    values: Any,
    what: str,
    shape: tuple[int, ...] | None = None,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    whole: bool = False,
    finite: bool = False,
    missing: bool = False,
) -> NDArray:
    """
    Convert one or several numbers that a user gives, such as thresholds or sizes, to an array, and check them.

    Parameters
    ----------
    values : array_like, any shape that broadcasts to `shape`
        What was given.
    what : str
        The name of the argument, for the message.
    shape : tuple of int, optional
        The shape that it is broadcast to.
    low, high : float
        The least and the largest number allowed.
    whole, finite : bool
        Whether fractions, and infinity, are refused; a whole number is finite.
    missing : bool
        Whether NaN is allowed, for what was not used.

    Returns
    -------
    ndarray
        The numbers, of that shape.

    Raises
    ------
    UserError
        When it is anything else.
    """
    kind = "whole " if whole else "finite " if finite else ""
    bounds = f" from {low:g}" * (low > -math.inf) + f" to {high:g}" * (high < math.inf)
    allowed = f"give {kind}numbers{bounds}"
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        array = np.empty(0, dtype=object)
    is_allowed = array.dtype.kind in REAL and bool(
        np.all(((array >= low) & (array <= high)) | (np.isnan(array) & missing))
    )
    if is_allowed and array.dtype.kind == "f" and (whole or finite):
        is_allowed = bool(np.isfinite(array).all()) and not (whole and np.any(array != np.floor(array)))
    if not is_allowed:
        raise UserError(f"{what} = {shown(values)} is not allowed: {allowed}.")
    if shape is None:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise UserError(
            f"{what} of shape {array.shape} does not fit batch axes {shape}: give a number, or one per trial."
        ) from None


def common_batch(what: str, *shapes: tuple[int, ...]) -> tuple[int, ...]:
    """
    Find the batch axes of several arrays together.

    Parameters
    ----------
    what : str
        What they are, for the message.
    *shapes : tuple of int
        Batch axes of each.

    Returns
    -------
    tuple of int
        The batch shape that they broadcast to.

    Raises
    ------
    UserError
        When they do not fit one another.
    """
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise UserError(
            f"{what} have batch axes {', '.join(map(str, dict.fromkeys(shapes)))}: make them agree."
        ) from None


@dataclass(frozen=True)
class StoredArray:
    """
    What a file states of one of its arrays.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        Its type, by NumPy's name or by that of the format where NumPy has none.
    nbytes : int
        Bytes that it takes in memory.
    """

    shape: tuple[int, ...]
    dtype: str
    nbytes: int


@dataclass(frozen=True, eq=False)
class ArrayFile:
    """
    The arrays of a file by name, each read when asked for.

    Parameters
    ----------
    path : Path
        The file.
    arrays : mapping of str to StoredArray
        In the order of the file; a .npy file has one, named after the file.
    metadata : mapping of str to str
        Texts that a safetensors file carries.
    load : callable
        Gives the array of a name; `read` checks what it gives.
    largest : int
        Bytes that one array may take.
    """

    path: Path
    arrays: Mapping[str, StoredArray]
    metadata: Mapping[str, str]
    load: Callable[[str], NDArray]
    largest: int = LARGEST

    def read(self, name: str) -> NDArray:
        """
        Read one array.

        Parameters
        ----------
        name : str
            One of `arrays`.

        Returns
        -------
        ndarray of the stated shape
            Of real numbers, in the byte order of the machine; 16-bit floats become 32-bit ones, which is exact.

        Raises
        ------
        UserError
            When it is too large, damaged, or holds anything but real numbers.
        """
        stored = self.arrays[name]
        if stored.nbytes > self.largest:
            raise UserError(
                f"the array {name!r} of {self.path} has shape {stored.shape} and takes {in_gib(stored.nbytes)}, more "
                f"than the {in_gib(self.largest)} allowed: leave it out, or allow more memory."
            )
        check_real(stored.dtype, f"the array {name!r} of {self.path}")
        with _refusing(self.path):
            array = self.load(name)
        if array.dtype.itemsize > 8:  # long doubles differ from machine to machine
            return array.astype(np.float64)
        if array.dtype.kind == "f" and array.dtype.itemsize < 4:
            return array.astype(np.float32)
        return array.astype(array.dtype.newbyteorder("="), copy=False)


def in_gib(nbytes: float) -> str:
    """
    Say a number of bytes in GiB.

    Parameters
    ----------
    nbytes : float
        The bytes.

    Returns
    -------
    str
        With three significant digits.
    """
    return f"{nbytes / GIB:.3g} GiB"


def check_real(dtype: str, what: str) -> None:
    """
    Refuse a type that does not stand for real numbers.

    Parameters
    ----------
    dtype : str
        From `StoredArray`.
    what : str
        What has it, for the message.

    Raises
    ------
    UserError
        When it is anything but a float or an integer that NumPy knows.
    """
    try:
        kind = np.dtype(dtype).kind
    except TypeError:
        kind = ""
    if kind == "O":
        raise UserError(f"{what} holds Python objects, whose reading can run code: store plain numbers.")
    if kind not in ("i", "u", "f"):
        raise UserError(f"{what} is of type {dtype}: store real numbers, as float32 or float64.")


def open_arrays(path: str | Path, largest: int = LARGEST) -> ArrayFile:
    """
    List the arrays of a .npy, .npz or .safetensors file.

    Parameters
    ----------
    path : str or Path
        The file.
    largest : int
        Bytes that one array may take.

    Returns
    -------
    ArrayFile
        Names, shapes and types; values are read by `ArrayFile.read`.

    Raises
    ------
    UserError
        When the file is missing, of another format, or damaged.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        remedy = "give a .npy, .npz or .safetensors file"
        if path.suffix in (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib"):
            remedy = "such a file can run code when it is read: convert it with your own tools, see docs/certify.md"
        raise UserError(f"the file {path} is not allowed: {remedy}.")
    if not path.is_file():
        raise UserError(f"the file {path} does not exist, or is no file: correct the path.")
    opened = {".npy": _open_npy, ".npz": _open_npz, ".safetensors": _open_safetensors}
    with _refusing(path):
        arrays, metadata, load = opened[path.suffix](path)
    for name in arrays:
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise UserError(f"the file {path} names an array {name[:40]!r}: use short names of printable characters.")
    return ArrayFile(path, arrays, metadata, load, largest)


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes the readers raise into one sentence."""
    try:
        yield
    except UserError:
        raise
    except PermissionError:
        raise UserError(f"the file {path} can't be read, permission is denied: make it readable.") from None
    except MemoryError:
        raise UserError(f"the file {path} does not fit in memory: leave arrays out.") from None
    except Exception:  # the readers below raise many kinds, and only the file is to blame
        how = "safetensors" if path.suffix == ".safetensors" else "numpy.save or numpy.savez"
        raise UserError(
            f"the file {path} can't be read, it is damaged or of another format: write it with {how}."
        ) from None


_Opened = tuple[dict[str, StoredArray], dict[str, str], Callable[[str], NDArray]]


@dataclass(frozen=True)
class _Header:
    """Header of the .npy format: what the array is, and how many bytes the header itself takes."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    length: int

    @property
    def stored(self) -> StoredArray:
        return StoredArray(self.shape, "object" if self.dtype.hasobject else self.dtype.str, self.nbytes)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _header(stream: IO[bytes]) -> _Header:
    """Read a header; NumPy's own reader would take memory for any length that it states."""
    start = stream.read(8)
    if start[:6] != _MAGIC or start[6:8] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError("no header of the .npy format")
    width = 2 if start[6] == 1 else 4
    stated = stream.read(width)
    length = int.from_bytes(stated, "little")
    text = stream.read(length) if length <= _LONGEST_HEADER else b""
    if len(text) != length:
        raise ValueError("the header is cut off or too long")
    parse = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = parse(io.BytesIO(stated + text))
    if any(isinstance(size, bool) or size < 0 for size in shape):
        raise ValueError("the header states an impossible array")
    return _Header(tuple(int(size) for size in shape), fortran, dtype, 8 + width + length)


def _values(stream: IO[bytes], header: _Header) -> NDArray:
    """Read the values after a header, exactly as many as it states, to the end of the stream."""
    content = stream.read(header.nbytes + 1)  # reaching the end makes zipfile compare the checksum
    if len(content) != header.nbytes:
        raise ValueError("the values are cut off, or more than the header states")
    return np.frombuffer(content, header.dtype).reshape(header.shape, order="F" if header.fortran else "C")


def _open_npy(path: Path) -> _Opened:
    with path.open("rb") as file:
        header = _header(file)
    if not header.dtype.hasobject and path.stat().st_size != header.length + header.nbytes:
        raise ValueError("the file is not as long as its header states")

    def load(_: str) -> NDArray:
        with path.open("rb") as file:
            return _values(file, _header(file))

    return {path.stem: header.stored}, {}, load


def _open_npz(path: Path) -> _Opened:
    arrays: dict[str, StoredArray] = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name == member.filename or name in arrays:
                raise ValueError("a member is no array, or is there twice")
            if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("a member is encrypted or packed as NumPy does not")
            with archive.open(member) as stream:
                header = _header(stream)
            if not header.dtype.hasobject and member.file_size != header.length + header.nbytes:
                raise ValueError("a member is not as long as its header states")
            arrays[name] = header.stored

    def load(name: str) -> NDArray:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
            return _values(stream, _header(stream))

    return arrays, {}, load


def _open_safetensors(path: Path) -> _Opened:
    from safetensors import safe_open

    arrays = {}
    with safe_open(path, framework="np") as file:
        metadata = dict(file.metadata() or {})
        for name in sorted(file.keys(), key=natural):
            entry = file.get_slice(name)
            dtype = _SAFETENSORS_TYPES.get(entry.get_dtype(), entry.get_dtype())
            size = np.dtype(dtype).itemsize if dtype in _SAFETENSORS_TYPES.values() else 1
            shape = tuple(entry.get_shape())
            arrays[name] = StoredArray(shape, dtype, math.prod(shape) * size)

    def load(name: str) -> NDArray:
        with safe_open(path, framework="np") as file:
            return file.get_tensor(name)

    return arrays, metadata, load


def natural(name: str) -> list[tuple[int, int, str]]:
    """
    Sort names with their numbers as numbers, so that layer 10 comes after layer 2.

    Parameters
    ----------
    name : str
        The name.

    Returns
    -------
    list of tuple
        A key for sorting.
    """
    parts: list[str] = [""]
    for character in name:
        if character.isdecimal() != parts[-1][-1:].isdecimal() and parts[-1]:
            parts.append("")
        parts[-1] += character
    return [(0, int(part), "") if part.isdecimal() and len(part) < 20 else (1, 0, part) for part in parts]
