"""Finished work is checked, not believed: whatever is damaged, exchanged or out of date is named before it is used."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import sys
from copy import deepcopy

import netCDF4
import pytest
import yaml

from dcsc import __main__ as command_line
from dcsc.errors import UserError
from dcsc.store import dataset, provenance, schemas
from dcsc.store.inputs import Inputs
from dcsc.study import config, verify
from dcsc.study.plan import Plan
from dcsc.study.workflow_plan import PlannedJob
from tests.workflow.support import ROOT, TINY, Workflow, copy_of_repository, digests

CONFIGURATION = "study.yaml"


@pytest.fixture
def inside(study, monkeypatch):
    """A copy of the finished study, with its folder the current one."""
    study.command()
    monkeypatch.chdir(study.folder)
    return study


def changed(*path_and_value):
    *path, last, value = path_and_value
    configuration = deepcopy(TINY)
    part = configuration
    for key in path:
        part = part[key]
    part[last] = value
    return configuration


def states(found):
    return {finding.path: finding.state for finding in found.findings}


def look():
    return verify.verify(CONFIGURATION)


def test_a_finished_study_is_of_today_and_every_file_of_it_is_looked_at(inside, capsys):
    found = look()
    assert found.findings == []
    assert found.n_files == len(digests(inside.results))
    assert command_line.main(["verify", "--configfile", CONFIGURATION]) == 0
    well = "all are what the configuration, the code and the inputs of today make"
    assert capsys.readouterr().out == f"{found.n_files} files of results-tiny: {well}.\n"


def kinds_of(results):
    """Files by stage; a table or dataset stands for what lies beside it."""
    files = sorted(path for path in results.rglob("*") if path.suffix in (".nc", ".csv", ".png", ".svg", ".pdf"))
    kinds = {}
    for path in files:
        kind = next((name for name in schemas.SCHEMAS if name in path.parts), "figures")
        kind = "summary" if path.stem == "summary" else kind
        kinds.setdefault((kind, path.suffix), []).append(path)
    return kinds


def exchanged(one, other):
    """Exchange two files, each with what lies beside it."""
    for suffix in ("", ".sha256", "-metadata.json"):
        first, second = one.with_name(one.name + suffix), other.with_name(other.name + suffix)
        if first.exists():
            between = first.with_name(f"{first.name}.between")
            first.rename(between)
            second.rename(first)
            between.rename(second)


def rounds_of(files):
    """All pairs, in rounds in which no file stands twice."""
    pairs = list(itertools.combinations(files, 2))
    while pairs:
        chosen, used = [], set()
        for pair in pairs:
            if not used & set(pair):
                chosen.append(pair)
                used |= set(pair)
        pairs = [pair for pair in pairs if pair not in chosen]
        yield chosen


def read(results, path):
    """Read a file as a job would."""
    inputs = Inputs(results)
    if path.suffix == ".csv":
        return inputs.read_table(path)
    kind = "summary" if path.stem == "summary" else next(name for name in schemas.SCHEMAS if name in path.parts)
    return inputs.read(path, schemas.SCHEMAS[kind])


def check_exchanges(results):
    """Exchange every pair of files of one stage, in rounds in which no file moves twice."""
    rounds = {kind: list(rounds_of(files)) for kind, files in kinds_of(results).items()}
    for number in range(max(map(len, rounds.values()))):
        pairs = [pair for of_kind in rounds.values() for pair in of_kind[number : number + 1] for pair in pair]
        for pair in pairs:
            exchanged(*pair)
        moved = {path for pair in pairs for path in pair}
        found = states(look())
        for path in moved:
            assert found[path.relative_to(results).as_posix()] == verify.FOREIGN
            if path.suffix in (".nc", ".csv"):
                with pytest.raises(UserError, match="is another file, it was written as"):
                    read(results, path)
        for pair in pairs:
            exchanged(*pair)
    n_pairs = sum(len(pairs) for of_kind in rounds.values() for pairs in of_kind)
    assert n_pairs == sum(len(files) * (len(files) - 1) // 2 for files in kinds_of(results).values())
    assert look().findings == []


def test_any_two_files_of_one_stage_that_were_exchanged_are_found(inside):
    kinds = {kind for kind, _ in kinds_of(inside.results)}
    assert kinds == {*schemas.SCHEMAS, "figures"} - {"certificate", "planted"}
    check_exchanges(inside.results)


@pytest.mark.slow
def test_any_two_files_of_the_smoke_study_that_were_exchanged_are_found(tmp_path, monkeypatch):
    configuration = yaml.safe_load(ROOT.joinpath("config/smoke.yaml").read_text(encoding="utf-8"))
    del configuration["claims"]  # the page about them is made from texts of the copy, and verified by those of ROOT
    smoke = Workflow(copy_of_repository(tmp_path), configuration)
    smoke.run()
    monkeypatch.chdir(smoke.folder)
    check_exchanges(smoke.results)


def owner_of(name):
    """The file that a line of the verdict is about."""
    return name.removesuffix(".sha256").removesuffix("-metadata.json")


def check_damages(study, number, seed):
    """Change single bytes, in rounds in which a file and what lies beside it are damaged once."""
    rng = random.Random(seed)
    contents = digests(study.results)
    done = 0
    while done < number:
        names = list(contents)
        rng.shuffle(names)
        chosen = {owner_of(name): name for name in names}
        chosen = dict(list(chosen.items())[: number - done])
        for name in chosen.values():
            damaged = bytearray(contents[name])
            damaged[rng.randrange(len(damaged))] ^= rng.randrange(1, 256)
            (study.results / name).write_bytes(damaged)
        found = states(look())
        missed = [name for owner, name in chosen.items() if found.get(owner) != verify.DAMAGED]
        assert missed == []
        for owner, name in chosen.items():
            path = study.results / owner
            if path.suffix in (".nc", ".csv"):
                try:  # of the remark beside a dataset a job reads nothing
                    read(study.results, path)
                    assert name.endswith(".sha256")
                except UserError:
                    pass
        for name in chosen.values():
            (study.results / name).write_bytes(contents[name])
        done += len(chosen)
    assert look().findings == []


def test_damaged_bytes_are_found(inside):
    check_damages(inside, 80, seed=0)


@pytest.mark.slow
def test_500_damaged_bytes_are_found(inside):
    check_damages(inside, 500, seed=1)


def test_what_is_truncated_lost_or_in_the_way_is_found(inside):
    results = inside.results
    cut = [
        "dictionaries/lapped-perturbation-0.1.nc",
        "figures/transition-recovery.svg",
        "figures/accuracy-local-snr.csv",
    ]
    for name in cut:
        os.truncate(results / name, (results / name).stat().st_size - 1)
    empty = "figures/transition-recovery.csv-metadata.json"
    (results / empty).write_bytes(b"")
    (results / "transition/metrics/summary.nc").unlink()
    (results / "accuracy/metrics/summary.nc.sha256").unlink()
    (results / "notes.txt").write_text("mine")
    assert states(look()) == {
        **dict.fromkeys(cut, verify.DAMAGED),
        owner_of(empty): verify.DAMAGED,
        "transition/metrics/summary.nc": verify.MISSING,
        "accuracy/metrics/summary.nc": verify.DAMAGED,
        "notes.txt": verify.FOREIGN,
    }


def signed(path):
    provenance.sidecar(path).write_text(f"{provenance.file_digest(path)}  {path.name}\n")


def test_a_dataset_that_was_edited_and_signed_is_found_by_itself_and_by_what_was_made_from_it(inside):
    path = inside.results / "accuracy/metrics/summary.nc"
    with netCDF4.Dataset(path, "a") as opened:
        opened["recovered"][:] = 0
    signed(path)
    assert states(look())["accuracy/metrics/summary.nc"] == verify.DAMAGED
    tree = dataset.read(path, schemas.SUMMARY)
    dataset.write(tree, path, dataset.record_of(tree, path))  # and with all that lies beside it
    found = look()
    assert set(states(found)) == {f"figures/accuracy-local-snr.{suffix}" for suffix in ("pdf", "svg", "png", "csv")}
    assert "made from another version of (accuracy/metrics/summary.nc)" in found.findings[0].reason
    forgotten = verify.verify(CONFIGURATION, forget=True).forgotten
    assert "accuracy/metrics/summary.nc" in forgotten


def test_results_of_the_format_before_are_older(inside):
    path = inside.results / "transition/sweeps/lapped-perturbation-0.1.nc"
    with netCDF4.Dataset(path, "a") as opened:
        record = json.loads(opened.provenance)
        del record["path"], record["versions"]
        opened.provenance = provenance.canonical(record)
    signed(path)
    found = {finding.path: finding for finding in look().findings}
    assert found["transition/sweeps/lapped-perturbation-0.1.nc"].state == verify.STALE
    assert "an older version of dcsc" in found["transition/sweeps/lapped-perturbation-0.1.nc"].reason


STALE = {
    "seed": (changed("seed", 8), "dictionaries/lapped-perturbation-0.1.nc", "settings (seed)"),
    "trials": (
        changed("experiments", "transition", "signals", "trials", 41),
        "transition/signals/lapped-perturbation-0.4/000001.nc",
        "settings (trials)",
    ),
    "a chunk less": (
        changed("experiments", "transition", "signals", "trials", 20),
        "transition/metrics/summary.nc",
        "inputs, no longer made from",
    ),
    "palette": (changed("style", {"palette": "deep"}), "figures/accuracy-local-snr.pdf", "settings (style)"),
}


@pytest.mark.parametrize("name", STALE)
def test_what_another_configuration_made_is_stale_and_says_why(inside, name):
    configuration, path, reason = STALE[name]
    inside.configured(configuration).command()
    found = {finding.path: finding for finding in look().findings}
    assert found[path].state == verify.STALE
    assert reason in found[path].reason
    assert all(finding.state in (verify.STALE, verify.FOREIGN) for finding in found.values())


def test_what_another_library_made_is_stale_and_json_names_the_module(inside):
    with (inside.folder / "dcsc/figures/local_snr.py").open("a", encoding="utf-8") as file:
        file.write("# a remark\n")
    command = [sys.executable, "-m", "dcsc", "verify", "--configfile", CONFIGURATION, "--json"]
    code, output = inside.execute(command)
    found = json.loads(output)
    assert code == 1
    assert not found["verified"]
    assert {finding["path"].partition(".")[0] for finding in found["findings"]} == {"figures/accuracy-local-snr"}
    assert {finding["reason"] for finding in found["findings"]} == {"code (dcsc/figures/local_snr.py)"}


def test_what_depends_on_what_is_stale_is_stale(inside):
    inside.configured(changed("cascades", "lapped", "vary", "parameter", "perturbation")).command()
    one = inside.results / "dictionaries/lapped-perturbation-0.1.nc"
    tree = dataset.read(one, schemas.DICTIONARIES)
    record = dataset.record_of(tree, one)
    record["settings"]["seed"] = 8
    record["settings_digest"] = provenance.digest(record["settings"])
    dataset.write(tree, one, record)
    found = {finding.path: finding.reason for finding in look().findings}
    assert found["dictionaries/lapped-perturbation-0.1.nc"] == "settings (seed)"
    assert "made from what is stale" in found["accuracy/signals/lapped-perturbation-0.1/000000.nc"]
    assert "accuracy/signals/lapped-perturbation-0.4/000000.nc" not in found


def other_versions(monkeypatch):
    present = {**provenance.versions(), "numpy": "0.0"}
    recorded = provenance.versions()["numpy"]
    monkeypatch.setattr(provenance, "versions", lambda *_: present)
    return f"numpy {recorded}, now 0.0"


def test_another_version_is_told_and_counts_where_the_configuration_is_strict(inside, monkeypatch, capsys):
    change = other_versions(monkeypatch)
    assert command_line.main(["verify", "--configfile", CONFIGURATION]) == 0
    assert change in capsys.readouterr().out
    start(TINY, monkeypatch, [])
    assert f"note: some results were made with {change}; they are kept" in capsys.readouterr().err
    inside.configured({**TINY, "strict_versions": True}).command()
    found = look()
    assert len(states(found)) == sum(1 for name in digests(inside.results) if owner_of(name) == name)
    assert found.findings[0].reason == f"versions ({change})"


def start(configuration, monkeypatch, planned):
    """The look at the start of a run, where Snakemake would plan some jobs."""
    jobs = planned and [PlannedJob("any", {}, tuple(planned))]
    monkeypatch.setattr("dcsc.study.workflow_plan.planned_jobs", lambda _: jobs)
    verify.check_start(Plan(config.validate(configuration)), configuration, CONFIGURATION)


@pytest.mark.parametrize("name", STALE)
def test_a_run_does_not_keep_what_snakemake_has_no_notes_of(inside, monkeypatch, name):
    configuration = STALE[name][0]
    start(configuration, monkeypatch, None)  # Snakemake has notes: nothing needs to be asked
    shutil.rmtree(inside.folder / ".snakemake/metadata")
    start(TINY, monkeypatch, None)
    with pytest.raises(UserError, match=r"Snakemake would keep them, such as .*verify --configfile study\.yaml names"):
        start(configuration, monkeypatch, [])
    start(configuration, monkeypatch, [str(path.relative_to(inside.folder)) for path in inside.results.rglob("*")])


def test_a_run_sees_a_truncated_or_replaced_file(inside, monkeypatch):
    path = inside.results / "dictionaries/lapped-perturbation-0.1.nc"
    content = path.read_bytes()
    os.truncate(path, 100)
    os.utime(path, (2e9, 2e9))
    with pytest.raises(UserError, match=f"damaged: it has 100 bytes instead of {len(content)}"):
        start(TINY, monkeypatch, [])
    path.write_bytes(content)
    exchanged(path, path.with_name("lapped-perturbation-0.4.nc"))
    for name in ("lapped-perturbation-0.1.nc", "lapped-perturbation-0.4.nc"):
        os.utime(path.with_name(name), (2e9, 2e9))
    with pytest.raises(UserError, match=r"2 files .*foreign: it was written as"):
        start(TINY, monkeypatch, [])


def test_a_changed_seed_does_not_end_in_nothing_to_be_done(study):
    shutil.rmtree(study.folder / ".snakemake/metadata")
    before = digests(study.results)
    other = study.configured(changed("seed", 8))
    code, output = other.snakemake("--cores", "1")
    assert code != 0
    assert "Nothing to be done" not in output
    assert "Traceback" not in output
    assert "error: " in output
    assert "python -m dcsc verify --configfile study.yaml" in output
    assert digests(study.results) == before


def test_what_is_forgotten_is_made_again_with_the_same_bytes(study):
    results = study.results
    before = digests(results)
    (results / "mine.txt").write_text("mine")
    (results / "dictionaries/.x.12.partial.nc").write_bytes(b"half")
    for name in ("accuracy/metrics/lapped-perturbation-0.1/000000.nc", "figures/transition-recovery.png"):
        content = bytearray((results / name).read_bytes())
        content[len(content) // 2] ^= 1
        (results / name).write_bytes(content)
    study.command()
    command = [sys.executable, "-m", "dcsc", "verify", "--configfile", CONFIGURATION]
    code, output = study.execute([*command, "--forget"])
    assert code == 1  # of what no rule makes, it only tells
    assert "foreign  mine.txt: no rule makes it" in output
    (results / "mine.txt").unlink()
    assert len(digests(results)) == len(before) - 3
    code, output = study.execute([*command, "--forget"])
    assert code == 0, output
    study.run()
    assert digests(results) == before
    assert study.execute(command)[0] == 0
