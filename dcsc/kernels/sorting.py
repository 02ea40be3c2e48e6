"""
Orders, sorted runs and searches in them, for kernels: numba's own take a second each to compile, for every type anew.

Numbers are compared as they are; none of them is NaN.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled

SHORT = 15
"""Longer runs are divided before they are sorted by insertion."""
DEPTH = 64
"""Runs that wait to be sorted: the longer half always waits, so that there are fewer than bits of an index."""


@compiled
def comes_before(keys, a, b, stable):
    """Whether the a-th key comes before the b-th one; of equal ones the earlier does in a stable order."""
    return keys[a] < keys[b] or (stable and a < b and keys[a] == keys[b])


@compiled
def insert_each(keys, order, low, high, stable):
    """Sort a run of an order by insertion, its last place included."""
    for place in range(low + 1, high + 1):
        k, at = order[place], place
        while at > low and comes_before(keys, k, order[at - 1], stable):
            order[at] = order[at - 1]
            at -= 1
        order[at] = k


@compiled
def divide(keys, order, low, high, stable):
    """Move what comes before the median of three of a run to its left, the others to its right; returns its place."""
    middle = (low + high) >> 1
    for left, right in ((low, middle), (middle, high), (low, middle)):
        if comes_before(keys, order[right], order[left], stable):
            order[left], order[right] = order[right], order[left]
    pivot = order[middle]
    order[high], order[middle] = order[middle], order[high]
    i, j = low, high - 1
    while True:
        while i < high and comes_before(keys, order[i], pivot, stable):
            i += 1
        while j >= low and comes_before(keys, pivot, order[j], stable):
            j -= 1
        if i >= j:
            break
        order[i], order[j] = order[j], order[i]
        i += 1
        j -= 1
    order[i], order[high] = order[high], order[i]
    return i


@compiled
def order_of(keys, stable):
    """
    Order numbers, ascending, by quicksort.

    The steps are those of `numpy.argsort` in numba, so that equal numbers come in the same order where it is not
    stable.
    """
    order, waiting, n_waiting = np.empty(len(keys), np.int64), np.empty((DEPTH, 2), np.int64), 1
    for k in range(len(keys)):
        order[k] = k
    waiting[0, 0], waiting[0, 1] = 0, len(keys) - 1
    while n_waiting > 0:
        n_waiting -= 1
        low, high = waiting[n_waiting, 0], waiting[n_waiting, 1]
        while high - low >= SHORT:
            i = divide(keys, order, low, high, stable)
            left_waits = high - i <= i - low
            waiting[n_waiting, 0] = low if left_waits else i + 1
            waiting[n_waiting, 1] = i - 1 if left_waits else high
            n_waiting += 1
            if left_waits:
                low = i + 1
            else:
                high = i - 1
        insert_each(keys, order, low, high, stable)
    return order


@compiled
def sort(values):
    """Sort numbers in place, ascending."""
    waiting, n_waiting = np.empty((DEPTH, 2), np.int64), 1
    waiting[0, 0], waiting[0, 1] = 0, len(values) - 1
    while n_waiting > 0:
        n_waiting -= 1
        low, high = waiting[n_waiting, 0], waiting[n_waiting, 1]
        while high - low >= SHORT:
            one, pivot, other = values[low], values[(low + high) >> 1], values[high]
            pivot = max(min(one, pivot), min(max(one, pivot), other))
            i, j = low, high
            while i <= j:
                while values[i] < pivot:
                    i += 1
                while pivot < values[j]:
                    j -= 1
                if i <= j:
                    values[i], values[j] = values[j], values[i]
                    i += 1
                    j -= 1
            left_waits = high - i < j - low
            waiting[n_waiting, 0] = low if left_waits else i
            waiting[n_waiting, 1] = j if left_waits else high
            n_waiting += 1
            if left_waits:
                low = i
            else:
                high = j
        for place in range(low + 1, high + 1):
            value, at = values[place], place
            while at > low and value < values[at - 1]:
                values[at] = values[at - 1]
                at -= 1
            values[at] = value


@compiled
def ascending(numbers):
    """Whole numbers in ascending order."""
    found = np.empty(len(numbers), np.int64)
    for k in range(len(numbers)):
        found[k] = numbers[k]
    return entries_at(found, order_of(found, np.bool_(True)))


@compiled
def first_from(values, n, level):
    """Number of the first of n ascending numbers that reaches a level; n where none does."""
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < level:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def places_where(chosen):
    """Where entries are not 0, ascending."""
    n = 0
    for k in range(len(chosen)):
        n += chosen[k] != 0
    places, n = np.empty(n, np.int64), 0
    for k in range(len(chosen)):
        if chosen[k] != 0:
            places[n] = k
            n += 1
    return places


@compiled
def entries_at(values, places):
    """Entries at some places."""
    found = np.empty(len(places), values.dtype)
    for k in range(len(places)):
        found[k] = values[places[k]]
    return found


@compiled
def copy(source, target):
    """Copy one array of one axis to the beginning of another one."""
    for k in range(len(source)):
        target[k] = source[k]


@compiled
def total_of(values):
    """Add up an array of one axis, in its order."""
    total = values.dtype.type(0)
    for k in range(len(values)):
        total += values[k]
    return total


@compiled
def most_of(values):
    """The largest entry of an array of one axis that is not empty."""
    most = values[0]
    for k in range(1, len(values)):
        if values[k] > most:
            most = values[k]
    return most


@compiled
def smallest_of(values):
    """The smallest entry of an array of one axis that is not empty."""
    smallest = values[0]
    for k in range(1, len(values)):
        if values[k] < smallest:
            smallest = values[k]
    return smallest


@compiled
def place_of_most(values):
    """Where the largest entry is, the first one of equals."""
    place = 0
    for k in range(1, len(values)):
        if values[k] > values[place]:
            place = k
    return place
