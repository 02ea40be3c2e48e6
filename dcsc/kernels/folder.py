"""The folder that keeps the machine code of the kernels; to look at it no compiler is loaded."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

import platformdirs

ENVIRONMENT_VARIABLE = "DCSC_CACHE_DIR"
"""Names the folder to use in place of the user's cache folder."""
OF_PLANS = ("deep.", "drawing.")
"""Modules of the kernels by which a plan of a study draws a few codes, before any job runs."""

_said: set[str] = set()


def say_once(kind: str, sentence: str) -> None:
    """
    Print a line on the error stream, unless this process printed one of its kind.

    Parameters
    ----------
    kind : str
        What it is about.
    sentence : str
        The line.
    """
    if kind not in _said:
        _said.add(kind)
        print(f"dcsc: {sentence}", file=sys.stderr, flush=True)


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


COMPILING_TAKES = "about half a minute"
"""What the jobs of a first run wait for in all, measured with config/smoke.yaml on two cores."""


def may_have_to_compile() -> bool:
    """
    Say whether the processes to come find no machine code of kernels.

    Returns
    -------
    bool
        True where none is kept yet but of what a plan draws itself, to see how full a layer becomes, or where none can
        be kept.
    """
    folder = cache_folder()
    return folder is None or all(file.name.startswith(OF_PLANS) for file in folder.glob("*.nbc"))


def has_machine_code(kernel: str) -> bool:
    """
    Say whether machine code of a kernel is kept, of any signature.

    Parameters
    ----------
    kernel : str
        Its module and its name, with a dot between.

    Returns
    -------
    bool
        False, too, where none can be kept.
    """
    folder = cache_folder()
    return folder is not None and next(folder.glob(f"{kernel}-*.nbc"), None) is not None


def _parent_folders() -> list[Path]:
    """Where the folder may be, in the order of preference."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    parents = [Path(named).absolute() if named else Path(platformdirs.user_cache_dir("dcsc"))]
    with contextlib.suppress(FileNotFoundError):  # no temporary folder can be written either
        parents.append(Path(tempfile.gettempdir()) / f"dcsc-{user}")
    return parents
