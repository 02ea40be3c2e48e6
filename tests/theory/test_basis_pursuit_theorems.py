"""[PRE17] Theorems 11 and 12: layered basis pursuit recovers whatever the guarantees promise; its section 8."""

import numpy as np
import pytest

import dcsc
from dcsc import Cascade, guarantees
from dcsc.pursuit import layered_basis_pursuit, layered_thresholding
from tests.theory import support


def codes_around_the_limit(dictionary, rng, count, factor):
    """Codes of all signs and magnitudes whose stripe-sparsity lies below, at and beyond the limit of a theorem."""
    limit = (1 + 1 / max(dcsc.mutual_coherence(dictionary), 1e-3)) / factor
    ratio = dictionary.n_atoms / dictionary.stripe_size
    largest = max(2, int(min(3 * limit * ratio, dictionary.n_atoms // 2)))
    sizes = rng.integers(0, largest, count)
    return support.random_codes(
        rng, dictionary.code_shape, sizes, rng.choice([1.0, 0.3, 0.01], count), dictionary.overlap
    )


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_theorem_11_on_one_layer(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(1100)
    codes = codes_around_the_limit(dictionary, rng, 80, 2)
    model, layers, _ = support.adversarial_path(rng, Cascade([dictionary]), codes)
    applied = {form: guarantees.basis_pursuit(model, [codes], form=form).contained for form in ("coherence", "babel")}
    result = layered_basis_pursuit(model, layers[0], penalty=0.0)
    exact = support.recovered(result, layers)[0]
    assert not (applied["coherence"] & ~applied["babel"]).any()
    assert applied["coherence"].sum() > 8
    beyond = ~applied["babel"]  # there recovery may fail, and does for some
    assert not beyond.any() or beyond.sum() > 8
    assert exact[applied["babel"]].all()
    np.testing.assert_allclose(result.codes[0][applied["babel"]], codes[applied["babel"]], atol=1e-9)


@pytest.mark.parametrize("name", support.CASCADES)
def test_theorem_11_on_a_path(name):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(1110)
    deepest = support.random_codes(
        rng,
        cascade.dictionaries[-1].code_shape,
        rng.integers(0, 7, 40),
        rng.choice([1.0, 0.5], 40),
        cascade.dictionaries[-1].overlap,
    )
    model, layers, _ = support.adversarial_path(rng, cascade, deepest)
    applied = guarantees.basis_pursuit(model, layers[1:], form="babel").holds
    for code in layers[1:]:  # an entry that is left over from a cancellation is rounding, and no entry
        applied &= dcsc.contrast(code, model.rank) > 1e-8
    result = layered_basis_pursuit(model, layers[0], penalty=0.0)
    for exact, found, true in zip(support.recovered(result, layers), result.codes, layers[1:], strict=True):
        assert exact[applied].all()
        np.testing.assert_allclose(found[applied], true[applied], atol=1e-9)
    assert applied.sum() > 8


@pytest.mark.parametrize("name", support.DICTIONARIES)
def test_theorem_12_on_one_layer(name):
    dictionary = support.DICTIONARIES[name]()
    rng = np.random.default_rng(1200)
    codes = codes_around_the_limit(dictionary, rng, 100, 3)
    model, layers, targets = support.adversarial_path(rng, Cascade([dictionary]), codes)
    eps = rng.choice([1e-4, 1e-3, 1e-2, 0.1, 1 / 7.6], 100)
    signals = layers[0] + support.aligned_noise(rng, dictionary, layers, targets, model.signs[0], eps)
    check_theorem_12(model, layers, signals, eps, 6)


@pytest.mark.parametrize("name", support.CASCADES)
def test_theorem_12_on_a_path(name):
    cascade = support.CASCADES[name]()
    rng = np.random.default_rng(1210)
    deepest = support.random_codes(
        rng,
        cascade.dictionaries[-1].code_shape,
        rng.integers(0, 5, 40),
        rng.choice([1.0, 0.5], 40),
        cascade.dictionaries[-1].overlap,
    )
    model, layers, targets = support.adversarial_path(rng, cascade, deepest)
    eps = rng.choice([1e-6, 1e-5, 1e-4, 1e-3], 40)
    signals = layers[0] + support.aligned_noise(rng, model.dictionaries[0], layers, targets, model.signs[0], eps)
    check_theorem_12(model, layers, signals, eps, 5)


def check_theorem_12(model, layers, signals, eps, at_least):
    """No false atom, the error bound, and every entry above it found, layer after layer while the theorem applies."""
    promise = guarantees.basis_pursuit(model, layers[1:], eps)
    result = layered_basis_pursuit(model, signals, penalty="guaranteed", reference=layers[1:], noise=eps)
    assert result.stopped == "tolerance reached"
    errors = support.layer_errors(model, result, layers)
    applied = np.ones(len(signals), dtype=bool)
    for layer, found, true, error in zip(promise.layers, result.codes, layers[1:], errors, strict=True):
        applied &= layer.contained
        assert not ((found != 0) & (true == 0))[applied].any()
        assert (error <= layer.error_bound + 1e-9)[applied].all()
        least = layer.detectable[(..., *[None] * (model.rank + 1))]
        assert not ((np.abs(true) > least + 1e-9) & (found == 0))[applied].any()
    exact = np.logical_and.reduce(support.recovered(result, layers))
    assert exact[promise.holds].all()
    assert at_least < applied.sum()
    assert promise.holds.sum() > at_least // 2


def meyer(positions):
    """The centre 29 taps of the discrete Meyer wavelet, stride 6."""
    import pywt

    taps = np.array(pywt.Wavelet("dmey").dec_hi)
    centre = int(np.argmax(np.abs(taps)))
    return dcsc.ConvolutionalDictionary(
        taps[None, None, centre - 14 : centre + 15], 6, (6 * positions,), normalize=True
    )


def section_8(depth, seed, batch=()):
    """[PRE17] section 8: one filter a layer, a deepest code of length 100 with 20 to 66 entries of +-1."""
    rng = np.random.default_rng(seed)
    layers = [meyer(100 * 6 ** (depth - 1))]
    layers += [support.integer_filter(100 * 6 ** (depth - layer)) for layer in range(2, depth + 1)]
    deepest = np.zeros((*batch, 1, 100), dtype=np.int64)
    for index in np.ndindex(*batch):
        active = rng.choice(100, rng.integers(20, 67), replace=False)
        deepest[(*index, 0, active)] = rng.choice([-1, 1], len(active))
    model = Cascade(layers)
    return model, model.synthesize(deepest), rng


def noise_of_ratio(rng, clean, decibels):
    """White Gaussian noise of a mean signal-to-noise ratio."""
    noise = rng.standard_normal(clean.shape)
    return noise * np.linalg.norm(clean) / np.linalg.norm(noise) * 10 ** (-decibels / 20)


def test_section_8_without_noise_three_layers_are_recovered_exactly():
    model, layers, _ = section_8(3, 31, (4,))
    stripes = [dcsc.stripe_norm(code, layer) for code, layer in zip(layers[1:], model.dictionaries, strict=True)]
    for counts, (least, largest) in zip(stripes, [(8, 8), (5, 6), (3, 7)], strict=True):
        assert ((counts >= least) & (counts <= largest)).all()
    assert guarantees.basis_pursuit(model, layers[1:]).holds.all()
    result = layered_basis_pursuit(model, layers[0], penalty=0.0)
    for exact, found, true in zip(support.recovered(result, layers), result.codes, layers[1:], strict=True):
        assert exact.all()
        np.testing.assert_allclose(found, true, atol=1e-12)


def test_section_8_with_noise_two_layers_are_recovered_by_the_guaranteed_penalties():
    model, layers, rng = section_8(2, 32, (6,))
    noise = noise_of_ratio(rng, layers[0], 68.53)
    eps = dcsc.patch_l2(noise, model.dictionaries[0])
    result = layered_basis_pursuit(model, layers[0] + noise, penalty="guaranteed", reference=layers[1:], noise=eps)
    promised = guarantees.basis_pursuit(model, layers[1:], eps)
    exact = np.logical_and.reduce(support.recovered(result, layers))
    assert promised.contained.all()
    assert exact[promised.holds].all()
    assert exact.mean() > 0.5


def test_section_8_five_layers_thresholding_fails_and_basis_pursuit_succeeds():
    model, layers, rng = section_8(5, 50)
    noise = noise_of_ratio(rng, layers[0], 124.43)
    assert noise.shape == (1, 777600)
    stripes = [dcsc.stripe_norm(code, layer) for code, layer in zip(layers[1:], model.dictionaries, strict=True)]
    assert stripes[:4] == [8, 6, 6, 6]
    assert 4 <= stripes[4] <= 7
    eps = dcsc.patch_l2(noise, model.dictionaries[0])
    signals = layers[0] + noise
    assert guarantees.basis_pursuit(model, layers[1:], eps).holds
    result = layered_basis_pursuit(model, signals, penalty="guaranteed", reference=layers[1:], noise=eps)
    for found, true in zip(result.codes, layers[1:], strict=True):
        assert ((found != 0) == (true != 0)).all()
    assert not guarantees.uniform(model, layers[1:], eps).holds
    for rule in ("hard", "soft"):
        for threshold in ("uniform", "uniform-lower", "oracle"):
            step = layered_thresholding(model, signals, rule=rule, threshold=threshold, reference=layers[1:], noise=eps)
            assert not all(
                ((found != 0) == (true != 0)).all() for found, true in zip(step.codes, layers[1:], strict=True)
            )
