"""What goes wrong ends with one sentence that names the culprit and the remedy, and finished work is kept."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from copy import deepcopy

import netCDF4
import pytest

from dcsc.errors import UserError
from dcsc.study import config
from tests.workflow.support import TINY, Workflow, digests, rules_of

LAYER = ("cascades", "lapped", "layers", 0)
SIGNALS = ("experiments", "transition", "signals")
MISTAKES = {
    "misspelt key": ((*SIGNALS, "trails"), 8, "unknown key .*signals.trails: did you mean 'trials'?"),
    "negative trials": ((*SIGNALS, "trials"), -3, "trials = -3 is not allowed: .*greater than or equal to 1"),
    "fractional trials": ((*SIGNALS, "trials"), 2.5, "trials = 2.5 is not allowed: .*integer"),
    "boolean trials": ((*SIGNALS, "trials"), True, "trials = True is not allowed: .*number"),
    "unknown family": ((*LAYER, "family"), "perturbd", "cascades.lapped: .*'perturbd'.* did you mean 'perturbed'?"),
    "unknown base": ((*LAYER, "parameters", "base"), "laped", "'laped'.* did you mean 'lapped'?"),
    "grid that the stride does not divide": (("cascades", "lapped", "grid"), [66], "cascades.lapped: .*66.*stride"),
    "grid too short": (("cascades", "lapped", "grid"), [8], "cascades.lapped: .*8"),
    "missing file": (("plugins",), ["no/such.py"], "plugin no/such.py is not a Python file: give the path"),
}  # fmt: skip


def mistaken(path, value):
    configuration = deepcopy(TINY)
    part = configuration
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return configuration


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_configuration_is_named(name):
    path, value, message = MISTAKES[name]
    with pytest.raises(UserError, match=message.replace("?", r"\?")) as caught:
        config.validate(mistaken(path, value))
    assert "\n" not in str(caught.value)


def assert_one_sentence(code, output, *words):
    """Exit code and output of a run that a mistake ended."""
    assert code != 0
    assert "Traceback" not in output, output
    ours = {line for line in output.splitlines() if line.startswith("error")}
    assert ours, output
    for line in ours:
        assert all(word in line for word in words), line


@pytest.mark.parametrize("name", ["misspelt key", "unknown family"])
def test_a_mistake_in_the_configuration_stops_the_workflow_before_any_job(study, name):
    path, value, _ = MISTAKES[name]
    before = digests(study.results)
    code, output = study.configured(mistaken(path, value)).snakemake("--cores", "2")
    assert_one_sentence(code, output, "error in the configuration", "did you mean")
    assert digests(study.results) == before


COMMANDS = {
    "a missing configuration": (["--configfile", "missing.yaml"], "missing.yaml cannot be read"),
    "a configuration nested deeply": (["--configfile", "deep.yaml"], "nested too deeply"),
    "two configurations": (["--configfile", "config/smoke.yaml", "config/iterative.yaml"], "name one"),
    "a key without a value": (["--config", "seed"], "give key=value"),
    "a part of a configuration": (["--configfile", "part.yaml"], "missing key cascades"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_what_snakemake_could_not_read_is_said_before_it_does(clone, tmp_path, name):
    arguments, words = COMMANDS[name]
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 3000 + "]" * 3000, encoding="utf-8")
    (tmp_path / "part.yaml").write_text("seed: 3\n", encoding="utf-8")
    here = ("deep.yaml", "part.yaml")
    arguments = [str(tmp_path / argument) if argument in here else argument for argument in arguments]
    code, output = Workflow(clone).execute([sys.executable, "-m", "snakemake", "-n", *arguments])
    assert_one_sentence(code, output, "error in the configuration: ", words)


def test_a_damaged_record_of_snakemake_is_named_with_what_to_delete(study):
    made = study.results / "dictionaries/lapped-perturbation-0.1.nc"
    name = base64.urlsafe_b64encode(f"{study.results.name}/dictionaries/{made.name}".encode()).decode()
    record = study.folder / ".snakemake/metadata" / name
    record.write_text(record.read_text(encoding="utf-8")[:40], encoding="utf-8")
    code, output = study.snakemake("-n")
    assert_one_sentence(code, output, f"metadata/{name} is damaged: delete it and", made.name)
    record.unlink()
    made.unlink()
    assert "draw_dictionaries" in rules_of(study.planned())


def truncate(file):
    file.write_bytes(file.read_bytes()[:-300])


def truncate_and_sign(file):
    truncate(file)
    sign(file)


def sign(file):
    text = f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
    file.with_name(f"{file.name}.sha256").write_text(text, encoding="utf-8")


def other_stage(file):
    shutil.copyfile(file.parents[1] / "pursuits" / "lapped-perturbation-0.1" / "000000.nc", file)
    sign(file)


def older_version(file):
    with netCDF4.Dataset(file, "a") as dataset:
        version = json.loads(dataset.provenance)["version"]
        dataset.provenance = dataset.provenance.replace(f'"version":{version}', '"version":0')
    sign(file)


def edited_by_hand(file):
    with netCDF4.Dataset(file, "a") as dataset:
        dataset["recovered"][:] = 0


DAMAGES = {
    truncate: "damaged: it has",
    truncate_and_sign: "the digest beside it is damaged",
    other_stage: "the digest beside it is damaged",
    older_version: "the digest beside it is damaged",
    edited_by_hand: "is not what was written",  # of the same size: seen by the job that reads it
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_intermediate_is_named_and_the_rest_kept(study, damage):
    file = study.results / "accuracy/metrics/summary.nc"
    damage(file)
    before = digests(study.results / "transition")
    code, output = study.snakemake("--cores", "1", "accuracy")
    assert_one_sentence(code, output, "accuracy/metrics/summary.nc", DAMAGES[damage], "delete")
    assert digests(study.results / "transition") == before
    if damage is truncate:
        file.unlink()
        study.run("accuracy")


def can_unshare():
    tool = shutil.which("unshare")
    return bool(tool) and subprocess.run([tool, "-m", "true"], capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(not can_unshare(), reason="unshare -m is not permitted here")


def mounted(study, mount, *arguments):
    """Run Snakemake with something mounted on the results folder, then list what it holds."""
    script = f'{mount}\n"$@" 2>&1; code=$?; echo; find {study.results} -type f | sed "s/^/kept /"; exit $code'
    return study.execute(["unshare", "-m", "bash", "-c", script, "bash", *study.command("--cores", "1", *arguments)])


@needs_mounts
def test_a_read_only_results_folder_is_named_before_any_job(study):
    for figure in study.results.glob("figures/accuracy-*"):  # of one that exists, Snakemake says so itself
        figure.unlink()
    folder = study.results
    mount = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}"
    code, output = mounted(study, mount)
    assert_one_sentence(code, output, "results-tiny", "cannot be written", "make it writable")
    assert study.planned() != []  # a plan needs no writing, and no lock is left
    study.run()


@needs_mounts
def test_a_results_folder_that_turns_read_only_during_the_run_is_one_sentence(study):
    shutil.rmtree(study.results)
    study.results.mkdir()
    folder = study.results
    mount = (
        f"mount --bind {folder} {folder}\n"
        f"( until ls {folder}/dictionaries/*.nc; do sleep 0.05; done; mount -o remount,ro,bind {folder} ) >&2 &"
    )
    code, output = mounted(study, mount, "dictionaries")
    assert_one_sentence(code, output, "results-tiny", "Read-only file system")
    assert "kept " in output
    study.run("dictionaries")


@needs_mounts
def test_a_full_disk_is_said_to_be_full_and_finished_work_is_kept(study):
    shutil.rmtree(study.results)
    study.results.mkdir()
    mount = f"mount -t tmpfs -o size=48k tmpfs {study.results}"
    code, output = mounted(study, mount, "dictionaries")
    assert_one_sentence(code, output, "results-tiny/", "the disk is full", "free space")
    kept = [line for line in output.splitlines() if line.startswith("kept ")]
    assert len(kept) == 2  # one dataset and its digest, and nothing half written


def test_a_library_edited_during_a_run_is_refused(study):
    plugin = study.folder / "edit.py"
    plugin.write_text(
        "import os, pathlib\n"
        "if os.environ.get('EDIT'):\n"
        "    with pathlib.Path('dcsc/ragged.py').open('a') as file:\n"
        "        file.write('# a remark\\n')\n",
        encoding="utf-8",
    )
    edited = study.configured({**TINY, "plugins": ["edit.py"]})
    code, output = edited.execute(["env", "EDIT=1", *edited.command("--cores", "1", "dictionaries")])
    assert_one_sentence(code, output, "changed after the workflow started", "run again")


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups here")
@pytest.mark.slow
def test_a_killed_run_is_resumed(study):
    before = digests(study.results)
    shutil.rmtree(study.results)
    running = subprocess.Popen(
        study.command("--cores", "2"), cwd=study.folder, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(timeout=8)
    finally:
        os.killpg(running.pid, 9)
        running.wait()
    study.snakemake("--unlock")
    study.run()
    after = digests(study.results)
    assert {name for name in before if before[name] != after.get(name)} == set()
