"""
A finished study as a Workflow Run RO-Crate: configuration, code, inputs, results and versions, for others to read.

The vocabulary is that of the profiles Workflow RO-Crate 1.0 and Workflow Run Crate 0.5 of RO-Crate 1.1. All is read
from the records of the results; there is no clock in it but the date that the user gives, so that two exports are equal
byte for byte.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dcsc.errors import UserError, shown
from dcsc.store import provenance
from dcsc.study import config, trace, verify
from dcsc.study.options.study import Study
from dcsc.study.plan import Plan
from dcsc.study.products import Product, Products

if TYPE_CHECKING:
    from rocrate.rocrate import ROCrate

ROOT = provenance.PACKAGE.parent
FOLDERS = ("dcsc", "profiles", "scripts", "workflow")
"""Folders of the checkout that a run needs."""
FILES = ("CITATION.cff", "LICENSE", "Makefile", "Snakefile", "pyproject.toml", "requirements.lock")
"""Files of the checkout that a run needs, or that tell of it."""

RECORDS = "provenance.json"
"""Where the records of all results stand together."""

README = """# {title}

{about}

This folder is an RO-Crate: `ro-crate-metadata.json` says what each file is, and what it was made from; `{records}`
has the record of every result: its settings and seed, the digests of the code and of what it was made from, and the
versions of what computed. The results are under `{results}`{outside}.

The code is here, too. On a machine with Python 3.11 or newer and make,

    make reproduce CONFIG={configuration}

finds the results as they are, and makes what is missing; `make verify CONFIG={configuration}` checks them.
"""

PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}

FORMATS = {
    ".cff": "application/yaml",
    ".csv": "text/csv",
    ".json": "application/json",
    ".md": "text/markdown",
    ".nc": "application/x-netcdf",
    ".npy": "application/octet-stream",
    ".npz": "application/zip",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".safetensors": "application/octet-stream",
    ".svg": "image/svg+xml",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
LATER = 12
"""Hour of the day that results have as their time, so that a run does not take the code at midnight for newer."""

NAMED = 5
"""Files that a message names of many."""


@dataclass(frozen=True)
class Told:
    """
    What the user says of a crate.

    Parameters
    ----------
    date : str
        When it is published, as YYYY-MM-DD.
    license : str
        Of the whole: an identifier of SPDX, or an address.
    author : str or None
        Who ran the study.
    with_datasets : bool
        Whether datasets are inside, or are named by their digests alone.
    """

    date: str
    license: str = "MIT"
    author: str | None = None
    with_datasets: bool = True


def export(configuration: str | Path, output: str | Path, told: Told) -> Path:
    """
    Write a finished study as a Workflow Run RO-Crate.

    Parameters
    ----------
    configuration : str or Path
        The YAML file of the study.
    output : str or Path
        A folder that is not there yet, or a .zip file.
    told : Told
        What the user says of it.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    UserError
        When the results are missing, unfinished or not what the configuration and the code of today make, `output` is
        there already, or the package rocrate is not installed.
    """
    output = Path(output)
    if output.exists():
        raise UserError(f"{output} is there already: name another folder or file, or remove it.")
    _check_told(told)
    try:
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise UserError("a crate needs the package rocrate to be written: install dcsc[crate].") from None
    if not (ROOT / "workflow/Snakefile").is_file():
        raise UserError("the rules of the workflow are not there, as in an installed package: export from a checkout.")
    plan = Plan(config.load(configuration))
    _check_finished(configuration, plan)
    crate = _Crate(ROCrate(version="1.1"), plan, Path(configuration), told)
    crate.describe()
    partial = output.with_name(f".{output.name}.{os.getpid()}.partial")
    try:
        crate.write(partial)
        if output.suffix == ".zip":
            packed = partial.with_name(f"{partial.name}.zip")
            _pack(partial, packed)
            packed.rename(output)
        else:
            partial.rename(output)
    except OSError as error:
        raise UserError(f"{output} cannot be written ({error.strerror}): give it a folder with room.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # on a disk that became read-only nothing can be tidied
            partial.with_name(f"{partial.name}.zip").unlink(missing_ok=True)
    return output


def _check_told(told: Told) -> None:
    try:
        day = datetime.date.fromisoformat(told.date)
        is_date = day.isoformat() == told.date and 1980 <= day.year <= 2107  # what a .zip file can hold
    except ValueError:
        is_date = False
    if not is_date:
        raise UserError(f"the date {shown(told.date)} is not allowed: give the day of publication as YYYY-MM-DD.")
    if not re.fullmatch(r"[A-Za-z0-9.+-]+|https?://\S+", told.license):
        raise UserError(
            f"the license {shown(told.license)} is not allowed: give an identifier of SPDX such as CC-BY-4.0, or an "
            "address."
        )


def _check_finished(configuration: str | Path, plan: Plan) -> None:
    """Refuse a study that was not run, not to its end, or of which something is wrong."""
    if not Path(plan.results).is_dir():
        raise UserError(f"the results folder {plan.results} does not exist: run the study first.")
    findings = verify.verify(configuration).findings
    missing = [finding.path for finding in findings if finding.state == verify.MISSING]
    if missing:
        raise UserError(
            f"the study is not finished, {len(missing)} of its files are missing: {_some(missing)}; run it first."
        )
    expected = Products(plan).all
    wrong = [finding for finding in findings if finding.path in expected]  # what no rule makes stays outside
    if wrong:
        listed = _some(f"{finding.path} ({finding.state}: {finding.reason})" for finding in wrong)
        raise UserError(
            f"{len(wrong)} files are not what the configuration and the code of today make: {listed}; "
            f"python -m dcsc verify --configfile {configuration} --forget deletes them, then run the study."
        )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:NAMED]) + (f" and {len(listed) - NAMED} more" if len(listed) > NAMED else "")


class _Crate:
    """What is put together of a study."""

    def __init__(self, crate: ROCrate, plan: Plan, configuration: Path, told: Told) -> None:
        self._crate, self._plan, self._told = crate, plan, told
        self._configuration = configuration
        self._products: dict[str, Product] = {
            path: product for path, product in Products(plan).all.items() if self._place(path).is_file()
        }
        self._records = {path: trace.record_inside(self._place(path)) for path in self._products}
        self._entities: dict[str, Any] = {}

    @property
    def _midnight(self) -> float:
        """When the date that the user gives begins, in seconds."""
        day = datetime.date.fromisoformat(self._told.date)
        return datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC).timestamp()

    @property
    def _study(self) -> Study:
        return self._plan.study

    def _place(self, path: str) -> Path:
        return Path(self._plan.results, path)

    def describe(self) -> None:
        """Make the entities."""
        self._crate.metadata.extra_terms.update(TERMS)
        profiles = [
            self._context(identifier, "CreativeWork", name=name, version=version)
            for identifier, (name, version) in PROFILES.items()
        ]
        workflow = self._workflow()
        settings = self._file(self._configuration, _inside(self._configuration), "the configuration of the study")
        settings["exampleOfWork"] = {"@id": "#configuration"}
        brought = [self._brought(path) for path in self._others()]
        results = [self._result(path) for path in self._products]
        records = self._text(RECORDS, self._records_together(), "what every result was made from, by its path")
        seed = self._context("#seed-of-the-study", "PropertyValue", name="seed", value=str(self._study.seed))
        seed["exampleOfWork"] = {"@id": "#seed"}
        action = self._context(
            "#run",
            "CreateAction",
            name=f"Run of {self._configuration.name}",
            description="The datasets, figures and verdicts of the study, made by the workflow from its configuration.",
        )
        action["instrument"] = workflow
        action["object"] = [settings, seed, *brought]
        action["result"] = [*results, records]
        root = self._crate.root_dataset
        if self._told.author:
            person = self._context("#author", "Person", name=self._told.author)
            action["agent"] = root["author"] = person
        root["conformsTo"] = profiles
        root["mentions"] = action
        root["name"], root["description"] = self._title(), self._about()
        readme = self._text("README.md", self._readme(settings.id), "what this is, and how it is run again")
        readme["about"] = {"@id": "./"}
        self._crate.datePublished = datetime.date.fromisoformat(self._told.date)
        self._crate.license = self._license(self._told.license)

    def _title(self) -> str:
        """The heading of the study, where it has one of its own."""
        given = "title" in self._study.model_fields_set
        return self._study.title if given else f"Study {self._configuration.stem}"

    def _about(self) -> str:
        """What the study asks; its introduction where it has one of its own."""
        if "introduction" in self._study.model_fields_set:
            return " ".join(self._study.introduction.split())
        return " ".join(options.title for options in self._study.experiments.values())

    def _readme(self, configuration: str) -> str:
        return README.format(
            title=self._title(),
            about=self._about(),
            records=RECORDS,
            results=self._study.results,
            outside="" if self._told.with_datasets else ", but for the datasets, which are named by their digests",
            configuration=configuration,
        )

    def write(self, folder: Path) -> None:
        """Write all to a folder."""
        self._crate.write(folder)
        for name in _code():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
        for path in folder.rglob("*"):
            if path.is_file():
                path.chmod(0o644)
                hour = LATER if path.is_relative_to(folder / self._study.results) else 0
                moment = self._midnight + 3600 * hour
                os.utime(path, (moment, moment))

    def _license(self, named: str) -> Any:
        if "://" in named:
            return self._context(named, "CreativeWork", name=named)
        return self._context(f"https://spdx.org/licenses/{named}", "CreativeWork", name=named)

    def _workflow(self) -> Any:
        """The rules, what runs them, and what goes in and comes out."""
        records = self._records.values()
        versions = sorted({pair for record in records for pair in record["versions"].items()})
        snakemake = ", ".join(version for name, version in versions if name == "snakemake")
        path = "workflow/Snakefile"
        told = {
            "name": "dcsc: dictionaries, signals, pursuits, metrics, figures",
            "sha256": provenance.file_digest(ROOT / path),
            "version": ", ".join(sorted({record["dcsc"] for record in records})),
            "encodingFormat": "text/plain",
        }
        workflow = self._crate.add_workflow(
            ROOT / path, path, main=True, lang="snakemake", lang_version=snakemake or None, properties=told
        )
        workflow["license"] = self._license("MIT")
        workflow["softwareRequirements"] = [
            self._context(f"pkg:pypi/{name}@{version}", "SoftwareApplication", name=name, version=version)
            for name, version in versions
            if name != "snakemake"
        ]
        for name, kind in {"configuration": "File", "seed": "Integer", "results": "File"}.items():
            self._crate.add_formal_parameter(name, kind, f"#{name}", valueRequired=True)
        workflow["input"] = [{"@id": "#configuration"}, {"@id": "#seed"}]
        workflow["output"] = {"@id": "#results"}
        self._folders(workflow)
        return workflow

    def _folders(self, workflow: Any) -> None:
        """The folders of the code, which the workflow is made of."""
        described = {
            "dcsc": "the library that computes",
            "profiles": "how Snakemake is run here and on a cluster",
            "scripts": "a script for each rule",
            "workflow": "the rules of the workflow",
        }
        for name in FOLDERS:
            properties = {"name": name, "description": described[name]}
            workflow.append_to("hasPart", self._crate.add_dataset(dest_path=f"{name}/", properties=properties))
        for name in FILES:
            if (ROOT / name).is_file():
                self._file(ROOT / name, name, "a part of the workflow")

    def _others(self) -> list[str]:
        """Files that results were made from, and that are none themselves, as records name them."""
        inputs = {entry["path"] for record in self._records.values() for entry in record["inputs"]}
        return sorted(inputs - self._products.keys() - set(Products(self._plan).all))

    def _brought(self, path: str) -> Any:
        """A file of the user's, or a template of the page about the run."""
        source = Path(os.path.normpath(path if os.path.isabs(path) else self._place(path)))
        entity = self._file(source, _inside(source), "an input of the study")
        self._entities[path] = entity
        return entity

    def _result(self, path: str) -> Any:
        """A file that the workflow made, with what it was made from."""
        record, source = self._records[path], self._place(path)
        description = {
            "figure": "figure, or the numbers that it shows",
            "claims": "verdicts on the claims",
            "page": "a walk through the figures",
        }.get(record["schema"], f"dataset of the stage {record['schema']}")
        if source.suffix == ".nc" and not self._told.with_datasets:
            entity = self._by_digest(path, source, description)
        else:
            entity = self._file(source, source.as_posix(), description)
            beside = self._products[path].beside
            if beside:
                self._file(self._place(beside), self._place(beside).as_posix(), f"what belongs to {path}")
        entity["exampleOfWork"] = {"@id": "#results"}
        self._entities[path] = entity
        sources = [self._entities[entry["path"]] for entry in record["inputs"] if entry["path"] in self._entities]
        if sources:
            entity["isBasedOn"] = sources if len(sources) > 1 else sources[0]
        return entity

    def _by_digest(self, path: str, source: Path, description: str) -> Any:
        """A dataset that is not inside, by a name that follows from its content (RFC 6920)."""
        digest = provenance.file_digest(source)
        name = base64.urlsafe_b64encode(bytes.fromhex(digest)).decode().rstrip("=")
        properties = _properties(source, digest, source.as_posix(), f"{description}, not inside")
        return self._crate.add_file(f"ni:///sha-256;{name}?path={quote(path)}", properties=properties)

    def _file(self, source: Path, target: str, description: str) -> Any:
        known = self._crate.get(quote(target))
        if known is not None:
            return known
        properties = _properties(source, provenance.file_digest(source), target, description)
        return self._crate.add_file(source, target, properties=properties)

    def _text(self, target: str, text: str, description: str) -> Any:
        properties = {"name": target, "description": description, "encodingFormat": FORMATS[Path(target).suffix]}
        return self._crate.add_file(io.StringIO(text), target, properties=properties)

    def _records_together(self) -> str:
        return json.dumps(self._records, indent=1, sort_keys=True) + "\n"

    def _context(self, identifier: str, kind: str, **properties: Any) -> Any:
        from rocrate.model.contextentity import ContextEntity

        known = self._crate.get(identifier)
        return known or self._crate.add(ContextEntity(self._crate, identifier, {"@type": kind, **properties}))


def _properties(source: Path, digest: str, name: str, description: str) -> Mapping[str, str]:
    found = {"name": name, "description": description, "sha256": digest, "contentSize": str(source.stat().st_size)}
    return {**found, "encodingFormat": FORMATS.get(source.suffix, "text/plain")}


def _inside(path: Path) -> str:
    """Where a file of the user's lies in a crate: where it lies beside the results, or under its digest."""
    relative = os.path.relpath(path)
    if os.path.isabs(path) or relative.startswith(".."):
        return f"inputs/{provenance.file_digest(path)[:8]}-{path.name}"
    return Path(relative).as_posix()


def _code() -> Iterator[str]:
    """Every file of the code, in order, without what Python and Snakemake leave behind."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = any(part.startswith((".", "__pycache__")) for part in path.relative_to(ROOT).parts)
            if path.is_file() and not hidden and path.suffix != ".pyc":
                yield path.relative_to(ROOT).as_posix()


def _pack(folder: Path, target: Path) -> None:
    """Pack a folder in one order, with the times that its files have."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir():
                entry = zipfile.ZipInfo(f"{name}/")
                entry.external_attr = (0o40755 << 16) | 0x10  # a folder, to MS-DOS
                archive.writestr(entry, b"")
                continue
            moment = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
            entry = zipfile.ZipInfo(name, moment.timetuple()[:6])
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
                shutil.copyfileobj(source, packed)
