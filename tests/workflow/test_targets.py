"""What a user can type, and that a finished study has nothing left to do."""

import sys

import pytest

from dcsc.study.options.study import STAGES
from tests.workflow.support import TINY, Workflow, copy_of_repository, experiments_of, jobs_of, rules_of

DRAWING = {"render_recovery", "render_thresholds", "render_local_snr"}
UP_TO = {"dictionaries": {"draw_dictionaries"}}
UP_TO["sweeps"] = UP_TO["dictionaries"] | {"refine_sweep"}
UP_TO["signals"] = UP_TO["sweeps"] | {"sample_signals"}
UP_TO["pursuits"] = UP_TO["signals"] | {"run_pursuits"}
UP_TO["metrics"] = UP_TO["pursuits"] | {"measure_recovery", "summarize_metrics"}
UP_TO["certificates"] = UP_TO["dictionaries"] | {"certify_draws"}
UP_TO["figures"] = UP_TO["metrics"] | UP_TO["certificates"] | DRAWING


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Workflow:
    return Workflow(copy_of_repository(tmp_path_factory.mktemp("fresh") / "clone"), TINY)


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_a_bare_dry_run_of_a_fresh_clone_lists_the_full_study(clone, snakefile):
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", snakefile]
    code, output = Workflow(clone).execute(command)
    assert code == 0, output
    assert {"draw_dictionaries", "sample_signals", "run_pursuits", "measure_recovery"} <= rules_of(jobs_of(output))
    assert any(rule.startswith("render_") for rule in rules_of(jobs_of(output)))
    # Paths become part of provenance: the bytes of a result must not depend on where the checkout lies.
    named = [line.split() for line in output.splitlines() if line.startswith(("    input: ", "    output: "))]
    assert [path for line in named for path in line if path.startswith("/")] == []


QUICK = {"dictionaries", "metrics"}
TARGETS = [pytest.param(stage, marks=() if stage in QUICK else pytest.mark.slow) for stage in STAGES]


@pytest.mark.parametrize("stage", TARGETS)
def test_every_stage_is_a_target(fresh, stage):
    assert rules_of(fresh.planned(stage)) >= UP_TO[stage]
    assert rules_of(fresh.planned(stage)) <= UP_TO["figures"]


def test_an_experiment_is_a_target(fresh):
    jobs = fresh.planned("accuracy")
    assert rules_of(jobs) == UP_TO["metrics"] - {"refine_sweep"} | {"render_local_snr"}
    assert experiments_of(jobs, TINY) == {"accuracy"}


def test_a_figure_is_a_target(fresh):
    jobs = fresh.planned("transition-thresholds")
    assert rules_of(jobs) == UP_TO["metrics"] | UP_TO["certificates"] | {"render_thresholds"}
    assert experiments_of(jobs, TINY) == {"transition"}


def test_a_finished_study_has_nothing_to_do(study):
    code, output = study.snakemake("--cores", "1")
    assert code == 0
    assert "Nothing to be done" in output


def test_every_file_of_a_finished_study_is_made_by_a_rule_and_traceable(study):
    code, output = study.execute([sys.executable, "-m", "dcsc", "orphans", "--configfile", "study.yaml"])
    assert (code, output) == (0, "")


def test_files_of_an_earlier_configuration_are_orphans(study):
    experiment = TINY["experiments"]["transition"]
    fewer = {**experiment, "signals": {**experiment["signals"], "trials": 20}}
    study.configured({**TINY, "experiments": {**TINY["experiments"], "transition": fewer}}).command()
    code, output = study.execute([sys.executable, "-m", "dcsc", "orphans", "--configfile", "study.yaml"])
    assert code == 1
    orphans = [line.partition(": ")[0] for line in output.splitlines() if line.endswith(": no rule makes it")]
    assert len(orphans) == 12  # metrics, pursuits and signals of two cascades, and the digest of each
    assert all(name.startswith("transition/") and "/000001.nc" in name for name in orphans)


@pytest.mark.slow
def test_stages_that_are_not_kept_are_deleted_and_not_asked_for_again(fresh):
    lean = fresh.configured({**TINY, "results": "results-lean", "keep": {"signals": False, "pursuits": False}})
    lean.run("--until", "measure_recovery")
    lean.run()
    assert list(lean.results.glob("*/signals/*/*")) == list(lean.results.glob("*/pursuits/*/*")) == []
    assert len(list(lean.results.glob("*/metrics/*/*.nc"))) == 6
    assert lean.planned() == []
