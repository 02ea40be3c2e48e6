"""
Recovery of a code by basis pursuit with a penalty under bounded noise, for all signs and for random ones.

The form is the minimum of xi |x|_1 + |y - D x|^2 / 2 with y = D x_0 + e, in one layer. Unlike the equality form it
depends on magnitudes. Statement and proof are in docs/theory.md, "Basis pursuit with bounded noise"; our derivation.
Dense algebra on the active atoms of a code: for supports of up to some hundred atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution.filter_bank import listed_codes
from dcsc.errors import UserError
from dcsc.guarantees.checks import check_choice
from dcsc.guarantees.sharp_tails import tail_probability
from dcsc.guarantees.tails import TAILS
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.ragged import RaggedCodes

_INJECTIVE = 1e-10
"""Smallest eigenvalue of a Gram matrix of independent atoms, for each atom and one more."""

_PENALTIES = 33
"""Penalties that are tried for the best one, evenly spaced in their logarithm."""

_CLOSED_SHARE = 0.05
"""Share of a bound that may be left with closed tails."""


@dataclass(frozen=True, eq=False)
class NoisyBasisPursuit:
    """
    Guarantees of basis pursuit with a penalty for each code of a batch, for all signs and for random ones.

    Parameters
    ----------
    penalty : ndarray, shape (...)
        xi, as given, or the one of the smallest bound.
    holds : ndarray of bool, shape (...)
        Whether supports and signs are recovered whatever the signs.
    probability : ndarray, shape (...)
        Bound on the probability that random signs are not recovered.
    error_bound : ndarray, shape (...)
        Largest error of an entry wherever `holds`; infinity elsewhere.
    """

    penalty: NDArray
    holds: NDArray
    probability: NDArray
    error_bound: NDArray


@dataclass(frozen=True, eq=False)
class _Support:
    """
    A support: its solutions, its inverse Gram matrix, and how far rounding may have moved them.

    Rows of `solutions`, W_j of the inactive atoms that meet it, and of `others`, the inverse without its diagonal.
    """

    magnitudes: NDArray
    solutions: NDArray
    others: NDArray
    diagonal: NDArray
    solution_error: NDArray
    inverse_error: float

    @property
    def reach(self) -> NDArray:
        """|W_j|_1 and its rounding."""
        return np.abs(self.solutions).sum(axis=1) + self.solution_error

    @property
    def gain(self) -> NDArray:
        """|H_i|_1 and its rounding."""
        return np.abs(self.others).sum(axis=1) + self.diagonal + self.inverse_error


def basis_pursuit_with_noise(
    dictionary: ConvolutionalDictionary,
    codes: ArrayLike | RaggedCodes,
    noise: ArrayLike,
    *,
    penalty: ArrayLike | None = None,
    tail: str = "exact",
) -> NoisyBasisPursuit:
    """
    Certify basis pursuit with a penalty under bounded noise, for all signs and for random ones.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer.
    codes : array_like of shape (..., filter, *position), or RaggedCodes
        The codes; their signs do not count.
    noise : array_like, shape () or (...)
        At least |<a_i, e>| for every atom; the patch norm of the noise is enough. Valid before the signs are drawn.
    penalty : array_like, shape () or (...), optional
        xi, above 0; by default the one with the smallest bound among several, chosen for each code without its signs.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails.

    Returns
    -------
    NoisyBasisPursuit
        Support and signs of every code (docs/theory.md, "Basis pursuit with bounded noise").

    Raises
    ------
    UserError
        When a number is out of its range, a shape does not fit or the tail is unknown.

    Examples
    --------
    >>> import dcsc
    >>> dictionary = dcsc.families.create("gaussian", grid=256, seed=0, n_filters=4, taps=64, stride=4)
    >>> codes = dcsc.sampling.sample_codes(dcsc.seeds.stream(0), dictionary, 3, support={"name": "uniform", "size": 4})
    >>> found = dcsc.guarantees.basis_pursuit_with_noise(dictionary, codes, 0.05)
    >>> found.holds.tolist(), bool((found.probability < 1e-3).all())
    ([True, True, True], True)
    """
    check_choice(tail, TAILS, "tail")
    listed = listed_codes(codes, dictionary)
    batch = listed.batch_shape
    eps = real_numbers(noise, "noise", batch, low=0).astype(np.float64).ravel()
    given = None if penalty is None else real_numbers(penalty, "penalty", batch).astype(np.float64).ravel()
    if given is not None and (given <= 0).any():
        raise UserError(f"penalty {given[given <= 0][0]:g} is not allowed: it must be above 0.")
    rows = []
    for number, (first, end) in enumerate(zip(listed.starts[:-1], listed.starts[1:], strict=True)):
        magnitudes = np.abs(np.asarray(listed.value[first:end], np.float64))
        support = _support(dictionary, listed.atom[first:end], magnitudes)
        rows.append(_certificate(support, eps[number], None if given is None else given[number], tail))
    columns = np.array(rows, np.float64).reshape(-1, 4).T
    xi, holds, probability, error = (column.reshape(batch) for column in columns)
    return NoisyBasisPursuit(xi, holds.astype(bool), probability, error)


def _support(dictionary: ConvolutionalDictionary, atoms: NDArray, magnitudes: NDArray) -> _Support | None:
    """Solve for the atoms that meet a support; None where its atoms are, or nearly are, dependent."""
    n = len(atoms)
    units = np.zeros((n, dictionary.n_atoms))
    units[np.arange(n), atoms] = 1.0
    rows = dictionary.correlate(dictionary.synthesize(units.reshape(n, *dictionary.code_shape)))
    rows = rows.reshape(n, dictionary.n_atoms)
    gram = rows[:, atoms]
    gram = (gram + gram.T) / 2
    smallest = float(np.linalg.eigvalsh(gram)[0]) if n else 1.0
    if smallest <= _INJECTIVE * (1 + n):
        return None
    is_other = np.abs(rows).max(axis=0, initial=0.0) > 0
    is_other[atoms] = False
    inverse = np.linalg.inv(gram)
    solutions = (inverse @ rows[:, is_other]).T
    # Errors of the Gram matrix, of its inverse and of the product, each some units of rounding, grow by 1 / smallest.
    unit = 32 * np.finfo(float).eps * (n + 1) ** 1.5 / smallest
    diagonal = np.diag(inverse).copy()
    return _Support(
        magnitudes,
        solutions,
        inverse - np.diag(diagonal),
        diagonal,
        unit * (1 + np.linalg.norm(solutions, axis=1)),
        unit / smallest,
    )


def _certificate(support: _Support | None, eps: float, penalty: float | None, tail: str) -> tuple[float, ...]:
    """Penalty, whether all signs are recovered, the bound for random ones, and the largest error."""
    if support is None or np.isinf(eps):
        return np.nan if penalty is None else penalty, False, 1.0, np.inf
    if not len(support.magnitudes):
        xi = eps * (1 + 1e-9) if penalty is None else penalty
        return xi, xi > eps, float(xi <= eps), 0.0 if xi > eps else np.inf
    if penalty is None:
        lowest = max(eps, 1e-4 * support.magnitudes.min()) * (1 + 1e-9)
        tried = np.geomspace(lowest, max(support.magnitudes.max(), 2 * lowest), _PENALTIES)
        slack = [_slack(support, eps, xi) for xi in tried]
        best = int(np.argmax(slack))
        if slack[best] <= 0:
            best = int(np.argmin([_failure(support, eps, xi, "gaussian") for xi in tried]))
        penalty = float(tried[best])
    holds = _slack(support, eps, penalty) > 0
    error = (penalty + eps) * float(support.gain.max()) if holds else np.inf
    return penalty, holds, 0.0 if holds else _failure(support, eps, penalty, tail), error


def _margins(support: _Support, eps: float, penalty: float) -> tuple[NDArray, NDArray]:
    """How far <W_j, s>, and the sum over the other active atoms, may go."""
    off = 1 - eps * (1 + support.reach) / penalty
    on = (support.magnitudes - eps * support.gain) / penalty - support.diagonal
    return off, on


def _slack(support: _Support, eps: float, penalty: float) -> float:
    """The least room that the worst signs leave, negative where some leave none; atoms that meet none count, too."""
    off, on = _margins(support, eps, penalty)
    off = off - support.reach
    on = on - (support.gain - support.diagonal) - support.inverse_error
    # Rounding of the differences themselves.
    guard = 1e-12 * (1 + np.abs(support.magnitudes / penalty).max(initial=0.0))
    return float(min(off.min(initial=1.0), on.min(initial=1.0), 1 - eps / penalty) - guard)


def _failure(support: _Support, eps: float, penalty: float, tail: str) -> float:
    """The union bound over random signs: sharp tails where they matter, closed ones elsewhere."""
    if penalty <= eps:
        return 1.0
    off, on = _margins(support, eps, penalty)
    margins = np.concatenate([off, on])
    guards = np.concatenate([support.solution_error, np.full(len(on), support.inverse_error)])
    guards = guards + 1e-12 * (1 + np.abs(margins))
    is_off = np.arange(len(margins)) < len(off)
    sums = np.concatenate([support.solutions, support.others])

    def tails(chosen: NDArray, kind: str) -> NDArray:
        return tail_probability(
            sums[chosen].ravel(),
            np.full(len(chosen), sums.shape[1]),
            margins[chosen],
            tail=kind,
            two_sided=is_off[chosen],
            guard=guards[chosen],
        )

    closed = "hoeffding" if tail == "hoeffding" else "gaussian"
    bound = tails(np.arange(len(margins)), closed)
    if tail == closed or bound.sum() == 0:
        return min(1.0, float(bound.sum()))
    order = np.argsort(bound)[::-1]
    total, done = float(bound.sum()), 0
    while done < len(order) and bound[order[done:]].sum() > _CLOSED_SHARE * total and bound[order[done]] > 0:
        some = order[done : done + 64]
        bound[some] = tails(some, tail)
        done, total = done + len(some), float(bound.sum())
    return min(1.0, float(bound.sum()))
