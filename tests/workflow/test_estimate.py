"""The estimate beside Snakemake's own plan."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.workflow.support import ROOT, environment


def estimated(study, *arguments):
    study.command()
    command = [sys.executable, "-m", "dcsc", "estimate", "--configfile", "study.yaml", "--json", *arguments]
    code, output = study.execute(command)
    assert code == 0, output
    return json.loads(output)


def test_only_what_is_to_be_done_costs(study):
    assert estimated(study)["jobs"] == 0
    for file in study.results.glob("figures/transition-recovery.*"):
        file.unlink()
    found = estimated(study)
    assert found["rules"].keys() == {"render_recovery"}
    assert found["timed_jobs"] >= 20  # of the run that made the rest


@pytest.mark.slow
def test_a_fresh_study_costs_what_snakemake_plans(clone, study):
    fresh = study.configured({**study.configuration, "results": "results-fresh"})
    found = estimated(fresh)
    assert found["jobs"] == len(fresh.planned())
    assert found["timed_jobs"] == 0
    assert 0 < found["core_hours"] < 0.2


@pytest.mark.slow
def test_the_readme_tells_a_time_and_a_disk_that_are_near_the_estimate(clone):
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = re.search(r"took (\d+) minutes, compiling included, and ([\d.]+) GB of disk", readme)
    minutes, disk = map(float, told.groups())
    command = [sys.executable, "-m", "dcsc", "estimate", "--configfile", "config/config.yaml", "--json"]
    done = subprocess.run(command, cwd=clone, env=environment(), capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert minutes / 2 < found["core_hours"] * 60 / 2 < 2 * minutes  # on 2 cores
    assert disk / 2 < found["disk_mb"] / 1000 < 2 * disk
