"""What others are told of the project agrees: versions, dependencies, citation, catalog, forms for issues."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from flit_core import buildapi

import dcsc

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
CONDA_NAMES = {"snakemake": "snakemake-minimal"}
OF_CITATION = {"cff-version", "message", "title", "abstract", "type", "authors", "version", "license", "keywords"}
OF_CITATION |= {"references", "identifiers", "date-released", "doi", "repository-code", "url", "preferred-citation"}
OF_REFERENCE = {"type", "title", "authors", "year", "journal", "volume", "issue", "start", "end", "doi", "identifiers"}
"""Keys of the Citation File Format 1.2.0 that are of use here."""


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_told_once(tmp_path, monkeypatch):
    assert re.fullmatch(r"\d+\.\d+\.\d+(rc\d+|\.dev\d+)?", dcsc.__version__)
    assert "version" in PROJECT["project"]["dynamic"]
    assert str(CITATION["version"]) == dcsc.__version__
    newest = re.search(r"^## (\S+?),? (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert newest[1] == dcsc.__version__
    is_released = re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2]) is not None
    assert is_released or newest[2] == "not yet released"
    assert is_released == ("date-released" in CITATION)
    monkeypatch.chdir(ROOT)
    (metadata,) = (tmp_path / buildapi.prepare_metadata_for_build_wheel(str(tmp_path))).glob("METADATA")
    assert f"\nVersion: {dcsc.__version__}\n" in metadata.read_text(encoding="utf-8")


def test_the_environment_of_conda_is_what_the_package_needs():
    needed = dict(entry.split(">=") for entry in PROJECT["project"]["dependencies"])
    listed = yaml.safe_load(read("workflow/envs/dcsc.yaml"))["dependencies"]
    given = dict(re.split(r" ?>=", entry) for entry in listed)
    assert given.pop("python") == PROJECT["project"]["requires-python"].removeprefix(">=")
    assert given == {CONDA_NAMES.get(name, name): version for name, version in needed.items()}


def test_the_citation_follows_its_format():
    assert CITATION["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(CITATION) <= OF_CITATION
    assert CITATION["type"] == "software"
    assert CITATION["license"] == PROJECT["project"]["license"]
    for entry in CITATION["references"]:
        assert {"type", "title", "authors"} <= set(entry) <= OF_REFERENCE
        assert isinstance(entry["year"], int)
    people = [*CITATION["authors"], *(person for entry in CITATION["references"] for person in entry["authors"])]
    assert all(set(person) in ({"name"}, {"family-names", "given-names"}) for person in people)


def test_the_catalog_finds_what_it_asks_for():
    usage = yaml.safe_load(read(".snakemake-workflow-catalog.yml"))["usage"]
    assert set(usage) <= {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    assert usage["software-stack-deployment"]["conda"] is usage["software-stack-deployment"]["report"] is True
    assert all((ROOT / name).is_file() for name in ("workflow/Snakefile", "config/README.md", "config/config.yaml"))
    assert {"snakemake", "workflow"} <= set(re.findall(r"\w+", read("README.md").lower()))


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem)
def test_the_forms_for_issues_are_forms(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.stem == "config":
        assert set(form) <= {"blank_issues_enabled", "contact_links"}
        return
    assert {"name", "description", "body"} <= set(form) <= {"name", "description", "body", "labels", "title"}
    ids = [entry["id"] for entry in form["body"]]
    assert len(set(ids)) == len(ids)
    for entry in form["body"]:
        assert entry["type"] in {"input", "textarea", "dropdown"}
        assert entry["attributes"]["label"]


def test_people_are_told_how_to_treat_each_other():
    assert "CODE_OF_CONDUCT.md" in read("CONTRIBUTING.md")
