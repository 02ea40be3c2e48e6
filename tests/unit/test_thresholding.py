"""Layered thresholding: the rules entry by entry, ties, layers, debiasing and refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.errors import UserError
from dcsc.pursuit import thresholding
from tests.strategies import cascades, dense_matrix, sparse_codes

seeds = st.integers(0, 2**32 - 1)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(0, 3))
def test_rules_entry_by_entry(values, beta):
    c = np.array(values)
    for entry, hard, soft, relu in zip(
        c, thresholding.hard(c, beta), thresholding.soft(c, beta), thresholding.relu(c, beta), strict=True
    ):
        assert hard == (entry if abs(entry) > beta else 0)
        assert soft == (np.sign(entry) * (abs(entry) - beta) if abs(entry) > beta else 0)
        assert relu == (entry - beta if entry > beta else 0)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.data())
def test_top_k_keeps_the_largest_and_breaks_ties_by_index(values, data):
    c = np.array(values, dtype=float)[None]
    k = data.draw(st.integers(0, len(values)))
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))[:k]
    kept = thresholding.top_k(c, k, 1)
    expected = np.where(np.isin(np.arange(len(values)), order), c, 0)
    np.testing.assert_array_equal(kept, expected)


@given(cascades(), seeds, st.booleans(), st.sampled_from(["hard", "soft"]))
@settings(max_examples=100)
def test_layers_agree_with_dense_matrices(model, seed, signed, rule):
    rng = np.random.default_rng(seed)
    shapes = [dictionary.code_shape for dictionary in model.dictionaries]
    signs = [rng.choice([-1, 1], (2, *shape)) for shape in shapes] if signed else None
    model = dcsc.Cascade(model.dictionaries, signs)
    deepest = sparse_codes(rng, shapes[-1], batch=(2,))
    layers = model.synthesize(deepest)
    betas = rng.random(model.depth)
    result = dcsc.pursuit.layered_thresholding(model, layers[0], rule=rule, threshold=list(betas))
    for trial in range(2):
        current = layers[0][trial].ravel()
        for layer, dictionary in enumerate(model.dictionaries):
            matrix = dense_matrix(dictionary)
            if signed:
                matrix = matrix * signs[layer][trial].ravel()
            np.testing.assert_allclose(
                layers[layer][trial].ravel(), matrix @ layers[layer + 1][trial].ravel(), atol=1e-12
            )
            c = matrix.T @ current
            current = getattr(thresholding, rule)(c, betas[layer])
            if np.abs(np.abs(c) - betas[layer]).min() < 1e-9:
                return  # rounding decides, and the two ways may differ
            np.testing.assert_allclose(result.codes[layer][trial].ravel(), current, atol=1e-10)


@given(cascades(max_depth=1), seeds)
@settings(max_examples=60)
def test_oracle_threshold_keeps_the_known_number(model, seed):
    code = sparse_codes(np.random.default_rng(seed), model.dictionaries[0].code_shape, 0.4, batch=(3,))
    layers = model.synthesize(code)
    by_threshold = dcsc.pursuit.layered_thresholding(
        model, layers[0], rule="hard", threshold="oracle", reference=layers[1:]
    )
    by_count = dcsc.pursuit.layered_thresholding(model, layers[0], rule="top-k", reference=layers[1:])
    sizes = np.count_nonzero(code.reshape(3, -1), axis=1)
    kept = np.count_nonzero(by_count.codes[0].reshape(3, -1), axis=1)
    correlations = np.abs(model.correlate_layer(1, layers[0]).reshape(3, -1))
    np.testing.assert_array_equal(kept, np.minimum(sizes, np.count_nonzero(correlations, axis=1)))
    for row, size in enumerate(sizes):
        ordered = np.sort(correlations[row])[::-1]
        if size < len(ordered) and size > 0 and ordered[size - 1] - ordered[size] > 1e-12:
            np.testing.assert_array_equal(by_threshold.codes[0][row], by_count.codes[0][row])


def test_debiasing_restores_values_on_the_right_support():
    rng = np.random.default_rng(3)
    filters = rng.standard_normal((3, 1, 8))
    dictionary = dcsc.ConvolutionalDictionary(filters, 4, (40,), normalize=True)
    signs = rng.choice([-1, 1], (2, *dictionary.code_shape))
    model = dcsc.Cascade([dictionary], [signs])
    code = np.zeros((2, *dictionary.code_shape))
    code[0, 1, 3], code[1, 2, 7] = 2.0, -1.0
    signal = model.synthesize(code)[0]
    result = dcsc.pursuit.layered_thresholding(model, signal, rule="top-k", k=1, debias=True)
    np.testing.assert_allclose(result.codes[0], code, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rule": "hrd", "threshold": 1}, "did you mean 'hard'?"),
        ({"rule": "hard"}, "needs a threshold"),
        ({"rule": "hard", "threshold": "unifrm"}, "did you mean 'uniform'?"),
        ({"rule": "hard", "threshold": "uniform"}, "pass them as reference"),
        ({"rule": "hard", "threshold": [1, 2, 3]}, "3 entries for 1 layers"),
        ({"rule": "top-k"}, "top-k needs k"),
        ({"rule": "top-k", "k": 99}, "from 0 to 8"),
        ({"rule": "relu", "threshold": 0.1, "reference": [-np.ones((1, 2, 4))]}, "negative entries"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(options, words):
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))])
    with pytest.raises(UserError) as refusal:
        dcsc.pursuit.layered_thresholding(model, np.zeros((1, 1, 8)), **options)
    assert words in str(refusal.value)


def test_relu_refuses_random_signs_at_inner_layers():
    inner = dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))
    deeper = dcsc.ConvolutionalDictionary(np.eye(2)[None], 2, (4,), normalize=True)
    signs = [np.ones(inner.code_shape), np.ones(deeper.code_shape)]
    model = dcsc.Cascade([inner, deeper], signs)
    with pytest.raises(UserError, match="negative entries"):
        dcsc.pursuit.layered_thresholding(model, np.zeros((1, 8)), rule="relu", threshold=0.1)


def test_zeros_are_exact_whatever_the_floating_point_type():
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary(np.eye(2, dtype=np.float32)[:, None], 2, (8,))])
    result = dcsc.pursuit.layered_thresholding(model, np.zeros((1, 8), dtype=np.float32), rule="soft", threshold=0.5)
    assert not result.codes[0].any()
    assert not result.supports[0].any()
