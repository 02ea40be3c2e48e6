"""Phase diagrams: counts by brute force, certificates that measurement never contradicts, pairing of draws."""

import functools

import numpy as np
import pytest
import xarray as xr

import dcsc
from dcsc.errors import UserError
from dcsc.sampling.blocks import draw_blocks
from dcsc.sampling.values import sample_codes

AXES = {"perturbation": [0.05, 0.5], "size": [2, 12]}


def dictionary(perturbation):
    return dcsc.families.create("perturbed", grid=64, seed=0, base="lapped", n_filters=8, perturbation=perturbation)


def uniform(size):
    return {"name": "uniform", "size": size}


def diagram(axes=AXES, model=dictionary, support=uniform, **options):
    return dcsc.phase_diagram(axes, model, **{"support": support, "trials": 40, **options})


def test_counts_are_those_of_one_code_after_another():
    found = diagram()
    for perturbation in AXES["perturbation"]:
        layer = dictionary(perturbation)
        for size in AXES["size"]:
            draw = functools.partial(sample_codes, support=uniform(size))
            cell = {"perturbation": perturbation, "size": size}
            codes = draw_blocks(
                0, 40, lambda rng, trials, d=draw, on=layer: d(rng, on, trials), what="phase diagram", cell=cell
            )
            right = 0
            for code in codes.to_dense():
                correlations = layer.correlate(layer.synthesize(code))
                right += bool(np.array_equal(np.abs(correlations) > 0.5, code != 0))
            cell = found.sel(cell)
            assert int(cell.recovered) == right
            assert float(cell.mutual_coherence.item()) == dcsc.mutual_coherence(layer)
            assert float(cell.mean_density.item()) == pytest.approx(size / layer.n_atoms)
            expected = np.mean(dcsc.stripe_norm(codes, layer))
            assert float(cell.mean_stripe_sparsity.item()) == pytest.approx(expected)


@pytest.mark.parametrize(
    "pursuit",
    [
        {"name": "layered-thresholding", "rule": "hard", "threshold": "statistical"},
        {"name": "layered-thresholding", "rule": "soft", "threshold": "uniform-lower-by-filter"},
        {"name": "layered-thresholding", "rule": "top-k"},
        {"name": "layered-basis-pursuit", "penalty": 0},
    ],
)
@pytest.mark.parametrize("signs", ["rademacher", "worst-case"])
def test_what_is_certified_is_recovered(pursuit, signs):
    found = diagram(pursuit=pursuit, signs=signs)
    assert (found.covered <= found.rate).all()
    assert (found.lower <= found.rate).all()
    assert (found.rate <= found.upper).all()
    if signs == "rademacher":
        # The limit holds at 95 % in each of four cells, of a rate that is measured with an interval at 95 %.
        assert (found.certified <= found.upper).all()
        assert float(found.certified.max()) > 0
    else:
        assert found.certified.isnull().all()


def test_nothing_is_certified_where_the_theory_is_silent():
    for options in (
        {"noise_db": 20.0},
        {"pursuit": {"name": "layered-matching-pursuit"}},
        {"pursuit": {"name": "layered-basis-pursuit", "penalty": 0.1}},
    ):
        found = diagram(**options)
        assert found.covered.isnull().all()
        assert found.certified.isnull().all()
    oracle = diagram(pursuit={"name": "layered-thresholding", "threshold": "oracle"})
    assert oracle.covered.notnull().all()
    assert oracle.certified.isnull().all()


def test_paths_of_several_layers_are_recovered_as_a_whole():
    deepest = dcsc.families.create(
        "low-coherence-sparse", grid=8, seed=0, n_filters=12, taps=3, n_nonzeros=2, n_channels=8
    )
    options = {"support": lambda size: uniform(size), "axes": {"perturbation": [0.02], "size": [1, 4]}}
    found = diagram(model=lambda perturbation: dcsc.Cascade([dictionary(perturbation), deepest]), **options)
    assert found.sizes["layer"] == 2
    assert (found.covered <= found.rate).all()
    assert found.rate.sel(size=1).item() > 0
    assert found.mutual_coherence.sel(layer=2).to_numpy() == pytest.approx(dcsc.mutual_coherence(deepest))


def test_a_further_cell_trial_or_pursuit_changes_no_draw():
    once = diagram(pursuit="oracle-least-squares")
    more = diagram(axes={"perturbation": [0.5, 0.05, 0.2], "size": [12, 3, 2]})
    xr.testing.assert_equal(once.mean_stripe_sparsity, more.mean_stripe_sparsity.reindex_like(once))
    assert (diagram(trials=72).recovered >= diagram().recovered).all()
    xr.testing.assert_identical(diagram(), diagram())
    assert not diagram(seed=1).mean_stripe_sparsity.equals(diagram().mean_stripe_sparsity)


def test_noise_lowers_recovery_and_an_axis_may_be_it():
    found = diagram(
        axes={"noise_db": [-5.0, 60.0], "size": [2]},
        model=dictionary(0.05),
        noise_db=lambda noise_db: noise_db,
        trials=64,
    )
    assert found.rate.sel(noise_db=-5.0).item() < found.rate.sel(noise_db=60.0).item()


def test_every_choice_may_depend_on_the_cell_and_is_made_once():
    built = []

    def model(perturbation):
        built.append(perturbation)
        return dictionary(perturbation)

    rules = {"rule": ["hard", "soft"], "perturbation": [0.05, 0.5]}
    found = diagram(
        axes=rules,
        model=model,
        support=uniform(4),
        pursuit=lambda rule: {"name": "layered-thresholding", "rule": rule, "threshold": "statistical"},
    )
    assert built == [0.05, 0.5]
    assert found.rule.to_numpy().tolist() == ["hard", "soft"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"axes": {"size": [1]}}, "give two names"),
        ({"axes": {"size": [1], "rate": [1]}}, "name of the result"),
        ({"axes": {"size": [], "perturbation": [1]}}, "give two names"),
        ({"support": lambda sparsity: uniform(sparsity)}, "support asks for 'sparsity'"),
        ({"trials": 0}, "draw at least one"),
        ({"pursuit": "layered-tresholding"}, "did you mean"),
        ({"support": "unifrm"}, "did you mean"),
    ],
)
def test_what_is_not_allowed_is_named(options, words):
    with pytest.raises(UserError, match=words):
        diagram(**options)
