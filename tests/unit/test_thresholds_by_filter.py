"""A threshold for each filter: what pursuits do with it, against the rules entry by entry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.convolution import one_step
from dcsc.errors import UserError
from dcsc.pursuit import layered_thresholding, thresholding
from dcsc.ragged import RaggedCodes
from tests.strategies import cascades, dictionaries, sparse_codes

seeds = st.integers(0, 2**32 - 1)
RULES = {"hard": thresholding.hard, "soft": thresholding.soft, "relu": thresholding.relu}


def spread(beta, rank):
    return beta[(..., *[None] * rank)]


@given(cascades(), seeds, st.sampled_from(list(RULES)), st.booleans())
@settings(max_examples=80)
def test_layers_are_thresholded_filter_by_filter(model, seed, rule, one_a_trial):
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((2, *model.dictionaries[0].signal_shape))
    betas = [rng.random((*((2,) if one_a_trial else ()), layer.n_filters)) for layer in model.dictionaries]
    result = layered_thresholding(model, signals, rule=rule, threshold=betas, by_filter=True)
    current = signals
    for layer, (beta, code, used) in enumerate(zip(betas, result.codes, result.thresholds, strict=True), start=1):
        correlations = model.correlate_layer(layer, current)
        current = RULES[rule](correlations, spread(beta, model.rank))
        np.testing.assert_array_equal(code, current)
        np.testing.assert_array_equal(used, np.broadcast_to(beta, used.shape))
        assert used.shape == (2, model.dictionaries[layer - 1].n_filters)
    assert result.iterations.shape == (2, model.depth)


@given(dictionaries(dtypes=(np.float32, np.float64)), seeds, st.sampled_from(list(RULES)), st.booleans())
@settings(max_examples=80)
def test_one_step_by_filter_on_either_path_is_the_rule_on_its_correlations(dictionary, seed, rule, noisy):
    rng = np.random.default_rng(seed)
    dense = sparse_codes(rng, dictionary.code_shape, 0.3, batch=(2, 3)).astype(dictionary.dtype)
    codes = RaggedCodes.from_dense(dense, dictionary.code_shape)
    noise = rng.standard_normal((2, 3, *dictionary.signal_shape)).astype(dictionary.dtype) if noisy else None
    beta = rng.choice([0.0, 0.3, 0.9, 2.0, np.inf], (2, 3, dictionary.n_filters)).astype(dictionary.dtype)
    for path in ("sparse", "dense"):
        options = {"path": path, "threads": 1}
        whole = one_step.recovered_supports(dictionary, codes, noise, rule="hard", threshold=0.0, **options)
        found = one_step.recovered_supports(
            dictionary, codes, noise, rule=rule, threshold=beta, by_filter=True, **options
        )
        with np.errstate(invalid="ignore"):  # 0 times infinity, which is not kept
            expected = RULES[rule](whole.to_dense(), spread(beta, dictionary.rank))
        np.testing.assert_array_equal(found.to_dense(), expected)
        assert found.value.dtype == dictionary.dtype
        assert (found.value != 0).all()
        common = one_step.recovered_supports(dictionary, codes, noise, rule=rule, threshold=0.3, **options)
        equal = one_step.recovered_supports(
            dictionary, codes, noise, rule=rule, threshold=0.3, by_filter=True, **options
        )
        np.testing.assert_array_equal(equal.to_dense(), common.to_dense())


@given(cascades(), seeds, st.sampled_from(["hard", "soft", "relu"]))
@settings(max_examples=60)
def test_equal_thresholds_by_filter_are_a_common_one(model, seed, rule):
    rng = np.random.default_rng(seed)
    signals = rng.standard_normal((2, *model.dictionaries[0].signal_shape))
    common = rng.random((model.depth, 2))
    alone = layered_thresholding(model, signals, rule=rule, threshold=list(common))
    each = layered_thresholding(model, signals, rule=rule, threshold=list(common[..., None]), by_filter=True)
    for one, other in zip(alone.codes, each.codes, strict=True):
        np.testing.assert_array_equal(one, other)


@given(cascades(max_depth=1), seeds, st.sampled_from(["hard", "soft", "relu"]))
@settings(max_examples=60)
def test_oracle_by_filter_keeps_the_known_number_of_every_filter(model, seed, rule):
    rng = np.random.default_rng(seed)
    code = sparse_codes(rng, model.dictionaries[0].code_shape, 0.4, batch=(3,))
    code = np.abs(code) if rule == "relu" else code
    layers = model.synthesize(code)
    result = layered_thresholding(model, layers[0], rule=rule, threshold="oracle-by-filter", reference=layers[1:])
    correlations = model.correlate_layer(1, layers[0]).reshape(3, model.dictionaries[0].n_filters, -1)
    magnitudes = np.sort(correlations if rule == "relu" else np.abs(correlations))[..., ::-1]
    sizes = np.count_nonzero(code.reshape(correlations.shape), axis=-1)
    kept = np.count_nonzero(result.codes[0].reshape(correlations.shape), axis=-1)
    for place in np.ndindex(sizes.shape):
        size, ordered = sizes[place], np.append(magnitudes[place], 0.0)
        if size == 0 or (ordered[size - 1] > 1e-9 and ordered[size - 1] - max(ordered[size], 0) > 1e-9):
            assert kept[place] == size


@given(cascades(), seeds)
@settings(max_examples=60)
def test_statistical_thresholds_are_half_the_smallest_magnitude_of_their_filter(model, seed):
    codes = [
        sparse_codes(np.random.default_rng(seed), layer.code_shape, 0.1, batch=(4,)) for layer in model.dictionaries
    ]
    found = thresholding.derived_thresholds("statistical-by-filter", model, codes, "hard")
    common = thresholding.derived_thresholds("statistical", model, codes, "hard")
    for code, betas, of_code in zip(codes, found, common, strict=True):
        for trial in range(4):
            for f, of_filter in enumerate(code[trial]):
                active = np.abs(of_filter[of_filter != 0])
                assert betas[trial, f] == (active.min() / 2 if active.size else of_code[trial])


def two_filters():
    return dcsc.Cascade([dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": [[0.1, 0.2, 0.3]], "by_filter": True}, "(3,) do not fit 2 filters and batch axes (2,)"),
        ({"threshold": [np.zeros((3, 2))], "by_filter": True}, "give a number, (2,) or (2, 2)"),
        ({"threshold": [[0.1, 0.2, 0.3]]}, "set by_filter for one per filter"),
        ({"threshold": "statistical-by-filtr"}, "did you mean 'statistical-by-filter'?"),
        ({"threshold": "uniform-by-filter"}, "pass them as reference"),
    ],
)
def test_wrong_thresholds_are_refused_with_a_sentence(options, words):
    with pytest.raises(UserError) as refusal:
        layered_thresholding(two_filters(), np.zeros((2, 1, 8)), rule="hard", **options)
    assert words in str(refusal.value)


def test_an_axis_is_that_of_trials_unless_it_is_said_to_be_that_of_filters():
    signals = np.ones((2, 1, 8))
    by_trial = layered_thresholding(two_filters(), signals, rule="hard", threshold=[[0.5, 2.0]])
    by_filter = layered_thresholding(two_filters(), signals, rule="hard", threshold=[[0.5, 2.0]], by_filter=True)
    np.testing.assert_array_equal(by_trial.codes[0].any(axis=(1, 2)), [True, False])
    np.testing.assert_array_equal(by_filter.codes[0].any(axis=(0, 2)), [True, False])


def test_one_step_refuses_what_has_no_threshold():
    layer = two_filters().dictionaries[0]
    codes = RaggedCodes.from_dense(np.ones((1, *layer.code_shape)), layer.code_shape)
    with pytest.raises(UserError, match="'top-k' takes no thresholds by filter"):
        one_step.recovered_supports(layer, codes, rule="top-k", k=1, by_filter=True)
    with pytest.raises(UserError, match="not allowed"):
        one_step.recovered_supports(layer, codes, rule="soft", threshold=[-1.0, 1.0], by_filter=True)
