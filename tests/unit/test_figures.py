"""The numbers behind figures, against what the stages before them say."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dcsc import dataset
from dcsc.figures import depth, recovery
from dcsc.figures.results import Results
from dcsc.stages import summary
from tests.unit.test_stages import PURSUITS, SPARSE, chain


def test_figure_depth_counts_the_paths_of_codes_with_any_atom(tmp_path):
    variants = {"plain": {}, "T": {"layer_signs": True}}
    drawn, _, _, measured = chain(tmp_path, SPARSE, [1, 6], variants, 40, of="pursuits")
    empty = np.zeros((1, 2, 2, 40), dtype=bool)
    empty[..., ::5] = True  # as if every atom of these had been refused
    emptied = measured.copy()
    emptied["nonzeros"] = measured["nonzeros"].where(~xr.DataArray(empty, dims=dataset.BATCH), 0)
    beside = pd.DataFrame({"blocks": [1], "rate": [0.5]})
    results = Results({"it": drawn}, trials={"it": emptied}, beside={"aligned-exact": beside})
    settings = {"confidence": 0.95, "variants": variants, "pursuits": PURSUITS, "delta": 0.01}
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
        if row.pursuit != "hard":
            assert np.isnan(bounds).all()
            assert np.isnan(row.assured)
            continue
        assert row.assured == pytest.approx(1 - bounds.mean())
        covered = cell["covered_as_run"].to_numpy()[kept] == 1
        assert (row.covered, row.violations) == (covered.sum(), 0)
        assert row.certified == pytest.approx(covered.mean())
        assert row.certified <= row.assured


def test_figure_recovery_tells_how_well_each_fall_is_resolved(tmp_path):
    variants = {"random": {}, "plain": {"layer_signs": True}}
    drawn, _, _, measured = chain(tmp_path, SPARSE, [1, 3, 6, 8, 10, 12, 14, 20, 28], variants, 40)
    counts = summary.summarize({"it": [measured]}, {"it": drawn}, 0.01)
    settings = {
        "confidence": 0.95,
        "variants": {name: {"signs": "rademacher", "layer_signs": False} for name in variants},
        "pursuits": PURSUITS,
    }
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
