"""The workflow on a real Slurm: the bytes of a local run, whatever is cancelled or killed on the way."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tests.workflow.support import ROOT, Workflow, copy_of_repository, digests, environment

PROFILE = ("--workflow-profile", "profiles/slurm")
# Without an accounting daemon squeue alone tells of finished jobs; one machine needs no long waits.
TESTED = ("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "20")
PATIENCE = 1500


def smoke():
    return yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))


def run(study, *arguments):
    code, output = study.snakemake(*PROFILE, *TESTED, *arguments)
    assert code == 0, output
    return output


def queue():
    """Ids of the jobs that Slurm has waiting or running."""
    listed = subprocess.run(["squeue", "--noheader", "--format=%i"], capture_output=True, text=True, check=True)
    return listed.stdout.split()


def logs_of_jobs(study):
    """What Slurm writes of the jobs that have begun and did not succeed yet, named by their ids."""
    return list((study.folder / "logs/slurm").rglob("*.log"))


def until(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.3)


def completed(cluster):
    """What Slurm says of every finished job."""
    log = cluster / "log/jobs.txt"
    return log.read_text(encoding="utf-8").splitlines() if log.is_file() else []


def local(folder, configuration):
    """The study as a laptop runs it; of what this checkout has made already, only what is outdated is made again."""
    study = Workflow(copy_of_repository(folder), configuration)
    for made in (configuration["results"], ".snakemake/metadata") if configuration == smoke() else ():
        if (ROOT / made).is_dir():
            shutil.copytree(ROOT / made, folder / made, ignore=shutil.ignore_patterns("report.html"))
    study.run()
    return digests(study.results)


def started(study, *arguments):
    """A controller in the background."""
    with (study.folder / "controller.txt").open("w") as output:
        return subprocess.Popen(
            study.command(*PROFILE, *TESTED, *arguments),
            cwd=study.folder, env=environment(), stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip


def assert_same_bytes(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_smoke_gives_the_bytes_of_a_local_run_though_a_job_is_cancelled_and_the_controller_killed(cluster, tmp_path):
    study = Workflow(copy_of_repository(tmp_path / "cluster"), smoke())
    controller = started(study)
    try:
        until(lambda: logs_of_jobs(study), "the first job at work")
        (cancelled,) = logs_of_jobs(study)
        subprocess.run(["scancel", cancelled.stem], check=True)
        until(lambda: list(study.results.glob("*/metrics/*/*.nc.sha256")), "the first metrics")
    finally:
        controller.kill()  # -9: nobody tells Slurm, nobody unlocks
        controller.wait()
    said = (study.folder / "controller.txt").read_text(encoding="utf-8")
    assert "Trying to restart job" in said
    code, output = study.snakemake(*PROFILE, *TESTED)
    assert code != 0
    assert "--unlock" in output

    until(lambda: not queue(), "the jobs that were left behind")
    before = {path: path.stat().st_mtime_ns for path in study.results.rglob("*.nc")}
    assert study.snakemake("--unlock")[0] == 0
    output = run(study)
    assert [path.name for path, time_ in before.items() if path.stat().st_mtime_ns != time_] == [], output
    states = [re.search(r"JobState=(\w+)", line).group(1) for line in completed(cluster)]
    assert states.count("CANCELLED") == 1
    assert states.count("COMPLETED") <= 10  # groups: not one of each of the study's 33 jobs
    assert cancelled.is_file()
    assert_same_bytes(digests(study.results), local(tmp_path / "local", smoke()))


@pytest.mark.slow
def test_a_mid_size_study_gives_the_bytes_of_a_local_run(cluster, tmp_path):
    configuration = deepcopy(smoke())
    transition = configuration["experiments"]["transition"]["signals"]
    transition |= {"trials": 256, "chunk_blocks": 1}
    configuration["cascades"]["lapped"] |= {"grid": [256]}
    configuration["experiments"] = {"transition": configuration["experiments"]["transition"]}
    configuration["claims"] = {}
    study = Workflow(copy_of_repository(tmp_path / "cluster"), configuration)
    run(study)
    assert_same_bytes(digests(study.results), local(tmp_path / "local", configuration))
    assert study.planned() == []


def test_the_start_script_refuses_a_machine_that_has_a_slurm(cluster, tmp_path):
    script = Path(__file__).with_name("cluster.sh")
    elsewhere = {**environment(), "SLURM_CONF": "/somewhere/slurm.conf"}
    done = subprocess.run([script, "check"], env=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: this machine has a Slurm of its own .*: run the test on another one\.\n", done.stderr)


def test_the_start_script_names_the_packages_to_install(tmp_path):
    for tool in ("env", "bash", "id", "head"):
        (tmp_path / tool).symlink_to(subprocess.run(["which", tool], capture_output=True, text=True).stdout.strip())
    script = Path(__file__).with_name("cluster.sh").read_text(encoding="utf-8").replace(":/usr/sbin:/sbin", "")
    done = subprocess.run(["/bin/bash", "-c", script, "cluster.sh", "check"], env={"PATH": str(tmp_path)},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 1
    assert "apt-get install --no-install-recommends slurmctld slurmd slurm-client munge" in done.stderr
