"""Windows of real signals are pieces of them, and their codes what a dense matching pursuit finds."""

import numpy as np
import pytest

import dcsc
from dcsc import seeds
from dcsc.errors import UserError
from dcsc.stages import windows
from tests.unit.test_multilayer import dense_omp


def cascade(grid, n_channels=1):
    rng = np.random.default_rng(3)
    rank = len(grid)
    first = dcsc.ConvolutionalDictionary(rng.standard_normal((4, n_channels, *[4] * rank)), 2, grid, normalize=True)
    second = dcsc.ConvolutionalDictionary(rng.standard_normal((5, 4, *[2] * rank)), 1, first.positions, normalize=True)
    return [first, second]


@pytest.mark.parametrize(("name", "grid"), [("electrocardiogram", (48,)), ("photograph", (16, 12))])
def test_windows_are_pieces_without_their_means(name, grid):
    (first, _) = cascade(grid)
    drawn = windows.draw_windows(name, seeds.stream(0), first, 5)
    assert drawn.shape == (5, 1, *grid)
    np.testing.assert_allclose(drawn.mean(axis=tuple(range(1, drawn.ndim))), 0, atol=1e-9)
    whole = getattr(windows, name)()[0]
    pieces = np.lib.stride_tricks.sliding_window_view(whole, grid).reshape(-1, *grid)
    for window in drawn[:, 0]:
        flat = pieces - pieces.mean(axis=tuple(range(1, pieces.ndim)), keepdims=True)
        assert np.abs(flat - window).max(axis=tuple(range(1, flat.ndim))).min() < 1e-9
    np.testing.assert_array_equal(windows.draw_windows(name, seeds.stream(0), first, 5), drawn)
    assert len(np.unique(drawn[:, 0].reshape(5, -1), axis=0)) == 5


@pytest.mark.parametrize("grid", [(48,), (16, 12)])
def test_codes_of_windows_are_those_of_a_dense_matching_pursuit(grid):
    layers = cascade(grid)
    targets = np.random.default_rng(5).standard_normal((3, 1, *grid))
    found = windows.approximate(layers, targets, 4).to_dense()
    whole = (layers[0].to_sparse() @ layers[1].to_sparse()).toarray()
    lengths = np.linalg.norm(whole, axis=0)
    for code, target in zip(found, targets, strict=True):
        expected = dense_omp(whole / lengths, target.ravel(), 4) / lengths
        np.testing.assert_allclose(code.ravel(), expected, atol=1e-9)
        left = target.ravel() - whole @ code.ravel()
        np.testing.assert_allclose(whole[:, code.ravel() != 0].T @ left, 0, atol=1e-8)


def test_what_does_not_fit_is_refused_with_a_sentence():
    for layers, words in (
        (cascade((2048,)), "has no windows of shape (1, 2048)"),
        (cascade((48,), 2), "has no windows of shape (2, 48)"),
        (cascade((16, 12)), "has no windows of shape (1, 16, 12)"),
    ):
        with pytest.raises(UserError) as refusal:
            windows.check("electrocardiogram", layers)
        assert words in str(refusal.value)
    with pytest.raises(UserError) as refusal:
        windows.check("electrocardiograph", cascade((48,)))
    assert "did you mean 'electrocardiogram'?" in str(refusal.value)


def test_a_signal_of_a_plug_in_has_a_name_of_its_own(monkeypatch):
    monkeypatch.setattr(windows.SIGNALS, "entries", dict(windows.SIGNALS.entries))
    windows.register("ramp")(lambda: np.arange(64.0)[None])
    (first, _) = cascade((48,))
    drawn = windows.draw_windows("ramp", seeds.stream(1), first, 2)
    np.testing.assert_allclose(np.diff(drawn[:, 0], axis=-1), 1)
    assert "ramp" in windows.names()
    with pytest.raises(UserError):
        windows.register("electrocardiogram")(lambda: np.zeros((1, 4)))
