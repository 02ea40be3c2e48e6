"""
Which process compiles what.

A claim is one byte of a lock file, held by the system until it is released or the process ends. Processes that
compile different kernels run side by side, and one that needs what another is compiling waits for it. A process
claims one kernel at a time: those that it calls are compiled into it (`dcsc.kernels.linked`). Where the file system
has no locks, processes may compile the same kernel, and the later one replaces the file of the earlier one by its
like.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from functools import cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

_claims: set[tuple[Path, str]] = set()
_guard = threading.Lock()


@cache
def _descriptor(folder: Path, process: int) -> int | None:
    """The lock file; it stays open, since to close it once would release all that the process holds of it."""
    try:
        return os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None


def _byte(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big")


def claim(folder: Path, name: str) -> None:
    """
    Wait until no other process has claimed something, and claim it.

    Parameters
    ----------
    folder : Path
        Where the lock file lies.
    name : str
        What is claimed.
    """
    descriptor = _descriptor(folder, os.getpid())
    if fcntl is None or descriptor is None:
        return
    with contextlib.suppress(OSError):  # a file system without locks is used without
        fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, _byte(name))
        with _guard:
            _claims.add((folder, name))


def release(folder: Path, name: str) -> None:
    """
    Release what was claimed.

    Parameters
    ----------
    folder : Path
        Where the lock file lies.
    name : str
        What was claimed.
    """
    with _guard:
        if (folder, name) not in _claims:
            return
        _claims.remove((folder, name))
    descriptor = _descriptor(folder, os.getpid())
    if descriptor is not None:
        with contextlib.suppress(OSError):
            fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _byte(name))


def release_all() -> None:
    """Release all claims of this process."""
    for folder, name in list(_claims):
        release(folder, name)


def is_claimed(folder: Path) -> bool:
    """
    Tell whether a process compiles something now.

    Parameters
    ----------
    folder : Path
        Where the lock file lies.

    Returns
    -------
    bool
        True when something is claimed, by this process or another one.
    """
    with _guard:
        if any(place == folder for place, _ in _claims):
            return True
    descriptor = _descriptor(folder, os.getpid()) if folder.is_dir() else None
    if fcntl is None or descriptor is None:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of all bytes: who claims one waits for a moment
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    return False
