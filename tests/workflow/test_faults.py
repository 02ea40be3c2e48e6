"""Whatever interrupts a run, the same command, or the one that the message names, ends with the undisturbed bytes."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from copy import deepcopy

import psutil
import pytest

from tests.workflow.support import TINY, Workflow, copy_of_repository, digests, environment
from tests.workflow.test_errors import needs_mounts, truncate

pytestmark = pytest.mark.slow

HOLDING = """
import os, pathlib, sys, time

wanted, folder = os.environ.get("HOLD", ""), pathlib.Path(os.environ.get("HOLD_FOLDER", "."))
if wanted and sys.argv[0].endswith(f"{wanted}.py"):
    folder.joinpath(f"{os.getpid()}.held").touch()
    while not folder.joinpath("go").exists():
        time.sleep(0.1)
"""
"""A plugin that stops a job of a chosen stage in its middle until a file is there."""


def small():
    """One cascade through every stage."""
    configuration = deepcopy(TINY)
    del configuration["cascades"]["lapped"]["vary"]
    configuration["cascades"]["lapped"]["layers"][0]["parameters"]["perturbation"] = 0.3
    configuration["experiments"] = {"accuracy": configuration["experiments"]["accuracy"]}
    return configuration | {"plugins": ["holding.py"]}


@pytest.fixture(scope="session")
def undisturbed(once) -> Workflow:
    """The small study, run once without faults."""

    def work(folder):
        study = Workflow(copy_of_repository(folder), small())
        (folder / "holding.py").write_text(HOLDING, encoding="utf-8")
        study.run()

    return Workflow(once("undisturbed", work), small())


@pytest.fixture
def expected(undisturbed):
    return digests(undisturbed.results)


@pytest.fixture
def fresh(tmp_path) -> Workflow:
    """The same study, to be run with faults."""
    study = Workflow(copy_of_repository(tmp_path / "study"), small())
    (study.folder / "holding.py").write_text(HOLDING, encoding="utf-8")
    return study


class Held:
    """A run that stops in the middle of one stage's job."""

    def __init__(self, study, stage):
        self._folder = study.folder
        variables = {"HOLD": stage, "HOLD_FOLDER": str(study.folder)}
        with (study.folder / "held.txt").open("w") as output:
            self.controller = subprocess.Popen(
                study.command("--cores", "1"), cwd=study.folder, env=environment() | variables,
                stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                # A shell makes what it runs in the background, and its children, ignore an interrupt.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )  # fmt: skip
        self.job = self._job()

    def _job(self):
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            held = list(self._folder.glob("*.held"))
            if held:
                return int(held[0].stem)
            assert self.controller.poll() is None, (self._folder / "held.txt").read_text()
            time.sleep(0.1)
        raise AssertionError("no job was held")

    @property
    def job_is_alive(self):
        try:
            os.kill(self.job, 0)
        except ProcessLookupError:
            return False
        return True

    def release(self):
        (self._folder / "go").touch()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.release()
        for _ in range(600):
            if not self.job_is_alive and self.controller.poll() is not None:
                return
            time.sleep(0.1)
        self.controller.kill()


def test_two_runs_at_once_and_a_killed_controller_whose_job_keeps_writing(fresh, expected):
    with Held(fresh, "sample_signals") as held:
        before = digests(fresh.results)
        code, output = fresh.snakemake("--cores", "1")  # a second run beside the first
        assert code != 0
        assert "--unlock" in output
        assert digests(fresh.results) == before

        held.controller.kill()  # -9: the job lives on
        held.controller.wait()
        assert held.job_is_alive
        code, output = fresh.snakemake("--cores", "1")
        assert code != 0
        assert "--unlock" in output
        assert fresh.snakemake("--unlock")[0] == 0
        fresh.run()  # and not --rerun-incomplete: the profile has it
        assert held.job_is_alive
        assert digests(fresh.results) == expected
    assert digests(fresh.results) == expected  # after the job of the killed run wrote its output
    assert fresh.planned() == []


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["draw_dictionaries", "run_pursuits"])
def test_a_killed_job_is_done_by_the_same_command(fresh, expected, stage):
    with Held(fresh, stage) as held:
        os.kill(held.job, signal.SIGKILL)
        assert held.controller.wait(timeout=120) != 0
    fresh.run()
    assert digests(fresh.results) == expected


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_finished_by_the_same_command(fresh, expected, number):
    with Held(fresh, "run_pursuits") as held:
        held.controller.send_signal(number)
        time.sleep(1)
        held.release()
        assert held.controller.wait(timeout=120) != 0
    fresh.run()
    assert digests(fresh.results) == expected


TRUNCATED = [
    "dictionaries/lapped.nc",
    "accuracy/signals/lapped/000000.nc",
    "accuracy/pursuits/lapped/000000.nc",
    "accuracy/metrics/lapped/000000.nc",
    "figures/accuracy-local-snr.csv",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUNCATED)
def test_a_truncated_file_is_made_again_once_it_is_deleted_as_the_message_says(undisturbed, expected, tmp_path, name):
    study = undisturbed.copied(tmp_path / "study")
    file = study.results / name
    truncate(file)
    code, output = study.snakemake("--cores", "1")
    if code == 0:  # nothing reads a figure's table: the trace of it tells
        code, output = study.execute(
            [
                *study.command()[:1],
                "-m",
                "dcsc",
                "trace",
                str(file.relative_to(study.folder)),
                "--results",
                "results-tiny",
            ]
        )
        assert code != 0
    else:
        assert re.search(rf"error: .*{re.escape(name)}.*delete", output), output
    file.unlink()
    study.run()
    assert digests(study.results) == expected


@needs_mounts
@pytest.mark.slow
def test_a_run_that_filled_the_disk_goes_on_once_there_is_space(fresh, expected, tmp_path):
    fresh.results.mkdir()
    saved = tmp_path / "saved"
    command = fresh.command("--cores", "1")
    script = (
        f'mount -t tmpfs -o size=60k tmpfs {fresh.results} && "$@" > full.txt 2>&1 && exit 9\n'
        f'mount -o remount,size=64m {fresh.results} && "$@" && cp -r {fresh.results} {saved}'
    )
    code, output = fresh.execute(["unshare", "-m", "bash", "-c", script, "bash", *command])
    said = (fresh.folder / "full.txt").read_text(encoding="utf-8")
    assert code == 0, said + output
    assert "the disk is full" in said
    assert "Traceback" not in said
    assert digests(saved) == expected


ROUNDS = 25


def lose_files(study, rng):
    files = sorted(path for path in study.results.rglob("*") if path.is_file())
    for path in rng.sample(files, rng.randrange(1, 6)):
        path.unlink()


def lose_a_folder(study, rng):
    folders = sorted(path for path in study.results.rglob("*") if path.is_dir())
    shutil.rmtree(rng.choice([*folders, study.folder / ".snakemake/metadata", study.folder / "logs"]))


def damage_files(study, rng):
    files = sorted(path for path in study.results.rglob("*") if path.is_file())
    for path in rng.sample(files, rng.randrange(1, 6)):
        content = bytearray(path.read_bytes())
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
        path.write_bytes(content)


def truncate_a_file(study, rng):
    path = rng.choice(sorted(path for path in study.results.rglob("*") if path.is_file()))
    os.truncate(path, rng.randrange(path.stat().st_size))


def run_in_part(study, rng, kill):
    """Lose some files, begin a run, and kill some of its processes after a while."""
    lose_files(study, rng)
    lose_a_folder(study, rng)
    with (study.folder / "killed.txt").open("w") as output:
        controller = subprocess.Popen(
            study.command("--cores", "2"), cwd=study.folder, env=environment(),
            stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    time.sleep(rng.uniform(1, 12))
    children = []
    try:
        children = psutil.Process(controller.pid).children(recursive=True)
        kill(controller, children)
    except psutil.NoSuchProcess:
        pass  # it was quicker
    controller.wait(timeout=300)
    psutil.wait_procs(children, timeout=300)  # what a killed controller leaves behind keeps writing


def kill_the_controller(study, rng):
    run_in_part(study, rng, lambda controller, _: controller.kill())


def kill_the_jobs(study, rng):
    run_in_part(study, rng, lambda _, children: [child.kill() for child in children])


def kill_everything(study, rng):
    run_in_part(study, rng, lambda controller, children: [process.kill() for process in (controller, *children)])


FAULTS = (
    lose_files, lose_a_folder, damage_files, truncate_a_file, kill_the_controller, kill_the_jobs, kill_everything
)  # fmt: skip


def test_rounds_of_random_faults_end_in_identical_bytes(undisturbed, expected, tmp_path):
    rng = random.Random(18)
    study = undisturbed.copied(tmp_path / "study")
    study.command()
    verify = [sys.executable, "-m", "dcsc", "verify", "--configfile", "study.yaml"]
    for number in range(ROUNDS):
        fault = FAULTS[number] if number < len(FAULTS) else rng.choice(FAULTS)
        fault(study, rng)
        study.snakemake("--unlock")
        code, output = study.execute([*verify, "--forget"])
        assert code == 0, (number, fault.__name__, output)
        study.run()
        assert digests(study.results) == expected, (number, fault.__name__)
        code, output = study.execute(verify)
        assert code == 0, (number, fault.__name__, output)
