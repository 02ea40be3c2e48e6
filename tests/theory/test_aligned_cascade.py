"""The aligned cascade: which signs break it, all 4096 of them, against docs/theory.md, "Aligned cascade"."""

import math

import numpy as np
import pytest

import dcsc
from dcsc import families, sampling, seeds
from tests.theory import support

X = 1 / math.sqrt(12)
BETWEEN = [10 / math.sqrt(128) * (1 + 1e-9), 0.9, 0.95, 1 - 1e-9]
"""Thresholds over x, from [0.884, 1)."""


def cascade(blocks=1):
    first = families.create("hadamard-dirac", (128 * blocks,), taps=128)
    return dcsc.Cascade([first, families.create("aligned", (blocks,), n_channels=256)])


def path_recovered(model, deepest, **options):
    signal, *codes = model.synthesize(deepest)
    found = dcsc.pursuit.layered_thresholding(model, signal, rule=options.pop("rule"), reference=codes, **options)
    exact = [((code != 0) == found_at).all(axis=(-2, -1)) for code, found_at in zip(codes, found.supports, strict=True)]
    return np.logical_and.reduce(exact)


def all_inner_signs(model):
    """T^(1) for every pattern of signs of the twelve active entries, T^(2) = 1."""
    active = np.flatnonzero(model.dictionaries[1].filters[0, :, 0])
    patterns = support.all_signs(len(active)).astype(np.int8)
    first = np.ones((len(patterns), 256, 1), np.int8)
    first[:, active, 0] = patterns
    return dcsc.Cascade(model.dictionaries, [first, np.ones((len(patterns), 1, 1), np.int8)])


@pytest.mark.parametrize("deepest", [1.0, -1.0])
@pytest.mark.parametrize("target", [0, 5, 127])
def test_with_plain_signs_no_threshold_and_no_top_k_recovers_it(deepest, target):
    first = families.create("hadamard-dirac", (128,), taps=128)
    model = dcsc.Cascade([first, families.create("aligned", (1,), target=target)])
    code = np.full((1, 1, 1), deepest)
    inner = model.synthesize_layer(2, code)
    correlations = np.abs(model.correlate_layer(1, model.synthesize_layer(1, inner)))[0, :, 0]
    assert correlations[target] == pytest.approx(12 * X / math.sqrt(128), rel=1e-12)
    np.testing.assert_allclose(correlations[inner[0, :, 0] != 0], X, rtol=1e-12)
    assert 12 / math.sqrt(128) > 1  # so that the Dirac comes before all active entries
    assert not path_recovered(model, code, rule="top-k").any()
    for threshold in np.linspace(0, 2 * X, 101):
        assert not path_recovered(model, code, rule="hard", threshold=[threshold, 0.5]).any()


def test_with_random_layers_exactly_256_of_the_4096_sign_patterns_break_it():
    model = all_inner_signs(cascade())
    code = np.ones((4096, 1, 1))
    assert (~path_recovered(model, code, rule="top-k")).sum() == 256
    for ratio in BETWEEN:
        assert (~path_recovered(model, code, rule="hard", threshold=[ratio * X, 0.5])).sum() == 256
    assert not path_recovered(model, code, rule="hard", threshold="statistical").any()  # x / 2
    for ratio in (10 / math.sqrt(128) * (1 - 1e-9), 0.7):  # below the interval more patterns fail
        assert (~path_recovered(model, code, rule="hard", threshold=[ratio * X, 0.5])).sum() > 256


def test_blocks_fail_independently():
    """Two blocks are recovered where each alone is: hence 1 - (1 - 1/16)^2."""
    one = path_recovered(all_inner_signs(cascade()), np.ones((4096, 1, 1)), rule="top-k")
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 4096, (500, 2))
    pairs[:64] = np.argsort(one)[rng.integers(0, 256, (64, 2))]  # both fail
    model = cascade(blocks=2)
    active = np.flatnonzero(model.dictionaries[1].filters[0, :, 0])
    first = np.ones((500, 256, 2), np.int8)
    first[:, active] = support.all_signs(12).astype(np.int8)[pairs].transpose(0, 2, 1)
    signed = dcsc.Cascade(model.dictionaries, [first, np.ones((500, 1, 2), np.int8)])
    together = path_recovered(signed, np.ones((500, 1, 2)), rule="top-k")
    np.testing.assert_array_equal(together, one[pairs].all(axis=1))


def test_drawn_signs_fail_at_that_rate():
    model = cascade()
    draw = sampling.deep_codes(
        seeds.stream(0),
        model.dictionaries,
        8192,
        support={"name": "uniform", "size": 1},
        layer_signs=seeds.stream(1),
    )
    failed = ~path_recovered(draw.cascade(model.dictionaries), draw.codes[-1].to_dense(), rule="top-k")
    low, high = dcsc.statistics.proportion_interval(failed.sum(), 8192, 0.999)
    assert low < 1 / 16 < high


@pytest.mark.parametrize("size", [4, 16, 64])
def test_other_sizes_keep_the_statement(size):
    """2 size of the 2^k patterns fail, where sqrt(size) < k < sqrt(size) + 2 and k columns span."""
    bits = size.bit_length() - 1
    k = math.isqrt(size) + 1
    columns = dict.fromkeys([0, *[2**bit for bit in range(bits)], *range(size)])
    columns = tuple(columns)[:k]
    first = families.create("hadamard-dirac", (size,), taps=size)
    second = families.create("aligned", (1,), size=size, columns=columns, target=size - 1, n_channels=2 * size)
    active = np.flatnonzero(second.filters[0, :, 0])
    gram = first.filters[:size, 0] @ first.filters[active, 0].T
    received = np.abs(support.all_signs(k) @ gram.T).max(axis=1)  # in units of x, at the Diracs
    assert (received > 1).sum() == 2 * size
    assert (received[received <= 1] <= (k - 2) / math.sqrt(size) + 1e-12).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"size": 100}, "power of 2"),
        ({"n_channels": 128}, "128 channels"),
        ({"target": 128}, "target 128"),
        ({"columns": tuple(range(12))}, "span all 128"),
        ({"columns": (1, 2, 4, 8, 16, 32, 64, 3, 12, 48, 127, 5)}, "among them 0"),
        ({"columns": (0, 0, 1, 2, 4, 8, 16, 32, 64, 3, 12, 48)}, "different ones"),
        ({"columns": (0, 1, 2, 4, 8, 16, 32, 64, 3, 12, 200)}, "columns 200"),
        ({"columns": (0, 1, 2, 4, 8, 16, 32, 64, 3, 12, 48)}, "11 columns"),
        ({"columns": (0, 1, 2, 4, 8, 16, 32, 64, 3, 12, 48, 127, 9, 10)}, "14 columns"),
    ],
)
def test_parameters_that_break_the_statement_are_refused(parameters, words):
    with pytest.raises(dcsc.UserError, match=words):
        families.create("aligned", (1,), **parameters)
