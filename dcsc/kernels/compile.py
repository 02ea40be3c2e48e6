"""
The decorator of the compiled kernels, and the folder that keeps their machine code.

numba compares only a kernel's own file with its cache, so an edit of a kernel that another
module calls would go unseen; here the folder is named by the digest of all kernel modules. It also keeps
machine code apart by the path of the source; here every copy of the same sources shares it. The files
are checked when they are read, and made again when they are damaged (`dcsc.kernels.machine_code`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import platformdirs
from numba.core.event import Event, Listener, register

from dcsc.kernels.machine_code import keep_code, say_once

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

ENVIRONMENT_VARIABLE = "DCSC_CACHE_DIR"
"""Names the folder to use in place of the user's cache folder."""


@cache
def kernel_digest() -> str:
    """
    Digest the sources of all kernels.

    Returns
    -------
    str
        SHA-256 of the names and contents of the Python files beside this one.
    """
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        content = file.read_bytes()
        digest.update(f"{file.name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def _is_ours_and_writable(folder: Path) -> bool:
    """Try a folder: machine code of another user must never be loaded."""
    if not folder.is_absolute():  # of a user without a home
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            pass
        return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
    except OSError:
        return False


@cache
def cache_folder() -> Path | None:
    """
    Choose the folder of the compiled kernels.

    Returns
    -------
    Path or None
        ``kernels-<digest>`` in the folder named by DCSC_CACHE_DIR, else in the user's cache
        folder, else in a temporary one; None when none of them can be written.
    """
    parents = _parent_folders()
    for parent in parents:
        folder = parent / f"kernels-{kernel_digest()}"
        if _is_ours_and_writable(folder):
            if parent != parents[0]:
                say_once("folder", f"{parents[0]} cannot be written by you; compiled kernels are kept in {parent}.")
            return folder
    say_once(
        "folder",
        f"compiled kernels can be kept in none of {', '.join(map(str, parents))}, and every process compiles its own, "
        f"which takes minutes; name a folder that can be written in {ENVIRONMENT_VARIABLE}.",
    )
    return None


def _parent_folders() -> list[Path]:
    """Where the folder may be, in the order of preference."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    parents = [Path(named).absolute() if named else Path(platformdirs.user_cache_dir("dcsc"))]
    with contextlib.suppress(FileNotFoundError):  # no temporary folder can be written either
        parents.append(Path(tempfile.gettempdir()) / f"dcsc-{user}")
    return parents


class OneProcessAtATime(Listener):
    """
    Hold a file lock while numba compiles, loads or saves machine code.

    Two processes that fill an empty cache together can otherwise store one kernel's code under the
    other's signature.

    Parameters
    ----------
    file : Path
        The lock file.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._threads = threading.RLock()  # the compiler's own lock is entered again by the same thread
        self._depth = 0
        self._descriptor = -1

    def on_start(self, event: Event) -> None:
        """
        Enter the lock.

        Parameters
        ----------
        event : Event
            Not used.
        """
        self._threads.acquire()
        self._depth += 1
        if self._depth == 1:
            with contextlib.suppress(OSError):  # a file system without locks is used without
                self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def on_end(self, event: Event) -> None:
        """
        Leave the lock.

        Parameters
        ----------
        event : Event
            Not used.
        """
        self._depth -= 1
        if self._depth == 0 and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._threads.release()


def _is_beside(function: Callable[..., Any]) -> bool:
    """Whether the digest of the kernels covers a function."""
    return Path(function.__code__.co_filename).resolve().parent == Path(__file__).resolve().parent


@cache
def _serialize_compilation(folder: Path) -> None:
    if fcntl is not None:
        register("numba:compiler_lock", OneProcessAtATime(folder / "lock"))


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
    if folder is not None and hasattr(kernel, "py_func") and _is_beside(function):  # NUMBA_DISABLE_JIT makes no kernel
        _serialize_compilation(folder)
        keep_code(kernel, folder, kernel_digest())
    return kernel
