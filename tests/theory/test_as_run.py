"""The instance forms at given thresholds: what they promise, against all signs and against the other functions."""

import numpy as np
import pytest

import dcsc
from dcsc import guarantees
from dcsc.guarantees.bounds import independent_atoms
from dcsc.guarantees.interference import layer_interference
from dcsc.ragged import RaggedCodes
from tests.theory import support
from tests.theory.test_statistical_guarantees import exact_failure, exact_path_failure, spread_out

GROUPS = [name for name in support.CASCADES if "groups" in name]


def half_thresholds(codes):
    """X_min / 2 of every layer."""
    flat = [np.abs(code).reshape(len(code), -1) for code in codes]
    smallest = [np.where(layer > 0, layer, np.inf).min(axis=1) / 2 for layer in flat]
    return [np.where(np.isfinite(beta), beta, 1.0) for beta in smallest]


@pytest.mark.parametrize("name", ["1-D, stride 1", "1-D, two channels, stride 4", "2-D, unequal strides"])
def test_exact_failure_of_one_layer_stays_below_its_bound(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(1150)
    codes = support.random_codes(rng, dictionary.code_shape, rng.integers(2, 11, 60), np.ones(60), dictionary.overlap)
    gram = support.dense_gram(dictionary)
    paths = guarantees.path_interference(dcsc.Cascade([dictionary]), [codes])
    informative = failing = 0
    for factor in (0.6, 0.8, 1.0, 1.2):
        beta = factor * half_thresholds([codes])[0]
        found = guarantees.as_run(paths, [beta], debias=True)
        for row in np.flatnonzero(found.failure_bound < 1):
            exact = exact_failure(gram, codes[row], beta[row], 0.0)
            assert exact <= found.failure_bound[row] + 1e-12
            informative += found.failure_bound[row] > 0
            failing += exact > 0
    assert informative > 20
    assert failing > 0


def test_interference_that_is_known_is_that_which_would_be_found():
    dictionary = support.DICTIONARIES["1-D, two channels, stride 4"]()
    rng = np.random.default_rng(1155)
    codes = support.random_codes(rng, dictionary.code_shape, rng.integers(0, 9, 12), np.ones(12), dictionary.overlap)
    listed, model = RaggedCodes.from_dense(codes, dictionary.code_shape), dcsc.Cascade([dictionary])
    known, rows = layer_interference(dictionary, listed), np.array([1, 2, 7, 11])
    alone = layer_interference(dictionary, RaggedCodes.from_dense(codes[rows], dictionary.code_shape))
    taken = known.take(rows)
    for name in ("variance", "bound", "off_bound", "off_level", "largest_variance", "locked"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(alone, name))
    np.testing.assert_array_equal(taken.codes.atom, alone.codes.atom)
    some, given = codes[rows], [taken]
    one, other = (guarantees.uniform(model, [some], form="instance", known=of) for of in (None, given))
    np.testing.assert_array_equal(one.layers[0].threshold_upper, other.layers[0].threshold_upper)
    np.testing.assert_array_equal(one.holds, other.holds)
    beta = half_thresholds([some])
    one, other = (guarantees.path_interference(model, [some], known=of) for of in ((), given))
    assert other.uniform(0, np.inf) is taken
    np.testing.assert_array_equal(guarantees.covered_as_run(one, beta), guarantees.covered_as_run(other, beta))


@pytest.mark.parametrize(("debias", "active"), [(False, 100), (True, 200)])
def test_random_signs_are_certified_beyond_all_signs(debias, active):
    parameters = {"base": "lapped", "n_filters": 128, "perturbation": 0.1}
    dictionary = dcsc.families.create("perturbed", (512,), 0, **parameters)
    cascade = dcsc.Cascade([dictionary])
    rng = np.random.default_rng(1160)
    codes = support.random_codes(rng, dictionary.code_shape, np.full(6, active), np.ones(6))
    paths = guarantees.path_interference(cascade, [codes])
    found = guarantees.as_run(paths, [0.5], debias=debias)
    promised = np.flatnonzero(~found.covered & (found.failure_bound <= 0.01))
    assert len(promised) > 3
    for row in promised[:2]:
        model, layers = support.random_path(rng, cascade, np.repeat(codes[row : row + 1], 200, axis=0))
        missed = 200 - support.recovered(support.pursue(model, layers[0], "hard", [0.5]), layers)[0].sum()
        assert support.clopper_pearson_lower(missed, 200, 1 - 1e-6) <= found.failure_bound[row]


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("signs", ["rademacher", "deepest"])
@pytest.mark.parametrize("name", GROUPS)
def test_failure_of_paths_stays_below_its_bound(name, signs, debias):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(1200)
    deepest = spread_out(rng, cascade.dictionaries[-1], 24, 4)
    codes = cascade.synthesize(deepest)[1:]
    paths = guarantees.path_interference(cascade, codes, signs)
    betas = half_thresholds(codes)
    found = guarantees.as_run(paths, betas, debias=debias, delta=0.2)
    assert not found.failure_bound[found.covered & found.determined].any()
    np.testing.assert_array_equal(found.determined, guarantees.statistical(cascade, codes, signs=signs).determined)
    promised = np.flatnonzero(found.determined & (found.failure_bound < 1))[:6]
    assert len(promised) > 2
    for row in promised:
        chosen = [beta[row] for beta in betas]
        if signs == "deepest":
            failure = exact_path_failure(cascade, deepest[row], "hard", chosen, True, debias)
        else:
            model, layers = support.random_path(rng, cascade, np.repeat(deepest[row : row + 1], 60, axis=0))
            result = support.pursue(model, layers[0], "hard", [np.full(60, b) for b in chosen], debias=debias)
            missed = 60 - np.logical_and.reduce(support.recovered(result, layers)).sum()
            failure = support.clopper_pearson_lower(missed, 60, 1 - 1e-6)
        assert failure <= found.failure_bound[row] + 1e-12


def test_covered_draws_of_paths_that_are_not_determined_still_add_delta_to_the_mean():
    """The theorem speaks of the joint event of all draws, so that no draw is exempt."""
    cascade = support.CASCADES["1-D, integer filters, three layers"]()
    rng = np.random.default_rng(1250)
    deepest = support.random_codes(rng, cascade.dictionaries[-1].code_shape, rng.integers(2, 5, 200), np.ones(200))
    codes = cascade.synthesize(deepest)[1:]
    paths = guarantees.path_interference(cascade, codes)
    found = guarantees.as_run(paths, half_thresholds(codes), delta=0.2)
    free = ~found.determined
    assert found.covered[free].any()
    assert not found.covered[free].all()
    assert set(found.failure_bound[free]) <= {0.2, 1.2}
    assert (found.failure_bound[free & found.covered] == 0.2).all()
    assert found.failure_rate_bound == min(1.0, found.failure_bound.mean(), 1 - found.covered.mean())


@pytest.mark.parametrize("rule", ["hard", "soft", "relu"])
def test_one_layer_has_the_instance_bound_whether_debiased_or_not(rule):
    parameters = {"base": "lapped", "n_filters": 128, "perturbation": 0.1}
    dictionary = dcsc.families.create("perturbed", (512,), 0, **parameters)
    rng = np.random.default_rng(1260)
    codes = np.abs(support.random_codes(rng, dictionary.code_shape, rng.integers(40, 240, 20), np.ones(20)))
    paths = guarantees.path_interference(dcsc.Cascade([dictionary]), [codes])
    half = guarantees.as_run(paths, [0.5], rule=rule)
    np.testing.assert_array_equal(half.failure_bound, guarantees.as_run(paths, [0.5], debias=True).failure_bound)
    assert ((half.failure_bound > 0) & (half.failure_bound < 1)).any()
    best = guarantees.as_run(paths, None, rule=rule)
    expected = guarantees.statistical(dcsc.Cascade([dictionary]), [codes], method="optimised").probability
    np.testing.assert_allclose(best.failure_bound, expected, rtol=1e-4, atol=1e-12)
    # A search by sums whose smallest terms stay closed may end beside the best threshold, not far from it.
    assert (best.failure_bound <= half.failure_bound * 1.25 + 1e-15).all()
    loose = guarantees.as_run(paths, [0.5], rule=rule, tail="hoeffding")
    assert (half.failure_bound <= loose.failure_bound).all()
    assert (half.failure_bound < loose.failure_bound / 3).any()
    assert best.covered[half.covered].all()


def test_wrong_questions_are_refused_with_a_sentence():
    cascade = support.CASCADES["1-D, groups, two layers"]()
    codes = cascade.synthesize(np.zeros((2, *cascade.dictionaries[-1].code_shape)))[1:]
    with pytest.raises(dcsc.UserError, match="3 thresholds for 2 layers"):
        guarantees.as_run(guarantees.path_interference(cascade, codes), [0.5] * 3)
    with pytest.raises(dcsc.UserError, match="use rule 'soft'"):
        guarantees.as_run(guarantees.path_interference(cascade, codes, "deepest"), [0.5] * 2, rule="relu")


@pytest.mark.parametrize("name", support.CASCADES)
def test_the_uniform_part_agrees_with_the_instance_form(name):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(1100)
    deepest = support.random_codes(rng, cascade.dictionaries[-1].code_shape, rng.integers(0, 9, 100), np.ones(100))
    codes = cascade.synthesize(deepest)[1:]
    paths = guarantees.path_interference(cascade, codes)
    best = guarantees.uniform(cascade, codes, form="instance")
    for betas in (best.thresholds, half_thresholds(codes), [np.float64(0.3)] * cascade.depth):
        expected = guarantees.uniform(cascade, codes, form="instance", threshold=betas).holds
        np.testing.assert_array_equal(guarantees.as_run(paths, betas).covered, expected)
        # Debiasing passes on no error, so that each layer stands for itself, and covers more.
        alone = [
            guarantees.uniform(dcsc.Cascade([layer]), [code], form="instance", threshold=[beta]).holds
            for layer, code, beta in zip(cascade.dictionaries, codes, betas, strict=True)
        ]
        debiased = guarantees.as_run(paths, betas, debias=True).covered
        np.testing.assert_array_equal(debiased, np.logical_and.reduce(alone))
        assert (debiased >= expected).all()
    assert guarantees.as_run(paths, best.thresholds).covered.any()


@pytest.mark.parametrize("signs", ["rademacher", "deepest"])
@pytest.mark.parametrize("name", GROUPS)
def test_the_statistical_part_agrees_with_the_split_form_at_its_thresholds(name, signs):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(1400)
    deepest = spread_out(rng, cascade.dictionaries[-1], 60, 6)
    codes = cascade.synthesize(deepest)[1:]
    split = guarantees.statistical(cascade, codes, signs=signs, delta=0.3)
    thresholds = [np.where(np.isfinite(beta), beta, 1.0) for beta in split.thresholds]
    found = guarantees.as_run(guarantees.path_interference(cascade, codes, signs), thresholds, delta=0.3)
    np.testing.assert_array_equal(found.failure_bound < 1, split.certified | found.covered)
    assert split.certified.any()
    assert not split.certified.all()


def test_dependent_active_atoms_are_not_certified_for_debiasing():
    filters = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.6, 0.8, 0.0]])[:, None]
    cascade = dcsc.Cascade([dcsc.ConvolutionalDictionary(filters, 3, (9,), normalize=True)])
    code = np.zeros((1, 3, 3))
    code[0, :, 0] = 1.0
    paths = guarantees.path_interference(cascade, [code])
    assert guarantees.as_run(paths, [0.0], debias=True).failure_bound == 1.0


def test_batches_keep_their_shape():
    cascade = support.CASCADES[GROUPS[0]]()
    deepest = spread_out(np.random.default_rng(0), cascade.dictionaries[-1], 6, 2)
    codes = [code.reshape(2, 3, *code.shape[1:]) for code in cascade.synthesize(deepest)[1:]]
    found = guarantees.as_run(guarantees.path_interference(cascade, codes), [0.1, 0.1])
    assert found.covered.shape == found.failure_bound.shape == (2, 3)


def test_independent_atoms_are_told_as_their_smallest_eigenvalue_says():
    told = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        dictionary = support.nearly_orthogonal(seed, 8, 1, (12,), (8,), (48,), 0.05 + 0.1 * (seed % 10))
        if seed % 2:
            dictionary = dcsc.families.create("hadamard-dirac", (48,), taps=16)
        for size in (1, 4, 12, 30, 48):
            codes = RaggedCodes.from_dense(
                support.random_codes(rng, dictionary.code_shape, np.full(2, size), np.ones(2)), dictionary.code_shape
            )
            found = independent_atoms(dictionary, codes, np.arange(2))
            for row, independent in enumerate(found):
                columns = dictionary.to_sparse().toarray()[:, codes.rows(slice(row, row + 1)).atom]
                smallest = np.linalg.svd(columns, compute_uv=False)[-1] ** 2 if size <= len(columns) else 0.0
                assert independent == (smallest > 1e-10 * (1 + size)) or abs(smallest - 1e-10 * (1 + size)) < 1e-11
                told.append(independent)
    assert 0 < np.mean(told) < 1


def test_a_support_that_the_columns_do_not_make_has_no_certificate_of_the_plain_model():
    """An entry of the size of rounding, which codes leave out."""
    first = dcsc.ConvolutionalDictionary(np.array([[[1.0], [0.0]], [[0.6], [0.8]]]), 1, 4)
    second = dcsc.ConvolutionalDictionary(np.array([[[1.0], [-1e-18]]]), 1, 4)
    model, deepest = dcsc.Cascade([first, second]), np.array([[[1.0, 0, 0, 0]]])
    made = np.zeros((1, 2, 4))
    made[0, :, 0] = 1.0, -1e-18
    left_out = np.where(np.abs(made) > 1e-12, made, 0.0)
    for code, is_known in ((made, True), (left_out, False)):
        interference = guarantees.path_interference(model, [code, deepest], "deepest")
        found = guarantees.as_run(interference, None, debias=True)
        assert found.determined.tolist() == [is_known]
