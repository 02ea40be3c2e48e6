"""The numbers behind figures, against what the stages before them say."""

import dataclasses
import itertools
from dataclasses import asdict
from functools import partial

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from dcsc import guarantees, statistics
from dcsc.errors import UserError
from dcsc.figures import (
    basis_pursuit,
    comparison,
    compute,
    contrast,
    depth,
    ladder,
    local_snr,
    paper_table,
    prediction,
    real_signals,
    recovery,
    slopes,
    style,
    thresholds,
    transitions,
    uniform_density,
)
from dcsc.figures.inputs import Axis, FigureSettings, Results
from dcsc.figures.tables import select
from dcsc.model.coherence import mutual_coherence
from dcsc.pursuit import work
from dcsc.stages import summary
from dcsc.store import dataset, schemas
from dcsc.store.readers import cascade_of, codes_of_replicate
from dcsc.study.options.signals import SignalOptions
from dcsc.study.options.study import StyleOptions
from tests.unit.test_certificates_stage import EQUALITY as BASIS_PURSUIT
from tests.unit.test_certificates_stage import OVERCOMPLETE, certified
from tests.unit.test_stages import DEEP, EQUALITY, MEMBER, PURSUITS, SPARSE, chain

STYLE = StyleOptions().model_dump()
DRAWN = (basis_pursuit, comparison, compute, depth, local_snr, paper_table, prediction, real_signals, recovery,
         uniform_density)  # fmt: skip


@pytest.fixture(autouse=True)
def told_columns(monkeypatch):
    """A table has no column that its panel, or one that it shows beside it, does not tell: claims rely on it."""
    for module in DRAWN:

        def checked(results, settings, module=module, tidy=module.tidy):
            table = tidy(results, settings)
            beside = {column for shown in results.beside.values() for column in shown}
            assert set(table) <= beside | set(module.PANEL.columns.split())
            return table

        monkeypatch.setattr(module, "tidy", checked)


def test_figure_depth_counts_the_paths_of_codes_with_any_atom(tmp_path):
    variants = {"plain": {}, "T": {"layer_signs": True}}
    drawn, _, _, measured = chain(tmp_path, SPARSE, [1, 6], variants, 40)
    empty = np.zeros((1, 2, 2, 40), dtype=bool)
    empty[..., ::5] = True  # as if every atom of these had been refused
    emptied = measured.copy()
    emptied["nonzeros"] = measured["nonzeros"].where(~xr.DataArray(empty, dims=schemas.BATCH), 0)
    beside = pd.DataFrame({"blocks": [1], "rate": [0.5]})
    results = Results({"it": drawn}, trials={"it": emptied}, beside={"aligned-exact": beside})
    settings = settings_of(variants, delta=0.01)
    table = depth.tidy(results, settings)
    assert table.loc[table["kind"] == "aligned-exact", "rate"].tolist() == [0.5]
    maps = table[table["kind"] == "map"]
    assert len(maps) == len(PURSUITS) * 2 * 2
    for row in maps.itertuples():
        cell = measured.sel(pursuit=row.pursuit, variant=row.variant, active=row.active, replicate=0)
        kept = np.arange(40) % 5 != 0
        assert row.trials == 32
        assert row.recovered == cell["path_recovered"].to_numpy()[kept].sum()
        assert row.density * 8 * 4 == pytest.approx(cell["nonzeros"].sel(layer=2).to_numpy()[kept].mean())
        bounds = cell["failure_bound_as_run"].to_numpy()[kept]
        covered = cell["covered_as_run"].to_numpy()[kept] == 1
        if row.pursuit == "debiased":  # the oracle looks at the signs
            assert np.isnan(bounds).all()
            assert np.isnan(row.assured)
            continue
        assert row.failure_bound == pytest.approx(min(1, bounds.mean(), 1 - covered.mean()))
        assert (row.covered, row.violations) == (covered.sum(), 0)
        lower = statistics.proportion_lower_limit(covered.sum(), covered.size)
        assert row.certified == pytest.approx(float(lower))
        assert row.assured <= 1 - bounds.mean() or row.assured == row.certified
        assert row.certified <= row.assured


def test_figure_recovery_tells_how_well_each_fall_is_resolved(tmp_path):
    variants = {"random": {}, "plain": {"layer_signs": True}}
    drawn, _, _, measured = chain(tmp_path, MEMBER, [1, 3, 6, 7, 8, 10, 12, 16, 20, 28, 40, 47], variants, 40)
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    settings = settings_of(variants)
    table = recovery.tidy(Results({"it": drawn}, counts, {"it": measured}), settings)
    curves = table.groupby(["pursuit", "variant"])
    assert len(curves) == 2 * len(PURSUITS)
    assert table["falls"].nunique() == 2  # some curves of this study fall, some do not
    for _, curve in curves:
        rates, active = curve["rate"].to_numpy(), curve["active"].to_numpy()
        assert set(curve["falls"]) == {bool(rates.min() <= 0.05 and rates.max() >= 0.95)}
        assert set(curve["cells_in_fall"]) == {np.sum((rates > 0.05) & (rates < 0.95))}
        if curve["falls"].any():
            last, first = active[rates >= 0.95].max(), active[rates <= 0.05].min()
            every = set(range(last, first)) <= set(active)
            assert set(curve["resolved"]) == {every or curve["cells_in_fall"].iloc[0] >= 6}
        else:
            assert not curve["resolved"].any()
    assert table["resolved"].nunique() == 2


def test_figure_basis_pursuit_holds_what_is_certified_against_theorem_11(tmp_path):
    variants, cells = {"random": {}}, [1, 2, 4, 7, 12]
    run = {"bp": EQUALITY}
    drawn, _, _, measured = chain(tmp_path, OVERCOMPLETE, cells, variants, 24, run=run)
    found, _ = certified(OVERCOMPLETE, {"hard": {"rule": "hard", "threshold": 0.5}, "bp": BASIS_PURSUIT}, variants)
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    settings = settings_of(variants, pursuits=run)
    results = Results({"it": drawn}, counts, {"it": measured}, certificates={"it": found})
    table = basis_pursuit.tidy(results, settings)
    cell, rungs = table[table["kind"] == "measured"], table[table["kind"] == "certified"].set_index("rung")
    assert list(rungs.index) == list(guarantees.BASIS_PURSUIT_RUNGS)
    assert cell["active"].tolist() == cells
    limits = [
        max(k for k in range(20) if k < (1 + 1 / mutual_coherence(c.dictionaries[0])) / 2)
        for c in [cascade_of(drawn, 0), cascade_of(drawn, 1)]
    ]
    assert (rungs["theorem_11_limit"] == np.mean(limits)).all()
    stripes = found["stripe_sparsity"].sel(pursuit="bp", variant="random", part="path", layer=1)
    for rung, row in rungs.iterrows():
        assert row["stripe_sparsity"] == float(stripes.sel(rung=rung))
        assert row["gain"] == row["stripe_sparsity"] / float(stripes.sel(rung=guarantees.BASIS_PURSUIT_RUNGS[0]))
        assert row["gain_over_limit"] == row["stripe_sparsity"] / np.mean(limits)
    worst = recovery.tidy(results, settings).assign(variant="worst", recovered=0)
    both = basis_pursuit.tidy(dataclasses.replace(results, beside={"other-recovery": worst}), settings)
    assert both[both["kind"] == "measured"]["variant"].value_counts().to_dict() == {"random": 5, "worst": 5}
    (panel,) = basis_pursuit.draw(both, settings).axes
    labels = panel.get_legend_handles_labels()[1]
    assert set(labels) == {"random", "worst", *basis_pursuit.RUNGS.values()}
    upright = [line.get_xdata()[0] for line in panel.lines if line.get_label() in basis_pursuit.RUNGS.values()]
    assert upright == rungs["stripe_sparsity"].tolist()


def settings_of(variants, **options):
    draws = SignalOptions(active=[1], trials=1, variants=variants).draws()
    drawn = {label: asdict(draw) for label, draw in draws.items()}
    given = {"confidence": 0.95, "variants": drawn, "pursuits": PURSUITS, "style": STYLE, "series": {}}
    return FigureSettings.from_json({**given, "delta": 0.05, "seed": 1, **options})


def test_figure_uniform_density_takes_the_largest_cell_up_to_which_all_held(tmp_path):
    variants = {"worst": {"support": "spread", "signs": {"name": "worst-case", "threshold": "uniform"}}}
    cells = {"a": [1, 2, 4, 8, 14], "b": [1, 2, 4, 8, 16, 28]}
    members = {"a": MEMBER, "b": {**MEMBER, "grid": [96]}}
    drawn, metrics = {}, {}
    for name, member in members.items():
        drawn[name], _, _, metrics[name] = chain(tmp_path, member, cells[name], variants, 40)
    counts = summary.summarize({name: [part] for name, part in metrics.items()}, drawn)
    settings = settings_of(variants)
    table = uniform_density.tidy(Results(drawn, counts), settings)
    assert uniform_density.draw(table, settings).axes
    for name, member in members.items():
        for pursuit in ("hard", "soft"):
            best = {"certified": [], "recovered": []}
            for replicate in range(2):
                one = metrics[name].sel(pursuit=pursuit, replicate=replicate, variant="worst", layer=1)
                held = {"certified": one["covered"], "recovered": one["signs_recovered"]}
                for limit, values in held.items():
                    every = values.to_numpy().astype(bool).all(axis=1)
                    if every[0]:
                        best[limit].append(cells[name][np.argmin(every) - 1 if not every.all() else -1])
            for limit, expected in best.items():
                rows = table[(table["kind"] == "limit") & (table["cascade"] == name) & (table["limit"] == limit)]
                rows = rows[rows["pursuit"] == pursuit]
                assert rows["active"].tolist() == ([pytest.approx(np.mean(expected))] if expected else [])
                assert (rows["density"] == rows["active"] / member["grid"][0]).all()
    cell = table[table["kind"] == "cell"]
    assert cell["violations"].sum() == 0
    assert cell["covered"].sum() > 40
    slopes = table[(table["kind"] == "slope") & (table["pursuit"] == "hard") & (table["limit"] == "recovered")]
    assert len(slopes) == 1


@pytest.mark.parametrize(
    ("numbers", "noun", "words"),
    [
        (1, "dictionary", "1 dictionary"),
        ([1, 1], "dictionary", "1 dictionary"),
        (8, "dictionary", "8 dictionaries"),
        ([96, 192], "trial", "96 to 192 trials"),
        (pd.Series([1.0, 2.0]), "draw", "1 to 2 draws"),
        ([12000], "trial", "12,000 trials"),
    ],
)
def test_counts_agree_with_their_noun(numbers, noun, words):
    assert style.plural(numbers, noun) == words


@pytest.mark.parametrize("longest", [30, 60, 119])
def test_lines_of_a_note_are_balanced_and_keep_their_formulas(longest):
    formula = "$(1+1/\\mu)/2$"
    text = f"1,024 trials a point, pooled over 8 dictionaries; bands: Clopper-Pearson 95%; uniform limit {formula}"
    lines = style.balanced(text, longest)
    assert " ".join(lines) == text
    assert len(lines) == -(-len(text.replace(formula, "(1+1/x)/2")) // longest) or len(lines) <= 5
    assert sum(formula in line for line in lines) == 1
    lengths = [len(line.replace(formula, "(1+1/x)/2")) for line in lines]
    assert max(lengths) <= longest
    assert lines[-1] != formula
    assert len(lines) == 1 or min(lengths) > 0.5 * max(lengths)


def test_curves_that_coincide_show_around_one_another():
    looks = [style.nested(index, 4) for index in range(4)]
    for below, above in itertools.pairwise(looks):
        assert below["linewidth"] > above["linewidth"] + 0.8
        assert below["markersize"] > above["markersize"] + 1
    assert style.nested(0, 9) == looks[0]  # not ever wider


def rates_of(pairs):
    rows = []
    for pursuit, variant in pairs:
        for active, rate in ((1, 1.0), (10, 0.0)):
            bounds = {"rate": rate, "rate_lower": rate, "rate_upper": rate, "trials": 32, "replicates": 1}
            place = {"pursuit": pursuit, "variant": variant, "cascade": "it", "mutual_coherence": 0.1}
            rows.append({**place, **bounds, "stripe_sparsity": active, "uniform_limit": 5.5})
    return pd.DataFrame(rows)


@pytest.mark.parametrize("number", range(1, 10))
def test_no_panel_of_figure_recovery_is_left_alone_beside_empty_ones(number):
    pairs = [(f"p{index}", "random") for index in range(number)]
    drawn = recovery.draw(rates_of(pairs), settings_of({"random": {}}))
    drawn.draw_without_rendering()
    panels = [panel for panel in drawn.axes if panel.lines]
    assert len(panels) == number
    boxes = [panel.get_window_extent() for panel in panels]
    rest = [legend.get_window_extent() for panel in drawn.axes for legend in [panel.get_legend()] if legend]
    rest += [legend.get_window_extent() for legend in drawn.legends]
    assert len(rest) == 1
    last = [box for box in boxes if abs(box.y0 - boxes[-1].y0) < 1]
    full = [box for box in boxes if abs(box.y0 - boxes[0].y0) < 1]
    if len(last) < len(full):  # the legend fills the row
        assert rest[0].x0 > last[-1].x1
        assert rest[0].y0 < last[-1].y1
        assert rest[0].y1 > last[-1].y0
    assert "1 dictionary;" in drawn._supxlabel.get_text().replace("\n", " ")


def test_bins_with_few_trials_are_merged_with_a_neighbour():
    merged = prediction.merged_bins(pd.Series([3, 4, 5, 20, 1, 9, 10, 2], index=list("abcdefgh")), 10)
    assert merged.to_dict() == {"a": 0, "b": 0, "c": 0, "d": 1, "e": 2, "f": 2, "g": 3, "h": 3}
    assert prediction.merged_bins(pd.Series([1, 2]), 10).tolist() == [0, 0]
    assert prediction.merged_bins(pd.Series([12]), 10).tolist() == [0]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30))
def test_merged_bins_hold_enough_and_stay_in_order(counts):
    counts = pd.Series(counts)
    merged = prediction.merged_bins(counts, 10)
    assert sorted(set(merged)) == list(range(merged.max() + 1))
    assert merged.is_monotonic_increasing
    assert counts.groupby(merged).sum().min() >= min(10, counts.sum())


def test_figure_prediction_compares_predictors_within_every_law_too(tmp_path):
    variants = {"uniform": {}, "spread": {"support": "spread"}}
    drawn, _, _, measured = chain(tmp_path, MEMBER, [2, 6, 12, 20], variants, 40)
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    settings = settings_of(variants)
    table = prediction.tidy(Results({"it": drawn}, counts, {"it": measured}), settings)
    assert prediction.draw(table, settings).axes
    for pursuit in PURSUITS:
        one = measured.sel(pursuit=pursuit, layer=1)
        for law in ("all laws", "uniform", "spread"):
            chosen = one if law == "all laws" else one.sel(variant=[law])
            areas = {"stripe_sparsity": [], "active": []}
            for replicate in range(2):
                cell = chosen.sel(replicate=replicate)
                failed = ~cell["path_recovered"].to_numpy().astype(bool)
                scores = {"stripe_sparsity": cell["stripe_sparsity"], "active": cell["active"] + 0 * cell["nonzeros"]}
                for name, score in scores.items():
                    areas[name].append(
                        statistics.auc(score.transpose(*cell["path_recovered"].dims).to_numpy().ravel(), failed.ravel())
                    )
            expected = np.mean(np.array(areas["stripe_sparsity"]) - areas["active"])
            rows = table[(table["kind"] == "difference") & (table["predictor"] == "active") & (table["variant"] == law)]
            found = rows.loc[rows["pursuit"] == pursuit, "y"]
            assert found.tolist() == [pytest.approx(expected, nan_ok=True)]
        rates = table[(table["kind"] == "rate") & (table["pursuit"] == pursuit)]
        assert rates["trials"].min() >= prediction.FEWEST
        for _, curve in rates.groupby(["variant", "predictor"]):
            assert curve["trials"].sum() == one.sel(variant="uniform")["path_recovered"].size


def test_figure_comparison_shows_no_place_for_pursuits_that_did_not_run(tmp_path):
    variants = {"random": {}, "other": {}}
    drawn, _, _, measured = chain(tmp_path, MEMBER, [2, 12], variants, 40)
    ran = xr.DataArray(["hard", "soft"], dims="pursuit")
    away = measured["pursuit"].isin(ran) & (measured["variant"] == "other")
    measured["measured"] = measured["measured"].where(~away, False)
    settings = settings_of(variants)
    table = comparison.tidy(Results({"it": drawn}, trials={"it": measured}), settings)
    figure = comparison.draw(table, settings)
    ticks = [[label.get_text() for label in panel.get_xticklabels()] for panel in figure.axes[2:]]
    assert ticks == [list(PURSUITS), [name for name in PURSUITS if name not in ("hard", "soft")]]
    assert [text.get_text() for text in figure.axes[3].texts] == ["hard\ndid not run"]


def test_figure_comparison_counts_the_same_draws_for_every_pursuit(tmp_path):
    variants = {"random": {}, "noisy": {"noise_db": 20}}
    drawn, _, _, measured = chain(tmp_path, MEMBER, [2, 12], variants, 40)
    results, settings = Results({"it": drawn}, trials={"it": measured}), settings_of(variants)
    table = comparison.tidy(results, settings)
    assert comparison.draw(table, settings).axes
    for row in table.itertuples():
        cells = measured.sel(variant=row.variant, active=[2, 12] if row.active == "all" else [int(row.active)])
        paths = {name: cells["path_recovered"].sel(pursuit=name).to_numpy().astype(bool) for name in PURSUITS}
        mine = paths[row.pursuit]
        if row.kind == "recovered":
            assert (row.recovered, row.trials) == (mine.sum(), mine.size)
            assert (row.rate_lower, row.rate_upper) == statistics.proportion_interval(mine.sum(), mine.size)
            covered = cells["covered"].sel(pursuit=row.pursuit).all("layer").to_numpy()
            assert (row.covered, row.violations) == (covered.sum(), (covered & ~mine).sum())
        elif row.kind == "difference":
            assert row.rate == pytest.approx(mine.mean() - paths[row.versus].mean())
            assert row.rate_lower <= row.rate <= row.rate_upper
        else:
            lost = ~(paths["hard"] | paths["soft"])
            assert (row.recovered, row.trials) == ((mine & lost).sum(), lost.sum())
    kinds = table.groupby("kind").size() / (2 * 3)
    assert kinds.to_dict() == {"recovered": 4, "difference": 6, "rescued": 2}
    assert table.loc[table["kind"] == "recovered", "violations"].sum() == 0


def test_figure_compute_takes_the_work_of_every_trial(tmp_path):
    drawn, _, _, measured = chain(tmp_path, DEEP, [1, 4], {"random": {}}, 20, (0, 1))
    results, settings = Results({"it": drawn}, trials={"it": measured}), settings_of({"random": {}})
    table = compute.tidy(results, settings)
    assert compute.draw(table, settings).axes
    dictionaries = cascade_of(drawn, 0).dictionaries
    forward = sum(work.one_pass(layer) for layer in dictionaries)
    for row in table.itertuples():
        cell = measured.sel(pursuit=row.pursuit, active=row.active)
        errors = (cell["error"] / cell["magnitude"]).max("layer")
        assert row.error == pytest.approx(float(errors.median()))
        assert row.rate == pytest.approx(float(cell["path_recovered"].mean()))
        if row.pursuit != "debiased":
            assert (row.multiply_adds, row.forward_passes) == (forward, 1)
        else:
            assert row.multiply_adds > forward


def test_figure_real_signals_tells_what_codes_of_windows_are_like(tmp_path):
    variants = {"synthesis": {"windows_of": "electrocardiogram"}}
    variants["window"] = {**variants["synthesis"], "residual": True}
    drawn, sampled, found, measured = chain(tmp_path, DEEP, [1, 3], variants, 20, (0, 1))
    results = Results({"it": drawn}, trials={"it": measured}, signals={"it": [sampled]})
    settings = settings_of(variants)
    table = real_signals.tidy(results, settings)
    assert real_signals.draw(table, settings).axes
    cascade = cascade_of(drawn, 0)
    codes = [codes_of_replicate(sampled, layer, 0).to_dense() for layer in (1, 2)]
    held = guarantees.basis_pursuit(cascade, [code[0] for code in codes]).holds
    for index, active in enumerate((1, 3)):
        covered = table[(table["kind"] == "guarantee") & (table["active"] == active)].set_index("pursuit")
        assert covered.loc["Theorem 11", "successes"] == held[index].sum()
        assert covered.loc["Theorem 8", "value"] <= covered.loc["Theorem 8, instance form", "value"]
        for name in PURSUITS:
            for layer in (1, 2):
                key = (table["active"] == active) & (table["variant"] == "window") & (table["pursuit"] == name)
                row = table[key & (table["kind"] == "agreement") & (table["layer"] == layer)].iloc[0]
                group = dataset.codes_from_dataset(found[f"{name}/layer_{layer}"])[0].to_dense()[1, index] != 0
                true = codes[layer - 1][1, index] != 0
                assert row["recall"] == pytest.approx((group & true).sum() / true.sum())
                assert row["value"] == pytest.approx(2 * (group & true).sum() / (group.sum() + true.sum()))
    points = table[table["kind"] == "window"]
    assert len(points) == 144
    power = 10 * np.log10((points["synthesis"] ** 2).sum() / ((points["value"] - points["synthesis"]) ** 2).sum())
    ratios = measured["signal_to_noise"].sel(variant="window", active=3).to_numpy().ravel()
    assert power == pytest.approx(np.sort(ratios)[len(ratios) // 2])


def test_figure_local_snr_sees_an_error_above_its_bound_and_a_wrong_support(tmp_path):
    _, _, _, measured = chain(tmp_path, MEMBER, [1], {"random": {}}, 20, (0, 1))
    results = Results({}, trials={"it": measured})
    table = local_snr.tidy(results, settings_of({"random": {}}))
    assert table["covered"].sum() > 20
    assert table["violations"].sum() == 0
    for name, worse in (("error", measured["error_bound"] * 1.01 + 1e-6), ("support_recovered", 0)):
        changed = measured.copy()
        changed[name] = xr.where(measured["covered"] == 1, worse, measured[name])
        broken = local_snr.tidy(Results({}, trials={"it": changed}), settings_of({"random": {}}))
        assert broken["violations"].sum() == table["covered"].sum()


def test_figure_paper_table_knows_the_experiments_of_the_paper_alone(tmp_path):
    drawn, _, _, measured = chain(tmp_path, MEMBER, [1], {"random": {}}, 4, (0, 1))
    with pytest.raises(UserError) as refusal:
        paper_table.tidy(Results({"it": drawn}, trials={"it": measured}), settings_of({"random": {}}))
    assert "one cascade of 2, 3 or 5 layers" in str(refusal.value)


AXES = {
    "stripe-sparsity": lambda cell: cell["stripe_sparsity"].sel(layer=1),
    "count": lambda cell: cell["nonzeros"].sel(layer=1),
    "density": lambda cell: cell["nonzeros"].sel(layer=2) / 32,
}


@pytest.mark.parametrize("of", AXES)
def test_recovery_is_shown_against_what_is_asked_for(tmp_path, of):
    variants = {"plain": {}}
    drawn, _, _, measured = chain(tmp_path, SPARSE, [1, 3, 6], variants, 40)
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    settings = settings_of(variants, axis={"of": of, "layer": 1 if of == "count" else None}, series={"it": "it"})
    results = Results({"it": drawn}, counts, {"it": measured})
    expected = [float(AXES[of](measured.sel(active=active)).mean()) for active in (1, 3, 6)]
    table = recovery.tidy(results, settings)
    figure = recovery.draw(table, settings)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), expected)
    words = {
        "stripe-sparsity": "stripe-sparsity",
        "count": "active atoms of layer 1",
        "density": "of the deepest layer",
    }
    assert any(words[of] in text.get_text() for text in figure.texts)
    table = depth.tidy(results, settings)
    column = settings.axis.column("density")
    np.testing.assert_allclose(select(table, pursuit=table["pursuit"][0])[column], expected)
    assert any(words[of] in panel.get_xlabel() for panel in depth.draw(table, settings).axes)


def test_thresholds_are_shown_as_densities_of_a_layer(tmp_path):
    variants, run = {"random": {}}, {"hard": {"rule": "hard", "threshold": "statistical"}}
    drawn, _, _, measured = chain(tmp_path, SPARSE, [1, 3, 6, 12, 20], variants, 40)
    measured = measured.sel(pursuit=["hard"])
    found, _ = certified(SPARSE, run, variants)
    results = Results(
        {"it": drawn},
        summary.summarize({"it": [measured]}, {"it": drawn}),
        {"it": measured},
        certificates={"it": found},
    )
    settings = settings_of(variants, axis={"of": "density", "layer": 1}, series={"it": "it"})
    table = thresholds.tidy(results, settings)
    plain = thresholds.tidy(results, dataclasses.replace(settings, axis=Axis()))
    pd.testing.assert_frame_equal(table[plain.columns], plain, check_dtype=False)
    n_atoms = cascade_of(drawn, 0).dictionaries[0].n_atoms
    means = measured["nonzeros"].sel(layer=1).mean(("replicate", "variant", "trial")) / n_atoms
    (point,) = (
        row for row in transitions.measured(results.summary, settings.variants).itertuples() if row.level == 0.5
    )
    expected = np.exp(np.interp(np.log(point.active), np.log(means["active"]), np.log(means)))
    row = select(table, kind="measured", level=0.5)
    assert row["density"].tolist() == [pytest.approx(expected)]
    certificates = select(table, kind="certified").set_index("rung")["density"]
    told = found["density"].sel(pursuit="hard", variant="random", part="path", layer=1).fillna(0)
    assert certificates.to_dict() == {rung: float(told.sel(rung=rung)) for rung in certificates.index}
    counts = thresholds.tidy(results, dataclasses.replace(settings, axis=Axis("count", 1)))
    np.testing.assert_allclose(counts["count"], table["density"] * n_atoms)
    figure = thresholds.draw(table, settings)
    assert " ".join(figure.axes[0].get_ylabel().split()) == "density of activations of layer 1"
    assert any(line.get_ydata().tolist() == row["density"].tolist() for line in figure.axes[0].lines)


@pytest.fixture(scope="module")
def two_cascades(tmp_path_factory):
    """Results of two cascades, of which one has twice the coherence and four times the atoms; settings with an axis."""
    variants, run = {"random": {}}, {"hard": {"rule": "hard", "threshold": "statistical"}}
    drawn, _, _, measured = chain(tmp_path_factory.mktemp("two"), SPARSE, [1, 3, 6, 12, 20], variants, 40)
    found, _ = certified(SPARSE, run, variants)
    counts = summary.summarize({"a": [measured.sel(pursuit=["hard"])]}, {"a": drawn})
    other = counts.assign_coords(cascade=["b"])
    other = other.assign(mutual_coherence=counts["mutual_coherence"].to_numpy() * 2 + 0 * other["mutual_coherence"])
    other["atoms"] = other["atoms"] * 4
    twice = found.assign(mutual_coherence=2 * found["mutual_coherence"])
    results = Results({}, xr.concat([counts, other], "cascade"), certificates={"a": found, "b": twice})
    return results, partial(settings_of, variants, series={"a": "s", "b": "s"}, pursuits=run)


@pytest.mark.parametrize("module", [contrast, ladder, thresholds])
@pytest.mark.parametrize("of", ["count", "density"])
def test_transitions_are_shown_on_the_axis_that_is_asked_for(two_cascades, module, of):
    results, settings = two_cascades[0], two_cascades[1](axis={"of": of, "layer": 2})
    table = module.tidy(results, settings)
    assert set(table) <= set(module.PANEL.columns.split())
    assert module.PANEL.takes_axis
    plain = module.tidy(results, dataclasses.replace(settings, axis=Axis()))
    pd.testing.assert_frame_equal(table[plain.columns], plain, check_dtype=False)
    assert of not in plain
    for row in select(table, kind="measured", cascade="a").itertuples():
        share = 4 if of == "density" else 1
        (same,) = select(table, kind="measured", cascade="b", level=row.level)[of]
        assert getattr(row, of) == pytest.approx(share * same)
    rungs = select(table, kind="certified", cascade="a").set_index("rung")[of]
    atoms = int(results.summary["atoms"].sel(cascade="a", layer=2)) if of == "count" else 1
    told = results.certificates["a"]["density"].sel(pursuit="hard", variant="random", part="path", layer=2).fillna(0)
    assert rungs.to_dict() == {rung: pytest.approx(float(told.sel(rung=rung)) * atoms) for rung in rungs.index}
    figure = module.draw(table, settings)
    words = {"count": "number of active atoms of layer 2", "density": "density of activations of layer 2"}[of]
    said = [text.get_text() for text in figure.texts] + [panel.get_ylabel() for panel in figure.axes]
    assert any(words in " ".join(text.split()) for text in said)
    assert not any("stripe-sparsity" in text for text in said)
    values = select(table, kind="measured")[of]
    drawn = [value for line in figure.axes[0].lines for value in (line.get_ydata(), line.get_xdata())]
    assert any(np.isin(values, value).any() for value in drawn)


@pytest.mark.parametrize("module", [contrast, thresholds])
def test_a_label_beside_a_panel_leaves_room(two_cascades, module):
    results, settings = two_cascades[0], two_cascades[1](axis={"of": "density", "layer": None})
    with style.applied(settings.style):
        figure = module.draw(module.tidy(results, settings), settings)
        figure.canvas.draw()
    panel = figure.axes[0]
    # Panels of two pursuits are lower than this one of a single pursuit.
    assert panel.yaxis.label.get_window_extent().height < 0.7 * panel.get_window_extent().height


def test_slopes_are_of_the_quantity_that_is_asked_for(two_cascades):
    results, settings = two_cascades[0], two_cascades[1](axis={"of": "density", "layer": 2})
    table = slopes.tidy(results, settings)
    measured = select(table, kind="measured", span="whole")
    assert len(measured)
    np.testing.assert_allclose(measured["slope"], -2)  # a quarter of the density at twice the coherence
    counts = slopes.tidy(results, dataclasses.replace(settings, axis=Axis("count", 2)))
    np.testing.assert_allclose(select(counts, kind="measured", span="whole")["slope"], 0, atol=1e-9)
    assert slopes.draw(table, settings).axes[0].get_ylabel() == "local slope of log density"


def test_figure_basis_pursuit_is_shown_on_the_axis_that_is_asked_for(tmp_path):
    variants, cells, run = {"random": {}}, [1, 2, 4, 7, 12], {"bp": EQUALITY}
    drawn, _, _, measured = chain(tmp_path, OVERCOMPLETE, cells, variants, 24, run=run)
    found, _ = certified(OVERCOMPLETE, {"bp": BASIS_PURSUIT}, variants)
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    results = Results({"it": drawn}, counts, {"it": measured}, certificates={"it": found})
    settings = settings_of(variants, pursuits=run, axis={"of": "density", "layer": None})
    table = basis_pursuit.tidy(results, settings)
    rungs = select(table, kind="certified")
    told = found["density"].sel(pursuit="bp", variant="random", part="path", layer=1).fillna(0)
    assert rungs["density"].tolist() == [float(told.sel(rung=rung)) for rung in rungs["rung"]]
    (panel,) = basis_pursuit.draw(table, settings).axes
    upright = [line.get_xdata()[0] for line in panel.lines if line.get_label() in basis_pursuit.RUNGS.values()]
    assert upright == [density for density in rungs["density"] if density > 0]
    curve = next(line for line in panel.lines if line.get_label() == "random")
    atoms = cascade_of(drawn, 0).dictionaries[0].n_atoms
    np.testing.assert_allclose(curve.get_xdata(), np.array(cells) / atoms)


@pytest.mark.filterwarnings("error")
def test_forms_cross_only_where_both_certify_an_atom():
    def rows(statistical):
        sizes = {"statistical-coherence": statistical, "uniform-coherence": [9.0, 6.0, 3.0]}
        return pd.DataFrame(
            [
                {"rung": rung, "mutual_coherence": mu, "stripe_sparsity": size}
                for rung, listed in sizes.items()
                for mu, size in zip([0.01, 0.02, 0.04], listed, strict=True)
            ]
        )

    found = transitions._crossing(rows([12.0, 6.0, 1.0]))
    assert found["mutual_coherence"].item() == pytest.approx(0.02)
    assert found["stripe_sparsity"].item() == pytest.approx(6)
    assert transitions._crossing(rows([12.0, 7.0, 0.0])).empty
    assert transitions._crossing(rows([0.0, 0.0, 0.0])).empty
