"""Uniform guarantees that do not depend on thresholds: uniqueness and layered basis pursuit ([PRE17])."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dcsc.guarantees.checks import check_choice, check_path
from dcsc.guarantees.results import LayerForAllSigns, PathForAllSigns, first_without
from dcsc.model.cascade import Cascade
from dcsc.model.coherence import babel, mutual_coherence
from dcsc.model.dictionary import ConvolutionalDictionary
from dcsc.model.sparsity import extreme_magnitudes, patch_norm, stripe_norm
from dcsc.ragged import RaggedCodes

FORMS = ("babel", "coherence")
_ROUNDING = 1e-12


@dataclass(frozen=True, eq=False, kw_only=True)
class BasisPursuitLayer(LayerForAllSigns):
    """
    Uniqueness or recovery by basis pursuit, as the theorems guarantee it, in one layer of each code of a batch.

    Parameters
    ----------
    holds : ndarray of bool, shape (...)
        Whether the recovered support is certain to be the true one.
    contained : ndarray of bool, shape (...)
        Whether it is certain to lie inside the true one.
    eps_in, error_bound, stripe_sparsity, coherence, x_min, reason
        As for `LayerForAllSigns`.
    penalty : ndarray, shape (...)
        xi = 4 eps_in of the Lagrangian form; 0 stands for the equality form.
    detectable : ndarray, shape (...)
        Entries above this magnitude are certain to be recovered.
    """

    contained: NDArray
    penalty: NDArray
    detectable: NDArray


class BasisPursuitPath(PathForAllSigns[BasisPursuitLayer]):
    """
    Uniqueness or recovery by basis pursuit, as the theorems guarantee it, in every layer of a path.

    Parameters
    ----------
    layers : tuple of BasisPursuitLayer
        From layer 1 to layer L.
    form : str
        The form of the condition.
    """

    @property
    def contained(self) -> NDArray:
        """Whether no layer recovers an atom outside the true support, shape (...)."""
        return np.logical_and.reduce([layer.contained for layer in self.layers])

    @property
    def penalties(self) -> list[NDArray]:
        """The penalty xi_l of every layer, each of shape (...)."""
        return [layer.penalty for layer in self.layers]


def uniqueness(model: Cascade, codes: Sequence[ArrayLike | RaggedCodes], *, form: str = "coherence") -> NDArray:
    """
    Tell for which paths no other codes as sparse explain the same signal.

    [PRE17] Theorem 4, k_l < (1 + 1/mu_l)/2 at every layer; the Babel form is
    mu_1(k) + mu_1(k - 1) < 1 (docs/theory.md, "Uniqueness and basis pursuit").

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    form : {"coherence", "babel"}
        The condition.

    Returns
    -------
    ndarray of bool, shape (...)
        Whether the path is unique.

    Raises
    ------
    UserError
        When the form is unknown or shapes do not fit.
    """
    return basis_pursuit(model, codes, form=form).contained


def basis_pursuit(
    model: Cascade,
    codes: Sequence[ArrayLike | RaggedCodes],
    noise: ArrayLike = 0.0,
    *,
    form: str = "coherence",
) -> BasisPursuitPath:
    """
    Tell for which paths layered basis pursuit recovers every layer.

    Without noise [PRE17] Theorem 11, exact recovery when k_l < (1 + 1/mu_l)/2; with noise
    Theorem 12, when k_l < (1 + 1/mu_l)/3, for the Lagrangian form xi |x|_1 + |y - D x|^2 / 2
    with xi_l = 4 eps_{l-1} (docs/theory.md, "Uniqueness and basis pursuit").

    Parameters
    ----------
    model : Cascade
        The layers.
    codes : sequence of array_like of shape (..., filter, *position), or of RaggedCodes
        [X^(1), ..., X^(L)].
    noise : array_like, shape () or (...)
        eps_0, at least the patch norm of the noise; a code with 0 is noiseless.
    form : {"coherence", "babel"}
        The condition; the Babel form exists without noise only, and with noise its condition is the coherence one.

    Returns
    -------
    BasisPursuitPath
        With penalties, error bounds and what is certain to be found at each layer.

    Raises
    ------
    UserError
        When the form is unknown or shapes do not fit.
    """
    check_choice(form, FORMS, "form")
    listed, eps = check_path(model, codes, noise)
    noiseless = eps == 0
    layers = []
    for layer, (dictionary, code) in enumerate(zip(model.dictionaries, listed, strict=True), start=1):
        layers.append(_layer(dictionary, code, eps, noiseless, form, model.next_dictionary(layer)))
        eps = layers[-1].error_bound
    return BasisPursuitPath(tuple(layers), form)


def _layer(
    dictionary: ConvolutionalDictionary,
    code: RaggedCodes,
    eps: NDArray,
    noiseless: NDArray,
    form: str,
    below: ConvolutionalDictionary | None,
) -> BasisPursuitLayer:
    k = np.asarray(stripe_norm(code, dictionary))
    mu = mutual_coherence(dictionary)
    exact = (2 * k - 1) * mu if form == "coherence" else babel(dictionary, k) + babel(dictionary, np.maximum(k - 1, 0))
    needed = np.where(noiseless, exact, (3 * k - 1) * mu)
    contained = np.isfinite(eps) & (needed < 1 - _ROUNDING)
    x_min = extreme_magnitudes(code, dictionary.rank)[0]
    detectable = np.where(contained, 7.5 * eps, np.inf)
    patch = np.asarray(patch_norm(code, below, dictionary.rank))
    bound = np.where(contained, np.sqrt(patch) * np.where(patch > 0, 7.5 * eps, 0.0), np.inf)
    holds = contained & ((x_min > detectable * (1 + _ROUNDING)) | ~np.isfinite(x_min))
    reason = ""
    if not holds.all():
        first, words = first_without(holds)
        cause = f"{needed[first]:.4g} is not below 1 (k = {k[first]}, mu = {mu:.4g})"
        if contained[first]:
            cause = f"X_min = {x_min[first]:.4g} is not above what is sure to be found, {detectable[first]:.4g}"
        elif not np.isfinite(eps[first]):
            cause = "the layer before it has no error bound"
        reason = f"{words} {cause}."
    return BasisPursuitLayer(
        holds=holds, contained=contained, eps_in=eps, error_bound=bound, stripe_sparsity=k, coherence=mu, x_min=x_min,
        penalty=4 * eps, detectable=detectable, reason=reason,
    )  # fmt: skip
