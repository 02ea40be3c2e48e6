"""Uniform guarantees: whenever one holds, thresholding recovers the path, with the promised error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc import Cascade, guarantees
from dcsc.errors import UserError
from tests.strategies import dictionaries, sparse_codes
from tests.theory import support

seeds = st.integers(0, 2**32 - 1)
FORMS = ("coherence", "babel", "instance")


@given(dictionaries(), seeds, st.sampled_from([0.02, 0.3, 1.0]))
@settings(max_examples=150)
def test_interference_agrees_with_the_dense_gram_matrix(dictionary, seed, density):
    codes = sparse_codes(np.random.default_rng(seed), dictionary.code_shape, density, batch=(2, 2))
    flat, gram = np.abs(codes).reshape(4, -1), np.abs(support.dense_gram(dictionary))
    bound = guarantees.interference_bound(dictionary, codes)
    np.testing.assert_allclose(bound.reshape(4, -1), flat @ gram, atol=1e-12)
    np.testing.assert_allclose(
        guarantees.interference_variance(dictionary, codes).reshape(4, -1), flat**2 @ gram**2, atol=1e-12
    )
    assert (bound >= 0).all()
    assert not bound[(flat @ (gram > 0)).reshape(bound.shape) == 0].any()


def instances(dictionary, rng, count):
    """Codes whose contrast, and noise whose size, lie at, inside and outside the limits of the three forms."""
    mu = dcsc.mutual_coherence(dictionary)
    sizes = rng.integers(0, rng.integers(2, 14, count))
    codes = support.random_codes(rng, dictionary.code_shape, sizes, np.ones(count), dictionary.overlap)
    k = dcsc.stripe_norm(codes, dictionary)
    babel = dcsc.babel(dictionary, k) + dcsc.babel(dictionary, np.maximum(k - 1, 0))
    bound = guarantees.interference_bound(dictionary, codes).reshape(count, -1).max(axis=1)
    limits = np.choose(rng.integers(3, size=count), [(2 * k - 1) * mu, babel, np.minimum(1.6 * bound, babel)])
    factors = rng.choice([0.9, 1 - 1e-6, 1.0, 1 + 1e-12, 1 + 1e-6, 1.001, 1.05, 1.5, 3.0], count)
    contrasts = np.clip(limits * factors, 1e-3, 1.0)
    codes = np.stack(
        [
            np.where(code != 0, np.sign(code) * np.where(rng.random(code.shape) < 0.5, contrast, 1.0), 0)
            for code, contrast in zip(codes, contrasts, strict=True)
        ]
    )
    smallest = np.where(sizes > 0, np.where(codes != 0, np.abs(codes), np.inf).reshape(count, -1).min(axis=1), 1.0)
    room = np.maximum(smallest - limits, 0) / 2
    return codes, room * rng.choice([0, 0, 0.3, 0.9, 1 - 1e-6, 1.0, 1 + 1e-6, 1.2], count)


def ends(layer, fraction):
    """A threshold inside the interval of a layer, 0 being its lower end and 1 its upper."""
    lower, upper = layer.threshold_lower, layer.threshold_upper
    upper = np.where(np.isfinite(upper), upper, lower + 1)
    with np.errstate(invalid="ignore"):
        margin = np.minimum(1e-10 * (1 + layer.x_max), (upper - lower) / 4)
        inside = np.clip(lower + fraction * (upper - lower), lower + margin, upper - margin)
    return np.where(layer.holds, inside, layer.threshold)


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_one_layer_is_recovered_whenever_a_guarantee_holds(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(100)
    codes, eps = instances(dictionary, rng, 1500)
    model, layers, targets = support.adversarial_path(rng, Cascade([dictionary]), codes)
    signals = layers[0] + support.aligned_noise(rng, dictionary, layers, targets, model.signs[0], eps)
    applied = {}
    for form in FORMS:
        for rule in ("hard", "soft"):
            for fraction in (0.0, 0.5, 1.0):
                middle = guarantees.uniform(model, [codes], eps, rule=rule, form=form)
                chosen = [ends(middle.layers[0], fraction)]
                promise = guarantees.uniform(model, [codes], eps, rule=rule, form=form, threshold=chosen)
                covered = middle.holds & promise.holds
                assert covered.sum() > 0.99 * middle.holds.sum()
                result = support.pursue(model, signals, rule, chosen)
                assert support.recovered(result, layers)[0][covered].all()
                error = support.layer_errors(model, result, layers)[0]
                assert (error <= promise.layers[0].error_bound + 1e-12)[covered].all()
                # The adversary comes close, so that a smaller bound would be caught.
                assert form != "instance" or (error[covered] > 0.99 * promise.layers[0].error_bound[covered]).any()
            applied[form] = int(middle.holds.sum())
    assert applied["coherence"] > 150
    assert applied["coherence"] <= applied["babel"] <= applied["instance"] < 1500


@pytest.mark.parametrize("rule", ["hard", "soft"])
@pytest.mark.parametrize("name", support.CASCADES)
def test_paths_are_recovered_whenever_a_guarantee_holds(name, rule):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(200)
    count = 1200
    sizes = rng.choice([0, 1, 1, 2, 2, 3, 4, 5, 6], count)
    deepest = support.random_codes(
        rng,
        cascade.dictionaries[-1].code_shape,
        sizes,
        rng.choice([1.0, 0.9, 0.6], count),
        cascade.dictionaries[-1].overlap,
    )
    model, layers, targets = support.adversarial_path(rng, cascade, deepest)
    eps = rng.choice([0.0, 1e-4, 1e-3, 1e-2, 0.05], count)
    signals = layers[0] + support.aligned_noise(rng, model.dictionaries[0], layers, targets, model.signs[0], eps)
    applied = {}
    for form in FORMS:
        for fraction in (0.0, 0.5, 1.0):
            chosen = ["midpoint"] * model.depth
            for layer in range(model.depth):
                partial = guarantees.uniform(model, layers[1:], eps, rule=rule, form=form, threshold=chosen)
                chosen[layer] = ends(partial.layers[layer], fraction)
            promise = guarantees.uniform(model, layers[1:], eps, rule=rule, form=form, threshold=chosen)
            result = support.pursue(model, signals, rule, chosen)
            errors = support.layer_errors(model, result, layers)
            covered = np.ones(count, dtype=bool)
            for layer, exact, error in zip(promise.layers, support.recovered(result, layers), errors, strict=True):
                covered &= layer.holds
                assert exact[covered].all()
                assert (error <= layer.error_bound + 1e-12)[covered].all()
            applied[form, fraction] = int(covered.sum())
    empty = np.count_nonzero(sizes == 0)
    assert applied["instance", 0.0] > empty + 250
    assert applied["coherence", 0.0] > empty + 50


@pytest.mark.parametrize("name", support.CASCADES)
def test_each_form_implies_the_next(name):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(300)
    sizes = rng.integers(0, 8, 1000)
    deepest = support.random_codes(
        rng, cascade.dictionaries[-1].code_shape, sizes, rng.choice([1.0, 0.8], 1000), cascade.dictionaries[-1].overlap
    )
    codes = support.random_path(rng, cascade, deepest)[1][1:]
    eps = rng.choice([0.0, 1e-3, 1e-2], 1000)
    for rule, threshold in (("hard", "midpoint"), ("hard", "lower"), ("soft", "lower")):
        coherence, babel, instance = (
            guarantees.uniform(cascade, codes, eps, rule=rule, form=form, threshold=threshold) for form in FORMS
        )
        for weak, strong in ((coherence, babel), (babel, instance)):
            assert not (weak.holds & ~strong.holds).any()
            for one, other in zip(weak.layers, strong.layers, strict=True):
                both = one.holds & (one.eps_in < np.inf)
                assert (other.error_bound <= one.error_bound * (1 + 1e-9) + 1e-12)[both].all()
                assert (other.threshold_lower <= one.threshold_lower + 1e-12)[both].all()
                assert (other.threshold_upper >= one.threshold_upper - 1e-12)[both].all()
        assert coherence.holds.sum() > 30
        assert instance.holds.sum() > coherence.holds.sum()


@pytest.mark.parametrize("name", [name for name in support.DICTIONARIES if "orthonormal" not in name])
def test_instance_form_is_exact_for_supports_and_signs(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(400)
    count = 1000
    codes = support.random_codes(
        rng, dictionary.code_shape, rng.integers(1, 10, count), rng.choice([1.0, 0.5, 0.1], count), dictionary.overlap
    )
    room = guarantees.uniform(Cascade([dictionary]), [codes], form="instance").layers[0]
    room = np.maximum(room.threshold_upper - room.threshold_lower, 0) / 2
    eps = room * rng.choice([0.0, 0.5, 0.99, 1 + 1e-6], count)
    free = guarantees.uniform(Cascade([dictionary]), [codes], eps, form="instance")
    layer = free.layers[0]
    beyond = rng.choice([-0.1, -1e-3, -1e-6, 1e-6, 0.3, 0.7, 1 - 1e-6, 1 + 1e-6, 1.01, 1.2], count)
    beta = layer.threshold_lower + beyond * (layer.threshold_upper - layer.threshold_lower)
    beta = np.where(free.holds, beta, layer.threshold)
    positive = beta > 0
    promise = guarantees.uniform(Cascade([dictionary]), [codes], eps, form="instance", threshold=[beta])
    gram = support.dense_gram(dictionary)
    flat = np.abs(codes).reshape(count, -1)
    bound = flat @ np.abs(gram)
    broken = np.zeros(count, dtype=bool)
    on = np.where(flat > 0, flat - bound, np.inf).argmin(axis=1)
    off = np.where(flat == 0, bound, -1).argmax(axis=1)
    for targets in (on, off):
        signs, _ = support.worst_signs(rng, codes, gram, targets)
        model = Cascade([dictionary], [signs])
        layers = [dictionary.synthesize(signs * codes), codes]
        signals = layers[0] + support.aligned_noise(rng, dictionary, layers, targets, signs, eps)
        broken |= ~support.recovered(support.pursue(model, signals, "hard", [beta]), layers, signed=True)[0]
    assert (promise.holds == ~broken)[positive].all()
    assert (promise.holds & positive).sum() > 20
    assert (~promise.holds & positive).sum() > 100


def test_paper_figures_of_theorem_8_on_two_atoms():
    # mu = 0.6 between two atoms at one place: k = 1 holds below contrast 0.6 never, k = 2 never.
    dictionary = dcsc.ConvolutionalDictionary([[[1.0, 0.0]], [[0.6, 0.8]]], 2, (4,))
    codes = np.zeros((3, 2, 2))
    codes[0, 0, 0] = codes[1, 0] = 2.0
    codes[2, :, 0] = 2.0
    found = guarantees.uniform(Cascade([dictionary]), [codes], [0.0, 0.39, 0.0])
    layer = found.layers[0]
    assert found.holds.tolist() == [True, True, False]
    assert layer.stripe_sparsity.tolist() == [1, 1, 2]
    np.testing.assert_allclose(layer.threshold_lower, [1.2, 1.59, 2.4])
    np.testing.assert_allclose(layer.threshold_upper, [2.0, 1.61, 0.8])
    np.testing.assert_allclose(layer.threshold, 1.6)
    np.testing.assert_allclose(layer.error_bound, [0, 0.39, np.inf])
    assert "1 of 3 codes have no guarantee" in found.reason
    assert not guarantees.uniform(Cascade([dictionary]), [codes[1]], 0.4).holds


def test_relu_needs_codes_without_negative_entries():
    dictionary = support.DICTIONARIES["2-D, orthonormal"]()
    codes = np.zeros((2, *dictionary.code_shape))
    codes[:, 0, 0, 0] = 1, -1
    found = guarantees.uniform(Cascade([dictionary]), [codes], rule="relu")
    assert found.holds.tolist() == [True, False]
    assert "ReLU" in found.reason


def test_codes_without_non_zeros_are_recovered():
    cascade = support.CASCADES["1-D, groups, two layers"]()
    codes = cascade.synthesize(np.zeros((2, *cascade.dictionaries[-1].code_shape)))[1:]
    for form in FORMS:
        for rule in ("hard", "soft"):
            found = guarantees.uniform(cascade, codes, 0.1, form=form, rule=rule)
            assert found.holds.all()
            assert all(np.isfinite(beta).all() for beta in found.thresholds)
            assert not found.layers[-1].error_bound.any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "harder"}, "did you mean 'hard'"),
        ({"form": "babble"}, "did you mean 'babel'"),
        ({"threshold": "middle"}, "threshold 'middle' is unknown"),
        ({"threshold": [0.1, 0.2, 0.3]}, "3 thresholds for 2 layers"),
        ({"noise": -1.0}, "numbers from 0"),
        ({"noise": np.zeros(3)}, "does not fit batch axes"),
    ],
)
def test_wrong_questions_are_refused_with_a_sentence(options, words):
    cascade = support.CASCADES["1-D, groups, two layers"]()
    codes = cascade.synthesize(np.zeros((2, *cascade.dictionaries[-1].code_shape)))[1:]
    with pytest.raises(UserError, match=words):
        guarantees.uniform(cascade, codes, **options)
    with pytest.raises(UserError, match="1 arrays of codes for 2 layers"):
        guarantees.uniform(cascade, codes[:1])
