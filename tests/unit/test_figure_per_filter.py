"""The figure on a threshold for each filter: which pursuits are compared, and its ratios against the numbers beside."""

from dataclasses import asdict

import numpy as np
import pytest

from dcsc.figures import per_filter, transitions
from dcsc.figures.inputs import FigureSettings, Results
from dcsc.stages import summary
from dcsc.study.options.pursuits import PursuitOptions
from dcsc.study.options.signals import SignalOptions
from dcsc.study.options.study import StyleOptions
from tests.unit.test_certificates_stage import certified
from tests.unit.test_stages import chain

MEMBER = {
    "grid": [256],
    "replicates": 2,
    "layers": [
        {
            "family": "perturbed",
            "parameters": {"base": "gabor", "n_filters": 8, "taps": 32, "stride": 16, "perturbation": 0.05},
        }
    ],
}
GIVEN = {
    "soft": {"rule": "soft", "threshold": "statistical"},
    "common": {"rule": "hard", "threshold": "statistical"},
    "uniform": {"rule": "hard", "threshold": "uniform"},
    "by-filter": {"rule": "hard", "threshold": "statistical-by-filter"},
    "biases": {"rule": "hard", "threshold": [[0.5 * 0.3 ** (f / 7) for f in range(8)]]},
    "debiased": {"rule": "hard", "threshold": "statistical-by-filter", "debias": True},
    "top-k": {"rule": "top-k"},
}
VARIANTS = {"equal": {"magnitudes": "constant"}, "weak": {"magnitudes": {"name": "by-filter", "contrast": 0.3}}}


def options_of(names):
    return {name: PursuitOptions(**GIVEN[name]).model_dump(mode="json") for name in names}


def test_pursuits_are_compared_with_the_like_that_differ_in_the_thresholds_alone():
    pairs = per_filter.pairs_of(options_of(GIVEN))
    assert pairs == {"by-filter": "common", "biases": "common"}
    assert per_filter.pairs_of(options_of(["uniform", "by-filter"])) == {}
    assert per_filter.pairs_of(options_of(["uniform", "biases"])) == {"biases": "uniform"}


def test_gains_are_ratios_of_what_stands_beside_them(tmp_path):
    names = ["common", "by-filter", "biases"]
    sizes = [1, 2, 4, 8, 16, 32, 64, 100]
    drawn, *_, measured = chain(tmp_path, MEMBER, sizes, VARIANTS, 32, (0, 1), run=options_of(names))
    counts = summary.summarize({"it": [measured]}, {"it": drawn})
    certificates, _ = certified(MEMBER, {name: GIVEN[name] for name in names}, VARIANTS, tmp_path, draws=320)
    draws = SignalOptions(active=sizes, trials=32, variants=VARIANTS).draws()
    settings = FigureSettings.from_json(
        {
            "series": {"it": "it"},
            "variants": {name: asdict(draw) for name, draw in draws.items()},
            "pursuits": options_of(names),
            "delta": 0.05,
            "seed": 5,
            "confidence": 0.95,
            "style": StyleOptions().model_dump(mode="json"),
        }
    )
    results = Results({"it": drawn}, counts=counts, certificates={"it": certificates})
    table = per_filter.tidy(results, settings)
    points = transitions.measured(counts, settings.variants)
    place = ["pursuit", "variant", "level", "replicate"]
    values = points.set_index(place)["stripe_sparsity"].sort_index()
    gains = table[table["kind"] == "gain"]
    assert len(gains) == 2 * 2 * 3
    for row in gains[gains["of"] == "measured"].itertuples():
        one, other = (values[name, row.variant, row.level].to_numpy() for name in (row.pursuit, "common"))
        assert row.gain == pytest.approx(np.exp(np.mean(np.log(one / other))))
        assert row.gain_lower <= row.gain <= row.gain_upper
    held = table[(table["kind"] == "certified") & (table["rung"] == per_filter.RUNG)].set_index(["pursuit", "variant"])
    for row in gains[gains["of"] == "certified"].itertuples():
        one, other = (held.loc[(name, row.variant)] for name in (row.pursuit, "common"))
        assert row.below == (one["stripe_sparsity"] < other["stripe_sparsity"])
        if other["stripe_sparsity"]:
            assert row.gain == one["stripe_sparsity"] / other["stripe_sparsity"]
        ends = [
            end for end in (row.gain_lower, row.gain, row.gain_upper) if not np.isnan(end)
        ]  # some have no next size
        assert ends == sorted(ends)
    weak = gains[(gains["variant"] == "weak") & (gains["pursuit"] == "biases") & (gains["level"] == 0.5)]
    assert (weak["gain"] > 1).all()
    figure = per_filter.draw(table, settings)
    assert len(figure.axes) == 2
