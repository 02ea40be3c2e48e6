"""The chain of stages in memory, against what the library says directly."""

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

import dcsc
from dcsc import guarantees, seeds
from dcsc.stages import dictionaries, metrics, pursuits, signals, summary, windows
from dcsc.store import dataset, provenance, readers, schemas
from dcsc.study.options.pursuits import PursuitOptions
from dcsc.study.options.signals import SignalOptions

MEMBER = {
    "grid": [48],
    "replicates": 2,
    "layers": [{"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 8, "perturbation": 0.3}}],
}
DEEP = {
    "grid": [144],
    "replicates": 1,
    "layers": [
        {"family": "gaussian", "parameters": {"n_filters": 3, "taps": 12, "stride": 4}},
        {"family": "gaussian", "parameters": {"n_filters": 4, "taps": 6, "stride": 3}},
    ],
}
SPARSE = {
    "grid": [256],
    "replicates": 1,
    "layers": [
        {"family": "perturbed", "parameters": {"base": "lapped", "n_filters": 16, "perturbation": 0.05}},
        {"family": "low-coherence-sparse", "parameters": {"n_filters": 8, "taps": 4, "n_nonzeros": 3, "stride": 4}},
    ],
}
RANDOM = {"random": {}}
BOTH = {"random": {}, "worst": {"signs": {"name": "worst-case", "threshold": "statistical"}}}
PURSUITS = {
    name: PursuitOptions(**options).model_dump(mode="json")
    for name, options in {
        "hard": {"rule": "hard", "threshold": "statistical"},
        "soft": {"rule": "soft", "threshold": "uniform"},
        "top-k": {"rule": "top-k"},
        "debiased": {"rule": "hard", "threshold": "oracle", "debias": True},
    }.items()
}


def saved(content, path, schema):
    """What a stage reads is what the one before wrote."""
    dataset.write(content, path, provenance.record(schema.name, schema.version, {}, {"sha256": "", "modules": {}}, {}))
    return dataset.read(path, schema)


def chain(folder, member, active, variants, trials, blocks=(0, 2), cascade="it", run=PURSUITS):
    drawn = saved(dictionaries.draw_dictionaries(member, 5), folder / "d.nc", schemas.DICTIONARIES)
    options = SignalOptions(active=active, trials=trials, variants=variants)
    settings = {
        "seed": 5,
        "experiment": "e",
        "cascade": cascade,
        "active": active,
        "trials": trials,
        "variants": {label: asdict(draw) for label, draw in options.draws().items()},
        "blocks": list(blocks),
    }
    sampled = saved(signals.sample_signals(settings, drawn), folder / "s.nc", schemas.SIGNALS)
    settings = {
        "pursuits": run,
        "errors": True,
        "bounds": {"delta": 0.01, "trials": 40, "tail_of_trials": "exact"},
        "variants": settings["variants"],
    }
    found = saved(pursuits.run_pursuits(settings, sampled, drawn), folder / "p.nc", schemas.PURSUITS)
    measured = metrics.measure_recovery(settings, found, sampled, drawn)
    return drawn, sampled, found, saved(measured, folder / "m.nc", schemas.METRICS).to_dataset()


@pytest.mark.parametrize(
    ("member", "variants"),
    [
        (MEMBER, BOTH),
        (DEEP, RANDOM),
        (DEEP, {"noisy": {"noise_db": 20}}),
        (DEEP, {"plain": {}, "T": {"layer_signs": True}}),
    ],
)
def test_stages_agree_with_the_library(tmp_path, member, variants):
    drawn, sampled, found, measured = chain(tmp_path, member, [2, 5], variants, 40)
    depth = len(member["layers"])
    for replicate in range(member["replicates"]):
        cascade = readers.cascade_of(drawn, replicate)
        codes = [readers.codes_of_replicate(sampled, layer, replicate).to_dense() for layer in range(1, depth + 1)]
        assert (np.count_nonzero(codes[-1], axis=(-2, -1)) == np.array([2, 5])[:, None]).all()
        signs = readers.layer_signs_of_replicate(sampled, replicate)
        noise = readers.noise_of_replicate(sampled, replicate)
        assert (signs is not None) == ("T" in variants)
        assert (noise is not None) == ("noisy" in variants)
        cascade = dcsc.Cascade(cascade.dictionaries, signs)
        layers = cascade.synthesize(codes[-1])
        for code, expected in zip(codes, layers[1:], strict=True):
            np.testing.assert_allclose(code, expected, atol=1e-12)
        for name, options in PURSUITS.items():
            parameters = {key: options[key] for key in ("rule", "threshold", "debias")}
            observed = layers[0] if noise is None else layers[0] + noise
            result = dcsc.pursuit.layered_thresholding(cascade, observed, reference=codes, **parameters)
            exact = np.ones(codes[0].shape[:3], dtype=bool)
            for layer in range(1, depth + 1):
                group = found[f"{name}/layer_{layer}"]
                recovered = dataset.codes_from_dataset(group)[replicate].to_dense()
                np.testing.assert_allclose(recovered, result.codes[layer - 1], atol=1e-9)
                row = measured.sel(pursuit=name, layer=layer, replicate=replicate)
                right = (recovered != 0) == (codes[layer - 1] != 0)
                np.testing.assert_array_equal(row["support_recovered"], right.all(axis=(-2, -1)))
                np.testing.assert_array_equal(row["misses"] + row["false_alarms"], (~right).sum(axis=(-2, -1)))
                exact &= right.all(axis=(-2, -1))
            np.testing.assert_array_equal(measured["path_recovered"].sel(pursuit=name, replicate=replicate), exact)
        promise = guarantees.uniform(cascade, codes)
        for layer in range(1, depth + 1):
            row = measured.sel(layer=layer, replicate=replicate)
            np.testing.assert_array_equal(row["uniform_guarantee"], promise.layers[layer - 1].holds)
            stripes = dcsc.stripe_norm(codes[layer - 1], cascade.dictionaries[layer - 1])
            np.testing.assert_array_equal(row["stripe_sparsity"], stripes)
            np.testing.assert_array_equal(row["nonzeros"], np.count_nonzero(codes[layer - 1], axis=(-2, -1)))
    if "noisy" in variants:
        np.testing.assert_allclose(measured["signal_to_noise"], 20)
    else:
        assert "signal_to_noise" not in measured
        assert not (measured["covered"].all("layer") & ~measured["path_recovered"]).any()


def test_bounds_of_pursuits_are_those_of_their_thresholds(tmp_path):
    variants = {"plain": {}, "T": {"layer_signs": True}, "noisy": {"noise_db": 30}}
    drawn, sampled, found, measured = chain(tmp_path, SPARSE, [1, 3], variants, 20, (0, 1))
    cascade = readers.cascade_of(drawn, 0)
    codes = [readers.codes_of_replicate(sampled, layer, 0).to_dense() for layer in (1, 2)]
    bounds = measured[["covered_as_run", "failure_bound_as_run"]].isel(replicate=0)
    assert bounds.sel(variant="noisy").to_array().isnull().all()
    for name in PURSUITS:
        one = bounds.sel(pursuit=name)
        if name == "debiased":  # the oracle looks at the signs
            assert one.to_array().isnull().all()
            continue
        rule = {"top-k": "hard"}.get(name, name)
        thresholds = [found[f"{name}/layer_{layer}"]["threshold"].to_numpy()[0] for layer in (1, 2)]
        for variant, (label, signs) in enumerate((("plain", "deepest"), ("T", "rademacher"))):
            paths = guarantees.path_interference(cascade, [code[variant] for code in codes], signs)
            given = None if name == "top-k" else [beta[variant] for beta in thresholds]
            expected = guarantees.as_run(paths, given, rule=rule)
            np.testing.assert_array_equal(one["covered_as_run"].sel(variant=label), expected.covered)
            np.testing.assert_array_equal(one["failure_bound_as_run"].sel(variant=label), expected.failure_bound)
    covered = measured["covered_as_run"] == 1
    assert covered.any()
    assert measured["path_recovered"].where(covered, True).astype(bool).all()


EQUALITY = PursuitOptions(method="layered-basis-pursuit", parameters={"penalty": 0}).model_dump(mode="json")


@pytest.mark.parametrize("constraint", ["none", "no-overlap"])
def test_bounds_of_basis_pursuit_are_those_of_the_supports(tmp_path, constraint):
    variants = {"plain": {}, "T": {"layer_signs": True}, "positive": {"signs": "positive"}, "noisy": {"noise_db": 30}}
    variants = {name: {**draw, "constraint": constraint} for name, draw in variants.items()}
    run = {"hard": PURSUITS["hard"], "bp": EQUALITY}
    drawn, sampled, _, measured = chain(tmp_path, SPARSE, [2, 7, 20], variants, 12, (0, 1), run=run)
    cascade = readers.cascade_of(drawn, 0)
    codes = [readers.codes_of_replicate(sampled, layer, 0).to_dense() for layer in (1, 2)]
    one = measured.sel(pursuit="bp").isel(replicate=0)
    bounds = one[["covered_as_run", "failure_bound_as_run"]]
    assert bounds.sel(variant="noisy").to_array().isnull().all()
    for row, (label, signs) in enumerate((("plain", "deepest"), ("T", "rademacher"), ("positive", None))):
        found = guarantees.basis_pursuit_on_supports(
            cascade, [code[row] for code in codes], signs=signs or "rademacher"
        )
        np.testing.assert_array_equal(bounds["covered_as_run"].sel(variant=label), found.holds)
        bound = bounds["failure_bound_as_run"].sel(variant=label)
        if signs is None:
            assert bound.isnull().all()
            continue
        np.testing.assert_array_equal(bound, found.failure_bound)
        assert (bound <= (1 if constraint == "no-overlap" or signs == "deepest" else 2)).all()
    covered = bounds["covered_as_run"] == 1
    assert covered.any()
    assert one["path_recovered"].where(covered, True).astype(bool).all()


@pytest.mark.parametrize(
    ("parameters", "bounded"),
    [
        ({"penalty": 0}, True),
        ({"penalty": 0.0, "tolerance": 1e-6}, True),
        ({"penalty": 0, "non_negative": False}, True),
        ({"penalty": 0, "non_negative": True}, False),
        ({"penalty": 0, "non_negative": [False, True]}, False),
        ({"penalty": 0, "debias": True}, False),
        ({"penalty": 0.1}, False),
        ({"penalty": "guaranteed"}, False),
        ({"penalty": "discrepancy"}, False),
    ],
)
def test_the_equality_form_alone_is_bounded(parameters, bounded):
    run = PursuitOptions(method="layered-basis-pursuit", parameters=parameters).as_run()
    assert run.is_equality_basis_pursuit == run.is_bounded == bounded
    assert not run.is_on_lists


def test_noise_is_measured_against_the_signed_synthesis(tmp_path):
    variants = {"plain": {}, "T, 30 dB": {"layer_signs": True, "noise_db": 30}}
    *_, measured = chain(tmp_path, SPARSE, [3], variants, 40)
    np.testing.assert_allclose(measured["signal_to_noise"].sel(variant="T, 30 dB"), 30)
    assert measured["signal_to_noise"].sel(variant="plain").isnull().all()


def test_windows_are_observed_through_their_codes(tmp_path):
    ways = {"synthesis": {}, "window": {"residual": True}}
    variants = {name: {"windows_of": "electrocardiogram", **way} for name, way in ways.items()}
    drawn, sampled, _, measured = chain(tmp_path, DEEP, [2, 5], variants, 20, (0, 1))
    cascade = readers.cascade_of(drawn, 0)
    codes = [readers.codes_of_replicate(sampled, layer, 0).to_dense() for layer in (1, 2)]
    for code in codes:
        np.testing.assert_array_equal(code[0], code[1])
    assert (np.count_nonzero(codes[1], axis=(-2, -1)) == np.array([2, 5])[:, None]).all()
    added = readers.noise_of_replicate(sampled, 0)
    assert not added[0].any()
    synthesis = cascade.synthesize(codes[1])[0]
    observed = (synthesis + added)[1].reshape(-1, 144)
    pieces = np.lib.stride_tricks.sliding_window_view(windows.electrocardiogram()[0], 144)
    pieces = pieces - pieces.mean(axis=1, keepdims=True)
    for window in observed:
        assert np.abs(pieces - window).max(axis=1).min() < 1e-9
    # What the code misses is orthogonal to the atoms that it has.
    left = cascade.correlate_layer(2, cascade.correlate_layer(1, added[1]))
    np.testing.assert_allclose(left[codes[1][1] != 0], 0, atol=1e-8)
    ratios = measured["signal_to_noise"].isel(replicate=0)
    assert ratios.sel(variant="synthesis").isnull().all()
    powers = [(array[1] ** 2).sum(axis=(-2, -1)) for array in (synthesis, added)]
    np.testing.assert_allclose(ratios.sel(variant="window"), 10 * np.log10(powers[0] / powers[1]))
    assert measured["failure_bound_as_run"].isnull().all()
    covered = measured["covered"].sel(variant="synthesis").all("layer")
    assert not (covered & ~measured["path_recovered"].sel(variant="synthesis")).any()


def test_draws_differ_between_trials_replicates_and_cells(tmp_path):
    _, sampled, _, _ = chain(tmp_path, MEMBER, [4, 5], RANDOM, 64)
    codes = dataset.codes_from_dataset(sampled["layer_1"]).to_dense().reshape(2, 2, 64, -1)
    distinct = {code.tobytes() for code in codes.reshape(-1, codes.shape[-1])}
    assert len(distinct) == 2 * 2 * 64


def test_a_new_cell_trial_or_chunk_changes_no_draw(tmp_path):
    def codes(name, active, trials, blocks):
        folder = tmp_path / name
        _, sampled, _, _ = chain(folder, MEMBER, active, RANDOM, trials, blocks)
        group = sampled["layer_1"]
        dense = dataset.codes_from_dataset(group).to_dense()
        return {
            (replicate, int(cell), int(trial)): dense[replicate, 0, i, j].tobytes()
            for replicate in range(2)
            for i, cell in enumerate(group["active"].to_numpy())
            for j, trial in enumerate(group["trial"].to_numpy())
        }

    few = codes("few", [3], 40, (0, 2))
    many = codes("many", [2, 3, 7], 96, (0, 3))
    later = codes("later", [3], 96, (1, 3))
    assert all(many[key] == value for key, value in few.items())
    assert all(many[key] == value for key, value in later.items())
    assert len(few) == 2 * 40
    assert len(later) == 2 * 64


def test_random_and_worst_case_signs_share_their_supports(tmp_path):
    _, sampled, _, _ = chain(tmp_path, MEMBER, [6], BOTH, seeds.BLOCK, (0, 1))
    code = dataset.codes_from_dataset(sampled["layer_1"]).to_dense()
    np.testing.assert_array_equal(code[:, 0] != 0, code[:, 1] != 0)
    assert (code[:, 0] != code[:, 1]).any()


def test_summary_counts_every_trial_once(tmp_path):
    parts = []
    for index, blocks in enumerate([(0, 1), (1, 2)]):
        drawn, _, _, measured = chain(tmp_path / str(index), MEMBER, [2, 12], RANDOM, 50, blocks)
        parts.append(measured)
    counts = summary.summarize({"it": parts}, {"it": drawn})
    counts = saved(counts, tmp_path / "y.nc", schemas.SUMMARY).to_dataset()
    joined = dataset.join_chunks(parts)
    assert (counts["trials"] == 50).all()
    np.testing.assert_array_equal(
        counts["recovered"].sel(cascade="it").transpose("pursuit", "replicate", "variant", "active"),
        joined["path_recovered"].sum("trial"),
    )
    np.testing.assert_allclose(
        counts["stripe_sparsity"].sel(cascade="it"),
        joined["stripe_sparsity"].isel(layer=0).mean("trial").transpose("replicate", "variant", "active"),
    )
    assert (counts["violations"] == 0).all()
    bound = joined["failure_bound_as_run"]
    np.testing.assert_array_equal(
        counts["bounded"].sel(cascade="it"), bound.notnull().sum("trial").transpose(*counts["bounded"].dims[1:])
    )
    assert set(counts["bounded"].sel(pursuit="hard").to_numpy().ravel()) == {40}
    rate = np.minimum(bound.mean("trial"), 1 - joined["covered_as_run"].mean("trial"))
    np.testing.assert_allclose(
        counts["failure_bound"].sel(cascade="it"), rate.transpose(*counts["failure_bound"].dims[1:])
    )
    assured = joined["covered_as_run"] == 1
    np.testing.assert_array_equal(
        counts["assured"].sel(cascade="it"), assured.sum("trial").transpose(*counts["assured"].dims[1:])
    )
    assert (counts["assured_failures"] == 0).all()


def test_stages_import_what_they_use_when_they_use_it():
    # Each takes as long to import as many a job does to compute.
    slow = ("scipy.fft", "scipy.special", "scipy.stats", "scipy.optimize", "matplotlib", "pydantic", "snakemake")
    program = (
        "import sys, dcsc.stages.signals, dcsc.stages.pursuits, dcsc.stages.metrics, dcsc.store.inputs; "
        f"print([name for name in {slow} if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "[]"
