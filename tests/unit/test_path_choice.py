"""The sparse and the dense path through the one place that chooses: equal results on every family, also with noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcsc import ConvolutionalDictionary, RaggedCodes, families
from dcsc.convolution import one_step
from dcsc.errors import UserError
from dcsc.ragged import take
from tests.strategies import dictionaries, sparse_codes

seeds = st.integers(0, 2**32 - 1)
RULES = ("hard", "soft", "relu", "top-k")

FAMILIES = {
    "lapped": ((64,), {"n_filters": 8}),
    "gaussian": ((96,), {"n_filters": 6, "taps": 12}),
    "gaussian in 2-D": ((20, 24), {"n_filters": 5, "taps": 4}),
    "perturbed": ((64,), {"base": "lapped", "n_filters": 8, "perturbation": 0.3}),
    "meyer": ((300,), {}),
    "integer": ((120,), {}),
}


def same(found, expected, atol):
    np.testing.assert_array_equal(found.row_size, expected.row_size)
    np.testing.assert_array_equal(found.atom, expected.atom)
    np.testing.assert_allclose(found.value, expected.value, atol=atol)


def clear(threshold, correlations, atol):
    """Thresholds moved away from every correlation, so that rounding decides nothing."""
    gaps = np.abs(np.abs(correlations.reshape(len(threshold), -1)) - threshold[:, None]).min(axis=1)
    return np.where(gaps < 10 * atol, threshold + 31 * atol, threshold)


def compare(dictionary, codes, noise, rng, atol):
    ragged = RaggedCodes.from_dense(codes, dictionary.code_shape)
    signals = dictionary.synthesize(codes) + (0 if noise is None else noise)
    correlations = dictionary.correlate(signals)
    threshold = clear(rng.random(len(codes)) + 0.05, correlations, atol)
    for one_sided in (False, True):
        sparse, dense, either = (
            one_step.margins(dictionary, ragged, noise, one_sided=one_sided, path=path)
            for path in ("sparse", "dense", "auto")
        )
        for one, other, third in zip(sparse, dense, either, strict=True):
            np.testing.assert_allclose(one, other, atol=atol)
            np.testing.assert_allclose(third, other, atol=atol)
    for rule in RULES:
        if rule == "top-k" and noise is None:
            continue  # without noise, atoms that coincide tie up to rounding
        options = {"k": ragged.row_size} if rule == "top-k" else {"threshold": threshold}
        found = {
            path: one_step.recovered_supports(dictionary, ragged, noise, rule=rule, path=path, **options)
            for path in one_step.PATHS
        }
        same(found["sparse"], found["dense"], atol)
        same(found["auto"], found["dense"], atol)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_paths_agree_on_every_family(name, noisy):
    grid, parameters = FAMILIES[name]
    rng = np.random.default_rng(7)
    dictionary = families.create(name.split()[0], grid, 3, **parameters)
    codes = sparse_codes(
        rng, dictionary.code_shape, np.array([0.01, 0.1, 0.5]).repeat(3).reshape(9, 1, *[1] * len(grid)), (9,)
    )
    noise = rng.standard_normal((9, *dictionary.signal_shape)) / 10 if noisy else None
    compare(dictionary, codes, noise, rng, 1e-10)


@given(dictionaries(ranks=(1, 2, 3), dtypes=(np.float32, np.float64), max_taps=4), seeds, st.booleans())
@settings(max_examples=40)
def test_paths_agree_on_random_dictionaries(dictionary, seed, noisy):
    rng = np.random.default_rng(seed)
    codes = sparse_codes(rng, dictionary.code_shape, 0.2, (4,)).astype(dictionary.dtype)
    noise = rng.standard_normal((4, *dictionary.signal_shape)).astype(dictionary.dtype) if noisy else None
    compare(dictionary, codes, noise, rng, 1e-10 if dictionary.dtype == np.float64 else 3e-5)


def mixed():
    """Trials so different that the choice differs among them."""
    rng = np.random.default_rng(5)
    dictionary = ConvolutionalDictionary(rng.standard_normal((16, 1, 16)), 1, (128,), normalize=True)
    densities = rng.choice([0.001, 0.01, 0.5], (40, 1, 1))
    codes = sparse_codes(rng, dictionary.code_shape, densities, (40,))
    return dictionary, RaggedCodes.from_dense(codes, dictionary.code_shape)


def test_the_choice_is_made_for_each_trial_and_bits_are_its_own():
    dictionary, ragged = mixed()
    limit = one_step.densest_sparse(dictionary, np.float64)
    assert ragged.row_size.min() <= limit < ragged.row_size.max()
    whole = one_step.recovered_supports(dictionary, ragged, threshold=0.7)
    margins = np.stack(one_step.margins(dictionary, ragged), axis=-1)
    for trial in (0, 1, 2, 17, 39):
        alone = one_step.recovered_supports(dictionary, ragged.rows(slice(trial, trial + 1)), threshold=0.7, threads=1)
        here = whole.rows(slice(trial, trial + 1))
        np.testing.assert_array_equal(alone.atom, here.atom)
        np.testing.assert_array_equal(alone.value, here.value)
        single = np.stack(one_step.margins(dictionary, ragged.rows(slice(trial, trial + 1)), threads=1), axis=-1)
        np.testing.assert_array_equal(single[0], margins[trial])
        path = "sparse" if ragged.row_size[trial] <= limit else "dense"
        forced = one_step.recovered_supports(dictionary, ragged.rows(slice(trial, trial + 1)), threshold=0.7, path=path)
        np.testing.assert_array_equal(forced.value, alone.value)


def test_batch_axes_and_empty_batches_are_kept():
    dictionary, ragged = mixed()
    folded = one_step.recovered_supports(dictionary, ragged.reshape((5, 8)), rule="top-k", k=3)
    assert folded.batch_shape == (5, 8)
    assert (folded.row_size <= 3).all()
    assert one_step.margins(dictionary, ragged.reshape((5, 8))).largest_off.shape == (5, 8)
    none = ragged.rows(slice(0, 0))
    assert one_step.recovered_supports(dictionary, none, threshold=1.0).row_size.shape == (0,)
    assert one_step.margins(dictionary, none).smallest_on.shape == (0,)


@pytest.mark.parametrize("path", ["dense", "auto"])
def test_a_threshold_of_zero_keeps_everything_however_little_room_was_made(path):
    dictionary, ragged = mixed()
    few = take(ragged, np.flatnonzero(ragged.row_size < 30))
    kept = one_step.recovered_supports(dictionary, few, threshold=0.0, path=path)
    assert kept.row_size.sum() > 10 * few.row_size.sum() + 2048
    np.testing.assert_allclose(kept.to_dense(), dictionary.correlate(dictionary.synthesize(few.to_dense())), atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d, c: one_step.margins(d, c, path="dens"), "did you mean 'dense'"),
        (lambda d, c: one_step.margins(d, c, np.zeros(3)), "noise of shape (3,) does not fit"),
        (lambda d, c: one_step.recovered_supports(d, c), "needs threshold"),
        (lambda d, c: one_step.margins(ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,)), c), "do not fit"),
    ],
)
def test_misuse_is_refused_with_a_sentence(call, words):
    with pytest.raises(UserError) as refusal:
        call(*mixed())
    assert words in str(refusal.value)
