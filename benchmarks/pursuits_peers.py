"""Solvers of the same pursuits in other libraries: SPORCO in several settings, scikit-learn on dense matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Lasso, orthogonal_mp
from sporco.admm import cbpdn as admm
from sporco.pgm import cbpdn as pgm
from sporco.pgm.momentum import MomentumNesterov

import dcsc
from dcsc.convolution.spectrum import lipschitz_constant

Make = Callable[..., Any]
"""Makes a solver of at most some iterations, with a callback after each or, without one, as fast as it can be."""


def sporco_settings(
    dictionary: dcsc.ConvolutionalDictionary, signals: NDArray, penalty: float
) -> Iterator[tuple[str, Make]]:
    """
    Set SPORCO's solvers of the Lagrangian basis pursuit up.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        Of stride 1.
    signals : ndarray, shape (trial, channel, *space)
        y.
    penalty : float
        xi.

    Yields
    ------
    str, callable
        Name of a setting, and what makes its solver; settings that can, skip statistics (FastSolve).
    """
    rank = dictionary.rank
    filters = np.moveaxis(dictionary.filters, (0, 1), (-1, -2))
    stacked = np.moveaxis(signals, (0, 1), (-1, -2))
    common = {"RelStopTol": 0.0, "Verbose": False}

    def of_admm(rho: float, relaxation: float, auto: bool, dtype: type) -> Make:
        def make(iterations: int, callback: Callable[[Any], bool] | None = None) -> Any:
            options = {
                **common, "MaxMainIter": iterations, "rho": rho, "AutoRho": {"Enabled": auto}, "Callback": callback,
                "RelaxParam": relaxation, "FastSolve": not auto,
            }  # fmt: skip
            arrays = filters.astype(dtype), stacked.astype(dtype)
            return admm.ConvBPDN(*arrays, penalty, admm.ConvBPDN.Options(options), dimK=1, dimN=rank)

        return make

    for factor, dtype in ((10.0, np.float32), (50.0, np.float32), (10.0, np.float64)):
        yield f"ADMM, rho = {factor:g} lambda, {np.dtype(dtype).name}", of_admm(factor * penalty, 1.8, False, dtype)
    yield "ADMM, automatic rho", of_admm(50 * penalty + 1, 1.8, True, np.float64)

    def accelerated(iterations: int, callback: Callable[[Any], bool] | None = None) -> Any:
        # SPORCO's L refers to its unnormalised transform, whose gradient it scales alike.
        options = {
            **common, "MaxMainIter": iterations, "L": lipschitz_constant(dictionary), "Momentum": MomentumNesterov(),
            "FastSolve": True, "Callback": callback,
        }  # fmt: skip
        arrays = filters.astype(np.float32), stacked.astype(np.float32)
        return pgm.ConvBPDN(*arrays, penalty, pgm.ConvBPDN.Options(options), dimK=1, dimN=rank)

    yield "PGM, Nesterov, exact L, float32", accelerated


def sporco_codes(solver: Any) -> NDArray:
    """
    Read the codes of a SPORCO solver.

    Parameters
    ----------
    solver : sporco.admm.cbpdn.ConvBPDN or sporco.pgm.cbpdn.ConvBPDN
        After some iterations.

    Returns
    -------
    ndarray of float64, shape (trial, filter, *position)
        What it would return now.
    """
    found = np.asarray(solver.getcoef(), np.float64)  # (*space, 1, trial, filter)
    return np.ascontiguousarray(np.moveaxis(found[..., 0, :, :], (-2, -1), (0, 1)))


def dense_matrix(dictionary: dcsc.ConvolutionalDictionary) -> NDArray:
    """
    Write a dictionary as a matrix, as scikit-learn takes it best.

    Parameters
    ----------
    dictionary : ConvolutionalDictionary
        A small one.

    Returns
    -------
    ndarray, shape (channel * space, atom)
        In Fortran order.
    """
    return np.asfortranarray(dictionary.to_sparse().toarray())


def dense_lasso(matrix: NDArray, signals: NDArray, penalty: float, tolerance: float, shape: tuple[int, ...]) -> NDArray:
    """
    Solve the Lagrangian basis pursuit by scikit-learn's coordinate descent.

    Parameters
    ----------
    matrix : ndarray, shape (channel * space, atom)
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y.
    penalty, tolerance : float
        xi, and scikit-learn's bound on the duality gap over |y|^2.
    shape : tuple of int
        Shape of a code.

    Returns
    -------
    ndarray, shape (trial, filter, *position)
        The codes.
    """
    flat = signals.reshape(len(signals), -1)
    lasso = Lasso(penalty / flat.shape[1], fit_intercept=False, tol=tolerance, max_iter=10**6)
    return np.array([lasso.fit(matrix, signal).coef_ for signal in flat]).reshape(len(signals), *shape)


def dense_matching_pursuit(matrix: NDArray, signals: NDArray, size: int) -> NDArray:
    """
    Choose atoms by scikit-learn's orthogonal matching pursuit.

    Parameters
    ----------
    matrix : ndarray, shape (channel * space, atom)
        The dictionary.
    signals : ndarray, shape (trial, channel, *space)
        y.
    size : int
        Atoms of each code.

    Returns
    -------
    ndarray, shape (trial, atom)
        The codes.
    """
    return orthogonal_mp(matrix, signals.reshape(len(signals), -1).T, n_nonzero_coefs=size).T
