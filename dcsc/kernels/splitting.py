"""
One iteration of Douglas and Rachford's splitting for sparse least squares, in one pass over the codes.

=========  =======================  ================================================================
array      axes                     meaning
=========  =======================  ================================================================
state      (piece, filter, width)   A^T r + x / sigma: what its clipping to [-xi, xi] leaves is x / sigma
by_filter  (filter, tap)            the filters, channels and taps in one axis
by_tap     (tap, filter)            the same, transposed
sizes      (4, 3)                   an axis each: positions, step, taps, lags
extended   (lead, g0, g1, g2)       a periodic signal, continued to the right so that no window leaves it
=========  =======================  ================================================================

A piece is a run of positions along the last axis; what is beyond that axis' end is kept at 0. An orientation of +-1
an atom makes the problem one-sided (orientation * x >= 0); an empty one leaves it two-sided.
"""

# ruff: noqa: ANN001, ANN201 - numba infers the types

from __future__ import annotations

import numpy as np

from dcsc.kernels.compile import compiled
from dcsc.kernels.lasso import extend


@compiled
def fold(extended, signal):
    """Add up what `extend` had copied apart."""
    signal[:] = 0
    for lead in range(signal.shape[0]):
        for x0 in range(extended.shape[1]):
            for x1 in range(extended.shape[2]):
                source = extended[lead, x0, x1]
                target = signal[lead, x0 % signal.shape[1], x1 % signal.shape[2]]
                n = len(target)
                for begin in range(0, len(source), n):
                    for k in range(min(n, len(source) - begin)):
                        target[k] += source[begin + k]


@compiled
def reflect(state, scores, xi, relaxation, width, out):
    """Move the state of a piece by the scores A^T r, and write what is to be synthesized from it."""
    for i in range(len(state)):
        row, score, target = state[i], scores[i], out[i]
        for k in range(width):
            old = row[k]
            clipped = -xi if old < -xi else (xi if old > xi else old)
            new = old + relaxation * (score[k] - clipped)
            clipped = -xi if new < -xi else (xi if new > xi else new)
            row[k] = new
            target[k] = clipped + clipped - new
        for k in range(width, len(target)):
            target[k] = 0


@compiled
def reflect_one_sided(state, scores, orientation, xi, relaxation, width, out):
    """As `reflect`, where only correlations in the direction of an orientation are bounded."""
    for i in range(len(state)):
        row, score, side, target = state[i], scores[i], orientation[i], out[i]
        for k in range(width):
            old, sign = row[k], side[k]
            clipped = sign * xi if old * sign > xi else old
            new = old + relaxation * (score[k] - clipped)
            clipped = sign * xi if new * sign > xi else new
            row[k] = new
            target[k] = clipped + clipped - new
        for k in range(width, len(target)):
            target[k] = 0


@compiled
def iterate_trial(state, residual, by_filter, by_tap, sizes, orientation, xi, relaxation, extended, spread, out):
    """
    Move the state by a residual r, and synthesize twice its clipped part less itself into out.

    extended and spread are working space of one shape.
    """
    n_pieces, n_filters, full = state.shape
    n1, n2 = sizes[0, 1], sizes[0, 2]
    step = sizes[1, 2]
    a0, a1, a2 = sizes[2, 0], sizes[2, 1], sizes[2, 2]
    in_row = (n2 + full - 1) // full
    windows = np.empty((by_tap.shape[0], full), state.dtype)
    scores, mirrored = np.empty((n_filters, full), state.dtype), np.empty((n_filters, full), state.dtype)
    extend(residual, extended)
    spread[:] = 0
    for piece in range(n_pieces):
        row, turn = divmod(piece, in_row)
        p0, p1 = divmod(row, n1)
        x0, x1, x2 = p0 * sizes[1, 0], p1 * sizes[1, 1], turn * full * step
        tap = 0
        for lead in range(residual.shape[0]):
            for t0 in range(a0):
                for t1 in range(a1):
                    source = extended[lead, x0 + t0, x1 + t1]
                    for t2 in range(a2):
                        window, run = windows[tap], source[x2 + t2 : x2 + t2 + (full - 1) * step + 1]
                        if step == 1:  # said apart, for it is then a copy
                            for k in range(full):
                                window[k] = run[k]
                        else:
                            for k in range(full):
                                window[k] = run[k * step]
                        tap += 1
        np.dot(by_filter, windows, scores)
        width = min(full, n2 - turn * full)
        if len(orientation) > 0:
            reflect_one_sided(state[piece], scores, orientation[piece], xi, relaxation, width, mirrored)
        else:
            reflect(state[piece], scores, xi, relaxation, width, mirrored)
        np.dot(by_tap, mirrored, windows)
        tap = 0
        for lead in range(residual.shape[0]):
            for t0 in range(a0):
                for t1 in range(a1):
                    target = spread[lead, x0 + t0, x1 + t1]
                    for t2 in range(a2):
                        window, run = windows[tap], target[x2 + t2 : x2 + t2 + (full - 1) * step + 1]
                        if step == 1:
                            for k in range(full):
                                run[k] += window[k]
                        else:
                            for k in range(full):
                                run[k * step] += window[k]
                        tap += 1
    fold(spread, out)


@compiled
def iterate(states, mirrored, residuals, trials, by_filter, by_tap, sizes, orientations, penalties, relaxation):
    """
    Move the states of some trials by their residuals, and synthesize what `iterate_trial` does into mirrored.

    states, mirrored, orientations and penalties have all trials, residuals those that move.
    """
    in_row = (sizes[0, 2] + states.shape[3] - 1) // states.shape[3]
    (_, n_lead, g0, g1, g2), taps = residuals.shape, sizes[2]
    beyond = (in_row * states.shape[3] - sizes[0, 2]) * sizes[1, 2]
    extended = np.empty((n_lead, g0 + taps[0] - 1, g1 + taps[1] - 1, g2 + taps[2] - 1 + beyond), states.dtype)
    spread = np.empty_like(extended)
    two_sided = np.empty((0, 0, 0), states.dtype)
    for k in range(len(trials)):
        trial = trials[k]
        orientation = orientations[trial] if len(orientations) > 0 else two_sided
        iterate_trial(
            states[trial], residuals[k], by_filter, by_tap, sizes, orientation, penalties[trial], relaxation,
            extended, spread, mirrored[trial],
        )  # fmt: skip
