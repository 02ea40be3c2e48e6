"""Mutations of files, and what must hold of a reader that meets them: no hang, no traceback, no memory to speak of."""

from __future__ import annotations

import signal
import tracemalloc
from contextlib import contextmanager

from hypothesis import strategies as st

from dcsc.errors import UserError

INTERESTING = (0, 1, 2**7 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**62, 2**63, 2**64 - 1)


@st.composite
def mutations(draw, content):
    """A file of which bytes are flipped, cut off, doubled, cleared or replaced by numbers that break readers."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not content:
            break
        # Headers are where it hurts, so that half of the mutations hit the first or last kilobyte.
        low, high = draw(st.sampled_from([(0, 1024), (-1024, len(content)), (0, len(content))]))
        low, high = max(0, low % len(content) if low < 0 else low), min(high, len(content))
        place = draw(st.integers(min(low, high - 1), high - 1))
        length = draw(st.integers(1, 16))
        kind = draw(st.sampled_from(["bit", "byte", "cut", "drop", "double", "clear", "number", "insert"]))
        if kind == "bit":
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte":
            content[place] = draw(st.integers(0, 255))
        elif kind == "cut":
            del content[place:]
        elif kind == "drop":
            del content[place : place + length]
        elif kind == "double":
            content[place:place] = content[place : place + length]
        elif kind == "clear":
            content[place : place + length] = bytes(len(content[place : place + length]))
        elif kind == "number":
            width = draw(st.sampled_from([1, 2, 4, 8]))
            number = draw(st.sampled_from(INTERESTING)) % 256**width
            content[place : place + width] = number.to_bytes(width, "little")
        else:
            content[place:place] = draw(st.binary(min_size=1, max_size=16))
    return bytes(content)


class Hang(BaseException):
    """No Exception, so that no reader takes it for a damaged file."""


@contextmanager
def within(seconds):
    """Fail, rather than wait, when a reader hangs."""

    def fail(*_):
        raise Hang(f"still at work after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def little_memory(megabytes=64):
    """Fail when more memory is asked for than any of the files here could need."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 2**20
    finally:
        tracemalloc.stop()


def refused(work):
    """Run a reader: what it gives, or None when it refuses in one sentence; anything else fails."""
    try:
        return work()
    except UserError as error:
        sentence = str(error)
    assert sentence.isprintable()
    assert len(sentence) < 1000
    return None
