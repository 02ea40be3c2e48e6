"""Uniqueness and layered basis pursuit ([PRE17] Theorems 4, 11, 12) against solvers that know nothing of them."""

import numpy as np
import pytest
from scipy.optimize import linprog

import dcsc
from dcsc import Cascade, guarantees
from tests.strategies import dense_matrix
from tests.theory import support

NAMES = ("1-D, stride 8, low coherence", "1-D, stride 1", "2-D, stride 2 of 4 x 3 taps", "1-D, one filter")


def equality_basis_pursuit(matrix, signal):
    """min |x|_1 with matrix x = signal."""
    found = linprog(np.ones(2 * matrix.shape[1]), A_eq=np.hstack([matrix, -matrix]), b_eq=signal, method="highs")
    return found.x[: matrix.shape[1]] - found.x[matrix.shape[1] :]


def lagrangian_basis_pursuit(matrix, signals, penalties, iterations=400):
    """min penalty |x|_1 + |y - matrix x|^2 / 2 for many signals, by FISTA."""
    step = 1 / np.linalg.norm(matrix, 2) ** 2
    gram, correlations = matrix.T @ matrix, signals @ matrix
    current = momentum = np.zeros(correlations.shape)
    t = 1.0
    for _ in range(iterations):
        gradient = momentum - step * (momentum @ gram - correlations)
        following = np.sign(gradient) * np.maximum(np.abs(gradient) - step * penalties[:, None], 0)
        t_following = (1 + np.sqrt(1 + 4 * t * t)) / 2
        momentum = following + (t - 1) / t_following * (following - current)
        current, t = following, t_following
    return current


@pytest.mark.parametrize("name", NAMES)
def test_basis_pursuit_without_noise_recovers_what_is_guaranteed(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(2000)
    matrix = dense_matrix(dictionary)
    solved = 0
    codes = support.random_codes(
        rng, dictionary.code_shape, rng.integers(1, 20, 300), rng.choice([1.0, 0.1, 0.01], 300), dictionary.overlap
    )
    model = Cascade([dictionary])
    coherence, babel = (guarantees.basis_pursuit(model, [codes], form=form) for form in ("coherence", "babel"))
    assert not (coherence.holds & ~babel.holds).any()
    k = dcsc.stripe_norm(codes, dictionary)
    np.testing.assert_array_equal(coherence.holds, k < (1 + 1 / dcsc.mutual_coherence(dictionary)) / 2)
    np.testing.assert_array_equal(coherence.holds, guarantees.uniqueness(model, [codes]))
    # The sparsest admissible codes teach nothing: solve those nearest to the limit.
    for row in sorted(np.flatnonzero(babel.holds), key=lambda row: -k[row])[:25]:
        signs, _ = support.worst_signs(rng, codes[row : row + 1], support.dense_gram(dictionary))
        code = (signs[0] * codes[row]).ravel()
        np.testing.assert_allclose(equality_basis_pursuit(matrix, matrix @ code), code, atol=1e-7)
        solved += 1
    assert solved == 25
    assert not babel.layers[0].error_bound[babel.holds].any()


@pytest.mark.parametrize("name", NAMES)
def test_basis_pursuit_with_noise_keeps_the_promises_of_theorem_12(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(2100)
    matrix = dense_matrix(dictionary)
    codes = support.random_codes(
        rng, dictionary.code_shape, rng.integers(1, 20, 400), rng.choice([1.0, 0.3, 0.03], 400), dictionary.overlap
    )
    eps = rng.choice([1e-3, 1e-2, 0.05, 0.12], 400)
    model, layers, targets = support.adversarial_path(rng, Cascade([dictionary]), codes)
    noise = support.aligned_noise(rng, dictionary, layers, targets, model.signs[0], eps)
    found = guarantees.basis_pursuit(model, [codes], eps)
    layer = found.layers[0]
    true = (model.signs[0] * codes).reshape(400, -1)
    covered = found.contained
    solved = np.zeros(true.shape)
    signals = (layers[0] + noise).reshape(400, -1)[covered]
    solved[covered] = lagrangian_basis_pursuit(matrix, signals, layer.penalty[covered])
    support_found = np.abs(solved) > 1e-9
    assert not (support_found & (true == 0))[covered].any()
    assert support_found[(np.abs(true) > layer.detectable[:, None]) & covered[:, None]].all()
    error = dcsc.patch_l2((solved - true).reshape(codes.shape), None, model.rank)
    assert (error <= layer.error_bound)[covered].all()
    assert (support_found == (true != 0))[found.holds].all()
    assert covered.sum() > 60
    assert 20 < found.holds.sum() < covered.sum()


def test_errors_grow_by_seven_and_a_half_a_layer():
    cascade = support.CASCADES["1-D, integer filters, three layers"]()
    deepest = np.zeros((3, *cascade.dictionaries[-1].code_shape))
    deepest[:, 0, 0] = 1
    codes = cascade.synthesize(deepest)[1:]
    found = guarantees.basis_pursuit(cascade, codes, [0.0, 1e-9, 1.0])
    assert found.holds.tolist() == [True, True, False]
    assert found.contained.all()
    patches = [dcsc.patch_norm(code, cascade.next_dictionary(layer), 1)[0] for layer, code in enumerate(codes, start=1)]
    for number, layer in enumerate(found.layers, start=1):
        expected = 1e-9 * 7.5**number * np.sqrt(np.prod(patches[:number]))
        np.testing.assert_allclose(layer.error_bound[1], expected)
        np.testing.assert_allclose(layer.detectable[1], expected / np.sqrt(patches[number - 1]))
        assert layer.error_bound[0] == layer.penalty[0] == 0
    np.testing.assert_allclose(found.penalties[0], [0, 4e-9, 4])
    assert "sure to be found" in found.reason
