"""The worst signs against exhaustive enumeration of all signs, both ways, on thousands of small instances."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc import ConvolutionalDictionary, RaggedCodes
from dcsc.convolution import sparse_path
from dcsc.errors import UserError
from dcsc.sampling import adversary
from tests.strategies import dense_matrix, dictionaries

INSTANCES = 20
"""Trials a dictionary, all of them enumerated."""


def instances(dictionary, rng, largest_support=6):
    """Supports of 1 to largest_support atoms, close together half of the time, with magnitudes of any contrast."""
    n_atoms = dictionary.n_atoms
    codes = np.zeros((INSTANCES, n_atoms))
    for code in codes:
        size = rng.integers(1, min(rng.choice([2, largest_support]), n_atoms) + 1)
        reach = n_atoms if rng.random() < 0.5 else min(n_atoms, 2 * size)
        atoms = (rng.integers(n_atoms) + rng.permutation(reach)[:size]) % n_atoms
        code[atoms] = (
            rng.choice([1.0, rng.uniform(0.2, 1), 4.0], size) if rng.random() < 0.5 else rng.random(size) + 0.1
        )
    return codes


def test_instances_have_both_outcomes():
    rng = np.random.default_rng(0)
    broken, separated = [], []
    for _ in range(40):
        dictionary = ConvolutionalDictionary(rng.standard_normal((2, 1, 4)), 2, (12,), normalize=True)
        codes = instances(dictionary, rng)
        ragged = RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
        broken.append(adversary.worst_signs_for_top_k(dictionary, ragged).breaks.mean())
        separated.append(adversary.separate_worst_cases(dictionary, ragged).separated.mean())
    assert 0.2 < np.mean(broken) < 0.8
    assert 0.2 < np.mean(separated) < 0.8


def gram_of(dictionary):
    matrix = dense_matrix(dictionary)
    return matrix.T @ matrix


def all_signs(size):
    return np.array(list(itertools.product([1.0, -1.0], repeat=size)))


def enumerated(code, gram):
    """Signs (sign choice, active), signed correlations of active atoms, and magnitudes of the others."""
    active = np.flatnonzero(code)
    signs = all_signs(len(active))
    correlations = (signs * code[active]) @ gram[active]
    on = signs * correlations[:, active]
    off = np.abs(np.delete(correlations, active, axis=1))
    return active, signs, on, off, correlations


def split(codes, values):
    return np.split(values, np.cumsum(codes.row_size)[:-1])


problems = st.tuples(dictionaries(max_taps=4), st.integers(0, 2**32 - 1))


@given(problems)
@settings(max_examples=120)
def test_threshold_attack_breaks_support_and_signs_iff_some_signs_do(problem):
    dictionary, seed = problem
    rng = np.random.default_rng(seed)
    codes, gram = instances(dictionary, rng), gram_of(dictionary)
    ragged = RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    thresholds = rng.uniform(0.02, 1.2, INSTANCES) * np.where(codes > 0, codes, np.inf).min(axis=1)
    near = np.maximum(adversary.separate_worst_cases(dictionary, ragged).largest_off * rng.uniform(0.9, 1.2), 0.01)
    thresholds = np.where(rng.random(INSTANCES) < 0.5, thresholds, near)  # where both outcomes occur
    attack = adversary.worst_signs_for_threshold(dictionary, ragged, thresholds)
    decided = 0
    for trial, signs in enumerate(split(ragged, attack.signs)):
        active, choices, on, off, correlations = enumerated(codes[trial], gram)
        beta = thresholds[trial]
        if min(np.abs(on - beta).min(), np.abs(off - beta).min(initial=np.inf)) < 1e-9:
            continue  # equality up to rounding decides nothing
        decided += 1
        broken = (on <= beta).any(axis=1) | (off > beta).any(axis=1)
        assert attack.breaks[trial] == broken.any()
        assert broken[(choices == signs).all(axis=1)].all() == attack.breaks[trial]
        worst = min((on - beta).min(), (beta - off).min(initial=np.inf))
        assert attack.margin[trial] == pytest.approx(worst, abs=1e-10)
        if attack.exact_for_supports[trial]:
            lost = ((np.abs(correlations[:, active]) <= beta).any(axis=1)) | (off > beta).any(axis=1)
            assert lost.any() == attack.breaks[trial]
    assert decided > 0


@given(problems, st.floats(0.01, 0.9))
@settings(max_examples=60)
def test_attack_tells_when_no_atom_alone_exceeds_the_threshold(problem, share):
    dictionary, seed = problem
    rng = np.random.default_rng(seed)
    codes, gram = instances(dictionary, rng, largest_support=40), gram_of(dictionary)
    np.fill_diagonal(gram, 0)
    ragged = RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    single = np.array([(np.abs(gram) * code * (code > 0)[:, None]).max() for code in codes])
    thresholds = np.where(rng.random(INSTANCES) < 0.5, share * 4, single * rng.choice([1 - 1e-9, 1 + 1e-9], INSTANCES))
    attack = adversary.worst_signs_for_threshold(dictionary, ragged, thresholds)
    clear = np.abs(single - thresholds) > 1e-12
    np.testing.assert_array_equal(attack.exact_for_supports[clear], (single <= thresholds)[clear])


@given(problems)
@settings(max_examples=120)
def test_top_k_attack_breaks_support_and_signs_iff_some_signs_do(problem):
    dictionary, seed = problem
    codes, gram = instances(dictionary, np.random.default_rng(seed)), gram_of(dictionary)
    ragged = RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    attack = adversary.worst_signs_for_top_k(dictionary, ragged)
    separation = adversary.separate_worst_cases(dictionary, ragged)
    for trial, signs in enumerate(split(ragged, attack.signs)):
        _, choices, on, off, correlations = enumerated(codes[trial], gram)
        if off.shape[1] == 0:
            assert attack.margin[trial] == np.inf
            assert attack.active[trial] == attack.inactive[trial] == -1
            continue
        margins = on.min(axis=1) - off.max(axis=1)
        assert attack.margin[trial] == pytest.approx(margins.min(), abs=1e-10)
        chosen = (choices == signs).all(axis=1)
        assert margins[chosen].min() == pytest.approx(margins.min(), abs=1e-10)
        if abs(margins.min()) > 1e-9:
            assert attack.breaks[trial] == (margins <= 0).any()
        attacked = np.abs(correlations[chosen, attack.inactive[trial]]) - correlations[chosen, attack.active[trial]]
        assert attacked.max() == pytest.approx(-margins.min(), abs=1e-10)
        # Separation looks at both worst cases at once: exact for some threshold, sufficient for top-k.
        assert separation.smallest_on[trial] == pytest.approx(on.min(), abs=1e-10)
        assert separation.largest_off[trial] == pytest.approx(off.max(), abs=1e-10)
        if separation.separated[trial]:
            assert attack.margin[trial] > -1e-10


def test_separation_is_not_necessary_for_top_k():
    """One inactive atom between two active ones: no signs hurt both at once as much as they can hurt each."""
    rng = np.random.default_rng(0)
    gaps = 0
    for _ in range(30):
        dictionary = ConvolutionalDictionary(rng.standard_normal((2, 1, 6)), 2, (20,), normalize=True)
        codes = instances(dictionary, rng)
        ragged = RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
        attack = adversary.worst_signs_for_top_k(dictionary, ragged)
        separation = adversary.separate_worst_cases(dictionary, ragged)
        gaps += int((~attack.breaks & ~separation.separated).sum())
    assert gaps > 0


def test_supports_alone_can_survive_what_breaks_the_signs():
    """g = 0.5, |x| = (1, 4), beta = 0.5: every sign choice keeps the support, and one flips a sign."""
    pair = np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]]).reshape(2, 1, 2)
    dictionary = ConvolutionalDictionary(pair, 2, (2,))
    ragged = RaggedCodes.from_dense(np.array([[[1.0], [4.0]]]), dictionary.code_shape)
    attack = adversary.worst_signs_for_threshold(dictionary, ragged, 0.5)
    assert attack.breaks[0]
    assert not attack.exact_for_supports[0]
    correlations = all_signs(2) * np.array([1.0, 4.0]) @ gram_of(dictionary)
    assert (np.abs(correlations) > 0.5).all()
    assert attack.margin[0] == pytest.approx(1 - 2 - 0.5)
    assert adversary.worst_signs_for_threshold(dictionary, ragged, 2.0).exact_for_supports[0]


@given(problems)
@settings(max_examples=60)
def test_worst_signs_of_an_atom_reach_its_interference_bound(problem):
    dictionary, seed = problem
    rng = np.random.default_rng(seed)
    codes, gram = instances(dictionary, rng), gram_of(dictionary)
    ragged = RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    atoms = rng.integers(0, dictionary.n_atoms, INSTANCES)
    signed = ragged.with_values(ragged.value * adversary.worst_signs_of_atom(dictionary, ragged, atoms)).to_dense()
    bounds = sparse_path.interference_bound(dictionary, ragged).reshape(INSTANCES, -1)
    for trial, atom in enumerate(atoms):
        correlation = signed[trial].ravel() @ gram[:, atom]
        magnitude, bound = codes[trial, atom], bounds[trial, atom]
        expected = bound if magnitude == 0 else magnitude * gram[atom, atom] - bound
        assert correlation == pytest.approx(expected, abs=1e-10)


def test_an_active_atom_that_meets_the_threshold_is_lost_and_another_one_is_not():
    dictionary = ConvolutionalDictionary(np.eye(2)[:, None], 2, (4,))
    ragged = RaggedCodes.from_dense(np.array([[[1.0, 0.0], [0.0, 0.0]]]), dictionary.code_shape)
    meets = adversary.worst_signs_for_threshold(dictionary, ragged, 1.0)
    assert meets.breaks[0]
    assert meets.atom[0] == 0
    empty = RaggedCodes.from_dense(np.zeros((1, *dictionary.code_shape)), dictionary.code_shape)
    assert not adversary.worst_signs_for_threshold(dictionary, empty, 0.0).breaks[0]
    assert not adversary.worst_signs_for_top_k(dictionary, empty).breaks[0]
    assert adversary.separate_worst_cases(dictionary, empty).separated[0]


def test_attacks_do_not_depend_on_threads_or_batch():
    rng = np.random.default_rng(2)
    dictionary = ConvolutionalDictionary(rng.standard_normal((3, 1, 4, 4)), 2, (8, 12), normalize=True)
    codes = np.concatenate([instances(dictionary, rng) for _ in range(4)]).reshape(-1, *dictionary.code_shape)
    ragged = RaggedCodes.from_dense(codes, dictionary.code_shape)
    starts = ragged.starts
    alone = RaggedCodes.from_dense(codes[50], dictionary.code_shape)
    for attack in (
        lambda codes, threads: adversary.worst_signs_for_threshold(dictionary, codes, 0.3, threads=threads),
        lambda codes, threads: adversary.worst_signs_for_top_k(dictionary, codes, threads=threads),
    ):
        one, many, single = attack(ragged, 1), attack(ragged, 4), attack(alone, 1)
        for name in one._fields:
            np.testing.assert_array_equal(getattr(one, name), getattr(many, name))
            if name != "signs":
                assert getattr(one, name)[50] == getattr(single, name)
        np.testing.assert_array_equal(one.signs[starts[50] : starts[51]], single.signs)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d, c: adversary.worst_signs_for_threshold(d, c, -0.1), "give numbers from 0"),
        (lambda d, c: adversary.worst_signs_for_threshold(d, c, np.ones(3)), "one per trial"),
        (lambda d, c: adversary.worst_signs_of_atom(d, c, 99), "give whole numbers from 0 to 3"),
    ],
)
def test_misuse_is_refused_with_a_sentence(call, words):
    dictionary = ConvolutionalDictionary(np.eye(2)[:, None], 2, (4,))
    with pytest.raises(UserError) as refusal:
        call(dictionary, RaggedCodes.from_dense(np.ones((2, *dictionary.code_shape)), dictionary.code_shape))
    assert words in str(refusal.value)


@pytest.mark.parametrize("seed", range(4))
def test_signs_against_basis_pursuit_break_its_certificate_if_any_do(seed):
    rng = np.random.default_rng(seed)
    shape, stride, grid = [
        ((5, 2, 3), 1, (9,)),
        ((6, 1, 4), 2, (14,)),
        ((4, 2, 2, 2), 1, (4, 5)),
        ((3, 1, 2), 1, (8,)),
    ][seed]
    dictionary = ConvolutionalDictionary(rng.standard_normal(shape), stride, grid, normalize=True)
    matrix, codes = dense_matrix(dictionary), instances(dictionary, rng, 8)
    ragged = RaggedCodes.from_dense(codes.reshape(-1, *dictionary.code_shape), dictionary.code_shape)
    found, broken = adversary.worst_signs_for_basis_pursuit(dictionary, ragged), []
    for trial, code in enumerate(codes):
        active, others = np.flatnonzero(code), np.flatnonzero(code == 0)
        signs = found.signs[ragged.starts[trial] : ragged.starts[trial + 1]]
        smallest = np.linalg.svd(matrix[:, active], compute_uv=False)[-1]
        if smallest < 1e-3 or len(active) > len(matrix):
            continue
        projected = np.linalg.lstsq(matrix[:, active], matrix[:, others], rcond=None)[0]
        assert found.constant[trial] == pytest.approx(np.abs(projected).sum(axis=0).max())
        assert found.atom[trial] in others
        every = np.array(list(itertools.product([-1, 1], repeat=len(active))))
        largest = np.abs(every @ projected).max()
        assert np.abs(signs @ projected).max() == pytest.approx(largest)
        broken.append(largest >= 1)
    assert len(broken) > INSTANCES // 2
    assert 0 < np.mean(broken) < 1 or seed == 3


def test_signs_against_basis_pursuit_of_what_cannot_be_attacked():
    dictionary = ConvolutionalDictionary(np.eye(3)[:, None, :], 3, (9,), normalize=True)
    codes = np.zeros((3, 9))
    codes[1, [0, 4]] = codes[2] = 1.0  # nothing active, atoms that meet no other, all active
    ragged = RaggedCodes.from_dense(codes.reshape(3, 3, 3), (3, 3))
    found = adversary.worst_signs_for_basis_pursuit(dictionary, ragged)
    assert (found.atom == -1).all()
    assert (found.constant == 0).all()
    assert (found.signs == 1).all()
    twice = ConvolutionalDictionary(np.ones((2, 1, 2)), 2, (8,), normalize=True)
    dependent = RaggedCodes.from_dense(np.ones((1, *twice.code_shape)), twice.code_shape)
    assert (adversary.worst_signs_for_basis_pursuit(twice, dependent).signs == 1).all()
    with pytest.raises(UserError, match="do not fit"):
        adversary.worst_signs_for_basis_pursuit(twice, ragged)
