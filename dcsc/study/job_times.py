"""Times of each job, from the timing file of Snakemake and the last line of the script's log."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import NamedTuple

_TIMES = re.compile(r"computing took ([\d.]+) s of ([\d.]+) s, all ([\d.]+) s of processor(?:, (\d+) MB)?")
"""What `scripts/job.py` logs."""


class LoggedTimes(NamedTuple):
    """
    Times of a job that ended well, in seconds, and its memory.

    Parameters
    ----------
    computing, whole : float
        Wall-clock time of the work itself, and of the script without its imports.
    processor : float
        Processor time with imports.
    memory_mb : float
        The most that was resident; 0 where an older version did not say.
    """

    computing: float
    whole: float
    processor: float
    memory_mb: float = 0.0


def read_timing_file(path: Path) -> dict[str, float]:
    """
    Read a timing file of Snakemake.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to float
        `seconds` and `memory_mb`, as far as they are there: a job that is still running has no file, a quick one may
        have no memory. The memory is that of the script's own process; where a fork did the work, its log knows.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file, delimiter="\t"))
    except (OSError, StopIteration, UnicodeDecodeError, csv.Error):
        return {}
    measured = {}
    for column, quantity in (("s", "seconds"), ("max_rss", "memory_mb")):
        try:
            measured[quantity] = float(row[column])
        except (KeyError, TypeError, ValueError):
            continue
    return measured


def read_log(path: Path) -> LoggedTimes | None:
    """
    Read the times that a job logged at its end.

    Parameters
    ----------
    path : Path
        The log.

    Returns
    -------
    LoggedTimes or None
        None for a job that did not end well.
    """
    try:
        found = _TIMES.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return LoggedTimes(*(float(number or 0) for number in found.groups())) if found else None
