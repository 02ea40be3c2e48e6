"""Multi-layer ISTA and FISTA, projection pursuit and orthogonal matching pursuit against dense references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.errors import UserError
from dcsc.pursuit import multilayer
from dcsc.pursuit.multilayer import deepest_columns
from tests.strategies import cascades, dense_matrix, sparse_codes
from tests.support.pursuits import multilayer_objective
from tests.unit.test_basis_pursuit import dense_layer, kkt_distance, problem, signed

seeds = st.integers(0, 2**32 - 1)


def two_layers(seed=0):
    rng = np.random.default_rng(seed)
    first = dcsc.ConvolutionalDictionary(rng.standard_normal((4, 1, 6)), 2, (24,), normalize=True)
    second = dcsc.ConvolutionalDictionary(rng.standard_normal((3, 4, 3)), 2, (12,), normalize=True)
    return dcsc.Cascade([first, second])


def primal_dual(matrix, analysis, target, inner, outer, iterations=20000):
    """Minimise |target - matrix x|^2 / 2 + inner |analysis x|_1 + outer |x|_1 (Chambolle-Pock)."""
    stacked = np.vstack([matrix, analysis])
    step = 0.99 / np.linalg.norm(stacked, 2)
    x, extrapolated, dual = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1]), np.zeros(len(stacked))
    rows = len(target)
    for _ in range(iterations):
        dual = dual + step * stacked @ extrapolated
        dual[:rows] = (dual[:rows] - step * target) / (1 + step)
        dual[rows:] = np.clip(dual[rows:], -inner, inner)
        new = x - step * stacked.T @ dual
        new = np.sign(new) * np.maximum(np.abs(new) - step * outer, 0)
        extrapolated, x = 2 * new - x, new
    return x


@pytest.mark.parametrize("name", ["multilayer-ista", "multilayer-fista"])
@given(model=cascades(max_depth=1), seed=seeds, signs=st.booleans(), one_sided=st.booleans())
@settings(max_examples=25)
def test_one_layer_is_the_lasso(name, model, seed, signs, one_sided):
    model = signed(model, seed) if signs else model
    signals = problem(model, seed)
    penalty = 0.3 * np.abs(model.correlate_layer(1, signals)).max()
    result = dcsc.pursuit.get(name)(model, signals, penalty=penalty, non_negative=one_sided, tolerance=1e-10)
    for trial in range(2):
        matrix = dense_layer(model, 1, trial)
        found = result.codes[0][trial].ravel()
        assert kkt_distance(matrix, signals[trial].ravel(), penalty, found, one_sided) < 1e-5 * penalty
        assert not one_sided or (found >= 0).all()


@pytest.mark.parametrize("signs", [False, True])
def test_penalty_on_the_deepest_layer_alone_is_the_lasso_of_the_effective_dictionary(signs):
    model = signed(two_layers(), 1) if signs else two_layers()
    signals = np.random.default_rng(2).standard_normal((2, 1, 24))
    result = dcsc.pursuit.multilayer_fista(model, signals, penalty=[0.0, 0.2], tolerance=1e-10)
    for trial in range(2):
        columns = deepest_columns(model, np.arange(model.dictionaries[-1].n_atoms), (trial,))
        dense = dense_layer(model, 1, trial) @ dense_layer(model, 2, trial)
        np.testing.assert_allclose(columns, dense, atol=1e-12)
        assert kkt_distance(dense, signals[trial].ravel(), 0.2, result.codes[1][trial].ravel()) < 1e-6


def test_smaller_steps_come_nearer_to_the_optimum():
    model = two_layers()
    signals = np.random.default_rng(3).standard_normal((1, 1, 24))
    first, second = (dense_matrix(layer) for layer in model.dictionaries)
    best = primal_dual(first @ second, second, signals.ravel(), 0.1, 0.1).reshape(model.dictionaries[-1].code_shape)
    least = multilayer_objective(model, signals[0], best, [0.1, 0.1])
    excess = []
    for step in (1.0, 0.3, 0.1):
        result = dcsc.pursuit.multilayer_fista(model, signals, penalty=0.1, step=step, tolerance=1e-7)
        assert result.stopped == "tolerance reached"
        excess.append(multilayer_objective(model, signals[0], result.codes[-1][0], [0.1, 0.1]) / least - 1)
    assert excess[0] > excess[1] > excess[2] > -1e-6
    assert excess[2] < 0.01


def test_momentum_reaches_the_same_fixed_point_in_fewer_iterations():
    model = two_layers()
    signals = np.random.default_rng(3).standard_normal((1, 24))
    slow, fast = (
        method(model, signals, penalty=0.3, tolerance=1e-7)
        for method in (dcsc.pursuit.multilayer_ista, dcsc.pursuit.multilayer_fista)
    )
    for one, other in zip(slow.codes, fast.codes, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    assert fast.iterations[0] < slow.iterations[0]


@given(model=cascades(max_depth=3), seed=seeds, signs=st.booleans())
@settings(max_examples=40)
def test_first_iteration_is_a_forward_pass_with_biases(model, seed, signs):
    model = signed(model, seed) if signs else model
    signals = problem(model, seed)
    result = dcsc.pursuit.multilayer_ista(model, signals, penalty=0.1, max_iterations=1)
    step, current = 1.0, signals
    for layer, dictionary in enumerate(model.dictionaries, start=1):
        scale = step / np.linalg.norm(dense_matrix(dictionary), 2) ** 2
        # From zero the gradient of a layer is minus its new code over the layer's step.
        current = scale * model.correlate_layer(layer, current if layer == 1 else current / step)
        current = np.sign(current) * np.maximum(np.abs(current) - 0.1 * scale, 0)
        step = scale
        np.testing.assert_allclose(result.codes[layer - 1], current, atol=1e-10)


@pytest.mark.parametrize("name", ["multilayer-ista", "multilayer-fista", "projection-pursuit"])
def test_single_precision_computes_in_single_precision(name, monkeypatch):
    model = two_layers()
    single = dcsc.Cascade(
        [dcsc.ConvolutionalDictionary(d.filters.astype(np.float32), d.stride, d.grid) for d in model.dictionaries]
    )
    signals = np.random.default_rng(14).standard_normal((3, 1, 24))
    expected = dcsc.pursuit.get(name)(model, signals, penalty=0.3)
    seen = set()
    original = multilayer._pass
    monkeypatch.setattr(
        multilayer, "_pass", lambda *given: [seen.add(code.dtype.name) or code for code in original(*given)]
    )
    result = dcsc.pursuit.get(name)(single, signals.astype(np.float32), penalty=0.3)
    assert seen == {"float32"}
    assert result.stopped == "tolerance reached"
    for found, code in zip(result.codes, expected.codes, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, code, atol=2e-5)
        np.testing.assert_array_equal(found != 0, code != 0)


def test_trials_stop_alone():
    model = two_layers()
    signals = np.random.default_rng(4).standard_normal((3, 1, 24))
    for name in ("multilayer-ista", "multilayer-fista", "projection-pursuit"):
        whole = dcsc.pursuit.get(name)(model, signals, penalty=0.3)
        alone = dcsc.pursuit.get(name)(model, signals[1], penalty=0.3)
        for code, single in zip(whole.codes, alone.codes, strict=True):
            np.testing.assert_allclose(code[1], single, atol=1e-12)
        np.testing.assert_array_equal(whole.iterations[1], alone.iterations)


def test_projection_pursuit_recovers_a_sparse_path_and_its_layers_agree():
    rng = np.random.default_rng(5)
    first = dcsc.ConvolutionalDictionary(rng.standard_normal((6, 2, 16)), 4, (64,), normalize=True)
    second = dcsc.ConvolutionalDictionary(
        rng.standard_normal((4, 6, 3)) * (rng.random((4, 6, 3)) < 0.3), 1, (16,), normalize=True
    )
    model = signed(dcsc.Cascade([first, second]), 6, (3,))
    deepest = np.zeros((3, 4, 16))
    for trial in range(3):
        deepest[(trial, *(rng.integers(n, size=2) for n in (4, 16)))] = [1.0, -1.5]
    layers = model.synthesize(deepest)
    result = dcsc.pursuit.projection_pursuit(model, layers[0], penalty=0.02)
    for found, true in zip(result.codes, layers[1:], strict=True):
        np.testing.assert_allclose(found, true, atol=1e-9)
        np.testing.assert_array_equal(found != 0, np.abs(true) > 1e-12)


def test_holistic_pursuit_finds_a_path_by_the_zeros_of_the_layer_above_it():
    rng = np.random.default_rng(12)
    first = dcsc.ConvolutionalDictionary(rng.standard_normal((3, 1, 6)), 3, (30,), normalize=True)
    filters = rng.standard_normal((5, 3, 2)) * (rng.random((5, 3, 2)) < 0.5)
    second = dcsc.ConvolutionalDictionary(filters, 1, (10,), normalize=True)
    exact = {"projection-pursuit": 0, "holistic-pursuit": 0}
    for trial in range(12):
        model = signed(dcsc.Cascade([first, second]), trial, ())
        deepest = np.zeros((5, 10))
        deepest.flat[rng.choice(50, 6, replace=False)] = rng.choice([-1.0, 1.0], 6) * rng.uniform(0.5, 1, 6)
        layers = model.synthesize(deepest)
        signals = layers[0] + 0.01 * rng.standard_normal(layers[0].shape)
        for name in exact:
            result = dcsc.pursuit.get(name)(model, signals, penalty=0.05, reference=layers[1:])
            np.testing.assert_allclose(model.synthesize(result.codes[-1])[1], result.codes[0], atol=1e-6)
            exact[name] += int(((result.codes[-1] != 0) == (deepest != 0)).all())
    assert exact["holistic-pursuit"] > exact["projection-pursuit"]


def dense_omp(matrix, target, k):
    """Orthogonal matching pursuit by refitting every time."""
    active = []
    residual = target
    for _ in range(k):
        c = np.abs(matrix.T @ residual)
        c[active] = 0
        active.append(int(np.argmax(c)))
        fitted = np.linalg.lstsq(matrix[:, active], target, rcond=None)[0]
        residual = target - matrix[:, active] @ fitted
    x = np.zeros(matrix.shape[1])
    x[active] = fitted if k else 0
    return x


@given(model=cascades(max_depth=2), seed=seeds, signs=st.booleans(), share=st.floats(0, 0.4))
@settings(max_examples=80)
def test_orthogonal_matching_pursuit_agrees_with_refitting(model, seed, signs, share):
    model = signed(model, seed) if signs else model
    signals = problem(model, seed)
    sizes = [int(share * min(layer.n_atoms, np.prod(layer.signal_shape))) for layer in model.dictionaries]
    result = dcsc.pursuit.layered_matching_pursuit(model, signals, k=sizes)
    current = signals
    for layer in range(1, model.depth + 1):
        for trial in range(2):
            target = current[trial].ravel()
            matrix = dense_layer(model, layer, trial)
            found = result.codes[layer - 1][trial].ravel()
            active = found != 0
            residual = target - matrix @ found
            assert active.sum() <= sizes[layer - 1]
            assert np.abs(matrix[:, active].T @ residual).max(initial=0) < 1e-7 * (1 + np.abs(target).max())
            size = np.linalg.norm(target)
            assert result.optimality[trial, layer - 1] * size == pytest.approx(np.linalg.norm(residual), abs=1e-6)
            expected = dense_omp(matrix, target, sizes[layer - 1])
            margin = np.linalg.norm(target - matrix @ expected)
            if layer == 1 and margin > 1e-6:
                np.testing.assert_allclose(np.linalg.norm(residual), margin, rtol=1e-5)
        current = result.codes[layer - 1]


def test_orthogonal_matching_pursuit_stops_at_a_residual_and_in_two_dimensions():
    rng = np.random.default_rng(8)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal((5, 2, 4, 3)), (2, 1), (16, 9), normalize=True)
    model = dcsc.Cascade([dictionary])
    code = sparse_codes(rng, dictionary.code_shape, 0.02, batch=(4,))
    signals = dictionary.synthesize(code)
    result = dcsc.pursuit.layered_matching_pursuit(model, signals, reference=[code])
    sizes = np.count_nonzero(code.reshape(4, -1), axis=1)
    assert (result.iterations[:, 0] <= sizes).all()
    exact = result.optimality[:, 0] < 1e-10
    assert exact.any()
    np.testing.assert_allclose(result.codes[0][exact], code[exact], atol=1e-9)
    norms = 0.5 * np.linalg.norm(signals.reshape(4, -1), axis=1)
    early = dcsc.pursuit.layered_matching_pursuit(model, signals, reference=[code], residual=[norms])
    assert (early.iterations < result.iterations).any()
    left = np.linalg.norm((signals - dictionary.synthesize(early.codes[0])).reshape(4, -1), axis=1)
    assert (left <= norms * (1 + 1e-9)).all()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("multilayer-ista", {"penalty": [0.1]}, "1 entries for 2 layers"),
        ("multilayer-fista", {"penalty": -1.0}, "give numbers from 0"),
        ("multilayer-fista", {"penalty": 0.1, "step": 2.0}, "at most 1"),
        ("projection-pursuit", {"penalty": 0.1, "signals": np.zeros((1, 25))}, "do not fit"),
        ("holistic-pursuit", {"penalty": 0.1}, "pass the codes as reference"),
        ("holistic-pursuit", {"penalty": 0.1, "zeros": [999]}, "from 0 to"),
        ("layered-matching-pursuit", {}, "needs k"),
        ("layered-matching-pursuit", {"k": [1]}, "1 entries for 2 layers"),
        ("layered-matching-pursuit", {"k": 1.5}, "whole numbers"),
        ("layered-matching-pursuit", {"k": 99}, "from 0 to 48"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(name, options, words):
    with pytest.raises(UserError) as refusal:
        dcsc.pursuit.get(name)(two_layers(), options.pop("signals", np.zeros((1, 24))), **options)
    assert words in str(refusal.value)


def test_every_pursuit_is_registered_and_takes_a_reference_and_noise():
    model = two_layers()
    layers = model.synthesize(sparse_codes(np.random.default_rng(9), (3, 6), 0.2))
    parameters = {
        "layered-thresholding": {"threshold": 0.1},
        "layered-basis-pursuit": {"penalty": 0.1},
        "multilayer-ista": {"penalty": 0.1},
        "multilayer-fista": {"penalty": 0.1},
        "projection-pursuit": {"penalty": 0.1},
        "holistic-pursuit": {"penalty": 0.1},
        "layered-matching-pursuit": {"k": 2},
        "oracle-least-squares": {},
    }
    assert set(parameters) <= set(dcsc.pursuit.names())
    for name, options in parameters.items():
        result = dcsc.pursuit.get(name)(model, layers[0], reference=layers[1:], noise=0.0, **options)
        assert [code.shape for code in result.codes] == [layer.code_shape for layer in model.dictionaries]
        assert result.iterations.shape == result.optimality.shape == (2,)
        assert len(result.thresholds) == 2
