"""Layered thresholding on lists, against the forward pass on arrays."""

import itertools

import numpy as np
import pytest

from dcsc import Cascade, ConvolutionalDictionary, RaggedCodes, pursuit
from dcsc.convolution import one_step
from dcsc.errors import UserError
from dcsc.pursuit.sparse_thresholding import exceeding_correlations

# Filters, channels, taps, stride of each layer, on a grid; the channels of a layer are the filters of the one above.
CASCADES = {
    "1-D, one layer": ((24,), [(5, 2, (4,), (1,))]),
    "1-D, one tap": ((12,), [(3, 1, (3,), (1,)), (4, 3, (1,), (1,))]),
    "1-D, strides": ((96,), [(6, 1, (5,), (2,)), (5, 6, (4,), (2,)), (4, 5, (3,), (3,))]),
    "1-D, four layers": ((64,), [(3, 2, (4,), (1,)), (4, 3, (3,), (2,)), (3, 4, (5,), (2,)), (4, 3, (2,), (1,))]),
    "2-D": ((8, 12), [(4, 1, (3, 2), (1, 2)), (3, 4, (2, 3), (2, 1)), (5, 3, (2, 2), (2, 3))]),
    "3-D": ((4, 4, 6), [(3, 1, (2, 2, 2), (1, 2, 1)), (2, 3, (2, 1, 3), (2, 1, 2))]),
}


def cascade_of(name, signs=None, seed=0):
    grid, layers = CASCADES[name]
    rng, dictionaries = np.random.default_rng(seed), []
    for filters, channels, taps, stride in layers:
        values = rng.standard_normal((filters, channels, *taps))
        dictionaries.append(ConvolutionalDictionary(values, stride, grid, normalize=True))
        grid = dictionaries[-1].positions
    return Cascade(dictionaries, signs)


def drawn(model, batch, seed=1, density=0.15, positive=False):
    rng = np.random.default_rng(seed)
    shape = (*batch, *model.dictionaries[-1].code_shape)
    deepest = rng.standard_normal(shape) * (rng.random(shape) < density)
    codes = [np.abs(deepest) if positive else deepest]
    for layer in range(model.depth, 1, -1):
        codes.insert(0, model.synthesize_layer(layer, codes[0]))
    return codes


def lists(codes, dictionary):
    return RaggedCodes.from_dense(codes, dictionary.code_shape)


def signs_of(model, batch, seed=2):
    rng = np.random.default_rng(seed)
    return [rng.choice([-1.0, 1.0], (*batch, *layer.code_shape)) for layer in model.dictionaries]


def assert_same(found, expected):
    for code, dense in zip(found, expected, strict=True):
        np.testing.assert_array_equal(code.to_dense() != 0, dense != 0)
        np.testing.assert_allclose(code.to_dense(), dense, atol=1e-10)


@pytest.mark.parametrize("rule", ["hard", "soft", "relu", "top-k"])
@pytest.mark.parametrize("name", CASCADES)
def test_lists_and_arrays_find_the_same(name, rule):
    batch, thresholds = (2, 3), [0.31, 0.23, 0.17, 0.12]
    for with_signs, noisy, debias in itertools.product((False, True), repeat=3):
        if with_signs and rule == "relu":
            continue
        model = cascade_of(name)
        if with_signs:
            model = Cascade(model.dictionaries, signs_of(model, batch))
        codes = drawn(model, batch)
        rng = np.random.default_rng(4)
        noise = 0.1 * rng.standard_normal((*batch, *model.dictionaries[0].signal_shape)) if noisy else None
        signals = model.synthesize_layer(1, codes[0]) + (0 if noise is None else noise)
        options = {"rule": rule, "debias": debias}
        if rule == "top-k":
            options["k"] = [rng.integers(0, 1 + layer.n_atoms // 3, batch) for layer in model.dictionaries]
        else:
            options["threshold"] = thresholds[: model.depth]
        expected = pursuit.layered_thresholding(model, signals, **options).codes
        found = pursuit.threshold_codes(model, lists(codes[0], model.dictionaries[0]), noise, **options)
        assert_same(found, expected)
        assert any(np.count_nonzero(code) for code in expected)


@pytest.mark.parametrize("name", ["1-D, strides", "2-D"])
def test_thresholds_are_one_a_trial_or_one_a_filter(name):
    model, batch = cascade_of(name), (2, 3)
    codes, rng = drawn(model, batch), np.random.default_rng(5)
    signals, first = model.synthesize_layer(1, codes[0]), lists(codes[0], model.dictionaries[0])
    for shape, by_filter in (((), False), (batch, False), ("filter", True), ((*batch, "filter"), True)):
        thresholds = []
        for layer in model.dictionaries:
            sizes = [layer.n_filters if size == "filter" else size for size in np.atleast_1d(np.array(shape, object))]
            thresholds.append(rng.uniform(0.05, 0.4, sizes))
        for rule in ("hard", "soft"):
            options = {"rule": rule, "threshold": thresholds, "by_filter": by_filter}
            expected = pursuit.layered_thresholding(model, signals, **options).codes
            found = pursuit.threshold_codes(model, first, **options)
            assert_same(found, expected)
            exceeding = exceeding_correlations(model, first, threshold=thresholds[0], by_filter=by_filter)
            shared = pursuit.threshold_codes(model, first, exceeding=exceeding, **options)
            for one, other in zip(found, shared, strict=True):
                np.testing.assert_array_equal(one.atom, other.atom)
                np.testing.assert_array_equal(one.value, other.value)


@pytest.mark.parametrize("name", CASCADES)
def test_both_paths_of_sparse_signals_agree_and_trials_do_not_depend_on_others(name):
    for dictionary in cascade_of(name).dictionaries:
        rng = np.random.default_rng(6)
        shape = (7, *dictionary.signal_shape)
        signals = rng.standard_normal(shape) * (rng.random(shape) < 0.2)
        listed = RaggedCodes.from_dense(signals, dictionary.signal_shape)
        dense = dictionary.correlate(signals)
        for rule, given in (("hard", {"threshold": 0.2}), ("relu", {"threshold": 0.2}), ("top-k", {"k": 5})):
            found = {
                path: one_step.thresholded_signals(dictionary, listed, rule=rule, path=path, **given)
                for path in ("sparse", "dense", "auto")
            }
            for one in found.values():
                np.testing.assert_array_equal(one.atom, found["sparse"].atom)
                np.testing.assert_allclose(one.value, found["sparse"].value, atol=1e-12)
            kept = found["dense"].to_dense()
            shrink = 0.2 if rule == "relu" else 0.0
            np.testing.assert_allclose(kept[kept != 0], dense[kept != 0] - shrink, atol=1e-12)
            if rule == "hard":
                assert (np.abs(dense[kept == 0]) <= 0.2).all()
            for trial in (0, 6):
                alone = one_step.thresholded_signals(
                    dictionary, listed.rows(slice(trial, trial + 1)), rule=rule, **given
                )
                np.testing.assert_array_equal(alone.value, found["auto"][trial].value)


def test_float32_stays_float32():
    dictionary = cascade_of("1-D, strides").dictionaries[1].astype(np.float32)
    signals = RaggedCodes.from_dense(np.ones((2, *dictionary.signal_shape), np.float32), dictionary.signal_shape)
    for path in ("sparse", "dense"):
        assert one_step.thresholded_signals(dictionary, signals, threshold=0.1, path=path).value.dtype == np.float32


def test_what_does_not_fit_is_refused():
    model = cascade_of("1-D, strides")
    codes = lists(drawn(model, (2,))[0], model.dictionaries[0])
    for options, message in (
        ({"rule": "hardest", "threshold": 0.1}, "rule"),
        ({}, "needs threshold"),
        ({"rule": "top-k"}, "needs k"),
        ({"threshold": [0.1, 0.2]}, "layer"),
    ):
        with pytest.raises(UserError, match=message):
            pursuit.threshold_codes(model, codes, **options)
    signed = Cascade(model.dictionaries, signs_of(model, (2,)))
    with pytest.raises(UserError, match="relu"):
        pursuit.threshold_codes(signed, codes, rule="relu", threshold=0.1)
    with pytest.raises(UserError, match="sparse signals of shape"):
        one_step.thresholded_signals(model.dictionaries[2], codes, threshold=0.1)


def test_empty_batches_and_empty_codes_are_fine():
    model = cascade_of("1-D, strides")
    shape = model.dictionaries[0].code_shape
    for trials in (0, 3):
        codes = RaggedCodes.from_dense(np.zeros((trials, *shape)), shape)
        for debias in (False, True):
            found = pursuit.threshold_codes(model, codes, threshold=0.1, debias=debias)
            assert [code.row_size.tolist() for code in found] == [[0] * trials] * 3
