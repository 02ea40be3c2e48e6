"""Uniform guarantees: whenever one holds, thresholding recovers the path, with the promised error."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc.guarantees import interference_bound, interference_variance
from dcsc.guarantees.interference import _scatter, _shift
from tests.strategies import dictionaries, sparse_codes
from tests.theory.support import dense_gram

seeds = st.integers(0, 2**32 - 1)


@given(dictionaries(), seeds, st.sampled_from([0.02, 0.3, 1.0]))
@settings(max_examples=150)
def test_interference_agrees_with_the_dense_gram_matrix(dictionary, seed, density):
    codes = sparse_codes(np.random.default_rng(seed), dictionary.code_shape, density, batch=(2, 2))
    flat, gram = np.abs(codes).reshape(4, -1), np.abs(dense_gram(dictionary))
    bound = interference_bound(dictionary, codes)
    np.testing.assert_allclose(bound.reshape(4, -1), flat @ gram, atol=1e-12)
    np.testing.assert_allclose(interference_variance(dictionary, codes).reshape(4, -1), flat**2 @ gram**2, atol=1e-12)
    assert (bound >= 0).all()
    assert not bound[(flat @ (gram > 0)).reshape(bound.shape) == 0].any()
    kernel = np.abs(dictionary.gram()) ** 1.0
    np.testing.assert_allclose(*[act(dictionary, kernel, codes[0]) for act in (_scatter, _shift)], atol=1e-12)
