"""
Recovery of a given support by basis pursuit: for all signs (Tropp 2004), and its probability for random signs.

All statements are about the equality form, minimal |x|_1 subject to A x = y, without noise; magnitudes do not matter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from dcsc.arrays import real_numbers
from dcsc.convolution import layouts
from dcsc.convolution.arguments import checked_type
from dcsc.errors import UserError
from dcsc.guarantees.checks import SIGNS, check_choice, flat_path
from dcsc.guarantees.plain_model import Propagation
from dcsc.guarantees.random_signs import disjoint_columns, separate_writes
from dcsc.guarantees.tails import TAILS
from dcsc.kernels import fuchs
from dcsc.model.cascade import Cascade
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.parallel import over_spans
from dcsc.ragged import RaggedCodes, take

SPAN = 4
"""Codes per task of a thread."""

DRAWN = 24
"""Inactive atoms that are drawn of a code."""

WANTED = "all", "not below 1", "any not below 1"
"""Which inactive atoms are looked at, as the kernel numbers it."""


@dataclass(frozen=True, eq=False)
class SupportLayer:
    """
    Guarantees of basis pursuit on the supports of one layer, for all signs and for random ones.

    Parameters
    ----------
    smallest_eigenvalue : ndarray, shape (...)
        A lower bound of that of G_SS, 0 where the active atoms are, or nearly are, dependent.
    recovery_constant : ndarray, shape (...)
        An upper bound of the largest |G_SS^{-1} G_Sj|_1 over inactive j; infinity without injectivity.
    probability : ndarray, shape (...)
        Bound b(S) on the probability that random signs are not recovered.
    """

    smallest_eigenvalue: NDArray
    recovery_constant: NDArray
    probability: NDArray

    @property
    def holds(self) -> NDArray:
        """Whether every code on the support is recovered, whatever its signs, shape (...)."""
        return self.recovery_constant < 1


@dataclass(frozen=True, eq=False)
class SupportPath:
    """
    Guarantees of layered basis pursuit on the supports of a batch of paths, for all signs and for random ones.

    Parameters
    ----------
    layers : tuple of SupportLayer
        From layer 1 to layer L.
    signs, tail : str
        As asked for.
    applies : ndarray of bool, shape (...)
        Whether the signs of every layer are as `probability` takes them.
    determined : ndarray of bool, shape (...)
        Whether the deepest support and magnitudes fix those of every layer.
    is_drawn : bool
        Whether every `probability` is a random value whose mean is the bound, to be averaged over codes.
    """

    layers: tuple[SupportLayer, ...]
    signs: str
    tail: str
    applies: NDArray
    determined: NDArray
    is_drawn: bool = False

    @property
    def holds(self) -> NDArray:
        """Whether the path is recovered, whatever the signs that leave its supports as they are, shape (...)."""
        return np.logical_and.reduce([layer.holds for layer in self.layers])

    @property
    def sum_of_probabilities(self) -> NDArray:
        """
        Sum over the layers of b(S), each capped at 1, shape (...).

        Not capped itself: in D-CSC-R only its mean over draws bounds a failure rate, unless the deepest code
        determines all supports.
        """
        return np.where(self.applies, np.sum([layer.probability for layer in self.layers], axis=0), len(self.layers))

    @property
    def failure_bound(self) -> NDArray:
        """
        The sum, capped at 1 where `determined` or not `applies`, and 0 where the path `holds`, shape (...).

        Draws are not capped, which would lower their mean.

        Where `determined` it bounds the failure of the path given its deepest support. Elsewhere it is the draw's part
        in a mean, as in `dcsc.guarantees.AsRun` (docs/theory.md, "Means and caps").
        """
        total = self.sum_of_probabilities
        is_capped = ~self.applies | (self.determined & (not self.is_drawn))
        bound = np.where(is_capped, np.minimum(total, 1.0), total)
        return np.where(self.holds, 0.0, bound)

    @property
    def failure_rate_bound(self) -> float:
        """Bound on the failure rate: the mean of the sums, then capped; an estimate, as good as the batch is large."""
        return min(1.0, float(np.mean(self.failure_bound))) if self.failure_bound.size else 1.0

    def for_all_signs(self, noiseless: ArrayLike = True) -> CertifiedSupports:
        """
        Tell which paths are recovered whatever the signs that leave their supports as they are.

        Parameters
        ----------
        noiseless : array_like of bool, shape () or (...)
            Where the signal has no noise; nothing is said elsewhere.

        Returns
        -------
        CertifiedSupports
            By the exact recovery condition at every layer.
        """
        silent = real_numbers(noiseless, "noiseless", self.holds.shape).astype(bool)
        return CertifiedSupports(self.holds & silent, "some signs may defeat it on the support of a layer")

    def for_random_signs(self, delta: float, noiseless: ArrayLike = True) -> CertifiedSupports:
        """
        Tell which paths are certified over random signs.

        Parameters
        ----------
        delta : float
            Admitted probability that a path is certified and lost.
        noiseless : array_like of bool, shape () or (...)
            Where the signal has no noise; nothing is said elsewhere.

        Returns
        -------
        CertifiedSupports
            Paths with b(S) of at most delta / L at every layer (docs/theory.md, "Basis pursuit on an instance").
        """
        likely = [layer.probability <= delta / len(self.layers) for layer in self.layers]
        silent = real_numbers(noiseless, "noiseless", self.applies.shape).astype(bool)
        holds = np.logical_and.reduce(likely) & self.applies & silent
        return CertifiedSupports(holds, f"the failure probability of a layer exceeds {delta / len(self.layers):g}")


@dataclass(frozen=True, eq=False)
class CertifiedSupports:
    """
    The paths for which recovery by basis pursuit is certified.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Whether a path is.
    cause : str
        Why others are not.
    """

    holds: NDArray
    cause: str

    @property
    def reason(self) -> str:
        """Why the guarantee does not hold for some code, empty when it holds for all."""
        if self.holds.all():
            return ""
        return f"{self.holds.size - int(self.holds.sum())} of {self.holds.size} codes are not certified: {self.cause}."


def support_certificates(
    dictionary: ConvolutionalDictionary,
    codes: RaggedCodes,
    *,
    tail: str = "exact",
    group: NDArray | None = None,
    sign: NDArray | None = None,
    rng: Generator | None = None,
    wanted: str = "all",
) -> SupportLayer:
    """
    Certify basis pursuit on the supports of one layer, for all signs and for random ones.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        The layer's dictionary.
    codes : RaggedCodes
        The codes, any batch shape; only their supports count.
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails of <W_j, s>.
    group, sign : ndarray, shape (non-zero,), optional
        Non-zeros of one group, numbered from 0 in every code, have the sign of the group times their own one; by
        default all signs are independent.
    rng : numpy.random.Generator, optional
        With one, sharp tails are taken of inactive atoms that it draws, and `probability` is a draw of b(S) where
        closed tails add up to 1 at most (docs/theory.md, "Sharp tails of some atoms").
    wanted : {"all", "not below 1", "any not below 1"}
        Which of the |G_SS^{-1} G_Sj|_1 are computed. No signs exceed one below 1, and most of those are known to be by
        a bound that costs little: without them `recovery_constant` may be far too large, but is on the same side of 1,
        and `probability` is as it is. By the first one that is not below 1 it is known that not all signs are
        recovered; `probability` is then 1, or 0 where there is none.

    Returns
    -------
    SupportLayer
        Exact recovery condition (Tropp 2004) and b(S) (docs/theory.md, "Basis pursuit on an instance").

    Raises
    ------
    UserError
        When an option is unknown or the codes are of another dictionary.
    """
    check_choice(tail, TAILS, "tail")
    check_choice(wanted, WANTED, "wanted")
    checked_type(dictionary, codes)
    patterns = layouts.gram_patterns(dictionary, "signed", np.float64)
    atoms, starts = codes.atom.astype(np.int32), codes.starts
    groups = np.zeros(len(starts) - 1, np.int64)
    if group is None:
        group, sign = np.zeros(len(atoms), np.int64), np.ones(len(atoms))
    else:
        filled = np.flatnonzero(np.diff(starts))
        groups[filled] = np.maximum.reduceat(group, starts[filled]) + 1 if len(filled) else 0
    group, sign, certified = group.astype(np.int64), np.asarray(sign, np.float64), np.empty((len(starts) - 1, 3))
    uniforms = np.empty((len(certified), 0)) if rng is None else rng.random((len(certified), DRAWN))

    def work(first: int, last: int) -> None:
        fuchs.layer_certificates(
            TAILS.index(tail),
            WANTED.index(wanted),
            patterns,
            atoms,
            starts[first : last + 1],
            group,
            sign,
            groups[first:last],
            uniforms[first:last],
            certified[first:last],
        )

    over_spans(len(certified), SPAN, work)
    return SupportLayer(*(certified[:, column].reshape(codes.batch_shape) for column in range(3)))


def basis_pursuit_on_supports(
    model: Cascade,
    codes: Sequence[ArrayLike | RaggedCodes],
    *,
    tail: str = "exact",
    signs: str = "rademacher",
    rng: Generator | None = None,
    wanted: str = "all",
) -> SupportPath:
    """
    Certify layered basis pursuit (equality form, no noise) on the supports of paths.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    tail : {"hoeffding", "gaussian", "chernoff", "exact"}
        The bound on the tails.
    signs : {"rademacher", "deepest"}
        Independent signs at every layer (D-CSC-R), or only those of the deepest code (plain D-CSC, where the
        propagated columns of its active atoms must be disjoint).
    rng, wanted
        As for `support_certificates`.

    Returns
    -------
    SupportPath
        For all signs and for random ones (docs/theory.md, "Basis pursuit on an instance").

    Raises
    ------
    UserError
        When an option is unknown or shapes do not fit.
    """
    check_choice(signs, SIGNS, "signs")
    flat, eps, batch = flat_path(model, codes)
    applies, determined = np.ones(len(eps), dtype=bool), separate_writes(model, flat)
    groups: list[tuple[NDArray | None, NDArray | None]] = [(None, None)] * model.depth
    if signs == "deepest":
        if model.signs is not None:
            raise UserError("signs 'deepest' is about the plain model: give a cascade without signs.")
        columns = Propagation.of(model).columns(flat[-1])
        applies = determined = disjoint_columns(flat, columns)
        groups = [_groups(flat[-1], column, code) for column, code in zip(columns, flat, strict=True)]
    layers = []
    for dictionary, code, (group, sign) in zip(model.dictionaries, flat, groups, strict=True):
        certified = support_certificates(dictionary, code, tail=tail, group=group, sign=sign, rng=rng, wanted=wanted)
        probability = np.where(applies, certified.probability, 1.0)
        shaped = (certified.smallest_eigenvalue, certified.recovery_constant, probability)
        layers.append(SupportLayer(*(values.reshape(batch) for values in shaped)))
    applies, determined = applies.reshape(batch), determined.reshape(batch)
    return SupportPath(tuple(layers), signs, tail, applies, determined, rng is not None)


def recovers_all_signs(model: Cascade, codes: Sequence[ArrayLike | RaggedCodes]) -> NDArray:
    """
    Tell which paths layered basis pursuit recovers for all signs, like `SupportPath.holds` but faster.

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].

    Returns
    -------
    ndarray of bool, shape (...)
        True where the exact recovery condition (Tropp 2004) holds at every layer. The layers are tested from the
        deepest one, up to the first at which it does not hold.

    Raises
    ------
    UserError
        When shapes do not fit.
    """
    flat, eps, batch = flat_path(model, codes)
    holds = np.ones(len(eps), dtype=bool)
    for dictionary, code in zip(model.dictionaries[::-1], flat[::-1], strict=True):
        left = np.flatnonzero(holds)
        if len(left):
            found = support_certificates(dictionary, take(code, left), tail="hoeffding", wanted="any not below 1")
            holds[left] = found.holds
    return holds.reshape(batch)


def _groups(deepest: RaggedCodes, columns: RaggedCodes, codes: RaggedCodes) -> tuple[NDArray, NDArray]:
    """The deepest atom that each non-zero comes from, numbered in its code, and its sign relative to that atom's."""
    code_of = np.repeat(np.arange(len(deepest.row_size)), deepest.row_size)
    number = np.arange(len(code_of)) - np.repeat(deepest.starts[:-1], deepest.row_size)
    n_atoms = math.prod(codes.code_shape)
    keys = np.repeat(code_of, columns.row_size) * n_atoms + columns.atom
    order = np.argsort(keys, kind="stable")
    wanted = np.repeat(np.arange(len(codes.row_size)), codes.row_size) * n_atoms + codes.atom
    source = order[np.minimum(np.searchsorted(keys[order], wanted), max(len(keys) - 1, 0))]
    return np.repeat(number, columns.row_size)[source], np.sign(columns.value[source])
