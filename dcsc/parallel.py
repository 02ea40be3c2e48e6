"""
Parallel computation over spans of trials, on threads that are kept, since starting a thread can cost more than a span.

A span that asks for threads itself runs on its own thread only, so that nothing waits for a busy pool.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from dcsc.seeds import BLOCK

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")

ENVIRONMENT_VARIABLE = "DCSC_NUM_THREADS"
"""Names how many threads to use at most; by default the cores that this process may use."""

MOST_THREADS = 256
"""Threads that a call can ask for; they are started when they are first needed."""


class _Kept(threading.local):
    """What a thread knows of itself: whether it works on a span."""

    busy = False


_here = _Kept()


@cache
def _kept_pool(workers: int) -> ThreadPoolExecutor:
    """
    Keep as many threads as are asked for, whatever the spans of a call.

    Of more of them now this one would wake, now that one. The system may do so on the core of the caller, where the
    last of them ran, and leave the others idle.
    """
    return ThreadPoolExecutor(workers, thread_name_prefix="dcsc")


def _forget_pools() -> None:
    """A forked process has none of the threads."""
    _kept_pool.cache_clear()
    _here.busy = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)


def cores() -> int:
    """
    Count the threads to use when a caller names no number.

    Returns
    -------
    int
        What DCSC_NUM_THREADS says, else the cores that this process may use; at least 1.
    """
    given = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def over_blocks(n_trials: int, work: Callable[[int, int], T], threads: int | None = None) -> list[T]:
    """
    Run work on blocks of `dcsc.seeds.BLOCK` trials.

    Parameters
    ----------
    n_trials, threads
        As for `over_spans`.
    work : callable
        Takes the first trial of a block and the one after its last.

    Returns
    -------
    list
        What the blocks returned, in their order.
    """
    return over_spans(n_trials, BLOCK, work, threads)


def over_spans(n_trials: int, size: int, work: Callable[[int, int], T], threads: int | None = None) -> list[T]:
    """
    Run work on spans of trials, on several threads and the calling one.

    Parameters
    ----------
    n_trials : int
        Trials in all.
    size : int
        Trials per span.
    work : callable
        Takes the first trial of a span and the one after its last.
    threads : int, optional
        Largest number of threads used; by default the number that `cores` gives.

    Returns
    -------
    list
        What the spans returned, in their order.
    """
    spans = [(first, min(first + size, n_trials)) for first in range(0, n_trials, size)]
    allowed = min(threads or cores(), MOST_THREADS)
    used = min(allowed, len(spans))
    if used <= 1 or _here.busy:
        return [work(*span) for span in spans]
    results: dict[int, T] = {}
    turns = itertools.count()

    def drain() -> None:
        _here.busy = True
        try:
            while (turn := next(turns)) < len(spans):
                results[turn] = work(*spans[turn])
        except BaseException:
            for _ in spans:  # the others need not go on
                next(turns)
            raise
        finally:
            _here.busy = False

    pool = _kept_pool(allowed - 1)
    others = [pool.submit(drain) for _ in range(used - 1)]
    try:
        drain()
    finally:
        for other in others:
            if not other.cancel():  # one that has not begun would find nothing left
                other.result()
    return [results[turn] for turn in range(len(spans))]


def over_trials(n_trials: int, work: Callable[[int], T], progress: str = "") -> list[T]:
    """
    Run work on every trial, on threads, in each of which products of matrices stay on one core.

    A BLAS with threads of its own would have them wait for one another, and its bits would depend on their number.

    Parameters
    ----------
    n_trials : int
        Trials in all.
    work : callable
        Takes the trial's index; its result must depend on nothing else.
    progress : str
        Title of a progress bar; empty shows none.

    Returns
    -------
    list
        What the trials returned, in their order.
    """
    from tqdm import tqdm

    with _blas().limit(limits=1, user_api="blas"), tqdm(total=n_trials, desc=progress, disable=not progress) as bar:

        def trial(index: int, _: int) -> T:
            result = work(index)
            bar.update()
            return result

        return over_spans(n_trials, 1, trial)


@cache
def _blas() -> ThreadpoolController:
    """The libraries of NumPy and of SciPy, which compiled kernels call; finding them takes longer than a trial."""
    import scipy.linalg  # noqa: F401 - what is not loaded yet would not be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
