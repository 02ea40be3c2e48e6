"""Counts of multiplications against loops that count them."""

import numpy as np
import pytest

import dcsc
from dcsc import pursuit
from dcsc.pursuit import work


def layers(grid=(24,)):
    rng = np.random.default_rng(0)
    first = dcsc.ConvolutionalDictionary(rng.standard_normal((3, 2, *[4] * len(grid))), 2, grid, normalize=True)
    second = dcsc.ConvolutionalDictionary(
        rng.standard_normal((4, 3, *[2] * len(grid))), 1, first.positions, normalize=True
    )
    return [first, second]


@pytest.mark.parametrize("grid", [(24,), (8, 12)])
def test_a_pass_multiplies_every_entry_of_the_matrix_once(grid):
    for layer in layers(grid):
        assert work.one_pass(layer) == layer.to_sparse().nnz


def counted(name, model, signals, codes, **parameters):
    """What a pursuit took, from its own result."""
    result = pursuit.get(name)(model, signals, reference=codes, **parameters)
    found = np.stack([support.sum(axis=(-2, -1)) for support in result.supports])
    stripes = np.stack([dcsc.stripe_norm(code, layer) for code, layer in zip(codes, model.dictionaries, strict=True)])
    debias = name == "layered-thresholding" and parameters.pop("debias", False)
    options = {"method": name, "parameters": parameters, "debias": debias}
    iterations = np.moveaxis(result.iterations, -1, 0)
    return work.multiply_adds(options, model.dictionaries, iterations, found, stripes), iterations


def test_every_registered_pursuit_is_counted_or_said_not_to_be():
    model = dcsc.Cascade(layers())
    deepest = np.zeros((2, 4, 12))
    deepest[0, 1, 3], deepest[1, 2, [2, 9]] = 1.0, [1.0, -1.0]
    signals, *codes = model.synthesize(deepest)
    forward = sum(work.one_pass(layer) for layer in model.dictionaries)
    taken, _ = counted("layered-thresholding", model, signals, codes, rule="top-k")
    np.testing.assert_array_equal(taken, forward)
    fits, _ = counted("oracle-least-squares", model, signals, codes)
    debiased, _ = counted("layered-thresholding", model, signals, codes, rule="hard", threshold="oracle", debias=True)
    assert (debiased > forward).all()
    assert (fits > 0).all()
    for accelerate in (False, True):
        options = {"penalty": 0.1, "solver": "proximal-gradient", "accelerate": accelerate}
        taken, iterations = counted("layered-basis-pursuit", model, signals, codes, **options)
        passes = 1 + 2 * iterations
        np.testing.assert_array_equal(taken, sum(work.one_pass(d) * n for d, n in zip(model.dictionaries, passes)))
    for name in ("multilayer-ista", "multilayer-fista"):
        taken, iterations = counted(name, model, signals, codes, penalty=0.1)
        np.testing.assert_array_equal(taken, 2 * iterations[0] * forward)
    for name in ("projection-pursuit", "holistic-pursuit", "layered-matching-pursuit"):
        options = {} if name == "layered-matching-pursuit" else {"penalty": 0.1}
        taken, _ = counted(name, model, signals, codes, **options)
        assert (taken > 0).all()
    taken, _ = counted("layered-basis-pursuit", model, signals, codes, penalty=0.1)
    assert np.isnan(taken).all()
    options = {"method": "of-a-plug-in", "parameters": {}, "debias": False}
    assert np.isnan(work.multiply_adds(options, model.dictionaries, *np.ones((3, 2, 5)))).all()
