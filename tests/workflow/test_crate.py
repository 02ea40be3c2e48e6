"""A finished study as a Workflow Run RO-Crate: valid, whole, the same every time; what is not finished is refused."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from dcsc import __main__ as command_line
from dcsc.store import provenance
from dcsc.study import config, crate, verify
from dcsc.study.plan import Plan
from dcsc.study.products import Products
from tests.workflow.support import TINY, digests

CONFIGURATION, DATE = "study.yaml", "2026-11-29"
NOT_TOLD = {
    "process-run-crate-0.5_3.2",  # addresses of packages
    "process-run-crate-0.5_5.1",
    "process-run-crate-0.5_8.4",  # when it ran: no clock is read
    "ro-crate-1.1_22.3",  # who publishes it, and of which institution
    "ro-crate-1.1_28.1",  # names by digest lead to no place
    "ro-crate-1.1_30.2",
    "ro-crate-1.1_30.3",
    "workflow-ro-crate-1.0_8.1",  # a profile of its own for descriptions of workflows
}
"""What is recommended, and is not known to a study."""


@pytest.fixture
def inside(study, monkeypatch):
    """A copy of the finished study, with its folder the current one."""
    pytest.importorskip("rocrate")
    study.command()
    monkeypatch.chdir(study.folder)
    return study


@pytest.fixture
def validator(monkeypatch, tmp_path):
    """The validator of RO-Crate without a network: the one context that it asks for is that which rocrate has."""
    services = pytest.importorskip("rocrate_validator.services")
    import requests
    import requests_cache
    import rocrate
    from rdflib.plugins.shared.jsonld import context

    # That of version 1.3 has all terms of 1.1, some of them with another address.
    text = Path(rocrate.__file__).with_name("data").joinpath("ro-crate.jsonld").read_text(encoding="utf-8")
    text = text.replace("bioschemas.org/terms/", "bioschemas.org/")

    def answered(_, method, url, **options):
        assert url == "https://w3id.org/ro/crate/1.1/context"
        answer = requests.Response()
        answer.url, answer.status_code, answer._content = url, 200, text.encode()
        answer.headers["Content-Type"] = "application/ld+json"
        return answer

    for session in (requests.Session, requests_cache.CachedSession):
        monkeypatch.setattr(session, "request", answered)
    monkeypatch.setattr(context, "source_to_json", lambda *_, **__: (json.loads(text), None))
    models = importlib.import_module("rocrate_validator.models")

    def issues(path):
        settings = services.ValidationSettings(
            rocrate_uri=str(path),
            profile_identifier="workflow-run-crate",
            requirement_severity=models.Severity.RECOMMENDED,
            cache_path=tmp_path / "cache",
        )
        return {issue.check.identifier: issue.message for issue in services.validate(settings).get_issues()}

    return issues


def exported(output, *options):
    code = command_line.main(["crate", str(output), "--configfile", CONFIGURATION, "--date", DATE, *options])
    assert code == 0
    return output


def entities(folder):
    graph = json.loads((folder / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    assert len({entity["@id"] for entity in graph}) == len(graph)
    return {entity["@id"]: entity for entity in graph}


def named(values):
    return {value["@id"] for value in (values if isinstance(values, list) else [values])}


def test_a_crate_is_valid_whole_and_can_be_run_again(inside, validator, monkeypatch, capsys):
    (inside.results / "mine.txt").write_text("not of the study")
    folder = exported(Path("out"), "--author", "A. Name", "--license", "CC-BY-4.0")
    assert capsys.readouterr().out == "out holds the study.\n"
    found = validator(folder)
    assert set(found) <= NOT_TOLD, found
    told = entities(folder)
    products = Products(Plan(config.load(CONFIGURATION))).all
    results = {f"{TINY['results']}/{path}" for path in products}
    assert named(told["#run"]["result"]) == results | {"provenance.json"}
    assert {CONFIGURATION, "#seed-of-the-study"} == named(told["#run"]["object"])
    assert told["#seed-of-the-study"]["value"] == "7"
    assert told["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert told["#run"]["agent"] == {"@id": "#author"}
    for name in results:
        assert told[name]["sha256"] == provenance.file_digest(folder / name)
    table = f"{TINY['results']}/figures/transition-recovery.csv"
    records = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    inputs = records["figures/transition-recovery.csv"]["inputs"]
    assert named(told[table]["isBasedOn"]) == {f"{TINY['results']}/{entry['path']}" for entry in inputs}
    versions = provenance.versions()
    software = named(told["workflow/Snakefile"]["softwareRequirements"])
    assert software == {f"pkg:pypi/{name}@{version}" for name, version in versions.items() if name != "snakemake"}
    assert not (folder / TINY["results"] / "mine.txt").exists()
    assert str(inside.folder) not in (folder / "ro-crate-metadata.json").read_text(encoding="utf-8")
    monkeypatch.chdir(folder)
    assert verify.verify(CONFIGURATION).findings == []
    newest = max(path.stat().st_mtime for name in ("dcsc", "scripts") for path in Path(name).rglob("*.py"))
    assert all(Path(name).stat().st_mtime > newest for name in results)  # else they would be made again


def test_datasets_can_be_named_by_their_digests_alone(inside, validator):
    archive = exported(Path("out.zip"), "--datasets", "by-digest")
    found = validator(archive)
    assert set(found) <= NOT_TOLD | {"ro-crate-1.1_22.2", "process-run-crate-0.5_8.6"}, found  # no author was told
    with zipfile.ZipFile(archive) as opened:
        opened.extractall("unpacked")
    told = entities(Path("unpacked"))
    assert not list(Path("unpacked").rglob("*.nc*"))
    datasets = [entity for entity in told.values() if entity["@id"].startswith("ni:///sha-256;")]
    products = [path for path in Products(Plan(config.load(CONFIGURATION))).all if path.endswith(".nc")]
    assert sorted(entity["name"] for entity in datasets) == sorted(f"{TINY['results']}/{path}" for path in products)
    assert all(provenance.file_digest(entity["name"]) == entity["sha256"] for entity in datasets)
    assert "named by their digests" in Path("unpacked/README.md").read_text(encoding="utf-8")


def test_two_exports_are_equal_byte_for_byte(inside):
    one, other = (exported(Path(f"{number}.zip")) for number in (1, 2))
    assert one.read_bytes() == other.read_bytes()
    with zipfile.ZipFile(one) as opened:
        packed = {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}
    assert packed == digests(exported(Path("folder")))


def refused(capsys, *options):
    arguments = ["crate", "out", "--configfile", CONFIGURATION, "--date", DATE, *options]
    assert command_line.main(arguments) == 1
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert not Path("out").exists() or Path("out").is_file()
    return text


def test_what_is_missing_unfinished_damaged_or_stale_is_refused_in_one_sentence(inside, capsys):
    table = inside.results / "figures/transition-recovery.csv"
    content = table.read_bytes()
    table.write_bytes(content + b"1")
    assert "1 files are not what the configuration" in refused(capsys)
    table.write_bytes(content)
    for path in inside.results.glob("figures/transition-*"):
        path.unlink()
    text = refused(capsys)
    assert "the study is not finished, 8 of its files are missing: figures/transition-recovery.pdf, " in text
    assert "and 3 more; run it first" in text
    shutil.rmtree(inside.results)
    assert "the results folder results-tiny does not exist: run the study first" in refused(capsys)


def test_another_configuration_is_refused(inside, capsys):
    inside.configured({**TINY, "seed": 8}).command()
    text = refused(capsys)
    assert "(stale: settings (seed))" in text
    assert "--forget deletes them, then run the study" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--date", "29.11.2026"], "the date '29.11.2026' is not allowed: give the day of publication as YYYY-MM-DD"),
        (["--date", "1979-01-01"], "the date '1979-01-01' is not allowed"),
        (["--license", "my own"], "the license 'my own' is not allowed"),
    ],
)
def test_what_the_user_tells_is_checked(inside, capsys, options, words):
    assert words in refused(capsys, *options)


def test_nothing_is_overwritten_and_a_missing_package_is_named(inside, capsys, monkeypatch):
    Path("out").write_text("mine")
    assert "out is there already: name another folder or file, or remove it" in refused(capsys)
    assert Path("out").read_text() == "mine"
    Path("out").unlink()
    monkeypatch.setitem(sys.modules, "rocrate", None)
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    assert "install dcsc[crate]" in refused(capsys)
    monkeypatch.undo()
    monkeypatch.chdir(inside.folder)
    monkeypatch.setattr(crate, "ROOT", inside.folder / "docs")
    assert "export from a checkout" in refused(capsys)


def test_what_a_study_does_not_keep_is_not_asked_for(inside):
    inside.configured({**TINY, "keep": {"signals": False}}).command()
    for path in inside.results.glob("*/signals"):
        shutil.rmtree(path)
    told = entities(exported(Path("out")))
    metrics = f"{TINY['results']}/accuracy/metrics/lapped-perturbation-0.1/000000.nc"
    assert f"{TINY['results']}/accuracy/pursuits/lapped-perturbation-0.1/000000.nc" in named(told[metrics]["isBasedOn"])
    assert not any("/signals/" in name for name in told)
