"""The dictionary against a dense matrix built by loops, its adjoint, its Gram kernel, and its refusals."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc import ConvolutionalDictionary
from dcsc.errors import UserError
from tests.strategies import dense_matrix, dictionaries, sparse_codes

seeds = st.integers(0, 2**32 - 1)


@given(dictionaries(), seeds, st.sampled_from([(), (3,), (2, 2)]))
@settings(max_examples=150)
def test_synthesis_and_correlation_agree_with_the_dense_matrix(dictionary, seed, batch):
    rng = np.random.default_rng(seed)
    matrix = dense_matrix(dictionary)
    codes = rng.standard_normal((*batch, *dictionary.code_shape))
    signals = rng.standard_normal((*batch, *dictionary.signal_shape))
    synthesized = codes.reshape(-1, dictionary.n_atoms) @ matrix.T
    correlated = signals.reshape(-1, matrix.shape[0]) @ matrix
    np.testing.assert_allclose(
        dictionary.synthesize(codes), synthesized.reshape(*batch, *dictionary.signal_shape), atol=1e-12
    )
    np.testing.assert_allclose(
        dictionary.correlate(signals), correlated.reshape(*batch, *dictionary.code_shape), atol=1e-12
    )
    np.testing.assert_array_equal(dictionary.to_sparse().toarray(), matrix)


@given(dictionaries(dtypes=(np.float32, np.float64)), seeds)
@settings(max_examples=100)
def test_correlation_is_the_adjoint_of_synthesis(dictionary, seed):
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal(dictionary.code_shape).astype(dictionary.dtype)
    signals = rng.standard_normal(dictionary.signal_shape).astype(dictionary.dtype)
    tolerance = 1e-4 if dictionary.dtype == np.float32 else 1e-12
    left = np.vdot(dictionary.synthesize(codes), signals)
    right = np.vdot(codes, dictionary.correlate(signals))
    assert abs(left - right) <= tolerance * max(1.0, np.linalg.norm(codes) * np.linalg.norm(signals))
    assert dictionary.synthesize(codes).dtype == dictionary.dtype
    assert dictionary.correlate(signals).dtype == dictionary.dtype


@given(dictionaries())
@settings(max_examples=100)
def test_linear_operator_acts_as_the_sparse_matrix(dictionary):
    operator, matrix = dictionary.as_linear_operator(), dictionary.to_sparse()
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(matrix.shape[1]), rng.standard_normal(matrix.shape[0])
    np.testing.assert_allclose(operator @ x, matrix @ x, atol=1e-12)
    np.testing.assert_allclose(operator.H @ y, matrix.T @ y, atol=1e-12)


@given(dictionaries())
@settings(max_examples=150)
def test_gram_kernel_holds_every_inner_product(dictionary):
    matrix = dense_matrix(dictionary)
    dense = (matrix.T @ matrix).reshape(*dictionary.code_shape, *dictionary.code_shape)
    rebuilt = np.zeros_like(dense)
    gram = dictionary.gram()
    for i, j in itertools.product(range(dictionary.n_filters), repeat=2):
        for position in itertools.product(*map(range, dictionary.positions)):
            for lag in itertools.product(*[range(1 - n, n) for n in dictionary.overlap]):
                other = [(p + d) % n for p, d, n in zip(position, lag, dictionary.positions, strict=True)]
                index = [d + n - 1 for d, n in zip(lag, dictionary.overlap, strict=True)]
                rebuilt[(i, *position, j, *other)] += gram[(i, j, *index)]
    np.testing.assert_allclose(rebuilt, dense, atol=1e-12)


@given(dictionaries(), seeds)
@settings(max_examples=50)
def test_bits_of_a_signal_do_not_depend_on_its_batch(dictionary, seed):
    codes = sparse_codes(np.random.default_rng(seed), dictionary.code_shape, batch=(5,))
    together = dictionary.synthesize(codes)
    np.testing.assert_array_equal(together[3], dictionary.synthesize(codes[3]))
    np.testing.assert_array_equal(dictionary.correlate(together)[3], dictionary.correlate(together[3]))


def test_integer_codes_stay_exact():
    dictionary = ConvolutionalDictionary.from_integers([[[3, -3, 1]], [[1, 3, 3]]], stride=1, grid=(6,))
    codes = np.zeros((2, 6), dtype=np.int64)
    codes[0, 0], codes[0, 1] = 1, 1
    signal = dictionary.synthesize(codes)
    assert signal.dtype == np.int64
    assert signal.tolist() == [[3, 0, -2, 1, 0, 0]]
    np.testing.assert_allclose(
        signal * dictionary.integer_scale, dictionary.synthesize(codes.astype(float)), atol=1e-15
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filters": np.ones((1, 1, 3)), "grid": (8,)}, "norm 1.73205"),
        ({"filters": np.eye(3)[:, None], "stride": 2, "grid": (9,)}, "not a multiple of the stride 2"),
        ({"filters": np.eye(4)[:, None], "stride": 1, "grid": (6,)}, "use at least 7"),
        ({"filters": np.eye(4), "grid": (8,)}, "(filter, channel, tap, ...)"),
        ({"filters": np.full((1, 1, 2), np.nan), "grid": (8,)}, "not finite"),
        ({"filters": np.eye(4)[:, None], "stride": 0, "grid": (8,)}, "positive integers"),
        ({"filters": np.eye(4)[:, None], "stride": 1, "grid": (8, 8)}, "2 axes"),
        ({"filters": np.zeros((1, 1, 2)), "grid": (8,), "normalize": True}, "is zero"),
    ],
)
def test_wrong_dictionaries_are_refused_with_a_sentence(arguments, words):
    with pytest.raises(UserError) as refusal:
        ConvolutionalDictionary(**arguments)
    assert words in str(refusal.value)


def test_codes_of_a_wrong_shape_are_refused():
    dictionary = ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))
    with pytest.raises(UserError, match="last axes must be"):
        dictionary.synthesize(np.zeros((2, 5)))


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda dictionary: pickle.loads(pickle.dumps(dictionary))])
def test_copies_keep_the_filters_and_prepare_anew(again):
    dictionary = ConvolutionalDictionary.from_integers([[[1, 1, -1]], [[1, -1, 1]]], 1, (8,))
    dictionary.gram()
    assert (dictionary.n_atoms, dictionary.code_shape) == (16, (2, 8))
    other = again(dictionary)
    assert not {"n_atoms", "positions", "code_shape"} & set(vars(other))
    assert other.gram() is not dictionary.gram()
    np.testing.assert_array_equal(other.gram(), dictionary.gram())
    np.testing.assert_array_equal(other.filters, dictionary.filters)
    assert not other.filters.flags.writeable
    assert not other.integer_filters.flags.writeable


def test_what_is_prepared_is_made_once():
    dictionary, made = ConvolutionalDictionary(np.ones((1, 1, 1)), 1, (4,)), []
    for _ in range(2):
        assert dictionary.prepared("key", lambda: made.append("value") or made[0]) == "value"
    assert made == ["value"]
    assert dictionary.gram() is dictionary.gram()
