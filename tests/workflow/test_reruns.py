"""After a change, exactly what depends on it is redone: read from Snakemake's own plan, after one real run."""

import os
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest

import dcsc
from dcsc.store.provenance import PACKAGE, SCRIPTS, closure
from tests.workflow.support import TINY, Workflow, copy_of_repository, experiments_of, rules_of

DRAWING = {"render_recovery", "render_thresholds", "render_local_snr"}
BELOW_METRICS = {"summarize_metrics"} | DRAWING
BELOW_PURSUITS = {"measure_recovery"} | BELOW_METRICS
BELOW_SIGNALS = {"run_pursuits"} | BELOW_PURSUITS
BELOW_SWEEPS = {"sample_signals"} | BELOW_SIGNALS
ALL = {"draw_dictionaries", "refine_sweep", "certify_draws"} | BELOW_SWEEPS


def changed(*path_and_value):
    """The tiny configuration with one key changed."""
    *path, last, value = path_and_value
    configuration = deepcopy(TINY)
    part = configuration
    for key in path:
        part = part.setdefault(key, {})
    part[last] = value
    return configuration


CONFIGURATIONS = {
    "nothing": (TINY, set(), set()),
    "resolution of figures": (changed("style", "dpi", 100), DRAWING, {"transition", "accuracy"}),
    "palette": (changed("style", "palette", "deep"), DRAWING, {"transition", "accuracy"}),
    "trials": (
        changed("experiments", "transition", "signals", "trials", 41),
        {"sample_signals"} | (BELOW_SIGNALS - {"render_local_snr"}),
        {"transition"},
    ),
    "name of a pursuit": (
        changed(
            "experiments",
            "transition",
            "pursuits",
            {"firm": {"rule": "hard", "threshold": "statistical"}, "top-k": {"rule": "top-k"}},
        ),
        {"certify_draws"} | (BELOW_SIGNALS - {"render_local_snr"}),
        {"transition"},
    ),
    "threshold of one pursuit": (
        changed("experiments", "accuracy", "pursuits", "soft", "threshold", 0.25),
        BELOW_SIGNALS - {"render_recovery", "render_thresholds"},
        {"accuracy"},
    ),
    "seed": (changed("seed", 8), ALL, {"transition", "accuracy"}),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_a_key_of_the_configuration_reruns_what_depends_on_it(study, name):
    configuration, rules, experiments = CONFIGURATIONS[name]
    jobs = study.configured(configuration).planned()
    assert rules_of(jobs) == rules
    assert experiments_of(jobs, TINY) == experiments
    if name == "trials":  # the first block is full, and its chunk stays as it is
        assert not any("/000000." in path for job in jobs for path in job.outputs)


def test_a_further_value_of_a_series_redoes_no_other_cascade(study):
    configuration = changed("cascades", "lapped", "vary", "values", [0.1, 0.4, 0.7])
    chunks = [job for job in study.configured(configuration).planned() if job.rule not in BELOW_METRICS]
    assert {job.rule for job in chunks} == ALL - BELOW_METRICS
    assert all("lapped-perturbation-0.7" in job.outputs[0] for job in chunks)


EDITS = {
    "dcsc/model/sparsity.py": ({"measure_recovery", "certify_draws"}, {"draw_dictionaries"}),
    "dcsc/statistics.py": (
        {"refine_sweep", "certify_draws", "render_recovery"},  # limits of certified sizes are among the guarantees
        {"draw_dictionaries"},
    ),
    "dcsc/figures/recovery.py": ({"render_recovery"}, ALL - DRAWING),
    "dcsc/figures/local_snr.py": ({"render_local_snr"}, ALL - {"render_local_snr"}),
    "dcsc/stages/pursuits.py": ({"refine_sweep", "run_pursuits"}, {"draw_dictionaries", "sample_signals"}),
    "dcsc/stages/certificates.py": ({"certify_draws"}, ALL - {"certify_draws"} - DRAWING),
    "dcsc/stages/sweeps.py": ({"refine_sweep"}, {"draw_dictionaries"} | BELOW_SWEEPS),
    "dcsc/families/lapped.py": ({"draw_dictionaries"}, set()),
    "dcsc/kernels/scatter.py": ({"sample_signals"}, set()),
    "scripts/job.py": (ALL, set()),
    "dcsc/study/trace.py": (set(), ALL),
    "README.md": (set(), ALL),
}


LONGER = {"dcsc/figures/local_snr.py", "dcsc/families/lapped.py", "dcsc/kernels/scatter.py"}
PATHS = [pytest.param(path, marks=pytest.mark.slow if path in LONGER else ()) for path in EDITS]


@pytest.mark.parametrize("path", PATHS)
def test_an_edit_of_the_library_reruns_what_uses_it(study, path):
    rerun, kept = EDITS[path]
    with (study.folder / path).open("a", encoding="utf-8") as file:
        file.write("# a remark\n")
    jobs = study.planned()
    assert rules_of(jobs) >= rerun
    if "refine_sweep" in rerun:  # the cells of a refined experiment follow from its pursuits
        jobs = [job for job in jobs if experiments_of([job], TINY) != {"transition"}]
    assert not rules_of(jobs) & kept


def test_an_edit_that_changes_no_sweep_draws_the_same_signals_again(study):
    paths = sorted(study.results.glob("transition/signals/*/*.nc"))
    before = [dcsc.open_results(path) for path in paths]
    study.edit("dcsc/stages/sweeps.py", "\nLEVELS", "\n# a remark\nLEVELS")
    study.run("signals")
    after = [dcsc.open_results(path) for path in paths]
    assert len(before) == 4
    for one, other in zip(before, after, strict=True):
        assert one.attrs != other.attrs
        assert one.equals(other)


def test_what_every_job_really_loads_is_in_its_closure(finished):
    loaded = {}
    for file in (finished.folder / "spy").glob("*.loaded"):
        script, *modules = file.read_text(encoding="utf-8").split()
        if script != "__main__.py":  # of Snakemake itself, whose jobs run in processes of their own
            loaded.setdefault(script.partition(".")[2], set()).update(map(Path, modules))
    of_claims = {"judge_claims.py", "render_reproduction.py"}  # this study makes none
    assert set(loaded) == {path.name for path in SCRIPTS.glob("*.py")} - {"job.py", "forking.py"} - of_claims
    for script, modules in loaded.items():
        inside = {module.relative_to(finished.folder / "dcsc") for module in modules}
        drawings = [PACKAGE / "figures" / f"{name.removeprefix('render_')}.py" for name in DRAWING]
        sources = [SCRIPTS / script, SCRIPTS / "job.py", *(drawings if script == "render_figure.py" else [])]
        assert inside <= {path.relative_to(PACKAGE) for path in closure(sources)}


def test_a_touch_reruns_nothing(study):
    later = time.time() + 5
    touched = [*study.folder.glob("dcsc/**/*.py"), *study.folder.glob("config/*"), *study.results.rglob("*.nc")]
    for path in touched:
        os.utime(path, (later, later))
    assert study.planned() == []


def test_a_lost_intermediate_is_made_again_and_equal(study):
    lost = study.results / "transition/metrics/summary.nc"
    before = lost.read_bytes()
    lost.unlink()
    assert "summarize_metrics" in rules_of(study.planned())
    study.run()
    assert lost.read_bytes() == before


PLUGIN = """
import numpy as np

import dcsc
from dcsc.families import register


@register("decaying")
def decaying(grid, rng, *, rate: float):
    filters = np.exp(-rate * np.arange(4.0))
    assert dcsc.statistics.proportion_interval(1, 2, 0.9)[0] < 0.5
    return dcsc.ConvolutionalDictionary(np.stack([filters, filters * [1, -1, 1, -1]])[:, None], 2, grid, normalize=True)
"""


@pytest.fixture(scope="session")
def finished_with_files(once):
    """A study with a plugin and with filters from files, up to the signals."""
    single = {"cascades": ["x"], "signals": {"active": [1], "trials": 2}, "title": "A title"}
    single |= {"pursuits": {"hard": {"rule": "hard", "threshold": 0.5}}, "figures": ["recovery"]}
    families = {
        "brought": ("file", {"path": "brought/filters.npy", "stride": 2}),
        "moved": ("perturbed", {"base": "file", "path": "brought/others.npy", "stride": 2, "perturbation": 0.1}),
        "plugged": ("decaying", {"rate": 0.5}),
    }
    configuration = {
        "results": "results-files",
        "seed": 1,
        "plugins": ["brought/plugin.py"],
        "cascades": {
            name: {"grid": [32], "layers": [{"family": family, "parameters": parameters}]}
            for name, (family, parameters) in families.items()
        },
        "experiments": {f"with-{name}": {**single, "cascades": [name]} for name in families},
    }

    def work(folder):
        copy_of_repository(folder)
        brought = folder / "brought"
        brought.mkdir()
        (brought / "plugin.py").write_text(PLUGIN, encoding="utf-8")
        for name in ("filters.npy", "others.npy"):
            np.save(brought / name, np.eye(2)[:, None])
        Workflow(folder, configuration).run("pursuits")

    return Workflow(once("finished-with-files", work), configuration)


@pytest.mark.parametrize(("file", "cascade"), [("filters.npy", "brought"), ("others.npy", "moved")])
def test_an_edited_file_of_filters_reruns_what_uses_it(finished_with_files, tmp_path, file, cascade):
    study = finished_with_files.copied(tmp_path / "study")
    np.save(study.folder / "brought" / file, np.eye(2)[::-1, None])
    jobs = study.planned("pursuits")
    assert rules_of(jobs) == {"draw_dictionaries", "sample_signals", "run_pursuits"}
    assert all(cascade in job.outputs[0] for job in jobs)


@pytest.mark.parametrize("path", ["brought/plugin.py", "dcsc/statistics.py"])
def test_an_edited_plugin_or_what_it_uses_reruns_the_stages_that_load_it(finished_with_files, tmp_path, path):
    study = finished_with_files.copied(tmp_path / "study")
    assert study.planned("pursuits") == []
    with (study.folder / path).open("a", encoding="utf-8") as file:
        file.write("# a remark\n")
    assert rules_of(study.planned("pursuits")) == {"draw_dictionaries", "sample_signals", "run_pursuits"}
