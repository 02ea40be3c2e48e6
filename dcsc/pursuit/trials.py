"""Trials on threads, one after another on each, with their progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from dcsc.parallel import cores

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

T = TypeVar("T")


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
    threads = min(cores(), n_trials)
    with _blas().limit(limits=1, user_api="blas"):
        if threads <= 1:
            return list(_shown(map(work, range(n_trials)), n_trials, progress))
        with ThreadPoolExecutor(threads) as pool:
            return list(_shown(pool.map(work, range(n_trials)), n_trials, progress))


@cache
def _blas() -> ThreadpoolController:
    """The libraries of NumPy and of SciPy, which compiled kernels call; finding them takes longer than a trial."""
    import scipy.linalg  # noqa: F401 - what is not loaded yet would not be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def _shown(results: Iterator[T], total: int, progress: str) -> Iterator[T]:
    if not progress:
        return results
    from tqdm import tqdm

    return iter(tqdm(results, total=total, desc=progress))
