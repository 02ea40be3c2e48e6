"""Planted codes in the layers of a network, against plain sums over atoms."""

import itertools

import numpy as np
import pytest

from dcsc import UserError
from dcsc.certification import planted
from dcsc.certification.network import of_filters
from dcsc.certification.onnx_layers import read_onnx
from dcsc.certification.onnx_values import values_of
from dcsc.certification.planted import FILTERS, MAGNITUDES, SIGNS, SUPPORTS, THRESHOLDS, PlantedSettings
from dcsc.model import coherence
from dcsc.stages.networks import planted_in
from tests.support.onnx_graphs import Builder

SETTINGS = PlantedSettings(seed=3, shares=(1.0, 0.25), iterations=40, steps=200)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Two layers in a segment, and one after pooling; the norms of the first differ, and one filter is zero."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((5, 2, 5)) * np.array([1, 3, 0, 0.5, 2.0])[:, None, None]
    builder = Builder(channels=2)
    value = builder.conv("x", weight, rng.standard_normal(5), name="one", pads=[2, 2], strides=[2])
    value = builder.node("Relu", value)
    value = builder.conv(value, rng.standard_normal((4, 5, 3)), rng.standard_normal(4) - 2, name="two", pads=[1, 1])
    value = builder.node("Relu", value)
    value = builder.node("MaxPool", value, kernel_shape=[2], strides=[2])
    value = builder.conv(value, rng.standard_normal((6, 2, 3)), rng.standard_normal(6), name="three", group=2)
    value = builder.node("Relu", value)
    path = builder.save(tmp_path_factory.mktemp("network") / "network.onnx")
    signals = rng.standard_normal((3, 2, 40))
    outputs = builder.values(signals, *[node.output[0] for node in builder.nodes if node.op_type == "Relu"])
    return path, signals, outputs


@pytest.fixture(scope="module")
def runs(network):
    path, signals, _ = network
    read = read_onnx(path)
    given = values_of(path, {"signals": signals}, read.inputs)
    return [run for n, name in enumerate(read.inputs) for run in planted.runs_alone(read.segment(n), given[name])]


def atoms_of(layer, run):
    """Columns, one for each atom that the network has, on the grid; shape (channel x grid, filter x position)."""
    filters = layer.filters / layer.norms[:, None, None]
    columns = []
    for filter_, position in itertools.product(range(len(filters)), range(run.positions[0])):
        signal = np.zeros(run.dictionary.signal_shape)
        start = position * layer.stride[0]
        signal[:, start : start + layer.taps[0]] = filters[filter_]
        columns.append(signal.ravel())
    return np.array(columns).T


def test_measured_supports_and_codes_are_those_of_the_network(runs, network):
    _, _, outputs = network
    assert [run.layer.name for run in runs] == ["one", "two", "three"]
    for run, output in zip(runs, outputs, strict=True):
        expected = output[:, run.layer.kept]
        found = run.active_codes * of_filters(run.layer.norms, 1)
        np.testing.assert_allclose(found, expected, atol=1e-9)
        codes = planted.plant(run, SETTINGS)
        np.testing.assert_array_equal(codes["measured", SIGNS[0], "measured", 1.0] != 0, expected > 0)


def test_what_is_planted(runs):
    run = runs[0]
    codes = planted.plant(run, SETTINGS)
    assert len(codes) == len(SUPPORTS) * len(SIGNS) * len(MAGNITUDES) * len(SETTINGS.shares)
    measured = run.active_codes
    for (support, signs, kind, share), code in codes.items():
        if kind == "equal":
            squares, count = (measured**2).sum(axis=(1, 2)), np.count_nonzero(measured, axis=(1, 2))
            level = np.sqrt(squares / count)[:, None, None]
            same = codes[support, signs, "measured", share]
            np.testing.assert_allclose(code, np.sign(same) * level)
            continue
        count = np.ceil(share * np.count_nonzero(measured, axis=(1, 2)))
        np.testing.assert_array_equal(np.count_nonzero(code, axis=(1, 2)), count)
        assert (code < 0).any() == (signs == "random")
        if support == "measured":
            assert not (code != 0)[measured == 0].any()
            np.testing.assert_array_equal(np.abs(code)[code != 0], measured[code != 0])
        else:
            assert (code != 0)[measured == 0].any()
        assert np.isin(np.abs(code), np.append(measured, 0.0)).all()


def test_other_filters_keep_shape_and_norms(runs):
    for run in runs:
        made = planted.other_filters(run.layer, SETTINGS)
        assert set(made) == set(FILTERS) - ({"optimised"} if run.layer.groups > 1 else set())
        for name, layer in made.items():
            assert layer.weight.shape == run.layer.weight.shape
            np.testing.assert_allclose(layer.norms, run.layer.norms)
            assert (layer.weight is run.layer.weight) == (name == "trained")
        for own, shuffled in zip(made["trained"].weight, made["shuffled"].weight, strict=True):
            np.testing.assert_allclose(np.sort(own, axis=None), np.sort(shuffled, axis=None))
        assert not np.allclose(made["shuffled"].weight, run.layer.weight)
    few = PlantedSettings(most_optimised=3)
    assert "optimised" not in planted.other_filters(runs[0].layer, few)


def test_f1_is_that_of_plain_sums(runs):
    for run in runs:
        result = planted.measure(run, SETTINGS)
        codes, layers = planted.plant(run, SETTINGS), planted.other_filters(run.layer, SETTINGS)
        shape = (len(FILTERS), len(SUPPORTS), len(SIGNS), len(THRESHOLDS), len(MAGNITUDES))
        assert result.f1.shape == (*shape, len(SETTINGS.shares), len(run.codes))
        for (number, name), (key, code) in itertools.product(enumerate(FILTERS), codes.items()):
            if name not in layers:
                assert np.isnan(result.f1[number]).all()
                continue
            atoms = atoms_of(layers[name], run)
            flat = code.reshape(len(code), -1)
            scores = flat @ (atoms.T @ atoms)
            thresholds = np.repeat(-run.layer.bias / run.layer.norms, run.positions[0])
            found = (np.abs(scores) if key[1] == "random" else scores) > thresholds
            hits = (found & (flat != 0)).sum(axis=1)
            expected = 2 * hits / (found.sum(axis=1) + (flat != 0).sum(axis=1))
            kind, share = MAGNITUDES.index(key[2]), SETTINGS.shares.index(key[3])
            place = SUPPORTS.index(key[0]), SIGNS.index(key[1]), 0, kind, share
            np.testing.assert_allclose(result.f1[number][place], expected)


def test_coherences_and_stripes(runs):
    for run in runs[:2]:
        result = planted.measure(run, SETTINGS)
        trained, _, random, optimised = result.coherence
        assert trained == coherence.mutual_coherence(run.dictionary)
        assert result.welch_bound <= optimised < random
        taps, step = run.layer.taps[0], run.layer.stride[0]
        reach = -(-taps // step) - 1
        active = (run.active_codes != 0).sum(axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(active, [(0, 0), (reach, reach)]), 2 * reach + 1, 1)
        np.testing.assert_array_equal(result.stripe_sparsity[0, 0], windows.sum(axis=2).max(axis=1))
        np.testing.assert_array_equal(result.active, active.sum(axis=1))


def test_best_thresholds_are_the_best():
    rng = np.random.default_rng(1)
    for _ in range(20):
        true = rng.random((2, 2, 4)) < 0.4
        scores = rng.integers(0, 6, true.shape) + 2.0 * true  # with ties
        levels = [[-np.inf, *np.unique(scores[:, filter_])] for filter_ in range(2)]
        pooled = {
            pair: 2 * (found & true).sum() / (found.sum() + true.sum())
            for pair in itertools.product(*levels)
            for found in [scores > np.array(pair)[:, None]]
        }
        chosen = planted.best_thresholds(scores, true)
        found = scores > chosen[:, None]
        assert 2 * (found & true).sum() / (found.sum() + true.sum()) == pytest.approx(max(pooled.values()))


def test_f1_of_a_small_layer_by_trying_every_threshold(tmp_path):
    """From the definitions alone: loops over positions, and of all thresholds by filter the best ones."""
    rng = np.random.default_rng(4)
    weight, bias = rng.standard_normal((2, 3)) + rng.standard_normal((3, 2, 3)) / 2, rng.standard_normal(3)
    signals = rng.standard_normal((2, 2, 7))
    builder = Builder(channels=2)
    builder.node("Relu", builder.conv("x", weight, bias, name="one"))
    np.save(tmp_path / "x.npy", signals)
    made = planted_in(builder.save(tmp_path / "net.onnx"), tmp_path / "x.npy", SETTINGS, activations=["ReLU"])
    found = made["f1"].sel(filters="trained", support="measured", signs="as they are", threshold="best by filter")
    # The file holds single precision.
    weight, bias, signals = (of.astype(np.float32).astype(float) for of in (weight, bias, signals))
    norms = np.sqrt((weight**2).sum(axis=(1, 2)))
    code = np.zeros((2, 3, 5))
    for trial, filter_, position in np.ndindex(code.shape):
        inner = (weight[filter_] * signals[trial, :, position : position + 3]).sum() + bias[filter_]
        code[trial, filter_, position] = max(inner, 0) / norms[filter_]
    true, levels = code > 0, [np.sqrt((of**2).sum() / np.count_nonzero(of)) for of in code]
    for kind, planted_ in (("measured", code), ("equal", true * np.reshape(levels, (2, 1, 1)))):
        signal = np.zeros((2, 2, 7))
        for trial, filter_, position in np.ndindex(code.shape):
            atom = weight[filter_] / norms[filter_]
            signal[trial, :, position : position + 3] += planted_[trial, filter_, position] * atom
        scores = np.zeros(code.shape)
        for trial, filter_, position in np.ndindex(code.shape):
            atom = weight[filter_] / norms[filter_]
            scores[trial, filter_, position] = (atom * signal[trial, :, position : position + 3]).sum()
        pooled, by_trial = [], []
        for thresholds in itertools.product(*([np.inf, *scores[:, filter_].ravel()] for filter_ in range(3))):
            kept = scores >= np.reshape(thresholds, (3, 1))
            hits, among = ((of.sum(axis=(1, 2))) for of in (kept & true, kept * 1 + true))
            pooled.append(2 * hits.sum() / among.sum())
            by_trial.append(2 * hits / among)
        best = [of for of, value in zip(by_trial, pooled, strict=True) if value == max(pooled)]
        assert max(pooled) < 1
        result = found.sel(magnitudes=kind).isel(layer=0, share=0).to_numpy()
        assert any(np.allclose(of, result) for of in best)


def test_f1_of_nothing_planted():
    planted_, found = np.zeros((2, 3), dtype=bool), np.ones((2, 3), dtype=bool)
    planted_[1, 0] = True
    np.testing.assert_allclose(planted.f1_scores(found, planted_), [np.nan, 0.5])


def test_unexplained_is_what_least_squares_leaves(runs):
    for run in runs:
        kept = run.within(np.ones_like(run.given))[0].ravel() > 0
        atoms, result = atoms_of(run.layer, run)[kept], planted.measure(run, SETTINGS)
        for trial, code in enumerate(run.active_codes.reshape(len(run.codes), -1)):
            given = run.given[trial].ravel()[kept]
            for columns, found in (
                (atoms[:, code != 0], result.unexplained_at_best[0]),
                ((atoms @ code)[:, None], result.unexplained),
            ):
                left = given - columns @ np.linalg.lstsq(columns, given, rcond=None)[0]
                assert found[trial] == pytest.approx(np.linalg.norm(left) / np.linalg.norm(given), abs=1e-5)


def test_values_of_a_graph(network):
    path, signals, _ = network
    read = read_onnx(path)
    assert read.inputs[0] == "x"
    assert read.segment(1).inputs == read.inputs[1:]
    found = values_of(path, {"x": signals}, read.inputs)
    np.testing.assert_array_equal(found["x"], signals)
    with pytest.raises(UserError, match=r"lack the input 'x'.*did you mean 'xx'"):
        values_of(path, {"xx": signals, "other": signals}, ["x"])
    with pytest.raises(UserError, match="can't be computed with signals of shapes"):
        values_of(path, {"x": signals[:, :1]}, read.inputs)
    with pytest.raises(UserError, match=r"'nowhere'.*lies in the body"):
        values_of(path, {"x": signals}, ["nowhere"])
