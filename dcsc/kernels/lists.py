"""Batches of sparse codes as lists; atoms ascend in every code, so that one pass over two batches finds all pairs."""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled


@compiled
def longest_of(starts):
    """Entries of the longest of consecutive lists."""
    longest = 0
    for code in range(len(starts) - 1):
        longest = max(longest, starts[code + 1] - starts[code])
    return longest


@compiled
def compare_lists(codes, other, out):
    """Count what each code has that the other has not, the reverse, and common atoms of other signs: out (code, 3)."""
    (atom, value, starts), (other_atom, other_value, other_starts) = codes, other
    for code in range(len(starts) - 1):
        k, last, m, other_last = starts[code], starts[code + 1], other_starts[code], other_starts[code + 1]
        both, wrong = np.int64(0), np.int64(0)
        while k < last and m < other_last:
            if atom[k] == other_atom[m]:
                both += 1
                wrong += np.sign(value[k]) != np.sign(other_value[m])
                k += 1
                m += 1
            elif atom[k] < other_atom[m]:
                k += 1
            else:
                m += 1
        out[code, 0] = last - starts[code] - both
        out[code, 1] = other_last - other_starts[code] - both
        out[code, 2] = wrong


@compiled
def subtract_lists(codes, other, out):
    """Subtract each code from the other one; returns how many entries are not 0."""
    (atom, value, starts), (other_atom, other_value, other_starts) = codes, other
    out_atom, out_value, out_size = out
    written = 0
    for code in range(len(starts) - 1):
        k, last, m, other_last = starts[code], starts[code + 1], other_starts[code], other_starts[code + 1]
        before = written
        while k < last or m < other_last:
            if m == other_last or (k < last and atom[k] < other_atom[m]):
                out_atom[written], out_value[written] = atom[k], -value[k]
                k += 1
            elif k == last or other_atom[m] < atom[k]:
                out_atom[written], out_value[written] = other_atom[m], other_value[m]
                m += 1
            else:
                out_atom[written], out_value[written] = atom[k], other_value[m] - value[k]
                k += 1
                m += 1
            written += out_value[written] != 0
        out_size[code] = written - before
    return written
