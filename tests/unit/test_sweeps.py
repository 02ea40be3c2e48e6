"""Refined sweeps: which cells a coarse look at recovery chooses, and what the later stages make of them."""

from dataclasses import asdict

import numpy as np
import pytest
import xarray as xr

import dcsc
from dcsc import families, seeds
from dcsc.stages import dictionaries, metrics, pursuits, signals, summary, sweeps
from dcsc.store import dataset, readers, schemas
from dcsc.study import config
from dcsc.study.estimate import sizes
from dcsc.study.options.pursuits import BoundOptions, PursuitOptions
from dcsc.study.options.signals import SignalOptions
from tests.unit.test_stages import saved

MEMBER = {
    "grid": [96],
    "replicates": 3,
    "layers": [{"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 16, "perturbation": 0.3}}],
}
WORST = {"name": "worst-case", "threshold": "statistical"}
VARIANTS = {"random signs": {}, "worst-case signs": {"signs": WORST}}
ACTIVE = [1, 2, 4, 8, 16, 32, 64, 90]
PURSUITS = {
    "hard": {"rule": "hard", "threshold": "statistical"},
    "basis-pursuit": {
        "method": "layered-basis-pursuit",
        "parameters": {"penalty": 0.05},
        "variants": ["random signs"],
    },
}
REFINE = 5


def settings_of(active=ACTIVE, variants=VARIANTS, names=PURSUITS, refine=REFINE, trials=40):
    """Settings of every stage, as the workflow would pass them."""
    options = SignalOptions(active=active, trials=trials, variants=variants)
    draws = options.draws()
    return {
        "seed": 5,
        "experiment": "e",
        "cascade": "it",
        "active": active,
        "variants": {label: asdict(draw) for label, draw in draws.items()},
        "adversarial": [label for label, draw in draws.items() if draw.is_adversarial],
        "refine": refine,
        "pursuits": {name: PursuitOptions(**PURSUITS[name]).model_dump(mode="json") for name in names},
        "errors": False,
        "bounds": BoundOptions(trials=4).model_dump(mode="json"),
        "trials": trials,
        "blocks": [0, 2],
    }


@pytest.fixture(scope="module")
def drawn():
    return xr.DataTree.from_dict(dictionaries.draw_dictionaries(MEMBER, 5))


@pytest.fixture(scope="module")
def sweep(drawn, tmp_path_factory):
    chosen = sweeps.refine_sweep(settings_of(), drawn)
    return saved(chosen, tmp_path_factory.mktemp("sweep") / "w.nc", schemas.SWEEPS).to_dataset()


@pytest.fixture(scope="module")
def stages(drawn, sweep, tmp_path_factory):
    """Signals, pursuits, metrics and summary on the refined cells."""
    folder = tmp_path_factory.mktemp("stages")
    settings = settings_of()
    sampled = saved(signals.sample_signals(settings, drawn, sweep), folder / "s.nc", schemas.SIGNALS)
    found = saved(pursuits.run_pursuits(settings, sampled, drawn), folder / "p.nc", schemas.PURSUITS)
    measured = metrics.measure_recovery(settings, found, sampled, drawn)
    measured = saved(measured, folder / "m.nc", schemas.METRICS).to_dataset()
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    return sampled, found, measured, saved(counts, folder / "y.nc", schemas.SUMMARY).to_dataset().isel(cascade=0)


def added(sweep, variant):
    """Cells of a variant beside those listed."""
    one = sweep.sel(variant=variant)
    drawn = one["active"].to_numpy()[one["drawn"].to_numpy()]
    return drawn[~np.isin(drawn, ACTIVE)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_added_cells_lie_where_recovery_falls(sweep, stages, variant):
    cells = added(sweep, variant)
    assert len(cells) > 1
    coarse = sweep.sel(variant=variant, pursuit="hard")
    coarse = coarse.isel(active=np.flatnonzero(coarse["trials"]))
    rates = (coarse["recovered"] / coarse["trials"]).to_numpy()
    low, high = coarse["active"].to_numpy()[[np.flatnonzero(rates > 0.97)[-1], np.flatnonzero(rates < 0.03)[0]]]
    if variant in settings_of()["adversarial"]:  # the other variant has the cells of two pursuits
        inner = np.sort(cells)[1:-1]  # one may lie beyond either end
        assert low <= inner.min()
        assert inner.max() <= high
    counted = stages[3].sel(pursuit="hard", variant=variant).sum("replicate")
    rate = counted["recovered" if variant == "random signs" else "recovered_with_signs"] / counted["trials"]
    inside = rate.sel(active=[number for number in cells if low < number < high])
    assert ((inside > 0.03) & (inside < 0.97)).mean() >= 0.5
    assert len(inside) >= 2


def test_cells_are_drawn_for_each_variant_alone(sweep, stages):
    sampled, found, measured, counts = stages
    mask = sweep["drawn"].to_numpy()
    assert (mask.any(axis=0)).all()
    assert (mask.sum(axis=1) < mask.shape[1]).all(), "no variant has all cells, so that the mask is tested"
    np.testing.assert_array_equal(sampled["drawn"], mask)
    sizes = sampled["layer_1"]["row_size"].to_numpy()
    np.testing.assert_array_equal(sizes, (mask * sweep["active"].to_numpy())[None, :, :, None] + 0 * sizes)
    ran = np.stack([mask, mask & [[True], [False]]])
    np.testing.assert_array_equal(measured["measured"], ran)
    for index, name in enumerate(PURSUITS):
        group = found[f"{name}/layer_1"]
        assert (group["row_size"].to_numpy()[:, ~ran[index]] == 0).all()
        assert (group["iterations"].to_numpy()[:, ~ran[index]] == 0).all()
        assert (group["iterations"].to_numpy()[:, ran[index]] > 0).all()
        assert np.isnan(group["threshold"].to_numpy()[:, ~ran[index]]).all()
        expected = np.where(ran[index], 40, 0)[None] + np.zeros((3, 1, 1))
        np.testing.assert_array_equal(counts["trials"].sel(pursuit=name), expected)
    assert (counts["recovered"].to_numpy() <= counts["trials"].to_numpy()).all()
    np.testing.assert_array_equal(
        np.isnan(counts["stripe_sparsity"].to_numpy()), ~mask[None] & np.ones((3, 1, 1), bool)
    )


def test_a_pursuit_chooses_cells_of_its_own_variants_only(drawn, sweep):
    assert (sweep["trials"].sel(pursuit="basis-pursuit", variant="worst-case signs") == 0).all()
    assert (sweep["trials"].sel(pursuit="basis-pursuit", variant="random signs") > 0).any()
    alone = sweeps.refine_sweep(settings_of(names=["hard"]), drawn)
    np.testing.assert_array_equal(added(alone, "worst-case signs"), added(sweep, "worst-case signs"))
    chosen = [set(one["active"].to_numpy()[one["drawn"].sel(variant="random signs")]) for one in (alone, sweep)]
    assert chosen[0] < chosen[1]


def test_the_coarse_sweep_ends_once_nothing_is_recovered(sweep):
    looked = sweep["coarse"].sel(variant="worst-case signs")
    seen = [number for number in looked["active"].to_numpy()[looked.to_numpy()] if number in ACTIVE]
    assert seen == ACTIVE[: len(seen)]
    assert len(seen) < len(ACTIVE)
    last = sweep["recovered"].sel(variant="worst-case signs", active=seen).sum("pursuit").to_numpy()
    assert (last[-2:] == 0).all()
    assert last[-3] > 0


def test_the_coarse_trials_are_not_the_counted_ones(drawn, monkeypatch):
    seen = []

    def recording(*arguments):
        cell = signals.draw_cell(*arguments)
        seen.extend(cell.codes[0].to_dense())
        return cell

    monkeypatch.setattr(sweeps, "draw_cell", recording)
    settings = settings_of(active=[6], variants={"random signs": {}}, names=["hard"], trials=seeds.BLOCK)
    sweeps.refine_sweep(settings, drawn)
    counted = signals.sample_signals({**settings, "blocks": [0, 1]}, drawn)
    counted = dataset.codes_from_dataset(counted["/layer_1"]).to_dense()
    coarse = {code.tobytes() for code in seen}
    assert len(coarse) == min(sweeps.REPLICATES, MEMBER["replicates"]) * seeds.BLOCK
    assert coarse.isdisjoint(code.tobytes() for code in counted.reshape(-1, *counted.shape[4:]))


def test_refined_cells_are_drawn_as_listed_ones(drawn, sweep, stages):
    settings = settings_of(active=[int(number) for number in sweep["active"]])
    listed = signals.sample_signals(settings, drawn)
    one, other = (dataset.codes_from_dataset(group["/layer_1"]).to_dense() for group in (listed, stages[0]))
    mask = sweep["drawn"].to_numpy()
    np.testing.assert_array_equal(one[:, mask], other[:, mask])


def test_certificates_are_those_of_the_same_draws_without_a_sweep(drawn, stages):
    plain = signals.sample_signals(settings_of(), drawn)
    np.testing.assert_array_equal(stages[0]["certificates"], plain["/"]["certificates"])
    assert any("statistical" in str(carried) for carried in plain["/"]["certificates"].to_numpy())


def test_a_curve_that_does_not_fall_adds_no_cell(drawn):
    settings = settings_of(active=[1, 2], variants={"random signs": {}}, names=["hard"])
    chosen = sweeps.refine_sweep(settings, drawn)
    assert list(chosen["active"]) == [1, 2]
    assert chosen["drawn"].all()
    hopeless = sweeps.refine_sweep({**settings, "active": [80, 90]}, drawn)
    assert list(hopeless["active"]) == [80, 90]


def test_cells_by_density_follow_the_size_of_the_code():
    options = SignalOptions(density=[0.5, 0.01, 0.0101, 1e-9], trials=1)
    large, small = (families.create("lapped", (size,), n_filters=4) for size in (1000, 100))
    assert options.cells([large]) == [1, 10, 500]
    assert options.cells([small]) == [1, 50]
    assert SignalOptions(active=[5, 3], trials=1).cells([large]) == [5, 3]


def test_a_series_of_grids_keeps_the_density(tmp_path):
    study = config.validate(
        {
            "seed": 1,
            "cascades": {
                "it": {
                    "grid": [64],
                    "layers": [{"family": "lapped", "parameters": {"n_filters": 16}}],
                    "vary": {"parameter": "grid", "values": [64, 128]},
                }
            },
            "experiments": {
                "e": {
                    "title": "A title",
                    "cascades": ["it"],
                    "signals": {"density": [0.05, 0.25], "trials": 4},
                    "pursuits": {"top-k": {"rule": "top-k"}},
                    "figures": ["recovery"],
                }
            },
        }
    )
    members = study.members_of("it")
    assert list(members) == ["it-grid-64", "it-grid-128"]
    deepest = [dictionaries.trial_layers(member.model_dump(mode="json"))[-1] for member in members.values()]
    assert [layer.n_atoms for layer in deepest] == [64, 128]
    cells = [study.experiments["e"].signals.cells([layer]) for layer in deepest]
    assert cells == [[3, 16], [6, 32]]
    for member, size in zip(members.values(), (64, 128), strict=True):
        tree = xr.DataTree.from_dict(dictionaries.draw_dictionaries(member.model_dump(mode="json"), 1))
        assert readers.cascade_of(tree, 0).dictionaries[0].grid == (size,)


NOISELESS = {"plain": {}}
NOISY = {"noisy": {"noise_db": 60}}
SPARSE = {
    "grid": [1296],
    "replicates": 1,
    "layers": [{"family": "meyer", "parameters": {}}, {"family": "integer", "parameters": {}}],
}
SOLVERS = {
    "equality": {"method": "layered-basis-pursuit", "parameters": {"penalty": 0}},
    "guaranteed": {"method": "layered-basis-pursuit", "parameters": {"penalty": "guaranteed"}},
    "small": {"method": "layered-basis-pursuit", "parameters": {"penalty": 1e-3}},
    "debiased": {"method": "layered-basis-pursuit", "parameters": {"penalty": "guaranteed", "debias": True}},
    "matching": {"method": "layered-matching-pursuit"},
}


@pytest.mark.parametrize("variants", [NOISELESS, NOISY], ids=["noiseless", "noisy"])
def test_metrics_speak_of_basis_pursuit_where_theorems_11_and_12_do(tmp_path, variants):
    tree = xr.DataTree.from_dict(dictionaries.draw_dictionaries(SPARSE, 5))
    chosen = {name: PursuitOptions(**options).model_dump(mode="json") for name, options in SOLVERS.items()}
    settings = {**settings_of(active=[2, 20], variants=variants, trials=4), "pursuits": chosen, "errors": True}
    settings["blocks"] = [0, 1]
    sampled = xr.DataTree.from_dict(signals.sample_signals(settings, tree))
    found = xr.DataTree.from_dict(pursuits.run_pursuits(settings, sampled, tree))
    measured = saved(
        metrics.measure_recovery(settings, found, sampled, tree), tmp_path / "m.nc", schemas.METRICS
    ).to_dataset()
    model = readers.cascade_of(tree, 0)
    codes = [readers.codes_of_replicate(sampled, layer, 0).to_dense() for layer in (1, 2)]
    noise = readers.noise_of_replicate(sampled, 0)
    eps = 0.0 if noise is None else dcsc.patch_l2(noise, model.dictionaries[0])
    promise = dcsc.guarantees.basis_pursuit(model, codes, eps)
    covered, bound = measured["covered"].isel(replicate=0), measured["error_bound"].isel(replicate=0)
    for layer, expected in enumerate(promise.layers, start=1):
        np.testing.assert_array_equal(covered.sel(pursuit="guaranteed", layer=layer), expected.holds)
        finite = np.where(np.isfinite(expected.error_bound), expected.error_bound, np.nan)
        np.testing.assert_allclose(bound.sel(pursuit="guaranteed", layer=layer), finite)
        if noise is None:
            np.testing.assert_array_equal(covered.sel(pursuit="equality", layer=layer), expected.holds)
        np.testing.assert_allclose(
            measured["threshold"].isel(replicate=0).sel(pursuit="guaranteed", layer=layer), expected.penalty
        )
    assert promise.layers[0].holds.any()
    if noise is not None:  # the equality form fits the noise too
        assert not covered.sel(pursuit="equality").any()
    for name in ("small", "matching", "debiased"):
        assert not covered.sel(pursuit=name).any()
        assert bound.sel(pursuit=name).isnull().all()
    path = measured["path_recovered"].isel(replicate=0)
    assert path.where(covered.all("layer"), True).all(), "what a theorem covers is recovered"
    for name in ("guaranteed", "equality"):
        error, limit = measured["error"].isel(replicate=0).sel(pursuit=name), bound.sel(pursuit=name)
        assert (error <= limit * (1 + 1e-9) + 1e-7).where(limit.notnull(), True).all()


def test_the_cost_model_counts_the_dictionaries_that_a_sweep_looks_at():
    assert sizes.SWEPT_REPLICATES == sweeps.REPLICATES


def test_cells_beyond_a_steep_fall_keep_their_distance():
    """Recovery falls from 98 % to 1 % within four atoms: the level of 99 % needs a cell above them, but not far."""
    cells = sweeps._between({64: 128, 114: 125, 118: 1, 128: 0}, 128, 10, beyond=1)
    assert {114, 115, 116, 117, 118} <= cells
    assert any(105 <= number <= 111 for number in cells)
    assert any(120 <= number <= 124 for number in cells)
