"""Top-k over random signs, pair by pair, against every choice of signs in plain dense numpy."""

import itertools

import numpy as np
import pytest

from dcsc import Cascade, ConvolutionalDictionary, RaggedCodes, families, guarantees, sampling
from dcsc.errors import UserError
from dcsc.guarantees import top_k
from dcsc.guarantees.tails import TAILS
from dcsc.guarantees.top_k import top_k_failure
from tests.strategies import dense_matrix

SHAPES = {
    "1-D, stride 1": ((3, 1, 3), 1, (8,)),
    "1-D, many filters": ((9, 2, 4), 2, (16,)),
    "1-D, far apart": ((2, 1, 2), 1, (24,)),
    "one filter, taps without overlap": ((1, 1, 2), 2, (8,)),
    "2-D": ((3, 2, 2, 2), 1, (4, 5)),
    "2-D, stride 2": ((5, 1, 3, 2), (2, 1), (8, 4)),
}


def random_dictionary(name, seed=0):
    shape, stride, grid = SHAPES[name]
    return ConvolutionalDictionary(np.random.default_rng(seed).standard_normal(shape), stride, grid, normalize=True)


def random_codes(rng, dictionary, count, largest=6):
    codes = np.zeros((count, dictionary.n_atoms))
    for row in codes:
        active = rng.choice(dictionary.n_atoms, rng.integers(0, min(largest, dictionary.n_atoms) + 1), replace=False)
        row[active] = rng.uniform(0.5, 1.0, len(active))
    return codes


def exact_failure(matrix, code, eps=0.0):
    """Share of signs for which noise of norm eps, along one atom, makes some active one not beat some inactive one."""
    gram, active = matrix.T @ matrix, np.flatnonzero(code)
    inactive = np.setdiff1d(np.arange(len(code)), active)
    if len(active) == 0 or len(inactive) == 0:
        return 0.0
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(active))))
    seen = (signs * code[active]) @ gram[active]
    won = (signs * seen[:, active]).min(axis=1) - np.abs(seen[:, inactive]).max(axis=1)
    return float(np.mean(won <= eps + 1e-12))


def ragged(dictionary, codes):
    return RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)


@pytest.mark.parametrize("name", SHAPES)
def test_no_tail_is_below_the_exact_failure_and_each_is_below_the_one_before(name):
    dictionary, rng = random_dictionary(name), np.random.default_rng(1)
    codes, matrix = random_codes(rng, dictionary, 60), dense_matrix(dictionary)
    noise = np.where(np.arange(60) % 3 == 0, 0.05, 0.0)
    exact = np.array([exact_failure(matrix, code, eps) for code, eps in zip(codes, noise, strict=True)])
    bounds = [top_k_failure(dictionary, ragged(dictionary, codes), noise, tail=tail) for tail in TAILS]
    for bound in bounds:
        assert (bound >= exact - 1e-12).all()
    for looser, sharper in itertools.pairwise(bounds):
        assert (sharper <= looser + 1e-12).all()


def test_the_exact_bound_is_the_sum_of_the_probabilities_of_all_pairs():
    """Filters whose inner products are multiples of 1/24, on which the lattice counts exactly."""
    rng = np.random.default_rng(2)
    dictionary = ConvolutionalDictionary(rng.choice([-1.0, 1.0], (4, 1, 24)) / np.sqrt(24), 12, (48,))
    matrix = dense_matrix(dictionary)
    gram, seen_above = matrix.T @ matrix, 0
    for _ in range(20):
        code = np.zeros(dictionary.n_atoms)
        active = rng.choice(dictionary.n_atoms, 5, replace=False)
        code[active] = 1.0
        inactive = np.setdiff1d(np.arange(dictionary.n_atoms), active)
        reached = gram[np.ix_(inactive, active)].any(axis=1)
        # An inactive atom that nothing reaches stands for all of them.
        inactive = np.concatenate([inactive[reached], inactive[~reached][:1]])
        signs = np.array(list(itertools.product([1.0, -1.0], repeat=5)))
        seen = signs @ gram[active]
        beaten = np.stack([seen[:, inactive], -seen[:, inactive]], 1)[:, None]
        lost = (signs * seen[:, active])[:, :, None, None] <= beaten + 1e-12
        total = min(1.0, lost.reshape(len(signs), -1).mean(axis=0).sum()) if lost.size else 0.0
        assert top_k_failure(dictionary, ragged(dictionary, code))[0] == pytest.approx(total, abs=1e-9)
        seen_above += 0 < total < 1
    assert seen_above > 3


def test_what_is_drawn_has_the_bound_for_its_mean(monkeypatch):
    rng = np.random.default_rng(3)
    dictionary = perturbed_lapped(rng, 64, 16)
    codes = sampling.supports.uniform(rng, dictionary, 4, size=19)
    whole = top_k_failure(dictionary, codes)
    assert (whole > 0).any()
    for blocks in (1 << 14, 160):  # all pairs at once, or a few atoms after another
        monkeypatch.setattr("dcsc.guarantees.top_k._ENTRIES", blocks)
        drawn = np.array([top_k_failure(dictionary, codes, rng=rng, pairs=4) for _ in range(150)])
        below = (whole < 1) & (drawn.max(axis=0) < 1)
        spread = drawn.std(axis=0) / np.sqrt(len(drawn))
        assert below.sum() >= 2
        assert (np.abs(drawn.mean(axis=0) - whole) <= 5 * spread + 1e-12)[below].all()
        assert (drawn.mean(axis=0) >= whole - 5 * spread - 1e-12).all()


def perturbed_lapped(rng, grid, n_filters):
    return families.create("perturbed", (grid,), rng, base="lapped", n_filters=n_filters, perturbation=0.2)


def test_pairs_certify_more_than_the_best_threshold_and_what_holds_for_all_signs():
    rng = np.random.default_rng(4)
    dictionary = perturbed_lapped(rng, 256, 64)
    model = Cascade([dictionary])
    codes = sampling.supports.uniform(rng, dictionary, 32, size=36)
    by_threshold = guarantees.statistical(model, [codes], form="instance", method="optimised").probability
    by_pairs = top_k_failure(dictionary, codes, rng=rng)
    assert by_pairs.mean() < 0.5 * by_threshold.mean()
    few = sampling.supports.uniform(rng, dictionary, 64, size=3)
    covered = guarantees.uniform(model, [few], form="instance").holds
    assert covered.any()
    assert (top_k_failure(dictionary, few)[covered] == 0).all()
    assert (top_k_failure(dictionary, few, rng=rng)[covered] == 0).all()


def test_a_certified_size_is_found():
    rng = np.random.default_rng(5)
    dictionary = perturbed_lapped(rng, 256, 64)

    def certified(rung):
        def draws(size):
            return sampling.supports.uniform(rng, dictionary, 40, size=size)

        options = {"draws": draws, "sizes": range(12, 60, 4), "delta": 0.1}
        return guarantees.certified_stripe_sparsity(dictionary, rung=rung, **options)

    assert certified(guarantees.TOP_K_RUNG).size > certified("statistical-instance").size > 12


def test_results_do_not_depend_on_threads_or_batches(monkeypatch):
    dictionary = random_dictionary("1-D, many filters")
    codes = ragged(dictionary, random_codes(np.random.default_rng(6), dictionary, 12))
    monkeypatch.setenv("DCSC_NUM_THREADS", "1")
    one = top_k_failure(dictionary, codes, rng=np.random.default_rng(7))
    shaped = top_k_failure(dictionary, codes.reshape((3, 4)), rng=np.random.default_rng(7))
    assert shaped.shape == (3, 4)
    monkeypatch.setenv("DCSC_NUM_THREADS", "3")
    np.testing.assert_array_equal(top_k_failure(dictionary, codes, rng=np.random.default_rng(7)), one)
    np.testing.assert_array_equal(shaped.ravel(), one)


def test_nothing_and_everything_active_cannot_fail():
    dictionary = random_dictionary("2-D")
    for code in (np.zeros(dictionary.code_shape), np.ones(dictionary.code_shape)):
        assert top_k_failure(dictionary, code[None]) == 0
        assert top_k_failure(dictionary, code[None], rng=np.random.default_rng(0)) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [({"tail": "normal"}, "tail"), ({"pairs": 0}, "0 pairs"), ({"noise": -1.0}, "numbers from 0")],
)
def test_what_makes_no_sense_is_refused(options, message):
    dictionary = random_dictionary("2-D")
    with pytest.raises(UserError, match=message):
        top_k_failure(dictionary, np.ones((1, *dictionary.code_shape)), **options)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_codes_whose_tails_are_known_to_be_0_have_the_bounds_of_all_pairs(noise, monkeypatch):
    dictionary = families.create("perturbed", grid=64, seed=0, base="lapped", n_filters=8, perturbation=0.15)
    codes = RaggedCodes.from_dense(
        random_codes(np.random.default_rng(3), dictionary, 80, largest=40).reshape(80, *dictionary.code_shape),
        dictionary.code_shape,
    )

    def bounds():
        drawn = [top_k_failure(dictionary, codes, noise, tail=tail, rng=np.random.default_rng(4)) for tail in TAILS]
        return np.array([*drawn, top_k_failure(dictionary, codes, noise)])

    found, separated = bounds(), []

    def none(*arguments):
        separated.extend(are_separated(*arguments))
        return np.zeros(80, bool)

    are_separated = top_k._are_separated
    monkeypatch.setattr(top_k, "_are_separated", none)
    np.testing.assert_array_equal(found, bounds())
    assert any(separated)
    assert not all(separated)
    assert (found > 0).any()
