"""
One layer's basis pursuit in its Lagrangian form, xi |x|_1 + |y - A x|^2 / 2, for a batch of trials.

Two solvers reach the same minimum: `working_set`, which grows a set of atoms and is the fast one (for dense
codes with the help of `dcsc.pursuit.splitting`), and `proximal_gradient`, which is ISTA or FISTA. A sign of
+-1 an atom makes the problem one-sided; that is how non-negative codes of A T are found as codes of A, since
|T x|_1 = |x|_1.
"""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from dcsc.dictionary import ConvolutionalDictionary
from dcsc.parallel import cores
from dcsc.pursuit import splitting
from dcsc.pursuit.spectrum import SpectralGram, lipschitz_constant

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

STOPS = ("gap", "kkt")

DENSE, SMALLEST = 0.65, 500
"""Active atoms over entries of the signal above which the working set has become slow, and entries that it needs."""
LOOSE = 1e-3
"""Relative duality gap down to which the splitting goes alone."""
HANDED_OVER = 1e-2
"""Relative duality gap at which the working set takes over from the splitting."""
GROUP, GROUPED_ATOMS = 8, 2**20
"""Trials that are split together, at most."""

T = TypeVar("T")


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


class Prepared(NamedTuple):
    """
    A dictionary as `dcsc.kernels.lasso` takes it.

    Parameters
    ----------
    pattern, layout : ndarray
        The filters as patterns of `dcsc.kernels.scatter`.
    by_tap : ndarray, shape (channel * tap, filter)
        The filters, one a column.
    gram : ndarray, shape (filter, filter, l0, l1, l2)
        Inner products by lag.
    sizes : ndarray of int64, shape (4, 3)
        Positions, steps, taps and lags, an axis each.
    cell : ndarray of int64, shape (3,)
        Positions of one cell, in which a few atoms are chosen at a time.
    target_shape : tuple of int
        Shape (channel, g0, g1, g2) of a signal.
    """

    pattern: NDArray
    layout: NDArray
    by_tap: NDArray
    gram: NDArray
    sizes: NDArray
    cell: NDArray
    target_shape: tuple[int, ...]


_prepared: weakref.WeakKeyDictionary[ConvolutionalDictionary, Prepared] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def prepare(dictionary: ConvolutionalDictionary) -> Prepared:
    """
    Lay out a dictionary for the kernels, once.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        Of at most three spatial axes.

    Returns
    -------
    Prepared
        In float64.

    Raises
    ------
    UserError
        When the dictionary has more than three spatial axes.
    """
    from dcsc import sparse_path

    with _lock:
        if dictionary not in _prepared:
            patterns = sparse_path.filter_patterns(dictionary, "signed", np.float64)
            filler = (1,) * (sparse_path.AXES - dictionary.rank)
            lags = tuple(2 * overlap - 1 for overlap in dictionary.overlap)
            sizes = np.array(
                [(*filler, *row) for row in (dictionary.positions, dictionary.stride, dictionary.taps, lags)],
                dtype=np.int64,
            )
            # Copies, since the kernels are compiled once more for arrays that cannot be written.
            pattern = np.array(patterns.pattern, order="C")
            by_tap = np.array(dictionary.filters.reshape(dictionary.n_filters, -1).T, dtype=np.float64, order="C")
            gram = np.array(dictionary.gram(), dtype=np.float64, order="C")
            gram = gram.reshape(dictionary.n_filters, dictionary.n_filters, *sizes[3])
            # Half an atom's reach: atoms of different cells interact little, so few are chosen in vain.
            cell = (sizes[3] + 3) // 4
            _prepared[dictionary] = Prepared(pattern, patterns.layout, by_tap, gram, sizes, cell, patterns.target_shape)
        return _prepared[dictionary]


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


def to_kernel_atoms(atoms: NDArray, dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Number atoms as the kernels do, neighbouring positions together.

    Parameters
    ----------
    atoms : ndarray of int
        Indices in C order of (filter, *position).
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    ndarray of int64
        position * n_filters + filter.
    """
    filters, places = np.divmod(atoms.astype(np.int64), math.prod(dictionary.positions))
    return places * dictionary.n_filters + filters


def from_kernel_atoms(atoms: NDArray, dictionary: ConvolutionalDictionary) -> NDArray:
    """
    Undo `to_kernel_atoms`.

    Parameters
    ----------
    atoms : ndarray of int64
        position * n_filters + filter.
    dictionary : ConvolutionalDictionary
        The dictionary.

    Returns
    -------
    ndarray of int64
        Indices in C order of (filter, *position).
    """
    places, filters = np.divmod(atoms, dictionary.n_filters)
    return filters * math.prod(dictionary.positions) + places


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
        self._layout = prepare(dictionary)
        self._signal = np.array(signal, dtype=np.float64, order="C").reshape(self._layout.target_shape)
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

        return lasso.largest_correlation(self._signal, self._layout.by_tap, self._layout.sizes, self._orientation)

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

        prepared = self._layout
        is_gap = rule.measure == "gap"
        self._atoms, self._values, iterations, gap, distance = lasso.solve(
            self._signal,
            prepared.pattern,
            prepared.layout,
            prepared.by_tap,
            prepared.gram,
            prepared.sizes,
            prepared.cell,
            self._orientation,
            float(penalty),
            self._atoms,
            self._values,
            lasso.GAP if is_gap else lasso.KKT,
            rule.tolerance * (1.0 if is_gap else scale),
            rule.max_iterations,
            float(most_active),
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
        One code a trial.
    """
    most_active = _most_active(dictionary)

    def begin(row: int) -> _Progress:
        trial = Trial(dictionary, signals[row], None if orientation is None else orientation[row])
        scale = trial.largest_correlation()
        if scale <= penalties[row]:
            return _Progress(trial, penalties[row], scale, 0, 0.0)
        return _Progress(trial, penalties[row], scale, *trial.solve(penalties[row], rule, scale, most_active))

    trials = over_trials(len(signals), begin, progress)
    dense = [
        row
        for row, trial in enumerate(trials)
        if trial.optimality > rule.tolerance and trial.iterations < rule.max_iterations and trial.active > most_active
    ]
    size = max(1, min(GROUP, GROUPED_ATOMS // dictionary.n_atoms, -(-len(dense) // cores())))
    groups = [dense[first : first + size] for first in range(0, len(dense), size)]

    def finish(group: int) -> None:
        rows = groups[group]
        for row, trial in zip(rows, _finished(dictionary, [trials[row] for row in rows], rule), strict=True):
            trials[row] = trial

    if groups:
        over_trials(len(groups), finish, f"{progress}, dense codes" if progress else "")
    codes = np.stack([trial.trial.code() for trial in trials])
    return LassoSolution(
        codes, np.array([trial.iterations for trial in trials]), np.array([trial.optimality for trial in trials])
    )


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
    starts = [trial.trial.start(trial.penalty) for trial in group]
    found = splitting.approach(dictionary, prepare(dictionary).sizes, starts, tolerance, rule.max_iterations)
    for (trial, penalty, scale, iterations, _), (atoms, values, more, gap) in zip(group, found, strict=True):
        trial.move(atoms, values)
        if is_loose and gap <= rule.tolerance:
            yield _Progress(trial, penalty, scale, iterations + more, gap)
        else:
            last, optimality = trial.solve(penalty, rule, scale)
            yield _Progress(trial, penalty, scale, iterations + more + last, optimality)


def proximal_gradient(
    dictionary: ConvolutionalDictionary,
    signals: NDArray,
    penalties: NDArray,
    rule: StoppingRule,
    orientation: NDArray | None = None,
    progress: str = "",
    *,
    accelerate: bool = True,
    step: float | None = None,
) -> LassoSolution:
    """
    Minimise by ISTA, or by FISTA restarted when its momentum points uphill.

    A^T A acts in the frequency domain, once an iteration: the correlations at the extrapolated point are
    extrapolated themselves, so that the optimality is known at every iterate. Trials are solved one by one,
    on threads, for the arrays of one fit into a cache.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y, of the type to compute in.
    penalties : ndarray, shape (trial,)
        xi > 0; infinity gives 0.
    rule : StoppingRule
        When a trial is solved.
    orientation : ndarray of +-1, shape (trial, filter, *position), optional
        Signs that the codes must have.
    progress : str
        Title of a progress bar; empty shows none.
    accelerate : bool
        FISTA with O'Donoghue and Candes' gradient restart, or ISTA.
    step : float, optional
        Step of the gradient; by default 1 over the exact Lipschitz constant.

    Returns
    -------
    LassoSolution
        One code a trial.
    """
    gram = SpectralGram(dictionary, signals.dtype)
    step = 1 / lipschitz_constant(dictionary) if step is None else step
    descent = _Descent(gram, signals.dtype.type(step), accelerate, rule)

    def work(row: int) -> tuple[NDArray, int, float]:
        target = dictionary.correlate(signals[row])
        energy = float((signals[row].astype(np.float64) ** 2).sum())
        return descent(target, energy, float(penalties[row]), None if orientation is None else orientation[row])

    codes, iterations, optimality = zip(*over_trials(len(signals), work, progress), strict=True)
    return LassoSolution(np.stack(codes).astype(np.float64), np.array(iterations), np.array(optimality))


@dataclass(frozen=True, eq=False)
class _Descent:
    """ISTA or FISTA of one trial after another."""

    gram: SpectralGram
    step: np.floating
    accelerate: bool
    rule: StoppingRule

    def __call__(
        self, target: NDArray, energy: float, penalty: float, orientation: NDArray | None
    ) -> tuple[NDArray, int, float]:
        """Code, iterations and optimality, from A^T y and |y|^2."""
        scale = float((np.abs(target) if orientation is None else target * orientation).max())
        current = np.zeros_like(target)
        if scale <= penalty:
            return current, 0, 0.0
        product = previous = previous_product = current
        xi, momentum = target.dtype.type(penalty), 1.0
        for done in range(self.rule.max_iterations + 1):
            optimality = _measure(self.rule.measure, current, product, target, energy, scale, penalty, orientation)
            if optimality <= self.rule.tolerance or done == self.rule.max_iterations:
                break
            grown = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            weight = target.dtype.type((momentum - 1) / grown if self.accelerate else 0.0)
            point = current + weight * (current - previous)
            moved = point + self.step * (target - product - weight * (product - previous_product))
            if orientation is None:
                new = moved - np.clip(moved, -self.step * xi, self.step * xi)  # soft thresholding in two passes
            else:
                new = orientation * np.maximum(orientation * moved - self.step * xi, 0)
            uphill = np.vdot(point - new, new - current) > 0
            momentum = 1.0 if uphill else grown
            previous, previous_product = current, product
            current = new.astype(target.dtype, copy=False)
            product = self.gram(current[None])[0]
        return current, done, optimality


def _measure(
    measure: str,
    code: NDArray,
    product: NDArray,
    target: NDArray,
    energy: float,
    scale: float,
    penalty: float,
    orientation: NDArray | None,
) -> float:
    """Stopping measure of one trial, from A^T A x and A^T y."""
    correlations = target - product
    largest = float((np.abs(correlations) if orientation is None else correlations * orientation).max())
    if measure == "kkt":
        active = code != 0
        on = np.abs(correlations[active] - penalty * np.sign(code[active])).max(initial=0.0)
        return max(float(on), largest - penalty, 0.0) / scale
    explained = float(np.einsum("i,i->", code.ravel(), target.ravel(), dtype=np.float64))
    square = energy - 2 * explained + float(np.einsum("i,i->", code.ravel(), product.ravel(), dtype=np.float64))
    shrunk = max(1.0, largest / penalty)
    objective = square / 2 + penalty * float(np.abs(code).sum(dtype=np.float64))
    dual = (energy - explained) / shrunk - square / (2 * shrunk**2)
    return (objective - dual) / objective if objective > 0 else 0.0
