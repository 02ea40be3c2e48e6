"""Spans of trials on kept threads."""

import itertools
import os
import threading

import pytest

from dcsc import parallel


def test_every_span_is_worked_on_once_and_in_order():
    for n_trials, size, threads in ((0, 4, 2), (1, 4, 8), (7, 4, 2), (1000, 3, 5), (64, 32, None)):
        found = parallel.over_spans(n_trials, size, lambda first, last: list(range(first, last)), threads)
        assert list(itertools.chain.from_iterable(found)) == list(range(n_trials))
        assert all(len(span) == size for span in found[:-1])


def test_threads_are_kept_and_the_caller_is_one_of_them():
    seen, rounds = set(), 100

    def work(first, last):
        barrier.wait(timeout=60)
        seen.add(threading.current_thread())

    for _ in range(rounds):
        barrier = threading.Barrier(3)
        parallel.over_spans(3, 1, work, 3)
    # With more of them, each call would wake another one, which the system may put on the core of the caller.
    assert len(seen) == 3
    assert threading.current_thread() in seen


def test_calls_of_few_spans_keep_no_threads_of_their_own():
    before = threading.active_count()
    for n_spans in range(2, 20):
        parallel.over_spans(n_spans, 1, lambda first, last: first, 17)
    assert threading.active_count() <= before + 16


def test_spans_within_spans_stay_on_their_thread():
    def inner(first, last):
        return threading.current_thread()

    def outer(first, last):
        return set(parallel.over_spans(8, 1, inner, 4)) == {threading.current_thread()}

    assert all(parallel.over_spans(16, 1, outer, 4))


def test_an_error_reaches_the_caller_and_leaves_the_threads_usable():
    def work(first, last):
        if first == 5:
            raise ZeroDivisionError
        return first

    for threads in (1, 4):
        with pytest.raises(ZeroDivisionError):
            parallel.over_spans(50, 1, work, threads)
        assert parallel.over_spans(4, 1, lambda first, last: first, threads) == [0, 1, 2, 3]


def test_the_environment_limits_the_threads(monkeypatch):
    monkeypatch.setenv(parallel.ENVIRONMENT_VARIABLE, "3")
    assert parallel.cores() == 3
    monkeypatch.setenv(parallel.ENVIRONMENT_VARIABLE, "none")
    assert parallel.cores() >= 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    parallel.over_spans(8, 1, lambda first, last: first, 4)
    child = os.fork()
    if child == 0:
        os._exit(0 if parallel.over_spans(8, 1, lambda first, last: first, 4) == list(range(8)) else 1)
    assert os.waitpid(child, 0)[1] == 0
