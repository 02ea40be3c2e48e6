"""What is certified for a pursuit as it is run, against the library and against what is recovered."""

import itertools
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dcsc import guarantees, pursuit, sampling, seeds
from dcsc.convolution import one_step
from dcsc.figures import density, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.model import sparsity
from dcsc.model.cascade import Cascade
from dcsc.stages import certificates, dictionaries, summary
from dcsc.store import dataset, provenance, readers, schemas
from dcsc.study.options.pursuits import PursuitOptions
from dcsc.study.options.signals import SignalOptions
from dcsc.study.options.study import StyleOptions
from tests.unit.test_stages import DEEP as CROWDED
from tests.unit.test_stages import PURSUITS as PURSUIT_OPTIONS
from tests.unit.test_stages import chain

MEMBER = {
    "grid": [256],
    "replicates": 2,
    "layers": [{"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 32, "perturbation": 0.15}}],
}
DEEP = {
    "grid": [512],
    "replicates": 2,
    "layers": [
        {"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 16, "perturbation": 0.08}},
        {"family": "low-coherence-sparse", "parameters": {"n_filters": 16, "taps": 12, "stride": 2, "n_nonzeros": 4}},
    ],
}
PURSUITS = {
    "hard": {"rule": "hard", "threshold": "statistical"},
    "fixed": {"rule": "hard", "threshold": 0.5},
    "low": {"rule": "hard", "threshold": 0.3},
    "midpoint": {"rule": "soft", "threshold": "uniform"},
    "top-k": {"rule": "top-k"},
    "oracle": {"rule": "hard", "threshold": "oracle"},
}
VARIANTS = {
    "random": {},
    "worst": {"signs": {"name": "worst-case", "threshold": "statistical"}},
    "positive": {"signs": "positive"},
    "noisy": {"noise_db": 20},
}


def certified(member, pursuits, variants, folder=None, basis_pursuit=False, draws=400, by_pairs=False):
    drawn = xr.DataTree.from_dict(dictionaries.draw_dictionaries(member, 3))
    signals = SignalOptions(active=[1], trials=1, variants=variants)
    settings = {
        "seed": 3,
        "experiment": "e",
        "cascade": "it",
        "variants": {label: asdict(draw) for label, draw in signals.draws().items()},
        "pursuits": {name: PursuitOptions(**options).model_dump(mode="json") for name, options in pursuits.items()},
        "basis_pursuit": basis_pursuit,
        "by_pairs": by_pairs,
        "delta": 0.05,
        "tail": "exact",
        "draws": draws,
        "confidence": 0.95,
    }
    found = certificates.certify_draws(settings, drawn)
    if folder is not None:
        schema = schemas.CERTIFIED
        dataset.write(
            found,
            folder / "c.nc",
            provenance.record(schema.name, schema.version, {}, {"sha256": "", "modules": {}}, {}),
        )
        found = dataset.read(folder / "c.nc", schema).to_dataset()
    return found, [readers.cascade_of(drawn, number) for number in range(member["replicates"])]


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory):
    return certified(MEMBER, PURSUITS, VARIANTS, tmp_path_factory.mktemp("certificates"))


def test_rungs_speak_of_the_pursuits_and_signs_that_they_are_about(one_layer):
    applies = one_layer[0]["applies"].squeeze("part", drop=True)
    assert not applies.sel(pursuit="oracle").any()  # it looks at the signs
    assert not applies.sel(variant="noisy").any()
    for rung, variant in itertools.product(guarantees.THRESHOLDING_RUNGS, ("random", "worst", "positive")):
        expected = rung.startswith("uniform") or variant == "random"
        assert (applies.sel(rung=rung, variant=variant).drop_sel(pursuit="oracle") == expected).all()


def test_certified_draws_are_recovered_and_bounded_at_the_threshold_of_the_pursuit(one_layer):
    found, cascades = one_layer
    reached = 0
    for name, beta in (("hard", 0.5), ("fixed", 0.5), ("low", 0.3)):
        for rung in ("uniform-instance", "statistical-instance"):
            one = found.sel(pursuit=name, variant="random", rung=rung, part="path")
            assert float(one["limit"]) <= 0.05
            size = int(one["active"])
            reached += size
            for number, cascade in enumerate(cascades):
                (dictionary,) = cascade.dictionaries
                codes = sampling.sample_codes(
                    seeds.stream(number), dictionary, 400, support={"name": "uniform", "size": size}
                )
                failing = guarantees.draw_failures(cascade, codes, np.full(400, beta), rung=rung)
                assert failing.mean() < 0.08
                recovered = one_step.recovered_supports(
                    dictionary, codes, None, rule="hard", threshold=np.full(400, beta)
                )
                wrong = np.array(
                    [
                        not np.array_equal(
                            codes.rows(slice(t, t + 1)).atom, np.sort(recovered.rows(slice(t, t + 1)).atom)
                        )
                        for t in range(400)
                    ]
                )
                assert wrong.mean() <= failing.mean() + 0.03
                if rung == "uniform-instance":
                    assert not (wrong & ~failing).any()
                stripes = sparsity.stripe_norm(codes, dictionary).mean()
                assert float(one["stripe_sparsity"].sel(layer=1)) == pytest.approx(stripes, rel=0.2)
    assert reached > 20


def test_a_threshold_certifies_no_more_than_the_best_one_and_equal_ones_alike(one_layer):
    found = one_layer[0].sel(variant="random", part="path")
    for rung in guarantees.THRESHOLDING_RUNGS:
        sizes = {name: int(found["active"].sel(rung=rung, pursuit=name)) for name in PURSUITS}
        assert sizes["hard"] == sizes["fixed"]
        assert sizes["low"] <= sizes["hard"] <= sizes["top-k"]
        assert sizes["midpoint"] <= sizes["top-k"]
    sizes = found["active"].sel(rung="uniform-instance")
    assert sizes.sel(pursuit="low") < sizes.sel(pursuit="hard")


def test_pairs_certify_top_k_with_random_signs_alone_and_no_more_than_is_recovered():
    pursuits = {name: PURSUITS[name] for name in ("hard", "top-k")}
    variants = {name: VARIANTS[name] for name in ("random", "worst", "noisy")}
    found, cascades = certified(MEMBER, pursuits, variants, draws=200, by_pairs=True)
    again, _ = certified(MEMBER, pursuits, variants, draws=200, by_pairs=True)
    xr.testing.assert_identical(found, again)
    found = found.sel(part="path")
    applies = found["applies"].sel(rung=guarantees.TOP_K_RUNG)
    assert applies.sum() == 1
    assert applies.sel(pursuit="top-k", variant="random")
    found = found["active"].sel(pursuit="top-k", variant="random")
    size = int(found.sel(rung=guarantees.TOP_K_RUNG))
    assert size > int(found.sel(rung="statistical-instance"))
    support = {"name": "uniform", "size": size}
    for number, cascade in enumerate(cascades):
        (dictionary,) = cascade.dictionaries
        codes = sampling.sample_codes(seeds.stream(number), dictionary, 400, support=support)
        recovered = one_step.recovered_supports(dictionary, codes, rule="top-k", k=size)
        wrong = [not np.array_equal(codes[t].atom, np.sort(recovered[t].atom)) for t in range(400)]
        assert np.mean(wrong) < 0.1
    deep, _ = certified(DEEP, {"top-k": PURSUITS["top-k"]}, {"random": {}}, draws=60, by_pairs=True)
    assert guarantees.TOP_K_RUNG not in deep["rung"]


def test_closed_forms_are_of_the_drawn_supports(one_layer):
    """They certify the draws whose fullest stripe is within their limit, and this is seldom the mean one."""
    found, cascades = one_layer
    for name, share in (("hard", 0.5), ("low", 0.3), ("top-k", None)):
        one = found.sel(pursuit=name, variant="random", rung="uniform-coherence", part="path")
        limits = [
            guarantees.certified_stripe_sparsity(
                cascade.dictionaries[0], rung="uniform-coherence", threshold=share
            ).stripe_sparsity
            for cascade in cascades
        ]
        assert float(one["stripe_sparsity"].fillna(0).sel(layer=1)) <= max(limits)
        size, following = int(one["active"]), int(one["next_active"])
        for number, expected in ((size, True), (2 * following + 2, False)):
            within = []
            for cascade, limit in zip(cascades, limits, strict=True):
                (dictionary,) = cascade.dictionaries
                codes = sampling.sample_codes(
                    seeds.stream(7), dictionary, 400, support={"name": "uniform", "size": max(number, 1)}
                )
                within.append(sparsity.stripe_norm(codes, dictionary) <= limit)
            assert number == 0 or (np.mean(within) > 0.93) == expected


def test_variants_that_differ_in_signs_alone_share_what_holds_for_all_signs(one_layer):
    found = one_layer[0].sel(rung="uniform-instance", pursuit="hard")
    for name in ("active", "limit", "stripe_sparsity"):
        values = found[name].sel(variant=["random", "worst", "positive"])
        np.testing.assert_array_equal(values, values.isel(variant=[0, 0, 0]))


def test_layers_and_paths_of_random_signs_are_certified():
    variants = {"T": {"layer_signs": True}, "plain": {}}
    pursuits = {"debiased": {"rule": "hard", "threshold": "statistical", "debias": True}}
    found, cascades = certified(DEEP, pursuits, {**variants}, basis_pursuit=True)
    path = found.sel(pursuit="debiased", part="path")
    assert not found["applies"].sel(variant="plain", part="layer 1", rung="statistical-instance").any()
    for variant in variants:
        sizes = [int(path["active"].sel(variant=variant, rung=rung)) for rung in guarantees.THRESHOLDING_RUNGS[:3]]
        assert sizes == sorted(sizes)
    sizes = found["active"].sel(pursuit="debiased", variant="T", rung="statistical-instance")
    assert 0 < sizes.sel(part="path") <= min(sizes.sel(part="layer 1"), sizes.sel(part="layer 2"))
    equality = found.sel(pursuit=certificates.BASIS_PURSUIT)
    applies = equality["applies"].any(("variant", "part"))
    assert list(applies["rung"].to_numpy()[applies]) == list(guarantees.BASIS_PURSUIT_RUNGS)
    # Rungs of every layer speak of the codes that the deepest ones make.
    one = path.sel(variant="T", rung="statistical-instance")
    atoms = [dictionary.n_atoms for dictionary in cascades[0].dictionaries]
    assert float(one["density"].sel(layer=2)) * atoms[1] == pytest.approx(int(one["active"]))
    assert float(one["density"].sel(layer=1)) * atoms[0] > int(one["active"])


OVERCOMPLETE = {
    "grid": [64],
    "replicates": 2,
    "layers": [{"family": "gaussian", "parameters": {"n_filters": 16, "taps": 32, "stride": 8}}],
}
EQUALITY = {"method": "layered-basis-pursuit", "parameters": {"penalty": 0}}


def test_basis_pursuit_is_certified_as_it_is_run():
    found, cascades = certified(OVERCOMPLETE, {"hard": PURSUITS["hard"], "bp": EQUALITY}, VARIANTS, draws=1024)
    applies = found["applies"].squeeze("part", drop=True)
    assert not applies.sel(variant="noisy").any()
    for rung, variant in itertools.product(guarantees.RUNGS, ("random", "worst", "positive")):
        about = "uniform" in rung or variant == "random"
        for name in ("hard", "bp"):
            matches = (rung in guarantees.BASIS_PURSUIT_RUNGS) == (name == "bp")
            assert bool(applies.sel(rung=rung, variant=variant, pursuit=name)) == (about and matches)
    path = found.sel(pursuit="bp", variant="random", part="path")
    sizes = {rung: int(path["active"].sel(rung=rung)) for rung in guarantees.BASIS_PURSUIT_RUNGS}
    coherence, babel, instance, statistical = sizes.values()
    assert 0 < coherence <= babel < instance < statistical
    model = cascades[0].dictionaries[0]
    for size, kind in ((instance, "uniform"), (statistical, "statistical")):
        support = {"name": "uniform", "size": size}
        codes = [
            sampling.sample_codes(seeds.stream(n), c.dictionaries[0], 400, support=support)
            for n, c in enumerate(cascades)
        ]
        paths = [guarantees.basis_pursuit_on_supports(c, [code]) for c, code in zip(cascades, codes, strict=True)]
        failing = [~path.holds if kind == "uniform" else path.failure_bound for path in paths]
        assert np.mean(failing) < 0.08
        stripes = np.mean([sparsity.stripe_norm(code, model) for code in codes])
        rung = f"basis-pursuit-{kind}-instance"
        assert float(path["stripe_sparsity"].sel(rung=rung, layer=1)) == pytest.approx(stripes, rel=0.1)
        for number, code in enumerate(codes):
            rows = code.rows(slice(0, 60))
            signals = cascades[number].dictionaries[0].synthesize(rows.to_dense())
            result = pursuit.layered_basis_pursuit(cascades[number], signals, penalty=0)
            lost = (np.sign(result.codes[0]) != np.sign(rows.to_dense())).any(axis=(1, 2))
            assert not (lost & ~failing[number][:60].astype(bool)).any()
            assert lost.mean() < 0.15


def test_random_signs_certify_paths_of_basis_pursuit_and_no_layers_alone():
    variants = {"T": {"layer_signs": True}, "plain": {}}
    found, _ = certified(DEEP, {"bp": EQUALITY}, variants, draws=256)
    of_rung = found.sel(pursuit="bp", rung="basis-pursuit-statistical-instance")
    assert (of_rung["active"].sel(part="path") > 0).all()
    assert not of_rung["applies"].sel(part=["layer 1", "layer 2"]).any()
    uniform = found["active"].sel(pursuit="bp", rung="basis-pursuit-uniform-instance", part="path")
    assert (of_rung["active"].sel(part="path") >= 0.9 * uniform).all()


def test_a_sum_over_layers_is_capped_only_where_the_deepest_code_determines_the_path():
    cascade = readers.cascade_of(xr.DataTree.from_dict(dictionaries.draw_dictionaries(CROWDED, 3)), 0)
    seen = np.zeros(2, np.int64)
    for size in (1, 3, 6, 12, 24):
        support = {"name": "uniform", "size": size}
        streams = seeds.stream(size), seeds.stream(size, purpose="signs")
        codes = sampling.deep_codes(streams[0], cascade.dictionaries, 32, support=support, layer_signs=streams[1]).codes
        found = guarantees.basis_pursuit_on_supports(cascade, codes)
        total, determined = found.sum_of_probabilities, found.determined
        np.testing.assert_array_equal(found.failure_bound[~determined], total[~determined])
        np.testing.assert_array_equal(found.failure_bound[determined], np.minimum(total, 1)[determined])
        seen += [np.count_nonzero(determined), np.count_nonzero(total > 1)]
    assert seen[0] > 10
    assert seen[1] > 0


def test_certificates_and_measured_transitions_are_put_side_by_side(one_layer, monkeypatch):
    certificates_of = transitions.certified({"it": one_layer[0]})
    assert set(certificates_of["rung"]) == set(guarantees.THRESHOLDING_RUNGS)
    assert (certificates_of.groupby(["pursuit", "variant", "rung"]).size() == 1).all()
    points = certificates_of[certificates_of["rung"] == "uniform-coherence"].assign(censored="")
    points = pd.concat([points.assign(replicate=number) for number in range(2)], ignore_index=True)
    points["stripe_sparsity"] = np.where(points["pursuit"] == "hard", 1.0, 1000.0) + 0.001 * points["replicate"]
    asked = []

    def beside(shown):
        """Put the certificates beside transitions that are given, and note the level that is asked for."""
        monkeypatch.setattr(transitions, "measured", lambda summary, variants, levels: asked.append(levels) or shown)
        together = pd.DataFrame({"pursuit": ["hard"], "variant": "random", "cascade": "it", "pooled": 4.0})
        together = together.assign(pooled_lower=2.0, pooled_upper=8.0)
        monkeypatch.setattr(transitions, "pooled", lambda *arguments: together)
        table = transitions.certified_beside(certificates_of, None, {}, 0.95, 0.05)
        ratio = table.loc[(table["pursuit"] == "hard") & (table["variant"] == "random")]
        np.testing.assert_array_equal(ratio["of_measured"], ratio["stripe_sparsity"] / 4)
        assert (ratio["of_measured_lower"] <= ratio["of_measured"]).all()
        assert table["of_measured"].notna().sum() == len(ratio)
        return table.set_index(["pursuit", "variant", "rung"])["above_measured"]

    above = beside(points)
    assert above["hard", "random", "statistical-instance"]
    assert not above["fixed"].any()
    assert not beside(points.assign(censored="above")).any()
    assert asked == [[0.95], [0.95]]


def test_the_densities_of_a_figure_are_those_of_its_layers(tmp_path):
    member = {**DEEP, "replicates": 1}
    variants = {"T": {"layer_signs": True}}
    drawn, _, _, measured = chain(tmp_path, member, [1, 4, 16, 64], variants, 40)
    pursuits = {name: PURSUIT_OPTIONS[name] for name in ("hard",)}
    found, (cascade,) = certified(member, {"hard": PURSUITS["hard"]}, variants, basis_pursuit=True)
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    results = Results({"it": drawn}, counts, {"it": measured}, certificates={"it": found})
    draws = SignalOptions(active=[1], trials=1, variants=variants).draws()
    settings = FigureSettings.from_json(
        {
            "confidence": 0.95,
            "delta": 0.05,
            "seed": 1,
            "series": {"it": "it"},
            "variants": {label: asdict(draw) for label, draw in draws.items()},
            "pursuits": pursuits,
            "style": StyleOptions().model_dump(),
        }
    )
    table = density.tidy(results, settings)
    assert density.draw(table, settings).axes
    atoms = [dictionary.n_atoms for dictionary in cascade.dictionaries]
    path = table[(table["of"] == "path") & (table["pursuit"] == "hard")]
    deepest = path[path["layer"] == 2]
    np.testing.assert_allclose(deepest["density"] * atoms[1], deepest["active"], rtol=0.02)
    uniform = path[path["kind"].isin(density.ALL_SIGNS)]
    for layer, rows in path.groupby("layer"):
        best = uniform.loc[uniform["layer"] == layer, "active"].max()
        np.testing.assert_allclose(rows["gain"], rows["active"] / best)
        assert (rows["gain_lower"] <= rows["gain"]).all()
    assert set(table.loc[table["pursuit"] == certificates.BASIS_PURSUIT, "kind"]) == set(guarantees.BASIS_PURSUIT_RUNGS)


def test_a_path_of_one_layer_is_that_layer():
    dictionary = certified(MEMBER, {"hard": PURSUITS["hard"]}, {"random": {}}, draws=64)[1][0].dictionaries[0]
    codes = sampling.sample_codes(seeds.stream(9), dictionary, 40, support={"name": "uniform", "size": 6})
    beta = np.linspace(0.2, 0.7, 40)
    paths = guarantees.path_interference(Cascade([dictionary]), [codes])
    found = guarantees.as_run(paths, [beta])
    alone = Cascade([dictionary])
    np.testing.assert_array_equal(found.covered, ~guarantees.draw_failures(alone, codes, beta, rung="uniform-instance"))
    bound = guarantees.draw_failures(alone, codes, beta, rung="statistical-instance")
    np.testing.assert_allclose(found.failure_bound, np.where(found.covered, 0, bound), rtol=1e-9, atol=1e-12)


def test_hopeless_sizes_are_given_up_without_another_verdict(monkeypatch):
    pursuits = {"hard": PURSUITS["hard"], "debiased": PURSUITS["hard"] | {"debias": True}}
    variants = {"random T": {"layer_signs": True}}
    blocks, draw_cell = [], certificates.draw_cell
    monkeypatch.setattr(certificates, "draw_cell", lambda *cell: blocks.append(cell) or draw_cell(*cell))
    early, _ = certified(DEEP, pursuits, variants)
    few = len(blocks)
    monkeypatch.setattr(certificates._Draws, "_is_too_much", lambda *arguments: False)
    drawn_in_full, _ = certified(DEEP, pursuits, variants)
    assert few < len(blocks) - few
    xr.testing.assert_identical(early, drawn_in_full)
    assert (early["active"] > 0).any()
    assert (early["next_active"] > 0).any()


@pytest.mark.parametrize("debias", [False, True])
def test_what_is_covered_for_all_signs_is_that_of_the_guarantee_as_run(debias):
    drawn = xr.DataTree.from_dict(dictionaries.draw_dictionaries(DEEP, 3))
    cascade = readers.cascade_of(drawn, 0)
    codes = sampling.deep_codes(
        seeds.stream(0), cascade.dictionaries, 64, support={"name": "uniform", "size": 3}, layer_signs=seeds.stream(1)
    ).codes
    for share in (0.3, 0.5):
        betas = [np.full(code.row_size.shape, share * np.abs(code.value).min()) for code in codes]
        paths = guarantees.path_interference(cascade, codes, "rademacher")
        alone = guarantees.covered_as_run(paths, betas, debias=debias)
        np.testing.assert_array_equal(alone, guarantees.as_run(paths, betas, debias=debias).covered)


@pytest.mark.parametrize(
    ("member", "pursuits", "variants"),
    [
        (
            MEMBER,
            {"low": {"rule": "hard", "threshold": 0.3}, "top-k": {"rule": "top-k"}},
            {"random": {"magnitudes": {"name": "uniform", "contrast": 0.4}}},
        ),
        (
            DEEP,
            {"debiased": {"rule": "hard", "threshold": "statistical", "debias": True}},
            {"random T": {"layer_signs": True, "constraint": "no-overlap"}},
        ),
    ],
    ids=["one layer", "debiased path"],
)
def test_rough_bounds_change_no_number(member, pursuits, variants, monkeypatch):
    kept, asked = certificates._Draws._failing, []

    def counted(self, *arguments, rough=False, **options):
        asked.append(rough)
        return kept(self, *arguments, rough=rough, **options)

    monkeypatch.setattr(certificates._Draws, "_failing", counted)
    found, _ = certified(member, pursuits, variants, draws=128)
    assert any(asked)

    def without(self, *arguments, rough=False, **options):
        return kept(self, *arguments, **options)

    monkeypatch.setattr(certificates._Draws, "_failing", without)
    xr.testing.assert_identical(found, certified(member, pursuits, variants, draws=128)[0])
