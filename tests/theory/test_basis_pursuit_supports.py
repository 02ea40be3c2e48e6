"""Basis pursuit on given supports, against a linear programme for every choice of signs."""

import itertools

import numpy as np
import pytest

from dcsc import Cascade, ConvolutionalDictionary, RaggedCodes, guarantees
from dcsc.errors import UserError
from dcsc.guarantees.basis_pursuit_instance import basis_pursuit_on_supports, support_certificates
from dcsc.guarantees.sharp_tails import TAILS
from tests.strategies import dense_matrix
from tests.theory import support


def gaussian(seed, shape, stride, grid):
    filters = np.random.default_rng(seed).standard_normal(shape)
    return ConvolutionalDictionary(filters, stride, grid, normalize=True)


def repeated(seed):
    """Some filters are, or nearly are, combinations of others."""
    filters = np.random.default_rng(seed).standard_normal((5, 2, 2))
    filters[3], filters[4] = filters[0] - filters[1], filters[2] * (1 + 1e-9)
    return ConvolutionalDictionary(filters, 1, (8,), normalize=True)


DICTIONARIES = {
    "1-D, stride 1": lambda: gaussian(1, (6, 3, 3), 1, (9,)),
    "1-D, stride 2, many filters": lambda: gaussian(2, (9, 2, 4), 2, (16,)),
    "1-D, one filter": lambda: gaussian(3, (1, 1, 4), 1, (13,)),
    "2-D": lambda: gaussian(4, (4, 2, 2, 2), 1, (4, 5)),
    "2-D, stride 2": lambda: gaussian(5, (5, 1, 3, 2), (2, 1), (8, 4)),
    "dependent filters": lambda: repeated(6),
}


def recovered(matrix, x):
    """Whether x is the only solution of basis pursuit."""
    from scipy.optimize import linprog

    n = len(x)
    target, active = matrix @ x, np.flatnonzero(x)
    if np.linalg.svd(matrix[:, active], compute_uv=False).min(initial=1.0) < 1e-9:
        return False
    both = np.hstack([matrix, -matrix])
    # Among the solutions of least norm, ask for one with as much outside the support as there may be.
    outside = np.ones(n)
    outside[active] = 0.0
    norm = np.abs(x).sum()
    found = linprog(
        -np.concatenate([outside, outside]), A_eq=both, b_eq=target, A_ub=np.ones((1, 2 * n)), b_ub=[norm * (1 + 1e-9)]
    )
    return -found.fun < 1e-5 * norm


def draws(rng, dictionary, count, largest):
    dense = np.zeros((count, dictionary.n_atoms))
    for row in dense:
        size = rng.integers(1, largest + 1)
        start = rng.integers(dictionary.n_atoms)
        near = (start + np.arange(max(size, 8))) % dictionary.n_atoms if rng.random() < 0.5 else dictionary.n_atoms
        row[rng.choice(near, size, replace=False)] = 1.0
    return dense


def certificates(dictionary, dense):
    codes = RaggedCodes.from_dense(dense.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    return {tail: support_certificates(dictionary, codes, tail=tail) for tail in TAILS}


@pytest.mark.parametrize("name", DICTIONARIES)
def test_certificates_agree_with_dense_algebra_and_signs(name):
    dictionary = DICTIONARIES[name]()
    matrix, rng = dense_matrix(dictionary), np.random.default_rng(50)
    dense, gram = draws(rng, dictionary, 400, 9), None
    found = certificates(dictionary, dense)
    gram, informative, covered, refused = matrix.T @ matrix, 0, 0, 0
    for row, code in enumerate(dense):
        active, others = np.flatnonzero(code), np.flatnonzero(code == 0)
        smallest = np.linalg.eigvalsh(gram[np.ix_(active, active)])[0]
        values = [found[tail].probability[row] for tail in TAILS]
        assert (np.diff(values) <= 0).all()
        constant, bound = found["exact"].recovery_constant[row], values[-1]
        assert found["exact"].smallest_eigenvalue[row] <= max(smallest, 0) + 1e-12
        if smallest < 1e-9:
            refused += 1
            assert constant == np.inf
            assert bound == 1
        if smallest < 1e-7:
            continue
        projected = np.linalg.solve(gram[np.ix_(active, active)], gram[np.ix_(active, others)])
        magnitudes, squares = np.abs(projected).sum(axis=0), (projected**2).sum(axis=0)
        largest = magnitudes.max(initial=0)
        assert largest * (1 - 1e-12) <= constant <= largest * (1 + 1e-7) + 1e-7
        with np.errstate(divide="ignore"):
            hoeffding = np.minimum(1, 2 * np.exp(-1 / (2 * squares)))[magnitudes > 1].sum()
        if np.abs(magnitudes - 1).min(initial=1) > 1e-6:
            assert values[0] == pytest.approx(min(1, hoeffding), rel=1e-5, abs=1e-300)
        sums = np.abs(support.all_signs(len(active)) @ projected)
        assert (sums >= 1).any(axis=1).mean() <= bound * (1 + 1e-11)
        total = (sums >= 1 + 1e-6).mean(axis=0).sum()
        assert bound == 1 or total <= bound <= 1.15 * (sums >= 0.99).mean(axis=0).sum() + 1e-12
        covered += constant < 1
        informative += 0 < bound < 1
    assert covered > 5
    assert informative > 5 or name == "1-D, one filter"
    assert refused > 20 or not name.startswith("dependent")


@pytest.mark.parametrize("name", DICTIONARIES)
def test_what_is_seen_to_be_below_one_changes_nothing_else(name):
    dictionary, rng = DICTIONARIES[name](), np.random.default_rng(51)
    dense = draws(rng, dictionary, 300, 9)
    codes = RaggedCodes.from_dense(dense.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    pairs = np.concatenate([np.arange(size) // 2 for size in codes.row_size])
    grouped = {"group": pairs, "sign": rng.choice([-1.0, 1.0], len(pairs))}
    for given in ({}, grouped):
        for tail in ("hoeffding", "exact"):
            drawn = [None, np.random.default_rng(1)] if tail == "exact" else [None]
            for seeded in drawn:
                options = given | {"tail": tail}

                def certified(wanted, options=options, seeded=seeded):
                    rng = None if seeded is None else np.random.default_rng(1)
                    return support_certificates(dictionary, codes, rng=rng, wanted=wanted, **options)

                whole, few, one = (certified(wanted) for wanted in ("all", "not below 1", "any not below 1"))
                assert (few.recovery_constant >= whole.recovery_constant).all()
                assert few.smallest_eigenvalue.tobytes() == whole.smallest_eigenvalue.tobytes()
                assert few.probability.tobytes() == whole.probability.tobytes()
                large = whole.recovery_constant >= 1
                assert few.recovery_constant[large].tobytes() == whole.recovery_constant[large].tobytes()
                for found in (few, one):
                    np.testing.assert_array_equal(found.holds, whole.holds)
                np.testing.assert_array_equal(one.probability, np.where(whole.holds, 0.0, 1.0))
    sparse = whole.holds & (codes.row_size <= 2)
    assert (few.recovery_constant > whole.recovery_constant)[sparse].any() or name == "1-D, one filter"
    path = guarantees.recovers_all_signs(Cascade([dictionary]), [codes])
    np.testing.assert_array_equal(path, whole.holds)


def test_a_path_recovers_all_signs_where_every_layer_does():
    layers = gaussian(7, (8, 4, 8), 2, (32,)), gaussian(8, (6, 8, 2), 1, (16,))
    cascade, rng = Cascade(list(layers)), np.random.default_rng(52)
    path = []
    for layer in layers:
        dense = draws(rng, layer, 200, 3).reshape(-1, *layer.code_shape)
        path.append(RaggedCodes.from_dense(dense, layer.code_shape))
    found = basis_pursuit_on_supports(cascade, path)
    held = guarantees.recovers_all_signs(cascade, path)
    np.testing.assert_array_equal(held, found.holds)
    assert 0 < held.sum() < len(held)
    assert (found.layers[0].holds != found.layers[1].holds).any()


def test_what_is_wanted_is_known():
    dictionary = gaussian(1, (6, 3, 3), 1, (9,))
    codes = RaggedCodes.from_dense(np.zeros((1, *dictionary.code_shape)), dictionary.code_shape)
    with pytest.raises(UserError, match="wanted"):
        support_certificates(dictionary, codes, wanted="some")


@pytest.mark.parametrize("name", DICTIONARIES)
def test_no_more_signs_fail_in_a_linear_programme_than_bounded(name):
    dictionary = DICTIONARIES[name]()
    matrix, rng = dense_matrix(dictionary), np.random.default_rng(60)
    dense = draws(rng, dictionary, 60, 7)
    found, failing = certificates(dictionary, dense), 0
    for row, code in enumerate(dense):
        active = np.flatnonzero(code)
        half = support.all_signs(len(active))[: 2 ** (len(active) - 1)]  # x fails when -x does
        outcomes = []
        for signs in half:
            x = np.zeros(len(code))
            x[active] = signs * rng.choice([1.0, 0.1, 3.0], len(active))  # magnitudes do not matter
            outcomes.append(recovered(matrix, x))
        rate = 1 - np.mean(outcomes)
        if found["exact"].holds[row]:
            assert rate == 0
        for tail in TAILS:
            assert rate <= found[tail].probability[row] + 1e-12
        failing += rate > 0
    assert failing > 1 or name == "1-D, one filter"


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_theorem_11_implies_the_instance_condition(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(70)
    dense = support.random_codes(rng, dictionary.code_shape, rng.integers(0, 12, 150), np.ones(150), dictionary.overlap)
    for form in ("coherence", "babel"):
        implied = guarantees.basis_pursuit(Cascade([dictionary]), [dense], form=form).holds
        found = basis_pursuit_on_supports(Cascade([dictionary]), [dense], tail="gaussian")
        assert found.holds[implied].all()
        assert not found.sum_of_probabilities[found.holds].any()
        assert implied.sum() > 10


@pytest.mark.parametrize("name", DICTIONARIES)
def test_sharp_tails_of_drawn_atoms_have_the_bound_as_their_mean(name):
    dictionary, rng, repeats = DICTIONARIES[name](), np.random.default_rng(51), 200
    matrix, dense = dense_matrix(dictionary), draws(rng, dictionary, 60, 9)
    codes = RaggedCodes.from_dense(dense.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    closed, bound = (support_certificates(dictionary, codes, tail=tail).probability for tail in ("gaussian", "exact"))
    drawn = np.array([support_certificates(dictionary, codes, rng=rng).probability for _ in range(repeats)])
    mean, error = drawn.mean(axis=0), 5 * drawn.std(axis=0) / np.sqrt(repeats) + 1e-12
    assert (drawn <= closed * (1 + 1e-12)).all()
    assert (mean <= bound + error).all()
    assert (drawn[:, closed == 1] == bound[closed == 1]).all()
    gram, informative = matrix.T @ matrix, 0
    for row, code in enumerate(dense):
        active, others = np.flatnonzero(code), np.flatnonzero(code == 0)
        if bound[row] in (0.0, 1.0) or not len(others):
            continue
        signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(active))))
        seen = np.abs(signs @ np.linalg.solve(gram[np.ix_(active, active)], gram[np.ix_(active, others)]))
        exact = np.mean(seen.max(axis=1) >= 1)
        assert exact <= mean[row] + error[row]
        informative += exact > 0
    assert informative > 2 or name == "1-D, one filter"


def test_long_grids_agree_with_dense_algebra():
    """Far entries of a solution are left out there."""
    dictionary = gaussian(7, (4, 3, 4), 2, (600,))
    rng = np.random.default_rng(80)
    dense = np.zeros((3, dictionary.n_atoms))
    for row, size in zip(dense, (90, 140, 200), strict=True):
        row[rng.choice(len(row), size, replace=False)] = 1.0
    found = certificates(dictionary, dense)["exact"]
    matrix = dense_matrix(dictionary)
    gram = matrix.T @ matrix
    for row, code in enumerate(dense):
        active, others = np.flatnonzero(code), np.flatnonzero(code == 0)
        projected = np.linalg.solve(gram[np.ix_(active, active)], gram[np.ix_(active, others)])
        largest = np.abs(projected).sum(axis=0).max()
        assert largest <= found.recovery_constant[row] <= largest * (1 + 1e-6)


@pytest.mark.parametrize("name", support.DENSE)
def test_plain_model_with_signs_of_the_deepest_code_alone(name):
    rng = np.random.default_rng(90)
    informative = other = 0
    for size in (0.2, 0.5, 0.9):
        cascade = support.DENSE[name](size)
        above, below = cascade.dictionaries
        deepest = support.one_per_group(rng, below, 4, rng.integers(3, 10, 30))
        codes = [
            RaggedCodes.from_dense(x, d.code_shape) for x, d in zip(cascade.synthesize(deepest)[1:], (above, below))
        ]
        found = {tail: basis_pursuit_on_supports(cascade, codes, signs="deepest", tail=tail) for tail in TAILS}
        random = basis_pursuit_on_supports(cascade, codes)
        assert found["exact"].applies.all()
        matrix = dense_matrix(above)
        gram = matrix.T @ matrix
        for row in range(30):
            values = [found[tail].layers[0].probability[row] for tail in TAILS]
            assert (np.diff(values) <= 0).all()
            active = np.flatnonzero(deepest[row])
            trials = np.zeros((2 ** len(active), below.n_atoms))
            trials[:, active] = support.all_signs(len(active))
            inner = below.synthesize(trials.reshape(-1, *below.code_shape)).reshape(len(trials), -1)
            on, off = np.flatnonzero(inner[0]), np.flatnonzero(inner[0] == 0)
            projected = np.linalg.lstsq(gram[np.ix_(on, on)], gram[np.ix_(on, off)], rcond=None)[0]
            fails = (np.abs(np.sign(inner[:, on]) @ projected) >= 1).any(axis=1).mean()
            assert fails <= values[-1] * (1 + 1e-11)
            informative += 0 < values[-1] < 1
            other += abs(values[-1] - random.layers[0].probability[row]) > 0.1 * values[-1]
    assert informative > 5
    assert other > 5


def test_failure_rate_over_all_signs_of_a_cascade_stays_below_the_mean_of_the_sums():
    """Two layers whose deepest code does not determine the inner supports: all signs of both layers."""
    rng = np.random.default_rng(100)
    above, below = gaussian(8, (6, 4, 2), 2, (8,)), gaussian(9, (3, 6, 2), 2, (4,))
    filters = np.zeros(below.filters.shape)
    for row in filters.reshape(3, -1):  # two entries each, some of them shared
        row[rng.choice(5, 2, replace=False)] = rng.choice([-1.0, 1.0], 2)
    below = ConvolutionalDictionary(filters, 2, (4,), normalize=True)
    cascade, failing = Cascade([above, below]), 0
    matrices = [dense_matrix(dictionary) for dictionary in (above, below)]
    for size in (2, 3):
        for active in itertools.islice(itertools.combinations(range(below.n_atoms), size), 3):
            deepest = np.zeros((2**size, below.n_atoms))
            deepest[:, active] = support.all_signs(size)
            inner = deepest @ matrices[1].T
            inner[np.abs(inner) < 1e-12] = 0.0
            path = basis_pursuit_on_supports(
                cascade, [inner.reshape(-1, *above.code_shape), deepest.reshape(-1, *below.code_shape)]
            )
            lost = []
            for signed, code in zip(inner, deepest, strict=True):
                on, deep = np.flatnonzero(signed), recovered(matrices[1], code)
                for signs in support.all_signs(len(on))[: 2 ** (len(on) - 1)] if len(on) else np.zeros((1, 0)):
                    x = np.zeros(len(signed))
                    x[on] = signs * np.abs(signed[on])
                    lost.append(not (deep and recovered(matrices[0], x)))
            rate = np.mean(lost)
            failing += rate > 0
            assert rate <= path.failure_rate_bound + 1e-12
    assert failing > 2


def test_wrong_questions_are_refused_with_a_sentence():
    dictionary = DICTIONARIES["1-D, stride 1"]()
    with pytest.raises(UserError, match="rademacher"):
        basis_pursuit_on_supports(Cascade([dictionary]), [np.zeros(dictionary.code_shape)], signs="random")
    found = basis_pursuit_on_supports(Cascade([dictionary]), [np.zeros((2, *dictionary.code_shape))])
    assert found.holds.all()
    assert found.failure_rate_bound == 0
