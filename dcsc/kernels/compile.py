"""
The decorator of the compiled kernels.

numba compares only a kernel's own file with its cache, so an edit of a kernel that another
module calls would go unseen; here the folder is named by the digest of all kernel modules. It also keeps
machine code apart by the path of the source; here every copy of the same sources shares it. The files
are checked when they are read, and made again when they are damaged (`dcsc.kernels.machine_code`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

from dcsc.kernels.folder import cache_folder, kernel_digest
from dcsc.kernels.linked import OPTIONS, OptimisedLibrary, compile_whole
from dcsc.kernels.machine_code import keep_code
from dcsc.kernels.translations import KeptTranslation


def _is_beside(function: Callable[..., Any]) -> bool:
    """Whether the digest of the kernels covers a function."""
    return _folder_of(function.__code__.co_filename) == _folder_of(__file__)


@cache
def _folder_of(file: str) -> Path:
    return Path(file).resolve().parent


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Compile a kernel of this folder when it is first called, and keep the machine code on disk.

    Parameters
    ----------
    function : callable
        Takes and gives arrays and numbers.

    Returns
    -------
    callable
        Runs without the interpreter's lock and keeps the order of floating-point operations,
        so that its bits depend on its arguments alone.
    """
    return _kept(compile_whole(function, False, _keep_translation), function)


def compiled_by_itself(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Compile a kernel as `compiled` does, and optimise it before it is copied into the kernels that call it.

    For the few that are faster so: the optimiser sees loops of their own, not of a large function. Bits are the same.

    Parameters
    ----------
    function : callable
        Takes and gives arrays and numbers.

    Returns
    -------
    callable
        As of `compiled`.
    """
    return _kept(compile_whole(function, True, _keep_translation), function)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Copy a kernel into the kernels that call it, statement by statement.

    For what is called many times: to hand over arrays takes about as long as a hundred additions.

    Parameters
    ----------
    function : callable
        Takes and gives arrays and numbers; it is not called from Python.

    Returns
    -------
    callable
        As of `compiled`.
    """
    return numba.njit(inline="always", **OPTIONS)(function)


def _keep_translation(kernel: Any, library: type[OptimisedLibrary]) -> None:
    """Keep a kernel for those that call it."""
    folder = cache_folder()
    if folder is not None and _is_beside(kernel.py_func):
        kernel._cache = KeptTranslation(kernel.py_func, folder, kernel_digest(), library)


def _kept(kernel: Any, function: Callable[..., Any]) -> Any:
    folder = cache_folder()
    if folder is not None and hasattr(kernel, "py_func") and _is_beside(function):  # NUMBA_DISABLE_JIT makes none
        keep_code(kernel, folder, kernel_digest())
    return kernel
