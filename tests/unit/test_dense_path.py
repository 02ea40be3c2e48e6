"""The dense path against a dense matrix, its exact zeros, its determinism, and its refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc import ConvolutionalDictionary, RaggedCodes
from dcsc.convolution import dense_path, sparse_path
from dcsc.errors import UserError
from dcsc.pursuit import thresholding
from tests.strategies import dense_matrix, dictionaries, sparse_codes

seeds = st.integers(0, 2**32 - 1)
batches = st.sampled_from([(), (3,), (2, 2), (0,)])
any_dictionary = dictionaries(ranks=(1, 2, 3), dtypes=(np.float32, np.float64), max_taps=4)
methods = st.sampled_from(["auto", "direct", "fft"])
RULES = {"hard": thresholding.hard, "soft": thresholding.soft, "relu": thresholding.relu}


def tolerance(dictionary):
    return 1e-10 if dictionary.dtype == np.float64 else 2e-4


# few and many positions, filters and channels, so that both layouts and their last tiles are met
SIZES = [
    ((1, 1, 5), 1, (50,)),
    ((2, 3, 7), 2, (70,)),
    ((5, 2, 16), 4, (160,)),
    ((40, 1, 8), 4, (12,)),
    ((37, 2, 3), 1, (7,)),
    ((6, 2, 3, 5), (1, 2), (7, 90)),
    ((33, 1, 4, 4), 2, (6, 6)),
    ((1, 1, 3, 3), 1, (9, 40)),
    ((3, 1, 2, 2, 2), 1, (4, 3, 20)),
    ((2, 1, 1, 2, 1, 2), 1, (2, 3, 2, 3)),
]


def of_size(shape, stride, grid, dtype=np.float64):
    rng = np.random.default_rng(len(shape) + shape[0])
    return ConvolutionalDictionary(rng.standard_normal(shape).astype(dtype), stride, grid, normalize=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_layout_agrees_with_the_sparse_matrix(size, dtype):
    dictionary = of_size(*size, dtype)
    matrix = dictionary.to_sparse().astype(np.float64)
    rng = np.random.default_rng(1)
    signals = rng.standard_normal((5, *dictionary.signal_shape)).astype(dtype)
    codes = rng.standard_normal((5, *dictionary.code_shape)).astype(dtype)
    correlated = (signals.reshape(5, -1) @ matrix).reshape(codes.shape)
    synthesized = (matrix @ codes.reshape(5, -1).T).T.reshape(signals.shape)
    for method in dense_path.METHODS:
        np.testing.assert_allclose(dictionary.correlate(signals, method=method), correlated, atol=tolerance(dictionary))
        np.testing.assert_allclose(dictionary.synthesize(codes, method=method), synthesized, atol=tolerance(dictionary))


@given(any_dictionary, seeds, batches, methods)
@settings(max_examples=60)
def test_outputs_are_written_where_asked_and_thresholds_are_fused(dictionary, seed, batch, method):
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((*batch, *dictionary.signal_shape)).astype(dictionary.dtype)
    plain = dictionary.correlate(signals, method=method)
    out = np.full_like(plain, np.nan)
    assert dictionary.correlate(signals, out=out, method=method) is out
    np.testing.assert_array_equal(out, plain)
    thresholds = rng.random(batch).astype(dictionary.dtype)
    spread = thresholds.reshape(*batch, *[1] * (dictionary.rank + 1))
    for rule, apply in RULES.items():
        fused = dense_path.correlate(dictionary, signals, rule=rule, threshold=thresholds, method=method)
        np.testing.assert_array_equal(fused, apply(plain, spread))
    codes = sparse_codes(rng, dictionary.code_shape, 0.3, batch).astype(dictionary.dtype)
    target = np.full((*batch, *dictionary.signal_shape), np.nan, dictionary.dtype)
    assert dictionary.synthesize(codes, out=target, method=method) is target
    np.testing.assert_array_equal(target, dictionary.synthesize(codes, method=method))


@given(dictionaries(max_taps=4), seeds, st.sampled_from([0.02, 0.3, 1.0]))
@settings(max_examples=60)
def test_synthesis_is_zero_wherever_no_active_atom_writes(dictionary, seed, density):
    codes = sparse_codes(np.random.default_rng(seed), dictionary.code_shape, density, (4,))
    written = (dense_matrix(dictionary) != 0).astype(float) @ (codes.reshape(4, -1) != 0).T > 0
    signal = dictionary.synthesize(codes).reshape(4, -1)
    assert not signal[~written.T].any()


def realistic(dtype=np.float64, n_trials=70):
    dictionary = of_size((8, 2, 12), 2, (128,), dtype)
    rng = np.random.default_rng(2)
    signals = rng.standard_normal((n_trials, *dictionary.signal_shape)).astype(dtype)
    densities = rng.choice([0.005, 0.05, 0.9], (n_trials, 1, 1))
    codes = sparse_codes(rng, dictionary.code_shape, densities, (n_trials,)).astype(dtype)
    return dictionary, signals, codes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", dense_path.METHODS)
def test_bits_depend_neither_on_threads_nor_on_the_batch(method, dtype):
    dictionary, signals, codes = realistic(dtype)
    for act, arrays in ((dictionary.correlate, signals), (dictionary.synthesize, codes)):
        one = act(arrays, method=method, threads=1)
        np.testing.assert_array_equal(one, act(arrays, method=method, threads=5))
        for rows in (slice(3, 4), slice(10, 17), slice(33, None)):
            np.testing.assert_array_equal(one[rows], act(arrays[rows], method=method))


def test_integer_codes_stay_exact_at_any_density_and_in_2d():
    rng = np.random.default_rng(4)
    for density in (0.05, 1.0):
        for shape, grid in (((1, 1, 6), (48,)), ((1, 2, 3, 3), (9, 8))):
            integers = rng.integers(-9, 10, shape)
            dictionary = ConvolutionalDictionary.from_integers(integers, 1, grid)
            codes = rng.integers(-(2**40), 2**40, (3, *dictionary.code_shape))
            codes = codes * (rng.random(codes.shape) < density)
            signal = dictionary.synthesize(codes)
            matrix = ConvolutionalDictionary.from_integers(integers, 1, grid).to_sparse() / dictionary.integer_scale
            exact = codes.reshape(3, -1).astype(object) @ np.rint(matrix.toarray()).astype(int).T.astype(object)
            assert signal.dtype == np.int64
            assert (signal.reshape(3, -1) == exact).all()


def test_types_follow_the_filters_and_the_arrays():
    for dtype in (np.float32, np.float64):
        dictionary = of_size((3, 1, 4), 2, (16,), dtype)
        assert dictionary.correlate(np.ones(dictionary.signal_shape, np.float32)).dtype == dtype
        assert dictionary.correlate(np.ones(dictionary.signal_shape)).dtype == np.float64
        assert dictionary.synthesize(np.ones(dictionary.code_shape, bool)).dtype == dtype


def test_arrays_that_are_not_contiguous_or_writable_are_read():
    dictionary, signals, codes = realistic()
    for act, array in ((dictionary.correlate, signals), (dictionary.synthesize, codes)):
        expected = act(array)
        frozen = array.copy()
        frozen.setflags(write=False)
        np.testing.assert_array_equal(act(frozen), expected)
        np.testing.assert_array_equal(act(np.asfortranarray(array)), expected)
        np.testing.assert_array_equal(act(np.repeat(array, 2, axis=0)[::2]), expected)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d, y: d.correlate(y, method="ftt"), "did you mean 'fft'"),
        (lambda d, y: d.correlate(y * 1j), "give real numbers"),
        (lambda d, y: d.correlate(y, out=np.zeros(3)), "not a writable contiguous array of shape"),
        (lambda d, y: dense_path.correlate(d, y, rule="sfot", threshold=1), "did you mean 'soft'"),
        (lambda d, y: dense_path.correlate(d, y, rule="soft"), "needs a threshold"),
        (lambda d, y: dense_path.correlate(d, y, rule="soft", threshold=np.ones(3)), "does not fit batch shape"),
        (lambda d, y: d.synthesize(np.ones(d.code_shape), method="ftt"), "did you mean 'fft'"),
    ],
)
def test_misuse_is_refused_with_a_sentence(call, words):
    dictionary, signals, _ = realistic(n_trials=2)
    with pytest.raises(UserError) as refusal:
        call(dictionary, signals)
    assert words in str(refusal.value)


@pytest.mark.parametrize("shape", [(4, 1, 6), (2, 2, 2, 2, 2, 2)], ids=["one axis", "four axes"])
@pytest.mark.parametrize("method", dense_path.METHODS)
def test_a_code_that_is_not_finite_is_refused_at_any_density(shape, method):
    filters = np.eye(shape[0], np.prod(shape[1:])).reshape(shape)
    dictionary = ConvolutionalDictionary(filters, 1, (300, 3, 3, 3)[: len(shape) - 2])
    for density in (0.01, 1.0):
        codes = (np.random.default_rng(0).random((40, *dictionary.code_shape)) < density).astype(np.float64)
        assert np.isfinite(dictionary.synthesize(codes, method=method)).all()
        for value in (np.nan, np.inf, -np.inf):
            codes.reshape(40, -1)[35, 200] = value
            with pytest.raises(UserError, match="codes hold values that are not finite"):
                dictionary.synthesize(codes, method=method)


def test_a_sum_beyond_the_largest_number_is_infinite():
    dictionary = ConvolutionalDictionary(np.ones((1, 1, 2)) / np.sqrt(2), 1, (200,))
    code = np.zeros((1, 200))
    code[0, 100:103] = 1.5e308
    assert np.array_equal(np.flatnonzero(np.isinf(dictionary.synthesize(code)[0])), [101, 102])


def test_signals_are_those_of_lists_wherever_the_nonzeros_of_a_code_are():
    dictionary, rng = of_size((8, 1, 16), 1, (513,)), np.random.default_rng(0)
    codes = np.zeros((6, *dictionary.code_shape))
    flat = codes.reshape(6, -1)
    flat[0, :400] = 1.0  # many at first, few in all
    flat[1, -400:] = 1.0
    flat[2, 510:520], flat[2, -3:] = 1.0, -2.0
    flat[3] = rng.standard_normal(flat.shape[1])  # too many for lists
    flat[4, :3], flat[4, 1000:] = 1.0, rng.standard_normal(flat.shape[1] - 1000)  # the same, seen late
    flat[flat == 0] = -0.0
    lists = sparse_path.synthesize_codes(dictionary, RaggedCodes.from_dense(codes, dictionary.code_shape))
    found = dictionary.synthesize(codes)
    np.testing.assert_array_equal(found[[0, 1, 2, 5]], lists[[0, 1, 2, 5]])
    np.testing.assert_allclose(found, lists, atol=1e-12)


def test_integers_in_four_axes_are_refused():
    dictionary = ConvolutionalDictionary.from_integers(np.ones((1, 1, 1, 1, 1, 1), int), 1, (2, 2, 2, 2))
    with pytest.raises(UserError, match="up to 3 spatial axes"):
        dictionary.synthesize(np.ones(dictionary.code_shape, int))
