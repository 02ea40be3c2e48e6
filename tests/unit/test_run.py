"""A run is shown a line a stage; what fails is told in full; signals and the exit status pass through."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dcsc import __main__ as command_line
from dcsc.study import run
from dcsc.study.plan import RULES
from dcsc.study.progress import Progress, clock, in_words, sentence_of, stage_of

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "tests/workflow/tiny.yaml"
CHUNK = {"experiment": "transition", "cascade": "lapped-perturbation-0.1", "chunk": "000000"}


class Costs:
    """Ten seconds a job, until it is told otherwise."""

    def __init__(self):
        self.learned = []

    def add(self, rule, wildcards, seconds):
        self.learned.append((rule, seconds))

    def seconds(self, rule, wildcards):
        return 10.0

    def all_seconds(self, rule, count):
        return 10.0 * count


def begun(number, rule, **wildcards):
    return {"event": "job_info", "jobid": number, "rule_name": rule, "wildcards": wildcards}


@pytest.fixture
def progress():
    found = Progress(cores=2)
    stats = {"draw_dictionaries": 2, "run_pursuits": 3, "figures": 1, "all": 1, "total": 7}
    found.take({"event": "run_info", "stats": stats}, 0.0)
    return found


def test_stages_are_those_of_the_rules_and_what_collects_is_none():
    named = ("draw_dictionaries", "summarize_metrics", "render_local_snr", "render_reproduction", "all", "transition")
    assert [stage_of(rule) for rule in named] == ["dictionaries", "metrics", "figures", "claims", "", ""]
    assert stage_of("theirs_run_pursuits") == "pursuits"  # of a module with a prefix


def test_every_rule_has_a_stage():
    rules = [
        line.partition(" ")[2].rstrip(":\n")
        for path in (ROOT / "workflow/rules").glob("*.smk")
        if path.name != "collect.smk"
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.startswith("rule ")
    ]
    assert len(rules) > 5
    assert all(map(stage_of, rules))


def test_a_stage_is_told_when_its_last_job_is_done(progress):
    for number in (1, 2):
        progress.take(begun(number, "draw_dictionaries", cascade="a"), 0.0)
    assert progress.take({"event": "job_finished", "job_id": 1}, 1.0).stage == ""
    assert progress.take({"event": "job_finished", "job_id": 2}, 2.0).stage == "dictionaries"
    assert sum(progress.wanted.values()) == 5  # what only collects is no job


def test_the_time_left_shrinks_and_is_no_less_than_that_of_a_job_that_runs(progress):
    costs = Costs()
    assert progress.seconds_left(0.0, costs) == 5 * 10 / 2
    progress.take(begun(1, "run_pursuits"), 0.0)
    assert progress.seconds_left(4.0, costs) == (4 * 10 + 6) / 2
    progress.take({"event": "job_finished", "job_id": 1}, 12.0, costs)
    assert costs.learned == [("run_pursuits", 12.0)]
    assert progress.seconds_left(12.0, costs) == 4 * 10 / 2
    for number, rule in enumerate(("draw_dictionaries", "draw_dictionaries", "run_pursuits"), 2):
        progress.take(begun(number, rule), 12.0)
        progress.take({"event": "job_finished", "job_id": number}, 13.0, costs)
    progress.take(begun(9, "run_pursuits"), 20.0)
    assert progress.seconds_left(20.0, costs) == 10.0


def test_jobs_at_a_time_on_a_cluster_are_no_cores(progress):
    progress.take({"event": "resources_info", "cores": "2"}, 0.0)
    assert (progress.cores, progress.on_cluster) == (2, False)
    progress.take({"event": "resources_info", "nodes": "200", "cores": "1"}, 0.0)
    assert (progress.cores, progress.on_cluster) == (200, True)


def test_a_failure_is_told_with_rule_place_sentence_and_log(progress, tmp_path):
    log = tmp_path / "job.log"
    log.write_text("error: the file is damaged: delete it.\n")
    progress.take(begun(1, "run_pursuits", **CHUNK), 0.0)
    news = progress.take({"event": "job_error", "jobid": 1, "rule_name": "run_pursuits", "log": [str(log)]}, 1.0)
    assert news.failure.lines() == [
        "failed: run_pursuits transition/lapped-perturbation-0.1/000000",
        "    error: the file is damaged: delete it.",
        f"    log: {log}",
    ]
    assert progress.take({"event": "job_finished", "job_id": 1}, 2.0).stage == ""
    progress.take(begun(1, "run_pursuits", **CHUNK), 3.0)  # a profile can have failed jobs tried again
    assert not progress.failures


def test_what_a_job_did_not_say_itself_is_told(progress, tmp_path):
    trace = tmp_path / "trace.log"
    trace.write_text("Traceback (most recent call last):\n  File x\nZeroDivisionError: division by zero\n")
    assert sentence_of((str(trace),)).startswith("ZeroDivisionError: division by zero")
    progress.take({"event": "error", "message": "Command 'python x' died with <Signals.SIGKILL: 9>."}, 0.0)
    news = progress.take({"event": "job_error", "jobid": 1, "rule_name": "run_pursuits", "log": ["none.log"]}, 0.0)
    assert "killed (SIGKILL)" in news.failure.sentence


def test_the_jobs_of_a_group_that_failed_are_told(progress):
    jobs = [{"rule_name": "run_pursuits", "jobid": number, "log": []} for number in (3, 4)]
    assert progress.take({"event": "group_error", "job_error_info": jobs}, 0.0).failure is not None
    assert len(progress.failures) == 2


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (59, "59 s"), (100, "2 min"), (5400, "1.5 h")])
def test_times_are_said_as_a_person_would(seconds, words):
    assert in_words(seconds) == words


def test_the_time_since_the_start_is_that_of_a_clock():
    assert [clock(seconds) for seconds in (7.9, 83, 3723)] == ["0:07 min", "1:23 min", "1:02:03 h"]


def test_the_cost_model_knows_every_job_and_learns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    costs = run.StudyCosts(TINY)
    counts = {
        "draw_dictionaries": 2,
        "run_pursuits": 6,
        "summarize_metrics": 2,
        "render_recovery": 1,
        "refine_sweep": 2,
    }
    for rule, count in counts.items():
        assert len(list(run._jobs(costs._sizes, rule))) == count, rule
        assert costs.all_seconds(rule, count) > 0
    before = costs.all_seconds("run_pursuits", 6)
    costs.add("run_pursuits", CHUNK, 1000.0)
    assert costs.all_seconds("run_pursuits", 6) > 3 * before
    assert costs.seconds("run_pursuits", {"experiment": "of another study"}) == 0.0


@pytest.mark.parametrize("name", ["config/config.yaml", "config/iterative.yaml", "config/smoke.yaml"])
def test_the_cost_model_knows_the_jobs_of_every_rule_of_a_study(name, monkeypatch):
    """An experiment may draw no signals, certify nothing or refine nothing."""
    monkeypatch.chdir(ROOT)
    costs = run.StudyCosts(name)
    plan = costs._sizes.plan
    for stage, rule in RULES.items():
        made = plan.members if stage == "dictionaries" else [
            path for experiment in plan.study.experiments for path in plan.files(stage, experiment)
        ]  # fmt: skip
        assert len(list(run._jobs(costs._sizes, rule))) == len(made), rule
        assert not made or costs.all_seconds(rule, len(made)) > 0


def test_the_plugin_passes_events_on_and_survives_a_reader_that_is_gone():
    path = ROOT / "workflow/logger/snakemake_logger_plugin_dcsc/__init__.py"
    specification = importlib.util.spec_from_file_location("plugin_of_ours", path)
    plugin = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(plugin)
    receiving, sending = os.pipe()
    handler = plugin.LogHandler(None, plugin.LogHandlerSettings(descriptor=sending))
    record = logging.LogRecord("snakemake", logging.INFO, "", 0, "Rule: x", (), None)
    record.event, record.jobid, record.rule_name, record.wildcards = "job_info", 3, "x", {"chunk": "0"}
    handler.emit(record)
    told = json.loads(os.read(receiving, 1 << 16))
    assert (told["event"], told["jobid"], told["rule_name"], told["wildcards"]) == ("job_info", 3, "x", {"chunk": "0"})
    os.close(receiving)
    handler.emit(record)
    handler.emit(record)
    os.close(sending)


SNAKEMAKE = """
import json, os, signal, subprocess, sys, time
descriptor = int(sys.argv[1])

def tell(**event):
    os.write(descriptor, (json.dumps(event) + chr(10)).encode())

def job(number, rule):
    tell(event="job_info", jobid=number, rule_name=rule, wildcards={})

print("what Snakemake prints", flush=True)
"""
"""What stands for Snakemake: tells events, and prints."""


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Run something in the place of Snakemake; its status and what was shown."""
    monkeypatch.chdir(tmp_path)
    starter = tmp_path / "start.py"
    starter.write_text(
        textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from dcsc.study import run
        run.command = lambda *given: [sys.executable, "fake.py", str(given[-1])]
        run.StudyCosts = None  # not known yet
        sys.exit(run.run("my.yaml"))
        """)
    )

    def start(script):
        (tmp_path / "fake.py").write_text(SNAKEMAKE + textwrap.dedent(script))
        return subprocess.Popen(
            [sys.executable, str(starter)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def kept(folder):
    (file,) = folder.glob("logs/runs/*.txt")
    return file.read_text()


def test_a_run_that_ends_well_is_a_line_a_stage(shown, tmp_path):
    running = shown("""
        tell(event="run_info", stats={"draw_dictionaries": 1, "run_pursuits": 1})
        for number, rule in enumerate(("draw_dictionaries", "run_pursuits")):
            job(number, rule)
            tell(event="job_finished", job_id=number)
    """)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
    first, dictionaries, pursuits, done, log = output.splitlines()
    assert "my.yaml" in first
    assert dictionaries.startswith("dictionaries ")
    assert "1 of 2 jobs (50 %)" in dictionaries
    assert pursuits.startswith("pursuits ")
    assert "2 jobs" in done
    assert "logs/runs/" in log
    assert "\r" not in output
    assert kept(tmp_path) == "what Snakemake prints\n"


def test_a_run_that_ends_before_any_job_says_why_and_keeps_the_status(shown):
    running = shown("print('error in the configuration: no seed.'); sys.exit(3)")
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 3
    assert "error in the configuration: no seed." in output.splitlines()
    running = shown("tell(event='error', message='MissingRuleException:' + chr(10) + 'No rule x'); sys.exit(1)")
    output, _ = running.communicate(timeout=60)
    assert "    No rule x" in output.splitlines()


def test_a_run_goes_on_when_it_cannot_be_shown(shown, tmp_path):
    running = shown("""
        tell(event="run_info", stats=3)
        time.sleep(1)
        for _ in range(1000):
            tell(event="run_info", stats={}, room="." * 1000)
        (__import__("pathlib").Path("finished")).touch()
    """)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
    assert "can't be shown" in output
    assert "Traceback" not in output
    assert (tmp_path / "finished").exists()


def test_a_second_run_says_that_there_is_nothing_to_do(shown):
    output, _ = shown("tell(event=None, message='Nothing to be done (all is there).')").communicate(timeout=60)
    assert [line for line in output.splitlines() if line.startswith("Nothing to be done")]


def test_it_is_not_said_that_there_is_nothing_to_do_when_snakemake_did_not_say_so(shown):
    output, _ = shown("print('Unlocked working directory.')").communicate(timeout=60)
    assert "Nothing to be done" not in output
    assert "    Unlocked working directory." in output.splitlines()


def test_an_interrupt_reaches_snakemake_once_and_its_jobs_and_its_status_is_kept(shown, tmp_path):
    running = shown("""
        count = 0

        def interrupted(number, frame):
            global count
            count += 1

        signal.signal(signal.SIGINT, interrupted)
        sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stderr=subprocess.DEVNULL)
        job(1, "run_pursuits")
        open("ready", "w").close()
        ended = sleeper.wait()  # in our group, so that the interrupt ends it
        tell(event="job_error", jobid=1, rule_name="run_pursuits", log=[])
        print("interrupts", count, "job", ended)
        sys.exit(7)
    """)
    limit = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < limit
        time.sleep(0.05)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 7
    assert "Stopped. What is finished is kept" in output
    assert "failed:" not in output
    assert "interrupts 1 job" in kept(tmp_path)


def test_on_a_terminal_one_line_is_written_anew():
    class Terminal:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

        def isatty(self):
            return True

    stream = Terminal()
    screen = run.Screen(stream)
    screen.status("x" * 500)
    screen.line("stage")
    assert stream.text.count("\n") == 1
    assert stream.text.startswith("\rxxx")
    assert len(stream.text) < 300
    assert stream.text.endswith("\r\x1b[Kstage\n")


def test_no_option_takes_what_belongs_to_another(monkeypatch):
    monkeypatch.chdir(ROOT)
    line = run.command("my.yaml", "2", ["figures"], ["--forcerun", "sample_signals"], 5)[3:]
    assert line[-4:] == ["--configfile", "my.yaml", "--", "figures"]
    assert line.index("--forcerun") < line.index("--configfile")


def test_what_follows_two_dashes_is_for_snakemake(monkeypatch):
    given = {}
    monkeypatch.setattr(run, "run", lambda *arguments, **options: given.update(options, given=arguments) or 0)
    command_line.main(["run", "figures", "--configfile", "my.yaml", "--", "--forcerun", "sample_signals"])
    assert given["given"] == ("my.yaml", ["figures"])
    assert given["further"] == ["--forcerun", "sample_signals"]
    assert given["cores"] is None


def test_a_profile_says_the_cores_unless_they_are_given(monkeypatch):
    monkeypatch.chdir(ROOT)
    profile = ["--workflow-profile", "profiles/slurm"]
    assert "--cores" not in run.command("my.yaml", None, [], profile)
    assert run.command("my.yaml", "3", [], profile).count("--cores") == 1
    assert "all" in run.command("my.yaml", None, [])
