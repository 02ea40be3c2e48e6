"""A threshold for each filter: what is covered is recovered, and what a common threshold covers is covered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc import Cascade, guarantees
from dcsc.errors import UserError
from dcsc.guarantees import by_filter
from dcsc.guarantees.bounds import closed_form
from dcsc.model.coherence import filter_coherence
from dcsc.ragged import RaggedCodes
from tests.strategies import dictionaries, sparse_codes
from tests.theory import enumeration, support
from tests.theory.test_statistical_guarantees import spread_out

seeds = st.integers(0, 2**32 - 1)
FORMS = ("coherence", "instance")


def scaled_by_filter(rng, codes, contrast):
    """Magnitudes that differ by filter, so that thresholds by filter matter."""
    factors = np.exp(np.log(contrast) * rng.random(codes.shape[1]))
    return codes * factors[(slice(None), *[None] * (codes.ndim - 2))]


@given(dictionaries(), seeds, st.sampled_from([0.05, 0.3, 0.8]))
@settings(max_examples=120)
def test_pair_sums_agree_with_loops_over_the_atoms_of_stripes(dictionary, seed, density):
    code = sparse_codes(np.random.default_rng(seed), dictionary.code_shape, density, batch=(2,))
    largest = np.abs(code).reshape(2, dictionary.n_filters, -1).max(axis=-1)
    listed = RaggedCodes.from_dense(code, dictionary.code_shape)
    for power in (1, 2):
        weights = filter_coherence(dictionary) ** power
        off, on = np.zeros((2, 2, dictionary.n_filters))
        for trial, f in np.ndindex(2, dictionary.n_filters):
            for position in np.ndindex(dictionary.positions):
                total = 0.0
                for g, *place in np.argwhere(code[trial]):
                    lags = [
                        min((p - q) % n, (q - p) % n)
                        for p, q, n in zip(place, position, dictionary.positions, strict=True)
                    ]
                    if all(lag < overlap for lag, overlap in zip(lags, dictionary.overlap, strict=True)):
                        total += weights[f, g] * largest[trial, g] ** power
                off[trial, f] = max(off[trial, f], total)
                if code[(trial, f, *position)]:
                    on[trial, f] = max(on[trial, f], total - weights[f, f] * largest[trial, f] ** power)
        found = by_filter.pair_sums(dictionary, listed, power)
        np.testing.assert_allclose(found, (off, on), atol=1e-12)


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_pair_sums_bound_the_interference_and_its_variance(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(4100)
    codes = support.random_codes(
        rng, dictionary.code_shape, rng.integers(0, 14, 200), rng.choice([1.0, 0.4], 200), dictionary.overlap
    )
    listed = RaggedCodes.from_dense(codes, dictionary.code_shape)
    flat, gram = np.abs(codes).reshape(200, -1), np.abs(support.dense_gram(dictionary))
    for power in (1, 2):
        actual = (flat**power @ gram**power).reshape(200, dictionary.n_filters, -1)
        active = (flat > 0).reshape(actual.shape)
        off, on = by_filter.pair_sums(dictionary, listed, power)
        assert (np.where(active, 0, actual).max(axis=-1) <= off + 1e-12).all()
        assert (np.where(active, actual, 0).max(axis=-1) <= on + 1e-12).all()


def ends(layer, fraction):
    """Thresholds inside the intervals of the filters, 0 being the lower ends and 1 the upper."""
    lower, upper = layer.threshold_lower, layer.threshold_upper
    upper = np.where(np.isfinite(upper), upper, lower + 1)
    with np.errstate(invalid="ignore"):
        margin = np.minimum(1e-10 * (1 + layer.x_max[:, None]), (upper - lower) / 4)
        inside = np.clip(lower + fraction * (upper - lower), lower + margin, upper - margin)
    return np.where(layer.holds[:, None], inside, layer.threshold)


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_one_layer_is_recovered_whenever_a_guarantee_holds(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(4200)
    count = 800
    codes = support.random_codes(
        rng, dictionary.code_shape, rng.integers(0, 12, count), rng.choice([1.0, 0.9, 0.1], count), dictionary.overlap
    )
    codes = np.concatenate(
        [codes[: count // 2], np.stack([scaled_by_filter(rng, code[None], 0.02)[0] for code in codes[count // 2 :]])]
    )
    smallest = np.where(codes != 0, np.abs(codes), 1.0).reshape(count, -1).min(axis=1)
    eps = smallest * rng.choice([0.0, 0.0, 0.02, 0.2], count)
    model, layers, targets = support.adversarial_path(rng, Cascade([dictionary]), codes)
    signals = layers[0] + support.aligned_noise(rng, dictionary, layers, targets, model.signs[0], eps)
    applied = {}
    for form in FORMS:
        for rule in ("hard", "soft"):
            middle = guarantees.uniform(model, [codes], eps, rule=rule, form=form, by_filter=True)
            for fraction in (0.0, 0.5, 1.0):
                chosen = [ends(middle.layers[0], fraction)]
                promise = guarantees.uniform(
                    model, [codes], eps, rule=rule, form=form, threshold=chosen, by_filter=True
                )
                covered = middle.holds & promise.holds
                assert covered.sum() > 0.98 * middle.holds.sum()
                result = support.pursue(model, signals, rule, chosen, by_filter=True)
                assert support.recovered(result, layers)[0][covered].all()
                error = support.layer_errors(model, result, layers)[0]
                assert (error <= promise.layers[0].error_bound + 1e-12)[covered].all()
        applied[form] = int(middle.holds.sum())
    assert 100 < applied["coherence"] <= applied["instance"]
    assert applied["coherence"] < count or name in ("1-D, one filter", "2-D, orthonormal")


def all_signs_recovered(cascade, code, thresholds):
    """Whether thresholding one code of one layer recovers it whatever its signs, by enumeration."""
    active = np.flatnonzero(code)
    signs = support.all_signs(len(active))
    trials = np.zeros((len(signs), code.size))
    trials[:, active] = signs * np.abs(code.ravel()[active])
    layers = [None, trials.reshape(-1, *code.shape)]
    layers[0] = cascade.dictionaries[0].synthesize(layers[1])
    betas = [np.broadcast_to(thresholds, (len(signs), len(thresholds)))]
    result = support.pursue(cascade, layers[0], "hard", betas, by_filter=True)
    return support.recovered(result, layers)[0].all()


@pytest.mark.parametrize("name", ["1-D, stride 8 of 16 taps", "1-D, stride 1", "2-D, unequal strides"])
def test_no_signs_of_all_defeat_a_covered_code_and_some_defeat_others(name):
    """Of one layer the instance form is exact, up to supports that come back with a wrong sign."""
    dictionary = support.DICTIONARIES[name]()
    cascade, rng, count = Cascade([dictionary]), np.random.default_rng(4300), 160
    codes = scaled_by_filter(
        rng,
        support.random_codes(rng, dictionary.code_shape, rng.integers(1, 9, count), np.ones(count), dictionary.overlap),
        0.25,
    )
    betas = guarantees.uniform(cascade, [codes], form="instance", by_filter=True).thresholds[0]
    betas = betas * rng.choice([0.2, 1.0, 1.8], (count, 1))
    told = {
        form: guarantees.uniform(cascade, [codes], form=form, threshold=[betas], by_filter=True).holds for form in FORMS
    }
    recovered = np.array([all_signs_recovered(cascade, *one) for one in zip(codes, betas, strict=True)])
    assert not (told["coherence"] & ~told["instance"]).any()
    assert recovered[told["instance"]].all()
    assert 10 < told["instance"].sum() < count - 10
    assert (~recovered[~told["instance"]]).mean() > 0.7


def test_paths_of_three_layers_are_recovered_for_all_signs():
    cascade = support.CASCADES["1-D, integer filters, three layers"]()
    check_paths(cascade, 4400, rule="hard")
    check_paths(cascade, 4401, rule="soft")


@pytest.mark.parametrize("rule", ["hard", "soft"])
@pytest.mark.parametrize("name", [name for name in support.CASCADES if "groups" in name])
def test_paths_are_recovered_whenever_a_guarantee_holds(name, rule):
    check_paths(support.CASCADES[name](), 4410, rule)


def check_paths(cascade, seed, rule):
    rng, count, deepest_layer = np.random.default_rng(seed), 600, cascade.dictionaries[-1]
    deepest = support.random_codes(
        rng, deepest_layer.code_shape, rng.integers(0, 6, count), rng.choice([1.0, 0.8], count), deepest_layer.overlap
    )
    deepest = scaled_by_filter(rng, deepest, 0.6)
    model, layers, targets = support.adversarial_path(rng, cascade, deepest)
    eps = rng.choice([0.0, 1e-4, 1e-3, 1e-2], count)
    signals = layers[0] + support.aligned_noise(rng, model.dictionaries[0], layers, targets, model.signs[0], eps)
    held = {}
    for form in FORMS:
        for threshold in ("midpoint", "lower"):
            options = {"rule": rule, "form": form, "threshold": threshold}
            promise = guarantees.uniform(model, layers[1:], eps, by_filter=True, **options)
            result = support.pursue(model, signals, rule, promise.thresholds, by_filter=True)
            errors = support.layer_errors(model, result, layers)
            covered = np.ones(count, dtype=bool)
            for layer, exact, error in zip(promise.layers, support.recovered(result, layers), errors, strict=True):
                covered &= layer.holds
                assert exact[covered].all()
                assert (error <= layer.error_bound + 1e-12)[covered].all()
            held[form] = covered.sum()
            common = guarantees.uniform(model, layers[1:], eps, **options)
            if rule == "hard" or threshold == "lower":
                assert not (common.holds & ~promise.holds).any()
    assert held["instance"] > np.count_nonzero(~deepest.reshape(count, -1).any(axis=1)) + 50


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_whatever_a_common_threshold_covers_is_covered_by_filter(name, form):
    dictionary = support.DICTIONARIES[name]()
    rng, count = np.random.default_rng(4500), 600
    codes = support.random_codes(
        rng, dictionary.code_shape, rng.integers(0, 12, count), rng.choice([1.0, 0.7], count), dictionary.overlap
    )
    codes = np.where(rng.random((count, *[1] * (codes.ndim - 1))) < 0.5, codes, scaled_by_filter(rng, codes, 0.02))
    eps = rng.choice([0.0, 1e-3, 1e-2], count)
    model = Cascade([dictionary])
    common = guarantees.uniform(model, [codes], eps, form=form)
    each = guarantees.uniform(model, [codes], eps, form=form, by_filter=True)
    fixed = guarantees.uniform(
        model, [codes], eps, form=form, by_filter=True, threshold=[common.thresholds[0][:, None]]
    )
    assert not (common.holds & ~each.holds).any()
    assert not (common.holds & ~fixed.holds).any()
    assert (each.layers[0].error_bound <= common.layers[0].error_bound * (1 + 1e-9) + 1e-12)[common.holds].all()
    assert (each.layers[0].threshold_lower <= common.layers[0].threshold_lower[:, None] + 1e-12).all()
    assert (each.layers[0].threshold_upper >= common.layers[0].threshold_upper[:, None] - 1e-12).all()
    if dictionary.n_filters > 1 and name != "2-D, orthonormal":
        assert (each.holds & ~common.holds).any()


def test_a_form_without_a_statement_for_each_filter_is_refused():
    dictionary = support.DICTIONARIES["1-D, stride 1"]()
    with pytest.raises(UserError, match="does not tell filters apart"):
        guarantees.uniform(Cascade([dictionary]), [np.zeros((1, *dictionary.code_shape))], form="babel", by_filter=True)


def test_reasons_name_the_filter():
    dictionary = support.DICTIONARIES["1-D, stride 1"]()
    code = np.zeros((1, *dictionary.code_shape))
    code[0, 1, 3] = 1.0
    found = guarantees.uniform(
        Cascade([dictionary]), [code], by_filter=True, threshold=[[0.9, 1.2, 0.9]], form="instance"
    )
    assert "its threshold 1.2 for filter 1 lies outside" in found.reason
    assert dcsc.stripe_norm(code[0], dictionary) == 1


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_exact_failure_of_a_layer_stays_below_the_closed_bounds(name):
    dictionary = support.DICTIONARIES[name]()
    rng, count = np.random.default_rng(4600), 40
    codes = scaled_by_filter(
        rng, support.random_codes(rng, dictionary.code_shape, rng.integers(1, 9, count), np.ones(count)), 0.3
    )
    listed = RaggedCodes.from_dense(codes, dictionary.code_shape)
    smallest = np.where(codes != 0, np.abs(codes), np.inf).reshape(count, dictionary.n_filters, -1).min(axis=-1)
    eps = rng.choice([0.0, 0.0, 0.02], count)
    gram = support.dense_gram(dictionary)
    bounds = {}
    for factor in (1.0, 0.7):
        given = np.where(np.isfinite(smallest), factor * smallest / 2, 1e3)
        for tail in ("hoeffding", "gaussian"):
            options = {} if factor == 1 else {"threshold": given}
            beta, bounds[factor, tail] = by_filter.closed_failure(dictionary, listed, eps, tail=tail, **options)
            for row in np.flatnonzero(bounds[factor, tail] < 1):
                exact = exact_failure_by_filter(gram, codes[row], beta[row], eps[row])
                assert exact <= bounds[factor, tail][row] + 1e-12
        assert (bounds[factor, "gaussian"] <= bounds[factor, "hoeffding"]).all()
    assert (bounds[1.0, "hoeffding"] <= bounds[0.7, "hoeffding"]).all()
    assert (bounds[1.0, "hoeffding"] < 1).any()


def exact_failure_by_filter(gram, code, beta, eps):
    """Share of all signs for which some noise of at most eps in each correlation breaks the support."""
    each = np.repeat(beta, code.size // len(beta))
    flat = np.abs(code).ravel()
    active = np.flatnonzero(flat)
    signed = support.all_signs(len(active)) * flat[active]
    correlations = signed @ (gram + np.eye(len(gram)))[active]
    failing = np.abs(correlations) + eps > each
    failing[:, active] = np.sign(signed) * correlations[:, active] - eps <= each[active]
    return failing.any(axis=1).mean()


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_the_closed_bound_by_filter_is_never_above_that_of_a_common_threshold(name):
    dictionary = support.DICTIONARIES[name]()
    rng, count = np.random.default_rng(4700), 300
    codes = support.random_codes(
        rng, dictionary.code_shape, rng.integers(0, 12, count), rng.choice([1.0, 0.6], count), dictionary.overlap
    )
    codes = np.where(rng.random((count, *[1] * (codes.ndim - 1))) < 0.5, codes, scaled_by_filter(rng, codes, 0.2))
    listed = RaggedCodes.from_dense(codes, dictionary.code_shape)
    eps = rng.choice([0.0, 0.01, 0.3], count)
    for noise_variance in (0.0, 1e-3):
        each = by_filter.closed_failure(dictionary, listed, eps, noise_variance=noise_variance)[1]
        common = closed_form(dictionary, listed, eps, "coherence", noise_variance)[1]
        assert (each <= common * (1 + 1e-9)).all()
    assert (each < 0.9 * common).any() or name in ("1-D, one filter", "2-D, orthonormal")


def test_an_unknown_tail_is_refused():
    dictionary = support.DICTIONARIES["1-D, stride 1"]()
    codes = RaggedCodes.from_dense(np.zeros((1, *dictionary.code_shape)), dictionary.code_shape)
    with pytest.raises(UserError, match="did you mean"):
        by_filter.closed_failure(dictionary, codes, np.zeros(1), tail="gausian")


def half_by_filter(codes):
    """X_min,f / 2 of every layer, X_min / 2 of the code for filters without active atoms."""
    betas = []
    for code in codes:
        magnitudes = np.where(code != 0, np.abs(code), np.inf).reshape(*code.shape[:2], -1).min(axis=-1)
        common = magnitudes.min(axis=1, keepdims=True)
        each = np.where(np.isfinite(magnitudes), magnitudes, common) / 2
        betas.append(np.where(np.isfinite(each), each, 1.0))
    return betas


@pytest.mark.parametrize("tail", ["hoeffding", "exact"])
@pytest.mark.parametrize("name", ["1-D, stride 1", "1-D, two channels, stride 4", "2-D, unequal strides"])
def test_exact_failure_of_one_layer_stays_below_its_bound_as_run(name, tail):
    dictionary = support.DICTIONARIES[name]()
    rng, count = np.random.default_rng(4800), 60
    codes = support.random_codes(rng, dictionary.code_shape, rng.integers(2, 10, count), np.ones(count))
    codes = scaled_by_filter(rng, codes, 0.3)
    gram = support.dense_gram(dictionary)
    paths = guarantees.path_interference(dcsc.Cascade([dictionary]), [codes])
    informative = failing = 0
    for factor in (0.6, 1.0, 1.3):
        beta = factor * half_by_filter([codes])[0]
        found = guarantees.as_run(paths, [beta], by_filter=True, tail=tail)
        coherence = guarantees.draw_failures(
            paths.model, paths.codes[0], beta, rung="statistical-coherence", tail=tail, by_filter=True
        )
        assert (found.failure_bound <= coherence + 1e-12).all()
        for row in np.flatnonzero(found.failure_bound < 1):
            exact = exact_failure_by_filter(gram, codes[row], beta[row], 0.0)
            assert exact <= found.failure_bound[row] + 1e-12
            informative += found.failure_bound[row] > 0
            failing += exact > 0
    assert informative > 5
    assert failing > 0


@pytest.mark.parametrize("name", support.CASCADES)
def test_the_uniform_part_as_run_agrees_with_the_instance_form(name):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(4900)
    deepest = support.random_codes(rng, cascade.dictionaries[-1].code_shape, rng.integers(0, 7, 100), np.ones(100))
    codes = cascade.synthesize(scaled_by_filter(rng, deepest, 0.6))[1:]
    paths = guarantees.path_interference(cascade, codes)
    best = guarantees.uniform(cascade, codes, form="instance", by_filter=True)
    for rule in ("hard", "soft"):
        for betas in (best.thresholds, half_by_filter(codes), [np.float64(0.3)] * cascade.depth):
            options = {"rule": rule, "by_filter": True}
            expected = guarantees.uniform(cascade, codes, form="instance", threshold=betas, **options).holds
            np.testing.assert_array_equal(guarantees.covered_as_run(paths, betas, **options), expected)
            np.testing.assert_array_equal(guarantees.as_run(paths, betas, **options).covered, expected)
    for betas in (half_by_filter(codes), best.thresholds):
        debiased = guarantees.covered_as_run(paths, betas, debias=True, by_filter=True)
        assert (debiased >= guarantees.covered_as_run(paths, betas, by_filter=True)).all()
    assert guarantees.as_run(paths, best.thresholds, by_filter=True).covered.any()


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("signs", ["rademacher", "deepest"])
@pytest.mark.parametrize("name", [name for name in support.CASCADES if "groups" in name])
def test_failure_of_paths_stays_below_its_bound(name, signs, debias):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(5000)
    deepest = scaled_by_filter(rng, spread_out(rng, cascade.dictionaries[-1], 24, 4), 0.6)
    codes = cascade.synthesize(deepest)[1:]
    paths = guarantees.path_interference(cascade, codes, signs)
    betas = half_by_filter(codes)
    found = guarantees.as_run(paths, betas, debias=debias, delta=0.2, by_filter=True)
    assert not found.failure_bound[found.covered & found.determined].any()
    promised = np.flatnonzero(found.determined & (found.failure_bound < 1))[:5]
    assert len(promised) > 2
    for row in promised:
        chosen = [beta[row] for beta in betas]
        if signs == "deepest":
            active = np.flatnonzero(deepest[row])
            trials = np.zeros((2 ** len(active), deepest[row].size))
            trials[:, active] = support.all_signs(len(active)) * np.abs(deepest[row].ravel()[active])
            model, layers = cascade, cascade.synthesize(trials.reshape(-1, *deepest.shape[1:]))
        else:
            model, layers = support.random_path(rng, cascade, np.repeat(deepest[row : row + 1], 60, axis=0))
        count = len(layers[0])
        given = [np.broadcast_to(beta, (count, len(beta))) for beta in chosen]
        result = support.pursue(model, layers[0], "hard", given, debias=debias, by_filter=True)
        missed = count - np.logical_and.reduce(support.recovered(result, layers)).sum()
        rate = missed / count if signs == "deepest" else support.clopper_pearson_lower(missed, count, 1 - 1e-6)
        assert rate <= found.failure_bound[row] + 1e-12


@pytest.mark.parametrize("signs", ["rademacher", "deepest"])
@pytest.mark.parametrize("debias", [False, True])
def test_a_common_threshold_given_filter_by_filter_says_the_same_as_run(signs, debias):
    cascade = support.CASCADES["1-D, groups, two layers"]()
    rng = np.random.default_rng(5100)
    codes = cascade.synthesize(spread_out(rng, cascade.dictionaries[-1], 60, 6))[1:]
    paths = guarantees.path_interference(cascade, codes, signs)
    common = [beta.min(axis=1) for beta in half_by_filter(codes)]
    for rule in ("hard", "soft"):
        options = {"rule": rule, "debias": debias, "delta": 0.3}
        one = guarantees.as_run(paths, common, **options)
        each = guarantees.as_run(paths, [beta[:, None] for beta in common], by_filter=True, **options)
        np.testing.assert_array_equal(one.covered, each.covered)
        np.testing.assert_allclose(one.failure_bound, each.failure_bound, rtol=1e-9, atol=1e-15)
        assert rule == "soft" or 0 < (one.failure_bound < 1).mean() < 1


def test_rungs_of_draws_by_filter_are_those_of_the_functions():
    dictionary = support.DICTIONARIES["1-D, two channels, stride 4"]()
    rng, model = np.random.default_rng(5200), Cascade([dictionary])
    codes = scaled_by_filter(
        rng, support.random_codes(rng, dictionary.code_shape, rng.integers(1, 9, 80), np.ones(80)), 0.3
    )
    listed, beta = RaggedCodes.from_dense(codes, dictionary.code_shape), half_by_filter([codes])[0]
    told = {
        rung: guarantees.draw_failures(model, listed, beta, rung=rung, by_filter=True)
        for rung in ("uniform-coherence", "uniform-instance", "statistical-coherence", "statistical-instance")
    }
    assert not (told["uniform-instance"] & ~told["uniform-coherence"]).any()
    assert (told["statistical-instance"] <= told["statistical-coherence"] + 1e-12).all()
    assert not told["statistical-instance"][~told["uniform-instance"]].any()
    assert 0 < told["uniform-instance"].mean() < 1
    for rung in ("uniform-babel", "statistical-babel2"):
        with pytest.raises(UserError, match="does not tell filters apart"):
            guarantees.draw_failures(model, listed, beta, rung=rung, by_filter=True)


def test_no_covered_path_fails_and_no_bound_lies_below_the_exact_failure_rate():
    """Small cascades of one to three layers, enumerated over the signs of all of them."""
    counts = {name: [0, 0] for name in (*FORMS, "random")}
    depths = set()
    for seed in range(400):
        rng = np.random.default_rng([5300, seed])
        small = enumeration.random_small(rng)
        paths = enumeration.random_sign_paths(small, enumeration.random_deepest(rng, small))
        if paths is None:
            continue
        codes, model = small.shaped(paths.codes), small.cascade
        factor = rng.choice([0.7, 1.0, 1.0, 1.2])
        rule, debias = rng.choice(["hard", "soft"]), bool(rng.random() < 0.5)
        halves = [factor * beta for beta in half_by_filter(codes)]

        def pursue(thresholds, debias=False, rule=rule, small=small, paths=paths):
            sizes = [matrix.shape[1] for matrix in small.matrices]
            each = [np.repeat(b, size // b.shape[1], axis=1) for b, size in zip(thresholds, sizes, strict=True)]
            return enumeration.recovered_draws(paths, enumeration.Pursuit(rule, each, debias))

        for form in FORMS:
            for threshold in ("midpoint", "lower", halves):
                promise = guarantees.uniform(model, codes, rule=rule, form=form, threshold=threshold, by_filter=True)
                recovered = pursue(promise.thresholds)
                assert (recovered[promise.holds] == 1).all()
                counts[form][0] += promise.holds.any()
                counts[form][1] += (recovered < 1).any()
        found = guarantees.as_run(
            guarantees.path_interference(model, codes),
            halves,
            rule=rule,
            debias=debias,
            delta=0.3,
            by_filter=True,
            tail=rng.choice(["hoeffding", "exact"]),
        )
        recovered = pursue(halves, debias)
        assert (recovered[found.covered] == 1).all()
        assert 1 - recovered[paths.draw].mean() <= found.failure_rate_bound + 1e-9
        counts["random"][0] += 0 < found.failure_rate_bound < 1
        counts["random"][1] += (recovered < 1).any() and found.failure_rate_bound < 1
        depths.add(model.depth)
    assert depths == {1, 2, 3}
    assert min(min(both) for both in counts.values()) > 10, counts


@pytest.mark.parametrize("form", ["coherence", "instance"])
@pytest.mark.parametrize("method", ["split", "optimised"])
def test_random_signs_are_certified_by_filter_wherever_they_are_by_a_common_threshold(form, method):
    """And elsewhere, too, where the magnitudes of filters differ."""
    dictionary = support.nearly_orthogonal(3, 8, 1, (12,), (8,), (96,), 0.2)
    rng = np.random.default_rng(90)
    codes = support.random_codes(rng, dictionary.code_shape, rng.integers(1, 12, 60), np.ones(60))
    codes *= np.geomspace(1, 0.25, dictionary.n_filters)[:, None]
    asked = {"form": form, "method": method, "delta": 0.1, "tail": "gaussian"}
    common = guarantees.statistical(Cascade([dictionary]), [codes], **asked)
    own = guarantees.statistical(Cascade([dictionary]), [codes], **asked, by_filter=True)
    assert own.thresholds[0].shape == (60, dictionary.n_filters)
    if form == "instance":
        assert not (common.certified & ~own.certified).any()
    assert own.certified.sum() > common.certified.sum()
    with pytest.raises(UserError, match="does not tell filters apart"):
        guarantees.statistical(Cascade([dictionary]), [codes], form="babel2", by_filter=True)
