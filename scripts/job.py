"""What every script of the workflow does around its work: one BLAS thread, a log, and errors a user can read."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import forking

forking.hand_over()  # before what takes long to import: where a fork does the work, this process only waits

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"  # bits must not depend on the cores; jobs run side by side instead
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
with contextlib.suppress(OSError, AttributeError, TypeError):  # another system's allocator
    # Large arrays come and go: what one gives back serves the next, and the system need not clear its pages anew.
    for option in (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD):
        ctypes.CDLL(None).mallopt(option, 2**30)
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dcsc.errors import UserError  # noqa: E402
from dcsc.store import provenance  # noqa: E402
from dcsc.store.inputs import Inputs  # noqa: E402


def run(snakemake: Any, work: Callable[[Any], None]) -> None:
    """
    Run a script's work, write its log, and end with one sentence when a user's mistake stops it.

    Parameters
    ----------
    snakemake : object
        What Snakemake gives to a script.
    work : callable
        Takes that object.
    """
    os.environ["DCSC_NUM_THREADS"] = str(snakemake.threads)
    started = time.perf_counter()
    try:
        _library(snakemake)
        work(snakemake)
    except UserError as error:
        _log(snakemake, f"error: {error}")
        sys.exit(f"error: {error}")
    except BaseException:
        _log(snakemake, traceback.format_exc())
        raise
    whole = time.perf_counter() - started
    processor = time.process_time()  # imports included; what else runs on the machine hardly counts
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    times = f"computing took {_computing:.3f} s of {whole:.3f} s, all {processor:.3f} s of processor, {memory:.0f} MB"
    _log(snakemake, f"{snakemake.rule}: done; {times}")


_computing = 0.0


@contextlib.contextmanager
def computing() -> Iterator[None]:
    """
    Mark what a script has the library compute, so that its log can tell that from imports and files.

    Yields
    ------
    None
        While the library computes.
    """
    global _computing
    started = time.perf_counter()
    try:
        yield
    finally:
        _computing += time.perf_counter() - started


def _log(snakemake: Any, text: str) -> None:
    """Write the log; on a full disk what is said on the terminal must do."""
    log = Path(snakemake.log[0])
    with contextlib.suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{text}\n", encoding="utf-8")


def _library(snakemake: Any) -> Mapping[str, Any]:
    """Hash the library's source, and refuse to go on when it is not the one that the workflow started with."""
    library = provenance.library(snakemake.params.modules)
    if library["sha256"] != snakemake.params.library:
        raise UserError("a module of dcsc, or a plugin, changed after the workflow started: run again.")
    return library


def inputs(snakemake: Any) -> Inputs:
    """
    Open what a script reads.

    Parameters
    ----------
    snakemake : object
        Its params hold `results`.

    Returns
    -------
    Inputs
        Which refuse what does not belong where it lies.
    """
    return Inputs(snakemake.params.results)


def record(
    snakemake: Any, schema: str, version: int, read: Inputs, files: Sequence[str], output: str
) -> dict[str, Any]:
    """
    Make the provenance record of a file that a script writes.

    Parameters
    ----------
    snakemake : object
        Its params hold `settings`, `modules`, `library` (their digest) and `results`.
    schema : str
        What is written.
    version : int
        Version of its schema.
    read : Inputs
        What the script read.
    files : sequence of str
        Of these and other files, those that it is made from.
    output : str
        The file that is written.

    Returns
    -------
    dict
        From `provenance.record`.
    """
    # What studies share names a results folder that is as deep, but another.
    place = Path(*Path(output).parts[len(Path(snakemake.params.results).parts) :]).as_posix()
    plugins = snakemake.input.get("plugins", [])
    settings, library = snakemake.params.settings, _library(snakemake)
    return provenance.record(schema, version, settings, library, read.digests(files), place, plugins)
