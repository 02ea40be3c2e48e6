"""Where the time of a study went, from the logs of its jobs."""

import json

import pytest

from dcsc.__main__ import main
from dcsc.errors import UserError
from dcsc.study import profile

STUDY = """
results: found
seed: 1
cascades:
  one:
    grid: [64]
    layers: [{family: lapped, parameters: {n_filters: 8}}]
experiments:
  first:
    title: How coherent is it?
    cascades: [one]
    figures: [families]
"""
TIMING = "s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:04\t{memory}\t3.0\n"
DONE = "{rule}: done; computing took {computing} s of 3.5 s, all {processor} s of processor\n"


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text(STUDY)

    def job(rule, place, processor, computing=2.0, seconds=4.0, memory="100.5", timed=True):
        log = tmp_path / "logs" / "found" / rule / f"{place}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(DONE.format(rule=rule, computing=computing, processor=processor))
        if timed:
            log.with_suffix(".tsv").write_text(TIMING.format(seconds=seconds, memory=memory))
        return log

    return job


def test_jobs_are_summed_by_rule_and_by_experiment(study):
    study("run_pursuits", "first/one/000000", 6.0)
    study("run_pursuits", "second/one/000000", 2.0, memory="-")
    study("certify_draws", "first/one", 12.0, memory="900")
    study("draw_dictionaries", "one", 0.0, timed=False)
    jobs = profile.timed_jobs("study.yaml")
    assert [job.processor for job in jobs] == [12.0, 6.0, 2.0, 0.0]
    rules = profile.by(jobs, lambda job: job.rule)
    assert list(rules) == ["certify_draws", "run_pursuits", "draw_dictionaries"]
    assert (rules["run_pursuits"].jobs, rules["run_pursuits"].waiting) == (2, 4.0)
    assert rules["run_pursuits"].share == pytest.approx(0.4)
    assert rules["certify_draws"].memory_mb == 900
    assert rules["draw_dictionaries"].waiting == 0
    experiments = profile.by(jobs, lambda job: job.experiment)
    assert {name: part.processor for name, part in experiments.items()} == {
        "first": 18.0, "second": 2.0, "draw_dictionaries": 0.0,
    }  # fmt: skip


def test_the_memory_of_a_fork_is_that_of_its_log(study):
    log = study("run_pursuits", "first/one/000000", 6.0, memory="20")
    log.write_text(log.read_text().replace("of processor", "of processor, 640 MB"))
    assert [job.memory_mb for job in profile.timed_jobs("study.yaml")] == [640]


def test_jobs_that_did_not_end_well_are_left_out(study):
    study("run_pursuits", "first/one/000000", 6.0)
    study("run_pursuits", "first/one/000001", 6.0).write_text("error: no\n")
    study("run_pursuits", "first/one/000002", 6.0).write_bytes(b"\xff\xfe")
    assert len(profile.timed_jobs("study.yaml")) == 1


def test_the_command_prints_tables_or_json(study, capsys):
    study("run_pursuits", "first/one/000000", 6.0)
    assert main(["profile", "--configfile", "study.yaml"]) == 0
    printed = capsys.readouterr().out
    assert "run_pursuits" in printed
    assert "1 jobs: 6 s of processor" in printed
    assert main(["profile", "--configfile", "study.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["rule"] == "run_pursuits"


def test_without_a_run_there_is_one_sentence(study, capsys):
    with pytest.raises(UserError, match="no times of jobs"):
        profile.timed_jobs("study.yaml")
    assert main(["profile", "--configfile", "study.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: ")
