"""Basis pursuit: optimality by KKT conditions, agreement with dense references, stopping, forms, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc import guarantees
from dcsc.convolution.spectrum import SpectralGram, gram_spectrum, lipschitz_constant
from dcsc.errors import UserError
from dcsc.pursuit import least_squares as fitting
from dcsc.pursuit.lasso import StoppingRule, working_set
from dcsc.pursuit.proximal_gradient import proximal_gradient
from tests.strategies import cascades, dense_matrix, dictionaries, sparse_codes

seeds = st.integers(0, 2**32 - 1)


def coordinate_descent(matrix, target, penalty, lower=-np.inf, sweeps=20000):
    """Minimise penalty |x|_1 + |target - matrix x|^2 / 2, x >= lower, one coordinate at a time."""
    x, residual, squares = np.zeros(matrix.shape[1]), target.copy(), (matrix**2).sum(axis=0)
    for _ in range(sweeps):
        largest = 0.0
        for j, column in enumerate(matrix.T):
            c = column @ residual + squares[j] * x[j]
            new = max(np.sign(c) * max(abs(c) - penalty, 0.0) / squares[j], lower)
            residual -= (new - x[j]) * column
            largest = max(largest, abs(new - x[j]))
            x[j] = new
        if largest < 1e-13:
            break
    return x


def objective(matrix, target, penalty, x):
    return penalty * np.abs(x).sum() + ((target - matrix @ x) ** 2).sum() / 2


def kkt_distance(matrix, target, penalty, x, one_sided=False):
    """Distance of the gradient from what optimality demands, of a code in a dense problem."""
    c = matrix.T @ (target - matrix @ x)
    off = np.maximum((c if one_sided else np.abs(c)) - penalty, 0)
    return np.where(x != 0, np.abs(c - penalty * np.sign(x)), off).max()


def problem(model, seed, batch=(2,)):
    """Noisy signals of sparse codes."""
    rng = np.random.default_rng(seed)
    deepest = sparse_codes(rng, model.dictionaries[-1].code_shape, batch=batch)
    clean = model.synthesize(deepest)[0]
    return clean + 0.1 * rng.standard_normal(clean.shape)


def signed(model, seed, batch=(2,)):
    rng = np.random.default_rng(seed)
    return dcsc.Cascade(
        model.dictionaries, [rng.choice([-1, 1], (*batch, *layer.code_shape)) for layer in model.dictionaries]
    )


def dense_layer(model, layer, trial):
    matrix = dense_matrix(model.dictionaries[layer - 1])
    return matrix if model.signs is None else matrix * model.signs[layer - 1][trial].ravel()


@given(dictionaries())
@settings(max_examples=100)
def test_lipschitz_constant_is_the_largest_eigenvalue(dictionary):
    matrix = dense_matrix(dictionary)
    assert lipschitz_constant(dictionary) == pytest.approx(np.linalg.norm(matrix, 2) ** 2, rel=1e-10)


@given(dictionaries(), seeds)
@settings(max_examples=60)
def test_spectral_gram_is_the_dense_one(dictionary, seed):
    codes = np.random.default_rng(seed).standard_normal((2, *dictionary.code_shape))
    matrix = dense_matrix(dictionary)
    expected = codes.reshape(2, -1) @ matrix.T @ matrix
    found = SpectralGram(dictionary, np.dtype(np.float64))(codes)
    np.testing.assert_allclose(found.reshape(2, -1), expected, atol=1e-11)
    spectrum = gram_spectrum(dictionary)
    np.testing.assert_allclose(spectrum, spectrum.conj().swapaxes(0, 1), atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"solver": "proximal-gradient"}])
@given(
    model=cascades(max_depth=2), seed=seeds, one_sided=st.booleans(), signs=st.booleans(), share=st.floats(0.02, 0.8)
)
@settings(max_examples=60)
def test_every_layer_meets_its_optimality_conditions(options, model, seed, one_sided, signs, share):
    model = signed(model, seed) if signs else model
    demanded = [one_sided and not signs] * (model.depth - 1) + [one_sided]
    signals = problem(model, seed)
    penalties = []
    for layer, dictionary in enumerate(model.dictionaries):
        scale = np.abs(dictionary.correlate(signals)).max() if layer == 0 else 1.0
        penalties.append(max(share * scale, 1e-3))
    result = dcsc.pursuit.layered_basis_pursuit(
        model, signals, penalty=penalties, non_negative=demanded, stop="kkt", tolerance=1e-9, **options
    )
    assert result.stopped == "tolerance reached"
    assert result.optimality.shape == (2, model.depth)
    current = signals
    for layer in range(1, model.depth + 1):
        for trial in range(2):
            matrix = dense_layer(model, layer, trial)
            target, x = current[trial].ravel(), result.codes[layer - 1][trial].ravel()
            c = matrix.T @ target
            scale = c.max() if demanded[layer - 1] else np.abs(c).max()
            distance = kkt_distance(matrix, target, penalties[layer - 1], x, demanded[layer - 1])
            assert distance <= 2e-9 * max(scale, 0) + 1e-13
            assert not demanded[layer - 1] or (x >= 0).all()
        current = result.codes[layer - 1]


@given(
    model=cascades(max_depth=1), seed=seeds, one_sided=st.booleans(), signs=st.booleans(), share=st.floats(0.05, 0.8)
)
@settings(max_examples=30)
def test_objective_agrees_with_dense_coordinate_descent(model, seed, one_sided, signs, share):
    model = signed(model, seed) if signs else model
    signals = problem(model, seed)
    penalty = share * np.abs(model.correlate_layer(1, signals)).max()
    found = [
        dcsc.pursuit.layered_basis_pursuit(model, signals, penalty=penalty, non_negative=one_sided, **options)
        for options in ({"tolerance": 1e-10}, {"solver": "proximal-gradient", "tolerance": 1e-10})
    ]
    for trial in range(2):
        matrix, target = dense_layer(model, 1, trial), signals[trial].ravel()
        reference = coordinate_descent(matrix, target, penalty, 0.0 if one_sided else -np.inf)
        least = objective(matrix, target, penalty, reference)
        for result in found:
            x = result.codes[0][trial].ravel()
            assert objective(matrix, target, penalty, x) == pytest.approx(least, rel=1e-9)


@given(model=cascades(max_depth=1), seed=seeds, one_sided=st.booleans())
@settings(max_examples=20)
def test_objective_agrees_with_scikit_learn(model, seed, one_sided):
    linear = pytest.importorskip("sklearn.linear_model")
    signals = problem(model, seed)
    penalty = 0.2 * np.abs(model.correlate_layer(1, signals)).max()
    result = dcsc.pursuit.layered_basis_pursuit(model, signals, penalty=penalty, non_negative=one_sided)
    for trial in range(2):
        matrix, target = dense_layer(model, 1, trial), signals[trial].ravel()
        lasso = linear.Lasso(penalty / len(target), fit_intercept=False, tol=1e-12, max_iter=10**6, positive=one_sided)
        least = objective(matrix, target, penalty, lasso.fit(matrix, target).coef_)
        assert objective(matrix, target, penalty, result.codes[0][trial].ravel()) == pytest.approx(least, rel=1e-7)


@given(cascades(), seeds, st.floats(0, 2))
@settings(max_examples=60)
def test_one_step_of_ista_is_soft_thresholding(model, seed, penalty):
    signals = problem(model, seed)
    step = dcsc.pursuit.layered_basis_pursuit(
        model, signals, penalty=penalty + 1e-9, solver="proximal-gradient", accelerate=False, step=1.0, max_iterations=1
    )
    soft = dcsc.pursuit.layered_thresholding(model, signals, rule="soft", threshold=penalty + 1e-9)
    for found, expected in zip(step.codes, soft.codes, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-11)


DICTIONARIES = {
    "1-D": ((6, 1, 9), (1,), (60,)),
    "1-D, strided": ((12, 2, 16), (5,), (80,)),
    "2-D": ((5, 2, 3, 4), (1, 1), (9, 12)),
    "2-D, strided": ((9, 1, 4, 4), (2, 3), (12, 12)),
    "3-D": ((3, 1, 2, 3, 2), (1, 2, 1), (5, 8, 4)),
}


@pytest.mark.parametrize("name", DICTIONARIES)
@pytest.mark.parametrize("share", [0.3, 0.02])
def test_gap_bounds_the_excess_of_the_objective(name, share):
    shape, stride, grid = DICTIONARIES[name]
    rng = np.random.default_rng(5)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal(shape), stride, grid, normalize=True)
    signals = dictionary.synthesize(sparse_codes(rng, dictionary.code_shape, 0.05, batch=(3,)))
    signals += 0.05 * rng.standard_normal(signals.shape)
    penalties = share * np.abs(dictionary.correlate(signals)).reshape(3, -1).max(axis=1)
    matrix = dense_matrix(dictionary)
    best = working_set(dictionary, signals, penalties, StoppingRule("kkt", 1e-12, 1000))
    assert (best.optimality <= 1e-12).all()
    for tolerance in (1e-2, 1e-4):
        for solver in (working_set, proximal_gradient):
            for options in ({"accelerate": True}, {"accelerate": False}) if solver is proximal_gradient else ({},):
                found = solver(dictionary, signals, penalties, StoppingRule("gap", tolerance, 10**5), **options)
                for trial in range(3):
                    values = [
                        objective(matrix, signals[trial].ravel(), penalties[trial], code[trial].ravel())
                        for code in (found.codes, best.codes)
                    ]
                    assert values[0] - values[1] <= found.optimality[trial] * values[0] + 1e-12
                    assert found.optimality[trial] <= tolerance


def test_acceleration_and_the_working_set_take_fewer_iterations():
    rng = np.random.default_rng(6)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal((6, 1, 9)), 1, (60,), normalize=True)
    signals = rng.standard_normal((4, 1, 60))
    penalties = np.full(4, 0.1)
    rule = StoppingRule("gap", 1e-4, 10**5)
    ista = proximal_gradient(dictionary, signals, penalties, rule, accelerate=False).iterations
    fista = proximal_gradient(dictionary, signals, penalties, rule).iterations
    assert (fista < ista / 3).all()
    assert (working_set(dictionary, signals, penalties, rule).iterations < fista / 3).all()


def test_trials_do_not_depend_on_the_batch():
    rng = np.random.default_rng(7)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal((6, 2, 9)), 3, (60,), normalize=True)
    model = dcsc.Cascade([dictionary])
    signals = rng.standard_normal((2, 3, 2, 60))
    for options in ({}, {"solver": "proximal-gradient", "tolerance": 1e-5}, {"penalty": 0.0}):
        options = {"penalty": 0.1, **options}
        whole = dcsc.pursuit.layered_basis_pursuit(model, signals, **options)
        alone = dcsc.pursuit.layered_basis_pursuit(model, signals[1, 2], **options)
        np.testing.assert_array_equal(whole.codes[0][1, 2], alone.codes[0])
        assert whole.iterations.shape == (2, 3, 1)
        assert whole.iterations[1, 2] == alone.iterations


def test_penalties_one_a_trial_with_the_equality_form_among_them():
    rng = np.random.default_rng(8)
    dictionary = dcsc.ConvolutionalDictionary(rng.standard_normal((3, 1, 8)), 4, (40,), normalize=True)
    code = np.zeros((3, *dictionary.code_shape))
    code[:, 1, 3], code[:, 2, 7] = 2.0, -1.0
    model = dcsc.Cascade([dictionary])
    penalties = np.array([0.0, 0.1, np.inf])
    result = dcsc.pursuit.layered_basis_pursuit(model, dictionary.synthesize(code), penalty=[penalties])
    np.testing.assert_array_equal(result.thresholds[0], penalties)
    np.testing.assert_allclose(result.codes[0][0], code[0], atol=1e-14)
    assert not result.codes[0][2].any()
    assert result.stopped == "tolerance reached"


@given(model=cascades(max_depth=1), seed=seeds, one_sided=st.booleans(), signs=st.booleans())
@settings(max_examples=40)
def test_equality_form_agrees_with_linear_programming(model, seed, one_sided, signs):
    from scipy.optimize import linprog

    model = signed(model, seed) if signs else model
    rng = np.random.default_rng(seed)
    code = sparse_codes(rng, model.dictionaries[0].code_shape, 0.3, batch=(2,))
    code = np.abs(code) if one_sided else code
    signals = model.synthesize(code)[0]
    result = dcsc.pursuit.layered_basis_pursuit(model, signals, penalty=0.0, non_negative=one_sided)
    assert result.stopped == "tolerance reached"
    for trial in range(2):
        matrix, x = dense_layer(model, 1, trial), result.codes[0][trial].ravel()
        both = matrix if one_sided else np.hstack([matrix, -matrix])
        least = linprog(np.ones(both.shape[1]), A_eq=both, b_eq=signals[trial].ravel(), bounds=(0, None)).fun
        np.testing.assert_allclose(matrix @ x, signals[trial].ravel(), atol=1e-8)
        assert np.abs(x).sum() <= least * (1 + 1e-7) + 1e-9
        assert not one_sided or (x >= 0).all()


@given(dictionaries(), seeds, st.floats(0.05, 0.9))
@settings(max_examples=40)
def test_discrepancy_meets_the_norm_of_the_residual(dictionary, seed, share):
    model = dcsc.Cascade([dictionary])
    signals = problem(model, seed)
    norms = share * np.linalg.norm(signals.reshape(2, -1), axis=1)
    least = [
        np.linalg.norm(y - a @ np.linalg.lstsq(a, y, rcond=None)[0])
        for a, y in ((dense_matrix(dictionary), signal.ravel()) for signal in signals)
    ]
    result = dcsc.pursuit.layered_basis_pursuit(model, signals, penalty="discrepancy", discrepancy=[norms])
    residual = np.linalg.norm((signals - dictionary.synthesize(result.codes[0])).reshape(2, -1), axis=1)
    for trial in range(2):
        if least[trial] < 0.99 * norms[trial]:
            assert residual[trial] == pytest.approx(norms[trial], rel=1e-5)
            assert result.thresholds[0][trial] > 0


def test_discrepancy_is_by_default_what_the_true_codes_leave():
    rng = np.random.default_rng(7)
    first = dcsc.ConvolutionalDictionary(rng.standard_normal((2, 1, 6)), 3, (36,), normalize=True)
    second = dcsc.ConvolutionalDictionary(rng.standard_normal((3, 2, 3)), 2, (12,), normalize=True)
    model = signed(dcsc.Cascade([first, second]), 8, (4,))
    layers = model.synthesize(sparse_codes(rng, second.code_shape, 0.2, batch=(4,)))
    signals = layers[0] + 0.1 * rng.standard_normal(layers[0].shape)
    result = dcsc.pursuit.layered_basis_pursuit(model, signals, penalty="discrepancy", reference=layers[1:])
    observed = [signals, result.codes[0]]
    for layer, (given_, found, true) in enumerate(zip(observed, result.codes, layers[1:], strict=True), start=1):
        left, expected = (
            np.linalg.norm((given_ - model.synthesize_layer(layer, code)).reshape(4, -1), axis=1)
            for code in (found, true)
        )
        expected = np.minimum(expected, np.linalg.norm(given_.reshape(4, -1), axis=1))  # the code 0 leaves no more
        reached = result.thresholds[layer - 1] > 1e-6
        assert reached.any()
        np.testing.assert_allclose(left[reached], expected[reached], rtol=1e-5)


def test_guaranteed_penalties_are_those_of_the_theorem():
    rng = np.random.default_rng(9)
    first = dcsc.ConvolutionalDictionary(rng.standard_normal((4, 1, 6)), 3, (36,), normalize=True)
    second = dcsc.ConvolutionalDictionary(rng.standard_normal((3, 4, 2)), 2, (12,), normalize=True)
    model = dcsc.Cascade([first, second])
    layers = model.synthesize(sparse_codes(rng, second.code_shape, 0.1, batch=(5,)))
    noise = np.array([0.0, 1e-3, 1e-2, 0.1, 1.0])
    result = dcsc.pursuit.layered_basis_pursuit(
        model, layers[0], penalty="guaranteed", reference=layers[1:], noise=noise, tolerance=1e-6
    )
    expected = guarantees.basis_pursuit(model, layers[1:], noise)
    np.testing.assert_allclose(result.thresholds[0], expected.penalties[0])
    known = np.isfinite(expected.penalties[1])
    np.testing.assert_allclose(result.thresholds[1][known], expected.penalties[1][known])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", ["working-set", "proximal-gradient"])
def test_codes_keep_the_floating_point_type(dtype, solver):
    rng = np.random.default_rng(10)
    filters = rng.standard_normal((4, 1, 6)).astype(dtype)
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary(filters, 2, (24,), normalize=True)])
    signals = rng.standard_normal((3, 1, 24)).astype(dtype)
    result = dcsc.pursuit.layered_basis_pursuit(model, signals, penalty=0.2, solver=solver)
    assert result.codes[0].dtype == dtype
    assert result.stopped == "tolerance reached"
    fine = dcsc.pursuit.layered_basis_pursuit(model, signals.astype(float), penalty=0.2)
    np.testing.assert_allclose(result.codes[0], fine.codes[0], atol=2e-2)


def test_signals_of_zeros_and_signals_orthogonal_to_every_atom_give_codes_of_zeros():
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary([[[1.0, 1.0]]], 2, (8,), normalize=True)])
    signals = np.stack([np.zeros((1, 8)), np.tile([1.0, -1.0], 4)[None]])
    for options in ({}, {"solver": "proximal-gradient"}):
        result = dcsc.pursuit.layered_basis_pursuit(model, signals, penalty=0.1, **options)
        assert not result.codes[0].any()
        assert result.stopped == "tolerance reached"
    exact = dcsc.pursuit.layered_basis_pursuit(model, signals, penalty=0.0)
    assert not exact.codes[0].any()
    assert exact.stopped == "1 of 2 problems above the tolerance"  # the second signal has no exact code


def test_iterations_that_run_out_are_told():
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary([[[1.0, 1.0]], [[1.0, 0.5]]], 1, (8,), normalize=True)])
    signals = np.random.default_rng(0).standard_normal((3, 1, 8))
    result = dcsc.pursuit.layered_basis_pursuit(
        model, signals, penalty=0.01, solver="proximal-gradient", max_iterations=2
    )
    assert result.stopped == "3 of 3 problems above the tolerance"
    assert (result.iterations == 2).all()


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("layered-matching-pursuit", "matching pursuit, layer 1"),
        ("multilayer-ista", "multi-layer pursuit"),
        ("multilayer-fista", "multi-layer pursuit"),
        ("projection-pursuit", "projection pursuit"),
        ("holistic-pursuit", "holistic pursuit"),
    ],
)
def test_every_long_pursuit_shows_its_progress_when_asked(name, title, capsys):
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary([[[1.0, 1.0]]], 2, (8,), normalize=True)])
    options = {} if name == "layered-matching-pursuit" else {"penalty": 0.1}
    codes = [np.ones((3, 1, 4))]
    for progress in (False, True):
        dcsc.pursuit.get(name)(model, model.synthesize(codes[0])[0], reference=codes, progress=progress, **options)
        assert (title in capsys.readouterr().err) == progress


def test_progress_is_shown_when_asked(capsys):
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary([[[1.0, 1.0]]], 2, (8,), normalize=True)])
    for options in ({}, {"solver": "proximal-gradient"}, {"penalty": 0.0}):
        dcsc.pursuit.layered_basis_pursuit(model, np.ones((3, 1, 8)), **{"penalty": 0.1, **options})
        assert "layer 1" not in capsys.readouterr().err
        dcsc.pursuit.layered_basis_pursuit(model, np.ones((3, 1, 8)), progress=True, **{"penalty": 0.1, **options})
        assert "layer 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"penalty": 0.1, "solver": "working set"}, "did you mean 'working-set'?"),
        ({"penalty": 0.1, "stop": "gpa"}, "did you mean 'gap'?"),
        ({"penalty": "garanteed"}, "did you mean 'guaranteed'?"),
        ({"penalty": "guaranteed"}, "pass them as reference"),
        ({"penalty": "discrepancy"}, "needs the norm of the residual"),
        ({"penalty": [1, 2, 3]}, "3 entries for 1 layers"),
        ({"penalty": -0.1}, "give numbers from 0"),
        ({"penalty": 0.1, "signals": np.zeros((1, 1, 9))}, "do not fit"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(options, words):
    model = dcsc.Cascade([dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))])
    with pytest.raises(UserError) as refusal:
        dcsc.pursuit.layered_basis_pursuit(model, options.pop("signals", np.zeros((1, 1, 8))), **options)
    assert words in str(refusal.value)


def test_non_negative_inner_codes_are_refused_with_signs():
    inner = dcsc.ConvolutionalDictionary(np.eye(2)[:, None], 2, (8,))
    deeper = dcsc.ConvolutionalDictionary(np.eye(2)[None], 2, (4,), normalize=True)
    model = dcsc.Cascade([inner, deeper], [np.ones(inner.code_shape), np.ones(deeper.code_shape)])
    with pytest.raises(UserError, match="mixed signs"):
        dcsc.pursuit.layered_basis_pursuit(model, np.zeros((1, 8)), penalty=0.1, non_negative=True)


@given(cascades(max_depth=1), seeds)
@settings(max_examples=40)
def test_oracle_least_squares_is_the_dense_fit(model, seed):
    model = signed(model, seed)
    rng = np.random.default_rng(seed)
    code = sparse_codes(rng, model.dictionaries[0].code_shape, 0.3, batch=(2,))
    signals = problem(model, seed)
    result = dcsc.pursuit.oracle_least_squares(model, signals, reference=[code])
    for trial in range(2):
        active = code[trial].ravel() != 0
        matrix = dense_layer(model, 1, trial)[:, active]
        expected = np.zeros(active.size)
        if active.any():
            expected[active] = np.linalg.lstsq(matrix, signals[trial].ravel(), rcond=None)[0]
        np.testing.assert_allclose(result.codes[0][trial].ravel(), expected, atol=1e-7)


@pytest.mark.parametrize("size", [1, 40, 300, 900])
def test_banded_and_dense_factorisations_solve_the_same_problem(size):
    # Few atoms meet in the first dictionary, so that a band is narrow; in the second most do.
    wide = dcsc.families.create("perturbed", grid=(1024,), seed=1, base="lapped", n_filters=32, perturbation=0.5)
    tight = dcsc.families.create("gaussian", grid=(64,), seed=1, n_filters=64, taps=30, stride=4)
    rng = np.random.default_rng(size)
    for dictionary in (wide, tight):
        atoms = np.sort(
            rng.choice(dictionary.n_atoms, min(size, int(np.prod(dictionary.signal_shape)) * 3 // 4), replace=False)
        )
        columns = fitting.active_columns(dictionary, atoms)
        target = rng.standard_normal(columns.shape[0])
        expected = np.linalg.lstsq(columns.toarray(), target, rcond=None)[0]
        np.testing.assert_allclose(fitting.fit(columns, target), expected, atol=1e-10)


def test_false_alarms_stay_in_a_debiased_support():
    dictionary = dcsc.families.create("perturbed", grid=(256,), seed=1, base="lapped", n_filters=16, perturbation=0.3)
    code = np.zeros((1, *dictionary.code_shape))
    code[0, 0, 0] = 1.0
    signals = dictionary.synthesize(code)
    correlations = dictionary.correlate(signals)
    result = dcsc.pursuit.layered_thresholding(
        dcsc.Cascade([dictionary]), signals, rule="hard", threshold=0.01, debias=True
    )
    np.testing.assert_array_equal(result.codes[0] != 0, np.abs(correlations) > 0.01)
    np.testing.assert_allclose(result.codes[0], code, atol=1e-12)
