"""
Statistical guarantees: their bounds against exact failure probabilities and against Monte Carlo.

Where supports are small all signs are enumerated, so that a violation is a fact and not a fluctuation.
Monte Carlo comparisons have fixed seeds and share a family-wise error of 0.1 %.
"""

import math

import numpy as np
import pytest

import dcsc
from dcsc import Cascade, guarantees
from dcsc.errors import UserError
from dcsc.guarantees import tails
from dcsc.guarantees.interference import rademacher_interference, support_gram
from dcsc.guarantees.plain_model import Propagation
from tests.strategies import dense_matrix
from tests.theory import support

FORMS = ("coherence", "babel2", "instance")
SMALL = [name for name in support.CASCADES if "groups" in name]
# Least squares on three layers of integer filters takes its time.
WITH_LEAST_SQUARES = [(name, False) for name in support.CASCADES] + [(name, True) for name in SMALL]
WITH_LEAST_SQUARES.append(pytest.param("1-D, integer filters, three layers", True, marks=pytest.mark.slow))
LEVEL = 1 - 0.001 / 100  # at most 100 Monte Carlo comparisons below


def test_the_constant_of_the_gaussian_tail_is_what_it_stands_for():
    from scipy.special import ndtr

    assert 1 / (4 * float(ndtr(-math.sqrt(2)))) == tails.GAUSSIAN


def small_codes(dictionary, rng, count, largest=9):
    sizes = rng.integers(1, largest + 1, count)
    contrasts = rng.choice([1.0, 0.9, 0.6, 0.3, 0.1], count)
    return support.random_codes(rng, dictionary.code_shape, sizes, contrasts, dictionary.overlap)


def exact_failure(gram, code, beta, eps):
    """Share of all signs for which some noise of at most eps in each correlation breaks the support."""
    flat = np.abs(code).ravel()
    active = np.flatnonzero(flat)
    signed = support.all_signs(len(active)) * flat[active]
    correlations = signed @ (gram + np.eye(len(gram)))[active]
    reached = np.abs(correlations) + eps > beta
    kept = np.sign(signed) * correlations[:, active] - eps > beta
    reached[:, active] = ~kept
    return reached.any(axis=1).mean()


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_exact_failure_of_one_layer_stays_below_every_bound(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(500)
    count = 240
    codes = np.concatenate(
        [small_codes(dictionary, rng, 120), support.near_limit_codes(rng, dictionary, rng.integers(6, 12, 120))]
    )
    x_min = np.where(codes != 0, np.abs(codes), np.inf).reshape(count, -1).min(axis=1)
    eps = x_min * rng.choice([0.0, 0.0, 0.0, 0.01, 0.2, 0.6], count)
    gram = support.dense_gram(dictionary)
    model = Cascade([dictionary])
    paths = {form: guarantees.statistical(model, [codes], eps, form=form, method="optimised") for form in FORMS}
    at_half = support.instance_failure(rademacher_interference(dictionary, codes), x_min / 2, eps, 0 * eps)
    informative = 0
    for row, code in enumerate(codes):
        for path in paths.values():
            beta = path.thresholds[0][row]
            exact = exact_failure(gram, code, beta, eps[row])
            assert exact <= path.probability[row] + 1e-12
        informative += 0 < paths["instance"].probability[row] < 1
        assert exact_failure(gram, code, x_min[row] / 2, eps[row]) <= at_half[row] + 1e-12
    if "orthonormal" not in name:
        assert informative > 10
    coherence, babel2, instance = (paths[form].probability for form in FORMS)
    assert (babel2 <= coherence * (1 + 1e-12)).all()
    assert (instance <= babel2 * (1 + 1e-12)).all()
    uniform = guarantees.uniform(model, [codes], eps, form="instance").holds
    assert not instance[uniform].any()
    assert uniform.sum() > 20


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_bounds_agree_with_dense_brute_force(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(600)
    codes = small_codes(dictionary, rng, 60, largest=20)
    x_min = np.where(codes != 0, np.abs(codes), np.inf).reshape(60, -1).min(axis=1)
    eps = x_min * rng.choice([0.0, 0.1, 0.3], 60)
    model = Cascade([dictionary])
    gram = np.abs(support.dense_gram(dictionary))
    found = guarantees.statistical(model, [codes], eps, method="optimised", tail="hoeffding")
    descending = -np.sort(-(gram**2), axis=1)

    def brute(row, beta, cut=True):
        x = np.abs(codes[row]).ravel()
        total = 0.0
        for i in range(len(x)):
            others = np.delete(np.arange(len(x)), i)
            v = (x[others] ** 2 * gram[i, others] ** 2).sum()
            worst = (x[others] * gram[i, others]).sum()
            margin = max(0.0, (x[i] - beta if x[i] else beta) - eps[row])
            if cut and margin > worst + 1e-13:
                continue
            total += min(1.0, (1 if x[i] else 2) * math.exp(-(margin**2) / (2 * v))) if v > 0 else 1.0
        return min(1.0, total)

    for row in range(60):
        assert found.probability[row] == pytest.approx(brute(row, found.thresholds[0][row]), abs=1e-12)
        if row < 8:
            grid = np.linspace(eps[row], x_min[row] - eps[row], 101)[1:-1]
            assert found.probability[row] <= 1.02 * min(brute(row, beta, cut=False) for beta in grid) + 1e-12
    k = dcsc.stripe_norm(codes, dictionary)
    spread = {"coherence": gram.max() ** 2 * k, "babel2": np.array([descending[:, :n].sum(axis=1).max() for n in k])}
    for form, squares in spread.items():
        margin = np.maximum(x_min - 2 * eps, 0) / np.abs(codes).reshape(60, -1).max(axis=1)
        with np.errstate(divide="ignore"):
            expected = np.minimum(1, 2 * dictionary.n_atoms * np.exp(-(margin**2) / (8 * squares)))
        path = guarantees.statistical(model, [codes], eps, form=form, method="optimised", tail="hoeffding")
        if gram.max() > 1e-12:
            np.testing.assert_allclose(path.probability, expected, atol=1e-12)


def test_bounds_never_shrink_as_the_noise_grows():
    dictionary = support.DICTIONARIES["1-D, stride 8, low coherence"]()
    rng = np.random.default_rng(700)
    codes = np.repeat(small_codes(dictionary, rng, 40), 30, axis=0)
    eps = np.tile(np.linspace(0, 3, 30), 40)
    for form in FORMS:
        found = guarantees.statistical(Cascade([dictionary]), [codes], eps, form=form, method="optimised")
        bounds = found.probability.reshape(40, 30)
        assert (np.diff(bounds, axis=1) >= -0.02 * bounds[:, 1:] - 1e-12).all()
        assert (bounds[:, -1] == 1).all()


def exact_path_failure(cascade, deepest, rule, thresholds, plain, debias=False):
    """Share of all signs, of the deepest code alone or of every layer, for which the path is missed."""
    codes = cascade.synthesize(deepest)[1:]
    if plain:
        active = np.flatnonzero(deepest)
        signs = support.all_signs(len(active))
        trials = np.zeros((len(signs), deepest.size))
        trials[:, active] = signs * np.abs(deepest.ravel()[active])
        model = cascade
        layers = cascade.synthesize(trials.reshape(-1, *deepest.shape))
    else:
        # The signs of the inner codes are those of T times what the layer below made: enumerate both.
        sizes = [np.count_nonzero(code) for code in codes]
        signs = support.all_signs(sum(sizes))
        parts, start = [], 0
        for code, size in zip(codes, sizes, strict=True):
            part = np.ones((len(signs), code.size), dtype=int)
            part[:, np.flatnonzero(code)] = signs[:, start : start + size]
            parts.append(part.reshape(-1, *code.shape))
            start += size
        model = Cascade(cascade.dictionaries, parts)
        layers = model.synthesize(np.broadcast_to(deepest, (len(signs), *deepest.shape)))
    betas = [np.full(len(signs), beta) for beta in thresholds]
    result = support.pursue(model, layers[0], rule, betas, debias=debias)
    return 1 - np.logical_and.reduce(support.recovered(result, layers)).mean()


def spread_out(rng, dictionary, count, largest):
    sizes = rng.integers(1, largest + 1, count)
    return support.random_codes(rng, dictionary.code_shape, sizes, rng.choice([1.0, 0.8, 0.5], count))


@pytest.mark.parametrize("rule", ["hard", "soft"])
@pytest.mark.parametrize("name", ["1-D, coarse groups", "2-D, coarse groups"])
def test_exact_failure_of_a_path_stays_below_the_optimised_bound(name, rule):
    if name.startswith("1"):
        above = support.nearly_orthogonal(21, 16, 1, (24,), (16,), (96,), 0.3)
        below = support.sparse_groups(22, 8, 16, (2,), (2,), (6,), 4, 0.1)
    else:
        above = support.nearly_orthogonal(23, 9, 1, (4, 4), (3, 3), (12, 12), 0.6)
        below = support.sparse_groups(24, 8, 9, (1, 1), (1, 1), (4, 4), 2, 0.2)
    cascade = Cascade([above, below])
    rng = np.random.default_rng(800)
    deepest = spread_out(rng, below, 60, 2 if name.startswith("1") else 4)
    codes = cascade.synthesize(deepest)[1:]
    found = guarantees.statistical(cascade, codes, rule=rule, method="optimised")
    assert (found.determined == [support.write_counts(below, code).max() <= 1 for code in deepest]).all()
    assert (found.probability[~found.determined] == 1).all()
    uniform = guarantees.uniform(cascade, codes, rule=rule, form="instance", threshold="lower")
    informative = 0
    for row in np.flatnonzero(found.determined):
        exact = exact_path_failure(cascade, deepest[row], rule, [beta[row] for beta in found.thresholds], False)
        assert exact <= found.probability[row] + 1e-12
        informative += 0 < found.probability[row] < 1
        if rule == "hard" and uniform.holds[row]:
            assert found.probability[row] == 0
    split = guarantees.statistical(cascade, codes, rule=rule, delta=0.5)
    assert (found.probability[split.certified & found.determined] <= 0.5).all()
    assert rule == "soft" or informative > 0


@pytest.mark.parametrize("debias", [False, True])
@pytest.mark.parametrize("name", support.DENSE)
def test_failure_rate_of_a_path_stays_below_the_optimised_bound(name, debias):
    rng = np.random.default_rng(850)
    compared, trials = 0, 300 if debias else 1000
    for size in (0.07, 0.1, 0.13, 0.17, 0.22):
        cascade = support.DENSE[name](size)
        deepest = support.one_per_group(rng, cascade.dictionaries[-1], 4, rng.integers(1, 14, 40))
        codes = cascade.synthesize(deepest)[1:]
        found = guarantees.statistical(cascade, codes, method="optimised", debias=debias)
        assert found.determined.all()
        assert not found.probability[guarantees.uniform(cascade, codes, form="instance").holds].any()
        rows = np.flatnonzero((found.probability > 1e-3) & (found.probability < 0.95))
        for row in rows[:3]:
            model, layers = support.random_path(rng, cascade, np.repeat(deepest[row : row + 1], trials, axis=0))
            betas = [np.full(trials, beta[row]) for beta in found.thresholds]
            result = support.pursue(model, layers[0], "hard", betas, debias=debias)
            exact = np.logical_and.reduce(support.recovered(result, layers))
            assert support.clopper_pearson_lower(trials - exact.sum(), trials, LEVEL) <= found.probability[row]
            compared += 1
        for delta in (0.05, 0.5):
            split = guarantees.statistical(cascade, codes, delta=delta, debias=debias)
            assert (found.probability[split.certified] <= delta).all()
    assert compared > 3


@pytest.mark.parametrize(("name", "debias"), WITH_LEAST_SQUARES)
def test_exact_failure_in_the_plain_model_stays_below_its_bound(name, debias):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(900)
    deepest = spread_out(rng, cascade.dictionaries[-1], 60, 4)
    codes = cascade.synthesize(deepest)[1:]
    for method in ("optimised", "split"):
        found = guarantees.statistical(
            cascade, codes, signs="deepest", method=method, debias=debias, delta=0.2, threshold="midpoint"
        )
        for row in np.flatnonzero(found.determined):
            betas = [beta[row] for beta in found.thresholds]
            exact = exact_path_failure(cascade, deepest[row], "hard", betas, True, debias)
            assert exact <= found.probability[row] + 1e-12
        assert found.determined.sum() > 15
        assert (found.probability[found.determined] < 1).sum() > 10


@pytest.mark.parametrize("name", support.DENSE)
def test_exact_failure_of_the_first_layer_in_the_plain_model_stays_below_an_informative_bound(name):
    rng = np.random.default_rng(950)
    informative = failing = 0
    for size in np.linspace(0.12, 0.6, 9):
        cascade = support.DENSE[name](size)
        above, below = cascade.dictionaries
        deepest = support.one_per_group(rng, below, 4, np.full(60, 10))
        found = Propagation.of(cascade).interference(deepest, 1)
        guard = np.full(60, 1e-14)
        betas, probabilities = tails.best_threshold(found, 0 * guard, guard)
        for row in np.flatnonzero((probabilities > 0) & (probabilities < 1)):
            trials = np.zeros((1024, below.n_atoms))
            trials[:, np.flatnonzero(deepest[row])] = support.all_signs(10)
            codes = below.synthesize(trials.reshape(-1, *below.code_shape))
            correlations = above.correlate(above.synthesize(codes))
            wrong = ((np.abs(correlations) > betas[row]) != (codes != 0)).reshape(1024, -1).any(axis=1)
            assert wrong.mean() <= probabilities[row] + 1e-12
            informative += 1
            failing += wrong.any()
    assert informative > 15
    assert failing > 5


def test_plain_interference_is_what_the_signs_make():
    rng = np.random.default_rng(1000)
    checked = 0
    for name in support.CASCADES:
        cascade = support.CASCADES[name]()
        deepest = spread_out(rng, cascade.dictionaries[-1], 12, 3)
        determined = guarantees.statistical(cascade, cascade.synthesize(deepest)[1:], signs="deepest").determined
        for code in deepest[determined]:
            active = np.flatnonzero(code)
            trials = np.zeros((2 ** len(active), code.size))
            trials[:, active] = support.all_signs(len(active)) * np.abs(code.ravel()[active])
            layers = cascade.synthesize(trials.reshape(-1, *code.shape))
            for layer in range(1, cascade.depth + 1):
                matrix = dense_matrix(cascade.dictionaries[layer - 1])
                true = layers[layer].reshape(len(trials), -1)
                sums = true @ (matrix.T @ matrix) - true
                sign = np.sign(true)
                found = Propagation.of(cascade).interference(code[None], layer)
                inactive = ~found.active[0]
                np.testing.assert_allclose((sums**2).mean(axis=0)[inactive], found.variance[0, inactive], atol=1e-12)
                np.testing.assert_allclose(np.abs(sums).max(axis=0)[inactive], found.bound[0, inactive], atol=1e-12)
                against = (sign * sums)[:, found.active[0]]
                np.testing.assert_allclose(against.mean(axis=0), found.locked[0, found.active[0]], atol=1e-12)
                np.testing.assert_allclose(against.var(axis=0), found.variance[0, found.active[0]], atol=1e-12)
                checked += 1
    assert checked > 50


def test_signs_do_not_move_what_is_said_to_be_determined():
    rng = np.random.default_rng(1100)
    moved = kept = 0
    for name in SMALL:
        cascade = support.CASCADES[name]()
        deepest = np.repeat(spread_out(rng, cascade.dictionaries[-1], 25, 8), 8, axis=0)
        layers = support.random_path(rng, cascade, deepest)[1]
        determined = guarantees.statistical(cascade, layers[1:], form="coherence").determined.reshape(25, 8)
        same = np.ones(25, dtype=bool)
        for layer in layers[1:]:
            groups = np.abs(layer).reshape(25, 8, -1)
            same &= np.ptp(groups, axis=1).max(axis=1) < 1e-12
        assert (determined == determined[:, :1]).all()
        assert same[determined[:, 0]].all()
        kept, moved = kept + int(determined[:, 0].sum()), moved + int((~same).sum())
    assert kept > 20
    assert moved > 20


@pytest.mark.parametrize(("name", "debias"), WITH_LEAST_SQUARES)
def test_certified_draws_fail_rarely(name, debias):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(1200)
    count = 100 if debias else 600  # least squares takes its time
    last = cascade.dictionaries[-1]
    deepest = support.random_codes(rng, last.code_shape, rng.integers(1, 6, count), rng.choice([1.0, 0.8], count))
    model, layers = support.random_path(rng, cascade, deepest)
    eps = 0.002 * np.ones(count)
    noise = rng.standard_normal(layers[0].shape)
    noise *= (eps / dcsc.patch_l2(noise, model.dictionaries[0])).reshape(-1, *[1] * (model.rank + 1))
    certified = {}
    for rule in ("hard",) if debias else ("hard", "soft"):
        for form in FORMS:
            found = guarantees.statistical(
                model, layers[1:], eps, delta=0.3, form=form, rule=rule, debias=debias, threshold="lower"
            )
            certified[rule, form] = found.certified
            if debias and form != "instance":
                continue
            result = support.pursue(model, layers[0] + noise, rule, found.thresholds, debias=debias)
            missed = found.certified & ~np.logical_and.reduce(support.recovered(result, layers))
            assert support.clopper_pearson_lower(missed.sum(), count, LEVEL) <= 0.3
            # Hoeffding is loose: certified draws practically never fail, which a wrong error bound would spoil.
            assert missed.sum() <= 0.02 * count
            exact = found.certified & ~missed
            if not debias:
                errors = support.layer_errors(model, result, layers)
                for layer, error in zip(found.layers, errors, strict=True):
                    assert (error > layer.error_bound + 1e-12)[exact].sum() <= 0.02 * count
        assert not (certified[rule, "coherence"] & ~certified[rule, "babel2"]).any()
        assert not (certified[rule, "babel2"] & ~certified[rule, "instance"]).any()
    assert certified["hard", "instance"].sum() > count / 10


@pytest.mark.parametrize("name", SMALL)
def test_mean_bound_with_debiasing_is_above_the_failure_rate(name):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(1300)
    last = cascade.dictionaries[-1]
    draws = 60
    for size in (1, 3, 8):
        deepest = support.random_codes(rng, last.code_shape, np.full(draws, size), np.ones(draws))
        model, layers = support.random_path(rng, cascade, deepest)
        found = guarantees.statistical(model, layers[1:], method="optimised", debias=True)
        of_layers = np.sum([layer.probability for layer in found.layers], axis=0)
        parts = np.where(found.determined, found.probability, of_layers)
        assert np.isnan(found.probability[~found.determined]).all()
        assert found.failure_rate_bound == min(1.0, parts.mean())
        result = support.pursue(model, layers[0], "hard", found.thresholds, debias=True)
        missed = ~np.logical_and.reduce(support.recovered(result, layers))
        excess = missed - parts
        assert excess.mean() <= 4.5 * excess.std() / math.sqrt(draws) + 1e-12


@pytest.mark.parametrize("name", ["1-D, stride 8 of 16 taps", "2-D, stride 2 of 4 x 3 taps", "1-D, one filter"])
def test_gaussian_noise_fails_no_more_often_than_bounded(name):
    dictionary = support.DICTIONARIES[name]()
    model = Cascade([dictionary])
    rng = np.random.default_rng(1400)
    trials, informative = 4000, 0
    for deviation in (0.05, 0.1, 0.15, 0.2):
        code = support.random_codes(rng, dictionary.code_shape, [4], [1.0])[0]
        codes = np.abs(code) * rng.choice([-1.0, 1.0], (trials, *code.shape))
        signals = dictionary.synthesize(codes)
        signals += deviation * rng.standard_normal(signals.shape)
        for form in FORMS:
            found = guarantees.statistical(
                model, [code[None]], form=form, method="optimised", noise_deviation=deviation
            )
            result = support.pursue(model, signals, "hard", [np.full(trials, found.thresholds[0][0])])
            missed = trials - support.recovered(result, [signals, codes])[0].sum()
            assert support.clopper_pearson_lower(missed, trials, LEVEL) <= found.probability[0]
            informative += 0 < found.probability[0] < 1
        bound = guarantees.gaussian_noise_bound(dictionary, deviation, 0.1)
        exceeded = (
            dcsc.patch_l2(deviation * rng.standard_normal((trials, *dictionary.signal_shape)), dictionary) > bound
        )
        assert support.clopper_pearson_lower(exceeded.sum(), trials, LEVEL) <= 0.1
        assert exceeded.mean() > 0.02
    assert informative >= 2


def test_noise_failure_is_part_of_delta():
    dictionary = support.DICTIONARIES["1-D, stride 8, low coherence"]()
    code = np.zeros((1, *dictionary.code_shape))
    code[0, 0, 0] = 1.0
    bound = guarantees.gaussian_noise_bound(dictionary, 0.02, 0.005)
    found = guarantees.statistical(
        Cascade([dictionary]), [code], bound, method="optimised", noise_failure=0.005, delta=0.01
    )
    assert found.probability[0] == 0.005
    assert found.certified[0]


COLUMNS = [0, 1, 2, 4, 8, 16, 32, 64, 3, 12, 48, 127]


def aligned_cascade(blocks, size=128, columns=COLUMNS):
    """The cascade in which the plain model always fails; of 128 points, random signs fail in one draw of sixteen."""
    hadamard = np.array([[(-1) ** (a & b).bit_count() for b in range(size)] for a in range(size)])
    above = np.concatenate([np.eye(size), hadamard / math.sqrt(size)])[:, None]
    below = np.zeros((size, 2 * size, 1))
    for i in range(size):
        below[i, size + np.array(columns), 0] = hadamard[i, columns] / math.sqrt(len(columns))
    return Cascade(
        [
            dcsc.ConvolutionalDictionary(above, size, (size * blocks,)),
            dcsc.ConvolutionalDictionary(below, 1, (blocks,)),
        ]
    )


def test_aligned_cascade_fails_always_in_the_plain_model_and_rarely_with_random_signs():
    cascade = aligned_cascade(1)
    x = 1 / math.sqrt(12)
    deepest = np.zeros((1, 128, 1))
    deepest[0, 5] = 1
    layers = cascade.synthesize(deepest)
    correlations = np.abs(cascade.correlate_layer(1, layers[0])).ravel()
    active = layers[1].ravel() != 0
    assert active.sum() == 12
    assert correlations[~active].max() == pytest.approx(12 * x / math.sqrt(128))
    assert correlations[~active].max() > correlations[active].max() + 0.01
    plain = guarantees.statistical(cascade, layers[1:], signs="deepest", method="optimised")
    assert plain.determined[0]
    assert plain.probability[0] == 1

    signs = [np.ones((4096, *code.shape[1:]), dtype=int) for code in layers[1:]]
    signs[0].reshape(4096, -1)[:, active] = support.all_signs(12)
    model = Cascade(cascade.dictionaries, signs)
    drawn = model.synthesize(np.repeat(deepest, 4096, axis=0))
    for fraction, failures in ((0.5, 4096), (0.885, 256), (0.95, 256), (0.999, 256)):
        betas = [np.full(4096, fraction * x), np.full(4096, 0.9)]
        found = support.recovered(support.pursue(model, drawn[0], "hard", betas), drawn)
        assert 4096 - np.logical_and.reduce(found).sum() == failures
    top = dcsc.pursuit.layered_thresholding(model, drawn[0], rule="top-k", k=[12, 1])
    assert 4096 - np.logical_and.reduce(support.recovered(top, drawn)).sum() == 256
    bound = support.instance_failure(
        rademacher_interference(cascade.dictionaries[0], layers[1]), np.array([0.95 * x]), np.zeros(1), np.zeros(1)
    )
    assert bound[0] >= 256 / 4096


def test_variances_of_random_signs_are_wrong_for_the_plain_model():
    # With 512 points and 23 columns the bound for random signs is small, yet plain signs always fail.
    columns = [0, *(2**power for power in range(9)), 3, 5, 6, 9, 10, 12, 24, 48, 96, 192, 384, 257, 511]
    cascade = aligned_cascade(1, 512, columns)
    deepest = np.zeros((1, 512, 1))
    deepest[0, 77] = 1
    codes = cascade.synthesize(deepest)[1:]
    with_random_signs = guarantees.statistical(cascade, codes, method="optimised")
    plain = guarantees.statistical(cascade, codes, method="optimised", signs="deepest")
    assert with_random_signs.probability[0] < 0.05
    assert plain.determined[0]
    assert plain.probability[0] == 1
    assert exact_path_failure(cascade, deepest[0], "hard", [b[0] for b in with_random_signs.thresholds], True) == 1
    draws = 60
    model, layers = support.random_path(np.random.default_rng(1450), cascade, np.repeat(deepest, draws, axis=0))
    betas = [np.full(draws, beta[0]) for beta in with_random_signs.thresholds]
    exact = np.logical_and.reduce(support.recovered(support.pursue(model, layers[0], "hard", betas), layers))
    assert exact.all()


@pytest.mark.parametrize("blocks", [1, 4])
def test_failure_rate_of_the_aligned_cascade_contains_its_exact_value(blocks):
    cascade = aligned_cascade(blocks)
    rng = np.random.default_rng(1500)
    trials = 1500
    deepest = np.zeros((trials, 128, blocks))
    deepest[np.arange(trials)[:, None], rng.integers(128, size=(trials, blocks)), np.arange(blocks)] = 1
    model, layers = support.random_path(rng, cascade, deepest)
    betas = [np.full(trials, 0.95 / math.sqrt(12)), np.full(trials, 0.9)]
    missed = ~np.logical_and.reduce(support.recovered(support.pursue(model, layers[0], "hard", betas), layers))
    exact = 1 - (15 / 16) ** blocks
    low = support.clopper_pearson_lower(missed.sum(), trials, LEVEL)
    high = 1 - support.clopper_pearson_lower(trials - missed.sum(), trials, LEVEL)
    assert low <= exact <= high


def test_support_gram_is_that_of_the_active_atoms():
    rng = np.random.default_rng(1600)
    for name in support.DICTIONARIES:
        dictionary = support.DICTIONARIES[name]()
        code = small_codes(dictionary, rng, 1)[0]
        columns = dense_matrix(dictionary)[:, np.flatnonzero(code)]
        np.testing.assert_allclose(support_gram(dictionary, code), columns.T @ columns, atol=1e-12)


def test_least_squares_gain_is_below_its_babel_bound_and_dependent_atoms_are_refused():
    dictionary = support.DICTIONARIES["1-D, stride 8, low coherence"]()
    rng = np.random.default_rng(1700)
    codes = small_codes(dictionary, rng, 50)
    gain, smallest = guarantees.least_squares_gain(dictionary, codes)
    others = dcsc.babel(dictionary, dcsc.stripe_norm(codes, dictionary) - 1)
    usable = others < 1
    assert (gain[usable] <= 1 / (1 - others[usable]) + 1e-12).all()
    assert usable.sum() > 30
    assert (smallest > 0.5).all()
    twice = dcsc.ConvolutionalDictionary(np.repeat(dictionary.filters[:2], 2, axis=0), 8, (96,))
    both = np.zeros((1, *twice.code_shape))
    both[0, :2, 0] = 1
    found = guarantees.statistical(Cascade([twice]), [both], method="optimised", debias=True)
    assert found.probability[0] == 1
    assert "linearly dependent" in found.reason


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "babel"}, "did you mean 'babel2'"),
        ({"delta": 1.5}, "give a probability"),
        ({"noise_failure": 0.01}, "above noise_failure"),
        ({"signs": "deepest", "form": "coherence"}, "instance form only"),
        ({"method": "optimised", "form": "babel2"}, "no optimised levels"),
        ({"debias": True, "noise_deviation": 0.1}, "gaussian_noise_bound"),
        ({"split": [0.5, 0.6]}, "2 positive shares"),
    ],
)
def test_wrong_questions_are_refused_with_a_sentence(options, words):
    cascade = support.CASCADES["1-D, groups, two layers"]()
    codes = cascade.synthesize(np.zeros((2, *cascade.dictionaries[-1].code_shape)))[1:]
    with pytest.raises(UserError, match=words):
        guarantees.statistical(cascade, codes, **options)


@pytest.mark.parametrize("signs", ["deepest", "rademacher"])
def test_a_deepest_code_without_atoms_is_certified(signs):
    """Sequential insertion may leave a draw empty; then nothing can fail."""
    cascade = dcsc.Cascade(
        [
            dcsc.families.create("lapped", (32,), n_filters=4),
            dcsc.families.create("sparse-random", (8,), 0, n_filters=3, taps=2, n_nonzeros=2, n_channels=4),
        ]
    )
    codes = cascade.synthesize(np.zeros((2, *cascade.dictionaries[-1].code_shape)))[1:]
    found = guarantees.statistical(cascade, codes, signs=signs)
    assert found.certified.all()
