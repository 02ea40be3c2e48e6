"""`dcsc run` on the real workflow: what Snakemake tells its logger plugin is what is shown."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.support import TINY, environment

RUN = [sys.executable, "-m", "dcsc", "run", "--configfile", "study.yaml", "--cores", "2"]


def test_a_finished_study_and_then_a_figure_made_anew(study):
    study.command()
    code, output = study.execute([*RUN, "metrics"])
    assert code == 0, output
    assert [line for line in output.splitlines() if line.startswith("Nothing to be done")]
    code, output = study.execute([*RUN, "accuracy", "--", "--forcerun", "render_local_snr"])
    assert code == 0, output
    lines = output.splitlines()
    assert any(line.startswith("figures ") and " 1 job " in line for line in lines), output
    assert any(line.startswith("1 job on 2 cores") or line.startswith("done: 1 job") for line in lines), output
    assert len(lines) < 8
    (log,) = {line.partition(": ")[2] for line in lines if line.startswith("Snakemake's own output")}
    assert "render_local_snr" in (study.folder / log).read_text(encoding="utf-8")


def test_jobs_that_fail_are_told_with_rule_sentence_and_log(study):
    plugin = study.folder / "bad.py"
    plugin.write_text(
        "import sys\nfrom dcsc.errors import UserError\n"
        "if 'run_pursuits' in sys.argv[0]:\n    raise UserError('the plug-in is bad: mend it.')\n",
        encoding="utf-8",
    )
    study.configured({**TINY, "plugins": ["bad.py"]}).command()
    code, output = study.execute([*RUN, "results-tiny/accuracy/pursuits/lapped-perturbation-0.1/000000.nc"])
    assert code == 1, output
    assert "failed: run_pursuits accuracy/lapped-perturbation-0.1/000000" in output
    assert "the plug-in is bad: mend it." in output
    assert "    log: logs/results-tiny/run_pursuits/accuracy/lapped-perturbation-0.1/000000.log" in output
    assert "Traceback" not in output


def processes_in(folder):
    """Those that run there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            found += [entry.name] if Path(os.readlink(entry / "cwd")) == folder else []
        except OSError:
            continue
    return found


def test_an_interrupt_leaves_no_process_and_no_lock_and_keeps_what_is_finished(study):
    shutil.rmtree(study.results)
    study.command()
    running = subprocess.Popen(
        [*RUN[:-2], "--cores", "1"], cwd=study.folder, env=environment(), stdout=subprocess.PIPE, text=True
    )
    limit = time.monotonic() + 120
    while not list(study.results.glob("dictionaries/*.sha256")) or not list(study.folder.glob(".snakemake/scripts/*")):
        assert time.monotonic() < limit
        assert running.poll() is None
        time.sleep(0.05)
    time.sleep(1)  # a second job runs
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=120)
    assert running.returncode != 0
    assert "Stopped. What is finished is kept" in output
    assert "failed" not in output
    assert processes_in(study.folder) == []
    made = {path: path.stat().st_mtime_ns for path in study.results.glob("dictionaries/*.sha256")}
    code, output = study.execute([*RUN, "dictionaries"])  # without --unlock
    assert code == 0, output
    assert made
    assert all(path.stat().st_mtime_ns == changed for path, changed in made.items())


EXECUTOR = '''
"""A cluster of one machine: a job runs elsewhere, and is asked for until it ends."""

import subprocess

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False, pass_default_resources_args=True,
    init_seconds_before_status_checks=0,
)


class Executor(RemoteExecutor):
    def run_job(self, job):
        running = subprocess.Popen(self.format_job_exec(job), shell=True)
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=running.pid, aux={"running": running}))

    async def check_active_jobs(self, active_jobs):
        for submitted in active_jobs:
            status = submitted.aux["running"].poll()
            if status is None:
                yield submitted
            elif status:
                self.report_job_error(submitted)
            else:
                self.report_job_success(submitted)

    def cancel_jobs(self, active_jobs):
        for submitted in active_jobs:
            submitted.aux["running"].terminate()
'''


def test_starts_are_limited_only_where_a_limit_was_asked_for(study):
    snakefile = study.folder / "workflow/Snakefile"
    told = 'onsuccess:\n    print("limit:", workflow.scheduler.job_rate_limiter)\n'
    snakefile.write_text(f"{snakefile.read_text(encoding='utf-8')}\n\n{told}", encoding="utf-8")
    forced = ("--cores", "2", "--forcerun", "render_local_snr", "--until", "render_local_snr")
    for limit, expected in (("100/1s", "limit: None"), ("50/1s", "limit: <")):
        code, output = study.snakemake("--max-jobs-per-timespan", limit, *forced)
        assert code == 0, output
        assert expected in output


def on_a_cluster(study):
    """The profile of Slurm, with an executor that stands for it; and how to run with them."""
    plugin = study.folder / "pretended" / "snakemake_executor_plugin_pretend"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(EXECUTOR, encoding="utf-8")
    profile = study.folder / "profiles" / "pretend"
    profile.mkdir()
    text = (study.folder / "profiles/slurm/config.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("slurm-")]
    quick = ["max-status-checks-per-second: 10", "seconds-between-status-checks: 1"]
    quick += ["max-jobs-per-timespan: 100/1s", "latency-wait: 5", "retries: 0"]
    replaced = tuple(f"{line.partition(':')[0]}:" for line in quick)
    kept = [line for line in lines if not line.startswith(replaced)]
    text = "\n".join([*kept, *quick, ""]).replace("executor: slurm", "executor: pretend")
    (profile / "config.yaml").write_text(text, encoding="utf-8")
    study.command()
    path = os.pathsep.join([str(plugin.parent), environment().get("PYTHONPATH", "")])
    run = [*RUN[: RUN.index("--cores")], "accuracy", "--", "--workflow-profile", "profiles/pretend", "--forcerun"]
    return run, {"PYTHONPATH": path}


@pytest.mark.slow
def test_on_a_cluster_a_run_is_as_quiet_and_a_job_that_fails_is_told(study):
    run, variables = on_a_cluster(study)
    code, output = study.execute([*run, "render_local_snr"], **variables)
    assert code == 0, output
    lines = output.splitlines()
    assert any(line.startswith("1 job on a cluster, at most 200 at a time") for line in lines), output
    assert any(line.startswith("figures ") and " 1 job " in line for line in lines), output
    assert any(line.startswith("done: 1 job") for line in lines), output
    assert len(lines) < 8, output
    study.edit("dcsc/figures/local_snr.py", "def tidy(", "raise RuntimeError('no such luck')\n\n\ndef tidy(")
    code, output = study.execute([*run, "render_local_snr"], **variables)
    assert code != 0, output
    assert "failed: render_local_snr" in output
    assert "RuntimeError: no such luck" in output
    assert any(line.startswith("    log: ") for line in output.splitlines()), output
    assert len(output.splitlines()) < 16, output
