"""
One layer's basis pursuit in its Lagrangian form, xi |x|_1 + |y - A x|^2 / 2, for a batch of trials.

`working_set` grows a set of atoms, for dense codes with the help of `dcsc.pursuit.splitting`; it is the fast solver.
`dcsc.pursuit.proximal_gradient` reaches the same minimum. A sign of +-1 per atom makes the problem one-sided; that is
how non-negative codes of A T are found as codes of A, since |T x|_1 = |x|_1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.convolution.layouts import from_kernel_atoms, window_layout
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import cores, over_trials
from dcsc.pursuit import splitting

STOPS = ("gap", "kkt")

DENSE, SMALLEST = 0.65, 500
"""Active atoms over entries of the signal above which the working set has become slow, and entries that it needs."""
LOOSE = 1e-3
"""Relative duality gap down to which the splitting goes alone."""
HANDED_OVER = 1e-2
"""Relative duality gap at which the working set takes over from the splitting."""
GROUP, GROUPED_ATOMS = 8, 2**20
"""Trials that are split together, at most."""


@dataclass(frozen=True, eq=False)
class StoppingRule:
    """
    When a trial is solved.

    Parameters
    ----------
    measure : {'gap', 'kkt'}
        The duality gap over the objective, which bounds the relative excess of the objective; or the
        largest violation of the optimality conditions over the largest correlation |A^T y|_inf.
    tolerance : float
        What the measure must not exceed.
    max_iterations : int
        Iterations after which a trial is given up.
    """

    measure: str
    tolerance: float
    max_iterations: int


@dataclass(frozen=True, eq=False)
class LassoSolution:
    """
    Minimisers of a batch of trials.

    Parameters
    ----------
    codes : ndarray of float64, shape (trial, filter, *position)
        The codes.
    iterations : ndarray of int, shape (trial,)
        Iterations taken.
    optimality : ndarray, shape (trial,)
        The stopping measure at the codes.
    """

    codes: NDArray
    iterations: NDArray
    optimality: NDArray

    @classmethod
    def of_trials(cls, solved: Sequence[tuple[NDArray, int, float]], code_shape: tuple[int, ...]) -> LassoSolution:
        """
        Put the solutions of trials together.

        Parameters
        ----------
        solved : sequence of tuple
            Code, iterations and optimality of each trial; there may be none.
        code_shape : tuple of int
            Shape of a code.

        Returns
        -------
        LassoSolution
            Of all trials.
        """
        codes = np.array([code for code, _, _ in solved]).reshape(len(solved), *code_shape)
        iterations = np.array([count for _, count, _ in solved], dtype=np.int64)
        return cls(codes, iterations, np.array([measure for *_, measure in solved], dtype=np.float64))


class Trial:
    """
    One signal with its dictionary, to be solved at one penalty after another from the last solution.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signal : ndarray, shape (channel, *space)
        y.
    orientation : ndarray of +-1, shape (filter, *position), or None
        Signs that the codes must have; None leaves them free.
    """

    def __init__(self, dictionary: ConvolutionalDictionary, signal: NDArray, orientation: NDArray | None) -> None:
        self._dictionary = dictionary
        self._layout = window_layout(dictionary)
        self._signal = np.array(signal, dtype=np.float64, order="C").reshape(self._layout.patterns.target_shape)
        signs = np.empty(0) if orientation is None else orientation.reshape(dictionary.n_filters, -1).T
        self._orientation = np.array(signs, dtype=np.float64, order="C").ravel()
        self._atoms = np.empty(0, dtype=np.int64)
        self._values = np.empty(0)

    def largest_correlation(self) -> float:
        """
        Find the smallest penalty at which the solution is 0.

        Returns
        -------
        float
            |A^T y|_inf, or the largest oriented correlation, at least 0.
        """
        from dcsc.kernels import lasso

        return lasso.largest_correlation(self._signal, self._layout, self._orientation)

    def solve(
        self, penalty: float, rule: StoppingRule, scale: float, most_active: float = math.inf
    ) -> tuple[int, float]:
        """
        Move to the minimiser at a penalty.

        Parameters
        ----------
        penalty : float
            xi > 0.
        rule : StoppingRule
            When to stop.
        scale : float
            What KKT distances are relative to.
        most_active : float
            Active atoms beyond which to stop half-way.

        Returns
        -------
        iterations : int
            Iterations taken.
        optimality : float
            The stopping measure.
        """
        from dcsc.kernels import lasso

        is_gap = rule.measure == "gap"
        stop, tolerance = lasso.GAP if is_gap else lasso.KKT, rule.tolerance * (1.0 if is_gap else scale)
        start = self._signal, self._layout, self._orientation, float(penalty), self._atoms, self._values
        self._atoms, self._values, iterations, gap, distance = lasso.solve(
            *start, stop, tolerance, rule.max_iterations, float(most_active)
        )
        return iterations, gap if is_gap else distance / scale

    def start(self, penalty: float) -> splitting.Start:
        """
        Say where a splitting is to begin.

        Parameters
        ----------
        penalty : float
            xi > 0.

        Returns
        -------
        splitting.Start
            At the present code.
        """
        return splitting.Start(self._signal, self._orientation, float(penalty), self._atoms, self._values)

    def move(self, atoms: NDArray, values: NDArray) -> None:
        """
        Take a code that was found elsewhere.

        Parameters
        ----------
        atoms : ndarray of int64, shape (active,)
            As the kernels number them, ascending.
        values : ndarray of float64, shape (active,)
            Their coefficients.
        """
        self._atoms, self._values = atoms, values

    @property
    def atoms(self) -> NDArray:
        """Active atoms in C order of (filter, *position), shape (active,)."""
        return from_kernel_atoms(self._atoms, self._dictionary)

    @property
    def values(self) -> NDArray:
        """Coefficients of the active atoms, shape (active,)."""
        return self._values

    def code(self) -> NDArray:
        """
        Expand the solution.

        Returns
        -------
        ndarray of float64, shape (filter, *position)
            The code.
        """
        flat = np.zeros(self._dictionary.n_atoms)
        flat[self.atoms] = self._values
        return flat.reshape(self._dictionary.code_shape)


def working_set(
    dictionary: ConvolutionalDictionary,
    signals: NDArray,
    penalties: NDArray,
    rule: StoppingRule,
    orientation: NDArray | None = None,
    progress: str = "",
) -> LassoSolution:
    """
    Minimise over a growing set of atoms, each trial by itself.

    An iteration correlates the residual with every atom, adds those that violate optimality most in
    each neighbourhood to the active ones, and solves the problem of these few by coordinate descent
    and conjugate-gradient Newton steps on the face of their signs, in float64. A trial that comes to have nearly
    as many active atoms as its signal has entries is brought near by `dcsc.pursuit.splitting`, and finished so.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y.
    penalties : ndarray, shape (trial,)
        xi > 0; infinity gives 0.
    rule : StoppingRule
        When a trial is solved.
    orientation : ndarray of +-1, shape (trial, filter, *position), optional
        Signs that the codes must have.
    progress : str
        Title of a progress bar; empty shows none.

    Returns
    -------
    LassoSolution
        One code per trial.
    """
    most_active = _most_active(dictionary)

    def begin(row: int) -> _Progress:
        trial = Trial(dictionary, signals[row], None if orientation is None else orientation[row])
        scale = trial.largest_correlation()
        if scale <= penalties[row]:
            return _Progress(trial, penalties[row], scale, 0, 0.0)
        return _Progress(trial, penalties[row], scale, *trial.solve(penalties[row], rule, scale, most_active))

    solved = over_trials(len(signals), begin, progress)
    dense = [
        row
        for row, state in enumerate(solved)
        if state.optimality > rule.tolerance and state.iterations < rule.max_iterations and state.active > most_active
    ]
    size = max(1, min(GROUP, GROUPED_ATOMS // dictionary.n_atoms, -(-len(dense) // cores())))
    groups = [dense[first : first + size] for first in range(0, len(dense), size)]

    def finish(group: int) -> None:
        rows = groups[group]
        for row, state in zip(rows, _finished(dictionary, [solved[row] for row in rows], rule), strict=True):
            solved[row] = state

    if groups:
        over_trials(len(groups), finish, f"{progress}, dense codes" if progress else "")
    found = [(state.trial.code(), state.iterations, state.optimality) for state in solved]
    return LassoSolution.of_trials(found, dictionary.code_shape)


def _most_active(dictionary: ConvolutionalDictionary) -> float:
    """Active atoms with which the working set goes on alone."""
    entries = math.prod(dictionary.signal_shape)
    return DENSE * entries if entries >= SMALLEST and splitting.is_affordable(dictionary) else math.inf


class _Progress(NamedTuple):
    """How far a trial has come."""

    trial: Trial
    penalty: float
    scale: float
    iterations: int
    optimality: float

    @property
    def active(self) -> int:
        """Active atoms."""
        return len(self.trial.values)


def _finished(
    dictionary: ConvolutionalDictionary, group: Sequence[_Progress], rule: StoppingRule
) -> Iterator[_Progress]:
    """Split trials of dense codes together, and finish each with the working set if it must be sharper."""
    is_loose = rule.measure == "gap" and rule.tolerance >= LOOSE
    tolerance = rule.tolerance if is_loose else HANDED_OVER
    starts = [state.trial.start(state.penalty) for state in group]
    approached = splitting.approach(dictionary, starts, tolerance, rule.max_iterations)
    for (trial, penalty, scale, iterations, _), (atoms, values, more, gap) in zip(group, approached, strict=True):
        trial.move(atoms, values)
        if is_loose and gap <= rule.tolerance:
            yield _Progress(trial, penalty, scale, iterations + more, gap)
        else:
            last, optimality = trial.solve(penalty, rule, scale)
            yield _Progress(trial, penalty, scale, iterations + more + last, optimality)
