"""The members of a series are paired: they differ in the varied parameter alone."""

import numpy as np
import pytest
import xarray as xr

from dcsc import families
from dcsc.stages import dictionaries
from dcsc.stages.signals import sample_signals
from dcsc.study.options.signals import DrawOptions
from dcsc.study.options.study import Study

SIZES = {"n_filters": 4, "taps": 12, "stride": 3}
ON_GRIDS = {
    "gaussian": {**SIZES, "n_channels": 2},
    "integer": {"search": True},
    "low-coherence-sparse": {**SIZES, "n_nonzeros": 3},
    "optimised": {**SIZES, "iterations": 40},
    "perturbed": {"base": "gaussian", "perturbation": 0.3, **SIZES},
    "rademacher": SIZES,
    "sparse-random": {**SIZES, "n_nonzeros": 4},
}
"""Every family that draws, with parameters that fit the grids below."""

FIXED = {"aligned", "daubechies", "dct", "file", "gabor", "hadamard-dirac", "lapped", "meyer"}
BASES = {
    "lapped": {"n_filters": 6},
    "gaussian": SIZES,
    "rademacher": SIZES,
    "sparse-random": {**SIZES, "n_nonzeros": 4},
    "low-coherence-sparse": {**SIZES, "n_nonzeros": 3},
}


def series(layers, *, grid=(72,), replicates=2, **vary):
    """Draw the dictionaries of every member, as the workflow does: by value, the layers' filters."""
    cascade = {"grid": list(grid), "replicates": replicates, "layers": layers, "vary": vary}
    study = Study.model_validate({"seed": 11, "cascades": {"s": cascade}, "experiments": {"e": EXPERIMENT}})
    members = study.members_of("s").values()
    drawn = [dictionaries.draw_dictionaries(member.model_dump(mode="json"), study.seed) for member in members]
    return {
        member.varied.value: [group["filters"].to_numpy() for group in groups.values()]
        for member, groups in zip(members, drawn, strict=True)
    }


EXPERIMENT = {"title": "t", "cascades": ["s"], "figures": ["families"]}


def test_every_family_is_said_to_draw_or_not():
    assert set(families.names()) == {*ON_GRIDS, *FIXED}


@pytest.mark.parametrize("family", ON_GRIDS)
def test_filters_are_the_same_bits_on_every_grid(family):
    layer = {"family": family, "parameters": ON_GRIDS[family]}
    drawn = series([layer], parameter="grid", values=[72, 144, 288])
    for (filters,) in drawn.values():
        np.testing.assert_array_equal(filters, drawn[72][0])
    first, second = drawn[72][0]
    assert np.any(first != second)  # replicates stay independent draws


@pytest.mark.parametrize("base", BASES)
def test_a_series_of_perturbations_keeps_base_and_direction(base):
    layer = {"family": "perturbed", "parameters": {"base": base, **BASES[base]}}
    drawn = series([layer], parameter="perturbation", values=[0, 0.1, 0.3, 0.9])
    for replicate in range(2):
        start = drawn[0][0][replicate].reshape(BASES[base]["n_filters"], -1)
        directions = []
        for value in (0.1, 0.3, 0.9):
            moved = drawn[value][0][replicate].reshape(start.shape)
            across = moved - (moved * start).sum(axis=1, keepdims=True) * start
            directions.append(across / np.linalg.norm(across, axis=1, keepdims=True))
        for direction in directions[1:]:
            np.testing.assert_allclose((direction * directions[0]).sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("base", BASES)
def test_the_direction_does_not_depend_on_what_the_base_draws(base):
    """A perturbation so large that the base is lost in it is the direction itself."""
    first, second = (
        families.create("perturbed", (72,), 3, base=name, perturbation=1e9, **BASES[name]).filters[0].ravel()
        for name in (base, "lapped")
    )
    np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize("family", ["gaussian", "rademacher", "sparse-random", "low-coherence-sparse"])
def test_more_filters_hold_those_of_fewer(family):
    parameters = {name: value for name, value in ON_GRIDS[family].items() if name != "n_filters"}
    drawn = series([{"family": family, "parameters": parameters}], parameter="n_filters", values=[2, 3, 5])
    for count in (2, 3):
        np.testing.assert_array_equal(drawn[5][0][:, :count], drawn[count][0])


def test_more_nonzeros_hold_those_of_fewer():
    drawn = series([{"family": "sparse-random", "parameters": SIZES}], parameter="n_nonzeros", values=[2, 4, 9])
    for fewer, more in ((2, 4), (4, 9)):
        small, large = (np.sign(drawn[number][0]) for number in (fewer, more))
        np.testing.assert_array_equal(large[small != 0], small[small != 0])


def test_a_search_for_low_coherence_starts_from_the_same_filters_at_every_budget():
    layer = {"family": "optimised", "parameters": SIZES}
    drawn = series([layer], parameter="iterations", values=[0, 1])
    overlap = (drawn[0][0] * drawn[1][0]).sum(axis=(2, 3))
    assert overlap.min() > 0.5  # one step away


@pytest.mark.parametrize(
    ("vary", "same"),
    [
        ({"parameter": "perturbation", "values": [0.1, 0.5], "layer": 1}, 2),
        ({"parameter": "n_nonzeros", "values": [2, 3], "layer": 2}, 1),
        ({"parameter": "grid", "values": [96, 192]}, 2),
    ],
)
def test_the_other_layers_of_a_series_stay_the_same_bits(vary, same):
    layers = [
        {"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 4, "perturbation": 0.2}},
        {"family": "sparse-random", "parameters": {"n_filters": 3, "taps": 4, "n_nonzeros": 2, "stride": 2}},
    ]
    first, second = series(layers, grid=(96,), **vary).values()
    np.testing.assert_array_equal(first[same - 1], second[same - 1])


def test_layers_above_a_varied_stride_stay_the_same_bits():
    layers = [
        {"family": "gaussian", "parameters": {"n_filters": 3, "taps": 12}},
        {"family": "gaussian", "parameters": {"n_filters": 3, "taps": 4}},
    ]
    drawn = series(layers, grid=(96,), parameter="stride", values=[2, 4])
    np.testing.assert_array_equal(drawn[2][0], drawn[4][0])
    np.testing.assert_array_equal(drawn[2][1], drawn[4][1])


def test_a_new_value_changes_no_other_member():
    layer = {"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 6}}
    few = series([layer], parameter="perturbation", values=[0.2])
    more = series([layer], parameter="perturbation", values=[0.7, 0.2, 0.4])
    np.testing.assert_array_equal(few[0.2][0], more[0.2][0])


def test_members_of_a_series_share_their_codes():
    layer = {"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 8}}
    cascade = {
        "grid": [48],
        "layers": [layer],
        "vary": {"parameter": "perturbation", "values": [0.1, 0.4]},
    }
    study = Study.model_validate({"seed": 11, "cascades": {"s": cascade}, "experiments": {"e": EXPERIMENT}})
    variants = {"signals": DrawOptions().model_dump(mode="json")}
    drawn = []
    for member in study.members_of("s").values():
        tree = xr.DataTree.from_dict(dictionaries.draw_dictionaries(member.model_dump(mode="json"), study.seed))
        settings = {"seed": 11, "experiment": "e", "cascade": member.cascade, "active": [3], "variants": variants}
        drawn.append(sample_signals({**settings, "trials": 32, "blocks": [0, 1]}, tree)["/layer_1"])
    xr.testing.assert_equal(*drawn)
