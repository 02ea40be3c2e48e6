"""The cost model: sizes, corrections by earlier runs, and sums over a plan."""

from __future__ import annotations

import json
import subprocess
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from dcsc.__main__ import main
from dcsc.errors import UserError
from dcsc.figures.panels import built_in
from dcsc.study import config, estimate, workflow_plan
from dcsc.study.estimate import chains, model
from dcsc.study.estimate.sizes import StudySizes
from dcsc.study.estimate.timings import timed_jobs
from dcsc.study.workflow_plan import PlannedJob, planned_jobs

ROOT = Path(__file__).resolve().parents[2]
CHUNK = {"experiment": "transition", "cascade": "lapped-perturbation-0.1", "chunk": "000000"}
STAGES = ("sample_signals", "run_pursuits", "measure_recovery")


@pytest.fixture
def tiny():
    return yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No results of the checkout."""
    monkeypatch.chdir(tmp_path)


def sizes_of(configuration):
    return StudySizes(config.validate(configuration))


def test_sizes_grow_with_trials_replicates_and_variants(tiny):
    before = sizes_of(tiny).features("run_pursuits", CHUNK)
    grown = deepcopy(tiny)
    grown["cascades"]["lapped"]["replicates"] = 6
    three = sizes_of(grown).features("run_pursuits", CHUNK)
    for name in ("signals", "entries", "places", "runs", "reached"):
        assert three[name] == pytest.approx(3 * before[name], rel=1e-6)
    fewer = deepcopy(tiny)
    fewer["experiments"]["transition"]["signals"]["trials"] = 16
    half = sizes_of(fewer).features("run_pursuits", CHUNK)
    assert half["signals"] == before["signals"] / 2
    assert half["job"] == before["job"] == 1


def test_the_last_chunk_is_smaller(tiny):
    sizes = sizes_of(tiny)
    assert sizes.plan.chunks_of("transition") == ["000000", "000001"]
    assert [sizes.trials_of("transition", chunk) for chunk in sizes.plan.chunks_of("transition")] == [32, 8]


def test_cells_come_from_the_sweep_where_it_ran(tiny, monkeypatch):
    found = {"random signs": (5.0, 50.0), "worst-case signs": (3.0, 10.0)}
    monkeypatch.setattr("dcsc.study.estimate.sizes._swept", lambda path: found)
    drawn = sizes_of(tiny).drawn("transition", CHUNK["cascade"])
    assert (drawn["random signs"].signals, drawn["random signs"].entries) == (10, 100)
    blind = StudySizes(config.validate(tiny), look=False).drawn("transition", CHUNK["cascade"])
    assert blind != drawn


@pytest.mark.parametrize("name", ["config", "iterative", "smoke", "cluster"])
def test_every_job_of_every_configuration_has_a_cost(name):
    study = config.load(ROOT / f"config/{name}.yaml")
    sizes = StudySizes(study)
    for experiment, options in study.experiments.items():
        for member in sizes.plan.members_of(experiment):
            for chunk in sizes.plan.chunks_of(experiment)[:2]:
                wildcards = {"experiment": experiment, "cascade": member, "chunk": chunk}
                for rule in ("draw_dictionaries", "refine_sweep", *STAGES):
                    cost = model.predicted(rule, sizes.features(rule, wildcards))
                    assert 0.05 < cost.seconds < 7200, (rule, wildcards)
                    assert 50 < cost.memory_mb < 16000, (rule, wildcards)
                    assert 0 < cost.disk_mb < 4000, (rule, wildcards)
        for panel in options.figures:
            rule = f"render_{panel.replace('-', '_')}"
            cost = model.predicted(rule, sizes.features(rule, {"experiment": experiment}))
            assert 0.1 < cost.seconds < 3600
            assert 50 < cost.memory_mb < 16000, (rule, experiment)


def test_measured_times_correct_the_prediction_by_how_much_was_measured(tiny):
    sizes = sizes_of(tiny).features("run_pursuits", CHUNK)
    expected = model.predicted("run_pursuits", sizes).seconds
    correction = model.Correction()
    assert correction.factor("run_pursuits", "seconds") == 1
    correction.add("run_pursuits", sizes, {"seconds": 3 * expected})
    little = correction.factor("run_pursuits", "seconds")
    for _ in range(10000):
        correction.add("run_pursuits", sizes, {"seconds": 3 * expected})
    much = correction.factor("run_pursuits", "seconds")
    assert 1 < little < much
    assert much == pytest.approx(3, rel=0.02)
    assert correction.factor("sample_signals", "seconds") == pytest.approx(3, rel=0.05)  # the machine is slow
    assert correction.factor("run_pursuits", "memory_mb") == 1
    assert correction.cost("run_pursuits", sizes).seconds == pytest.approx(much * expected)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_broken_timing_teaches_nothing(tiny, value):
    correction = model.Correction()
    correction.add("run_pursuits", sizes_of(tiny).features("run_pursuits", CHUNK), {"seconds": value})
    assert correction.factor("run_pursuits", "seconds") == 1


def test_timing_files_are_read_and_foreign_ones_left_out(tiny):
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    rows = {
        "run_pursuits/transition/lapped-perturbation-0.1/000000": "2.5\t0:00:02\t300.5\t1\t1\t1\t1\t1\t1\t1\n",
        "run_pursuits/transition/lapped-perturbation-0.1/000001": "2.5\t0:00:02\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n",
        "run_pursuits/transition/lapped-perturbation-0.1/000099": "1\t0:00:01\t1\t1\t1\t1\t1\t1\t1\t1\n",
        "run_pursuits/gone/lapped-perturbation-0.1/000000": "1\t0:00:01\t1\t1\t1\t1\t1\t1\t1\t1\n",
        "render_recovery/transition": "4\t0:00:04\t200\t1\t1\t1\t1\t1\t1\t1\n",
        "summarize_metrics/transition": "",
    }
    for name, row in rows.items():
        file = Path("logs/results-tiny", f"{name}.tsv")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(header + row, encoding="utf-8")
    log = Path("logs/results-tiny/draw_dictionaries/lapped-perturbation-0.4.log")
    log.parent.mkdir()
    log.write_text("draw_dictionaries: done; computing took 0.100 s of 1.500 s, all 2.0 s of processor\n")
    forked = Path("logs/results-tiny/run_pursuits/transition/lapped-perturbation-0.1/000001.log")
    forked.write_text("run_pursuits: done; computing took 0.100 s of 1.500 s, all 2.0 s of processor, 410 MB\n")
    found = {
        (rule, *wildcards.values()): measured
        for rule, wildcards, measured in timed_jobs(sizes_of(tiny), "results-tiny")
    }
    assert found == {
        ("draw_dictionaries", "lapped-perturbation-0.4"): {"seconds": 1.5},
        ("render_recovery", "transition"): {"seconds": 4.0, "memory_mb": 200.0},
        ("run_pursuits", *list(CHUNK.values())): {"seconds": 2.5, "memory_mb": 300.5},
        ("run_pursuits", "transition", "lapped-perturbation-0.1", "000001"): {"seconds": 2.5, "memory_mb": 410.0},
    }


def test_sums_over_a_plan(tiny):
    jobs = [PlannedJob(rule, CHUNK) for rule in STAGES]
    lean = config.validate({**tiny, "keep": {"signals": False, "pursuits": False}})
    found = estimate.summed("tiny.yaml", lean, StudySizes(lean), jobs, model.Correction(), 2)
    assert found.jobs == 3
    assert found.core_hours == pytest.approx(sum(rule.core_hours for rule in found.rules.values()))
    assert found.hours >= found.core_hours / 2
    assert found.passing_disk_mb > 0
    assert found.disk_mb == pytest.approx(found.rules["measure_recovery"].disk_mb)
    memory = sorted(rule.memory_mb for rule in found.rules.values())
    assert found.memory_mb == pytest.approx(sum(memory[1:]))
    text = estimate.as_text(found)
    assert "deleted after use" in text
    assert "run_pursuits" in text
    written = json.loads(estimate.as_json(found))
    assert written["jobs"] == 3
    assert written["rules"]["run_pursuits"]["kept"] is False


def test_nothing_to_be_done_is_said(tiny):
    study = config.validate(tiny)
    found = estimate.summed("tiny.yaml", study, StudySizes(study), [], model.Correction(), 2)
    assert estimate.as_text(found) == "tiny.yaml: nothing to be done."


PLAN = """
[Tue Nov 24 03:40:44 2026]
rule sample_signals:
    input: results-tiny/dictionaries/lapped.nc
    output: results-tiny/a/signals/lapped/000000.nc, results-tiny/a/signals/lapped/000000.nc.sha256
    jobid: 24
    wildcards: experiment=a, cascade=lapped, chunk=000000
    resources: tmpdir=/tmp

[Tue Nov 24 03:40:44 2026]
localrule default:
    input: results-tiny/a
    jobid: 0
    reason: Rules with neither input nor output files are always executed.

"""


def test_a_plan_is_read(monkeypatch, tmp_path):
    Path("Snakefile").touch()
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, PLAN, ""))
    (job,) = planned_jobs("study.yaml")
    assert job.rule == "sample_signals"
    assert job.wildcards == {"experiment": "a", "cascade": "lapped", "chunk": "000000"}
    assert len(job.outputs) == 2


def test_a_snakemake_that_hangs_is_given_up(monkeypatch):
    Path("Snakefile").write_text("import time; time.sleep(60)", encoding="utf-8")
    monkeypatch.setattr(workflow_plan, "PATIENCE", 0.1)
    with pytest.raises(UserError, match=r"no answer in 0\.1 seconds: the machine is overloaded"):
        planned_jobs("study.yaml")


def test_mistakes_end_with_one_sentence(capsys):
    assert main(["estimate", "--configfile", "no-such.yaml"]) == 1
    assert main(["estimate", "--cores", "0"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "no-such.yaml cannot be read" in lines[0]
    assert "cores = 0 is not allowed" in lines[1]


def test_the_model_knows_which_figures_read_every_trial():
    figures = (ROOT / "dcsc/figures").glob("*.py")
    reading = {path.stem for path in figures if "results.trials" in path.read_text(encoding="utf-8")}
    drawings = [name.replace("-", "_") for name in built_in()]
    assert {name for name in drawings if model.kind_of(f"render_{name}") == "render_trials"} == reading


def test_the_longest_chain_is_that_of_the_job_that_most_waits_for(tiny):
    sizes = sizes_of(tiny)
    found = chains.Chains(sizes)
    experiment, cascade, chunk = CHUNK["experiment"], CHUNK["cascade"], CHUNK["chunk"]

    def cost(rule, **wildcards):
        return model.predicted(rule, sizes.features(rule, wildcards)).seconds

    of_chunk = [cost(rule, **CHUNK) for rule in ("sample_signals", "run_pursuits", "measure_recovery")]
    rest = found.seconds("summary", experiment)
    assert rest == pytest.approx(
        cost("summarize_metrics", experiment=experiment) + found.seconds("figures", experiment)
    )
    assert found.seconds("metrics", experiment, cascade, chunk) == pytest.approx(of_chunk[2] + rest)
    assert found.seconds("signals", experiment, cascade, chunk) == pytest.approx(sum(of_chunk) + rest)
    first = cost("draw_dictionaries", cascade=cascade)
    following = max(found.seconds(stage, experiment, cascade) for stage in ("sweeps", "certificates"))
    assert found.seconds("dictionaries", cascade=cascade) == pytest.approx(first + following)
    swept = cost("refine_sweep", experiment=experiment, cascade=cascade)
    assert found.seconds("sweeps", experiment, cascade) == pytest.approx(
        swept + found.seconds("signals", experiment, cascade, chunk)
    )


@pytest.mark.parametrize("stage", ["certificates", "metrics"])
@pytest.mark.parametrize("is_compiled", [True, False])
def test_jobs_that_compile_longest_on_a_first_run_begin_early(tiny, monkeypatch, stage, is_compiled):
    monkeypatch.setattr(chains, "has_machine_code", lambda kernel: is_compiled)
    place = CHUNK["experiment"], CHUNK["cascade"], *([CHUNK["chunk"]] if stage == "metrics" else [])
    tiny["experiments"][CHUNK["experiment"]]["pursuits"]["basis-pursuit"] = {
        "method": "layered-basis-pursuit", "parameters": {"penalty": 1}
    }  # fmt: skip
    plain = chains.Chains(sizes_of(tiny)).seconds(stage, *place)
    tiny["experiments"][CHUNK["experiment"]]["pursuits"]["basis-pursuit"]["parameters"]["penalty"] = 0
    assert (chains.Chains(sizes_of(tiny)).seconds(stage, *place) > plain + chains.COMPILING / 2) != is_compiled
