"""
The decorator of the compiled kernels, and the folder that keeps their machine code.

numba compares only a kernel's own file with its cache, so an edit of a kernel that another
module calls would go unseen; here the folder is named by the digest of all kernel modules. It also keeps
machine code apart by the path of the source; here every copy of the same sources shares it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import secrets
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import platformdirs
from numba.core import caching
from numba.core.bytecode import FunctionIdentity
from numba.core.event import Event, Listener, register
from numba.core.runtime.nrt import rtsys

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

_settings: Any = numba.config  # which makes its variables when it is read

# Numba tells functions of one name and signature apart by a number, which begins at 1 in every process. What two
# processes compiled and a third loads then meets under one symbol: the sort of integers was taken for their argsort.
FunctionIdentity._unique_ids = itertools.count(secrets.randbits(48))

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
    name = f"kernels-{kernel_digest()}"
    user = os.getuid() if hasattr(os, "getuid") else "user"
    parents = [os.environ.get(ENVIRONMENT_VARIABLE) or platformdirs.user_cache_dir("dcsc")]
    with contextlib.suppress(FileNotFoundError):  # no temporary folder can be written either
        parents.append(os.path.join(tempfile.gettempdir(), f"dcsc-{user}"))
    for parent in parents:
        folder = Path(parent) / name
        if _is_ours_and_writable(folder):
            return folder
    return None


class ByDigest:
    """
    Where numba keeps the machine code of a kernel: in the folder of all kernels, whatever the path of its source.

    Parameters
    ----------
    function : callable
        The kernel.
    file : str
        Its source.
    """

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._py_file = file  # numba names it in its warnings
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        """
        Name the folder.

        Returns
        -------
        str
            That of `cache_folder`.
        """
        return str(cache_folder())

    def ensure_cache_path(self) -> None:
        """Make the folder anew if it was deleted in the meantime."""
        Path(self.get_cache_path()).mkdir(parents=True, exist_ok=True, mode=0o700)

    def get_source_stamp(self) -> str:
        """
        Say which sources the machine code is of.

        Returns
        -------
        str
            The digest of all kernels.
        """
        return kernel_digest()

    def get_disambiguator(self) -> str:
        """
        Tell kernels of one name and module apart.

        Returns
        -------
        str
            The line.
        """
        return str(self._line)

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> ByDigest | None:
        """
        Locate a kernel's machine code.

        Parameters
        ----------
        function : callable
            The kernel.
        file : str
            Its source.

        Returns
        -------
        ByDigest or None
            None for functions from elsewhere, which the digest does not cover.
        """
        return cls(function, file) if Path(file).resolve().parent == Path(__file__).resolve().parent else None


class KeptCode(caching.FunctionCache):
    """
    Machine code of a kernel on disk.

    Numba loads all that it can compile before it loads machine code; a job that compiles nothing starts a quarter of
    a second sooner without.

    Parameters
    ----------
    function : callable
        The kernel.
    """

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """
        Load machine code.

        Parameters
        ----------
        sig : Signature
            Types of the arguments.
        target_context : BaseContext
            The processor.

        Returns
        -------
        CompileResult or None
            None where there is none.
        """
        rtsys.initialize(target_context)  # what allocates arrays
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


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


@cache
def _serialize_compilation(folder: Path) -> None:
    if fcntl is not None:
        register("numba:compiler_lock", OneProcessAtATime(folder / "lock"))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """
    Compile a kernel when it is first called, and keep the machine code on disk.

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
    folder = cache_folder()
    if folder is None:
        return numba.njit(nogil=True, fastmath=False)(function)
    _serialize_compilation(folder)
    previous = _settings.CACHE_DIR
    _settings.CACHE_DIR = str(folder)  # for functions from elsewhere
    # A numba that has no such list keeps the machine code of every copy of the sources.
    locators = getattr(caching.CacheImpl, "_locator_classes", [])
    locators.insert(0, ByDigest)
    try:
        kernel = numba.njit(nogil=True, fastmath=False)(function)
        kernel._cache = KeptCode(function)  # type: ignore[attr-defined] # in place of what cache=True makes
        return kernel
    finally:
        locators.remove(ByDigest)
        _settings.CACHE_DIR = previous
