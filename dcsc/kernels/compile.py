"""
The decorator of the compiled kernels.

numba compares only a kernel's own file with its cache, so an edit of a kernel that another
module calls would go unseen; here the folder is named by the digest of all kernel modules. It also keeps
machine code apart by the path of the source; here every copy of the same sources shares it. The files
are checked when they are read, and made again when they are damaged (`dcsc.kernels.machine_code`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from dcsc.kernels.folder import cache_folder, kernel_digest
from dcsc.kernels.machine_code import keep_code


def _is_beside(function: Callable[..., Any]) -> bool:
    """Whether the digest of the kernels covers a function."""
    return Path(function.__code__.co_filename).resolve().parent == Path(__file__).resolve().parent


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
    kernel = numba.njit(nogil=True, fastmath=False)(function)
    folder = cache_folder()
    if folder is not None and hasattr(kernel, "py_func") and _is_beside(function):  # NUMBA_DISABLE_JIT makes none
        keep_code(kernel, folder, kernel_digest())
    return kernel
