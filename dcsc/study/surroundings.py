"""Checks of the folders of a study before any job runs; every fault is reported in one sentence."""

from __future__ import annotations

import base64
import binascii
import errno
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dcsc.errors import UserError, shortened

RECORDS = (Path(".snakemake/metadata"), Path(".snakemake/incomplete"))
"""Where the workflow manager notes what it made, a file per output."""


def check_checkout(*folders: Path) -> None:
    """
    Refuse paths that a workflow manager takes for a pattern.

    Parameters
    ----------
    *folders : Path
        The checkout, and where the workflow runs.

    Raises
    ------
    UserError
        When one holds braces.
    """
    for folder in folders:
        if "{" in str(folder) or "}" in str(folder):
            raise UserError(f"the folder {folder} has braces in its path, which mean wildcards: rename or move it.")


def check_results(results: str | Path) -> None:
    """
    Check that a results folder is a folder, or can become one.

    Parameters
    ----------
    results : str or Path
        The folder.

    Raises
    ------
    UserError
        When it, or a folder that it is to lie in, is a file or cannot be looked at.
    """
    existing = _existing(Path(results))
    if not existing.is_dir():
        raise UserError(
            f"results = {shortened(str(results))} is not allowed: {existing} is a file; name another folder under "
            "results: in the configuration."
        )


def check_writable(results: str | Path) -> None:
    """
    Check that results can be written.

    Parameters
    ----------
    results : str or Path
        The folder.

    Raises
    ------
    UserError
        When they cannot.
    """
    check_results(results)
    existing = _existing(Path(results))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(
            f"the folder {existing} of the results cannot be written: make it writable, "
            "or name another one under results: in the configuration."
        )


def tell_of_compiling() -> None:
    """Print a line where the jobs of a run have to compile their kernels first."""
    from dcsc.kernels.folder import COMPILING_TAKES, cache_folder, may_have_to_compile

    if may_have_to_compile():
        print(
            f"The first jobs wait for kernels to be compiled: {COMPILING_TAKES}, once for this version of dcsc, "
            f"only those that are used, by the jobs side by side. The machine code is kept in {cache_folder()}.",
            file=sys.stderr,
        )


def _existing(path: Path) -> Path:
    """A path, or the nearest of the folders that it is to lie in, that exists."""
    try:
        return next(part for part in (path, *path.parents) if part.exists())
    except OSError as error:
        raise UserError(
            f"the folder {shortened(str(path))} cannot be looked at ({error.strerror}): name another one."
        ) from None


_FAILED = re.compile(r"^\w*Error: \[Errno (\d+)\] ([^\n]*)\Z", re.MULTILINE)
_UNWRITABLE = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR}


def unwritable_in_one_sentence(results: str) -> Callable[[logging.LogRecord], bool]:
    """
    Make one sentence of the traceback with which a workflow manager ends when it cannot write in the middle of a run.

    Parameters
    ----------
    results : str
        The results folder.

    Returns
    -------
    callable
        A filter for its logger, which lets everything pass.
    """

    def reworded(record: logging.LogRecord) -> bool:
        found = _FAILED.search(record.getMessage().rstrip()) if record.levelno >= logging.ERROR else None
        if found and int(found[1]) in _UNWRITABLE:
            record.args = ()
            record.msg = (
                f"error: the folder {results}, or that of the workflow, can no longer be written ({found[2]}): make it "
                "writable or make room, and run again; what is finished is kept."
            )
        return True

    return reworded


def check_records(folder: Path = Path()) -> None:
    """
    Check the records that a workflow manager keeps of what it made, without which it takes finished work on trust.

    Parameters
    ----------
    folder : Path
        Where the workflow runs.

    Raises
    ------
    UserError
        When one is damaged; it names what to delete.
    """
    damaged = [path for path in _records(folder) if _is_damaged(path)]
    if damaged:
        time.sleep(0.3)  # a run that is going on may have been writing one
        damaged = [path for path in damaged if path.exists() and _is_damaged(path)]
    if damaged:
        path = damaged[0]
        made = _output_of(path, folder)
        both = f"it and {made}, which it is about" if made else "it"
        others = f" ({len(damaged) - 1} more are, too)" if len(damaged) > 1 else ""
        raise UserError(f"Snakemake's record {path} is damaged{others}: delete {both}, and run again.")


def _records(folder: Path) -> Iterator[Path]:
    for kind in RECORDS:
        for place, _, names in os.walk(folder / kind):
            yield from (Path(place, name) for name in sorted(names))


def _is_damaged(path: Path) -> bool:
    try:
        return not isinstance(json.loads(path.read_bytes()), dict)
    except FileNotFoundError:  # finished in the meantime
        return False
    except (OSError, ValueError, RecursionError):
        return True


def _output_of(record: Path, folder: Path) -> str:
    """The output that a record is about, which is its name in base64, cut into folders when long; empty if none."""
    for kind in RECORDS:
        if (folder / kind) in record.parents:
            parts = record.relative_to(folder / kind).parts
            try:
                return base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in parts)).decode("utf-8")
            except (binascii.Error, ValueError):
                return ""
    return ""
