"""Basis pursuit with a penalty under bounded noise: a minimiser for every choice of signs, against the certificates."""

import numpy as np
import pytest
from scipy.optimize import minimize

from dcsc import Cascade, ConvolutionalDictionary, guarantees
from dcsc.errors import UserError
from dcsc.guarantees.tails import TAILS
from tests.strategies import dense_matrix
from tests.theory import support


def gaussian(seed, shape, stride, grid):
    filters = np.random.default_rng(seed).standard_normal(shape)
    return ConvolutionalDictionary(filters, stride, grid, normalize=True)


DICTIONARIES = {
    "1-D": lambda: gaussian(1, (3, 3, 3), 1, (7,)),
    "1-D, stride 2": lambda: gaussian(2, (5, 3, 5), 2, (10,)),
    "2-D": lambda: gaussian(4, (3, 3, 2, 2), 1, (3, 4)),
}


def least(matrix, y, penalty):
    """Minimise penalty |x|_1 + |y - A x|^2 / 2 by a solver that knows nothing of signs: x = u - v, u and v >= 0."""
    n = matrix.shape[1]

    def objective(both):
        residual = y - matrix @ (both[:n] - both[n:])
        slope = matrix.T @ residual
        return penalty * both.sum() + residual @ residual / 2, np.concatenate([penalty - slope, penalty + slope])

    bounds = [(0, None)] * 2 * n
    options = {"maxiter": 20_000, "maxfun": 40_000, "ftol": 0, "gtol": 1e-11, "maxcor": 30}
    found = minimize(objective, np.zeros(2 * n), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x[:n] - found.x[n:]


def worst_noise(rng, matrix, eps):
    """Noise whose largest correlation is eps."""
    noise = rng.standard_normal(matrix.shape[0])
    return eps * noise / np.abs(matrix.T @ noise).max()


def codes(rng, n_atoms, count, largest):
    dense = np.zeros((count, n_atoms))
    for row in dense:
        size = rng.integers(1, largest + 1)
        row[rng.choice(n_atoms, size, replace=False)] = rng.uniform(0.5, 1.0, size)
    return dense


@pytest.mark.parametrize("name", DICTIONARIES)
def test_no_more_signs_fail_in_a_minimiser_than_bounded(name):
    dictionary, rng = DICTIONARIES[name](), np.random.default_rng(7)
    matrix, dense = dense_matrix(dictionary), codes(rng, dictionary.n_atoms, 10, 4)
    shaped, eps, covered, informative, lost = dense.reshape(-1, *dictionary.code_shape), 0.02, 0, 0, 0
    found = {tail: guarantees.basis_pursuit_with_noise(dictionary, shaped, eps, tail=tail) for tail in TAILS}
    for row, magnitudes in enumerate(dense):
        active, penalty = np.flatnonzero(magnitudes), found["exact"].penalty[row]
        outcomes, errors = [], []
        for signs in support.all_signs(len(active)):
            x = np.zeros(len(magnitudes))
            x[active] = signs * magnitudes[active]
            solution = least(matrix, matrix @ x + worst_noise(rng, matrix, eps), penalty)
            solution[np.abs(solution) < 1e-7] = 0
            outcomes.append((np.sign(solution) == np.sign(x)).all())
            errors.append(np.abs(solution - x).max())
        rate = 1 - np.mean(outcomes)
        bounds = [found[tail].probability[row] for tail in TAILS]
        assert (np.diff(bounds) <= 1e-15).all()
        assert rate <= bounds[-1] + 1e-12
        if found["exact"].holds[row]:
            assert rate == 0
            assert max(errors) <= found["exact"].error_bound[row] * (1 + 1e-6) + 1e-6
            covered += 1
        informative += 0 < bounds[-1] < 1
        lost += rate > 0
    assert covered > 1
    assert informative + lost > 1


@pytest.mark.parametrize("name", DICTIONARIES)
def test_the_bound_is_the_sum_of_its_tails_over_all_signs(name):
    dictionary, rng = DICTIONARIES[name](), np.random.default_rng(8)
    matrix, dense = dense_matrix(dictionary), codes(rng, dictionary.n_atoms, 60, 6)
    gram, eps = matrix.T @ matrix, 0.01
    for penalty in (0.05, 0.2):
        found = guarantees.basis_pursuit_with_noise(
            dictionary, dense.reshape(-1, *dictionary.code_shape), eps, penalty=penalty
        )
        for row, magnitudes in enumerate(dense):
            active, others = np.flatnonzero(magnitudes), np.flatnonzero(magnitudes == 0)
            inverse = np.linalg.inv(gram[np.ix_(active, active)])
            solutions = inverse @ gram[np.ix_(active, others)]
            signs = support.all_signs(len(active))
            room = 1 - eps * (1 + np.abs(solutions).sum(axis=0)) / penalty
            off = (np.abs(signs @ solutions) >= room).mean(axis=0).sum()
            sums = signs @ (inverse - np.diag(np.diag(inverse)))
            gain = np.abs(inverse).sum(axis=1)
            margin = (magnitudes[active] - eps * gain) / penalty - np.diag(inverse)
            on = (sums >= margin).mean(axis=0).sum()
            assert min(1.0, off + on) <= found.probability[row] * (1 + 1e-11)
            worst = (np.abs(solutions).sum(axis=0) < room).all() and ((eps + penalty) * gain < magnitudes[active]).all()
            assert found.holds[row] <= worst
            assert found.holds[row] == (off + on == 0) or off + on < 1e-12


def test_theorem_12_implies_the_condition_for_all_signs():
    rng, implied = np.random.default_rng(9), 0
    for make in support.DICTIONARIES.values():
        dictionary = make()
        sizes = rng.integers(0, 8, 80)
        dense = support.random_codes(rng, dictionary.code_shape, sizes, np.ones(80), dictionary.overlap)
        for noise in (0.01, 0.1):
            theorem = guarantees.basis_pursuit(Cascade([dictionary]), [dense], noise)
            found = guarantees.basis_pursuit_with_noise(dictionary, dense, noise, penalty=4 * noise)
            assert found.holds[theorem.holds].all()
            implied += theorem.holds.sum()
    assert implied > 20


def test_without_noise_and_with_a_small_penalty_it_is_the_equality_form():
    dictionary, rng = gaussian(1, (6, 3, 3), 1, (9,)), np.random.default_rng(10)
    dense = codes(rng, dictionary.n_atoms, 80, 6).reshape(-1, *dictionary.code_shape)
    listed = guarantees.basis_pursuit_on_supports(Cascade([dictionary]), [dense], tail="gaussian")
    found = guarantees.basis_pursuit_with_noise(dictionary, dense, 0.0, penalty=1e-7, tail="gaussian")
    equality = listed.layers[0]
    np.testing.assert_array_equal(found.holds, equality.holds)
    usual = equality.probability < 1
    np.testing.assert_allclose(
        found.probability[usual], np.where(equality.holds, 0, equality.probability)[usual], rtol=1e-4, atol=1e-12
    )
    assert 5 < equality.holds.sum() < 75


def test_a_larger_batch_an_empty_code_and_dependent_atoms():
    filters = np.random.default_rng(6).standard_normal((4, 2, 2))
    filters[3] = filters[0] - filters[1]
    dictionary = ConvolutionalDictionary(filters, 1, (8,), normalize=True)
    dense = np.zeros((2, 2, 4, 8))
    dense[1, 0, [0, 1, 3], 2] = 1.0
    found = guarantees.basis_pursuit_with_noise(dictionary, dense, [[0.1, 0.1], [0.1, 0.0]], penalty=0.2)
    assert found.holds.tolist() == [[True, True], [False, True]]
    assert found.probability.tolist() == [[0, 0], [1, 0]]
    unbounded = guarantees.basis_pursuit_with_noise(dictionary, dense, np.inf)
    assert not unbounded.holds.any()
    assert (unbounded.probability == 1).all()
    nothing = guarantees.basis_pursuit_with_noise(dictionary, dense[:, :0], 0.1)
    assert nothing.holds.shape == (2, 0)
    with pytest.raises(UserError, match=r"penalty -1 is not allowed: it must be above 0"):
        guarantees.basis_pursuit_with_noise(dictionary, dense, 0.1, penalty=-1.0)
    with pytest.raises(UserError, match="noise"):
        guarantees.basis_pursuit_with_noise(dictionary, dense, -0.1)
