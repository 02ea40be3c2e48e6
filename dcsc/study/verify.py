"""Verification of the files of a study against its configuration, the library and the inputs as they are now."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import tempfile
from collections.abc import Container, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from dcsc.errors import UserError, printable
from dcsc.store import provenance, seals
from dcsc.store.seals import Head
from dcsc.study import config, trace
from dcsc.study.plan import Plan
from dcsc.study.products import Product, Products

MISSING, DAMAGED, FOREIGN, STALE, OK = "missing", "damaged", "foreign", "stale", "ok"

SMALL = 2**20
"""Bytes of a file that even the quick look hashes."""

_PARTIAL = re.compile(r"\..*\.\d+\.partial(\..*)?")


@dataclass(frozen=True)
class Finding:
    """
    One file that is not as it should be.

    Parameters
    ----------
    path : str
        Relative to the results folder.
    state : str
        "missing", "damaged", "foreign" or "stale".
    reason : str
        In words.
    """

    path: str
    state: str
    reason: str


@dataclass
class Verdict:
    """
    What was found.

    Parameters
    ----------
    results : Path
        The results folder.
    n_files : int
        Files that the study has, those beside others included.
    findings : list of Finding
        A file once; empty when all is of today.
    versions : list of str
        What computed in another version than today's, which is no finding unless the configuration is strict.
    forgotten : list of str
        Files that were deleted.
    forgets : bool
        Whether what is wrong was to be deleted.
    """

    results: Path
    n_files: int
    findings: list[Finding]
    versions: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    forgets: bool = False

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong that was not deleted; then the next run makes what is missing."""
        left = [finding for finding in self.findings if finding.path not in self.forgotten]
        return not left or (self.forgets and all(finding.state == MISSING for finding in left))


@dataclass
class _Seen:
    """A file as it was found."""

    product: Product
    state: str
    reason: str = ""
    head: Head | None = None
    record: Mapping[str, Any] | None = None
    sources: list[str] = field(default_factory=list)
    """What else is in doubt: inputs that are not those that the file was made from."""


class _Look:
    """
    One look at the files of a study.

    Parameters
    ----------
    plan : Plan
        Of the study.
    is_quick : bool
        Whether to believe what is recorded of content instead of reading all of it.
    """

    def __init__(self, plan: Plan, is_quick: bool) -> None:
        self.plan, self.is_quick = plan, is_quick
        self.folder = Path(plan.results)
        self.products = Products(plan).all
        self.versions: dict[str, None] = {}
        self.seen: dict[str, _Seen] = {}
        for path, product in self.products.items():  # what a file is made from was looked at before it
            self.seen[path] = self._held(self._content(product))

    @cached_property
    def _digests(self) -> dict[str, str]:
        """Digests of all datasets; the hashing leaves the interpreter free."""
        files = [path for path in self.products if path.endswith(".nc") and (self.folder / path).is_file()]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = pool.map(lambda path: provenance.file_digest(self.folder / path), files)
            return dict(zip(files, digests, strict=True))

    def findings(self) -> list[Finding]:
        """List what is not as it should be, in the order in which it is made."""
        return [Finding(path, seen.state, seen.reason) for path, seen in self.seen.items() if seen.state != OK]

    def _content(self, product: Product) -> _Seen:
        """Look at the content of a file, and read its head."""
        path = self.folder / product.path
        if not path.is_file():
            is_wanted = product.is_kept or (product.beside and (self.folder / product.beside).is_file())
            return _Seen(product, MISSING if is_wanted else OK, "it is not there" if is_wanted else "")
        if product.beside and not (self.folder / product.beside).is_file():
            return _Seen(product, DAMAGED, f"{Path(product.beside).name} beside it is not there")
        look = self._dataset if path.suffix == ".nc" else self._text if product.beside else self._picture
        try:
            return look(product, path)
        except UserError as error:
            return _Seen(product, STALE if provenance.OLDER in str(error) else DAMAGED, _reason(error, path))

    def _dataset(self, product: Product, path: Path) -> _Seen:
        if not self.is_quick and self._digests[product.path] != provenance.recorded_digest(path):
            return _Seen(product, DAMAGED, "its content is not what was written")
        try:
            head = seals.head_beside(path)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            head = None
        if self.is_quick:
            if head is None:
                return _Seen(product, STALE, _WITHOUT_HEAD)
            if head.size != path.stat().st_size:
                return _Seen(product, DAMAGED, f"it has {path.stat().st_size} bytes instead of {head.size}")
            return _Seen(product, OK, "", head)
        record = trace.record_inside(path)
        head = seals.head_of(record, self._digests[product.path], path.stat().st_size)
        here = head.path == product.path  # else it is that which is told
        if here and (self.folder / product.beside).read_bytes() != seals.beside(path, head).encode():
            return _Seen(product, DAMAGED, f"{Path(product.beside).name} beside it is not what was written")
        return _Seen(product, OK, "", head, record)

    def _text(self, product: Product, path: Path) -> _Seen:
        believed = self.is_quick and path.stat().st_size > SMALL
        record = trace.record_inside(path) if believed else seals.check_text(path)
        return _Seen(product, OK, "", seals.head_of(record, provenance.file_digest(path)), record)

    def _picture(self, product: Product, path: Path) -> _Seen:
        if self.is_quick:  # the table beside it tells the same of the job that made them
            return _Seen(product, OK)
        if seals.is_sealed(path):
            record = trace.record_inside(path)
            return _Seen(product, OK, "", seals.head_of(record), record)
        try:
            trace.record_inside(path)
        except UserError as error:
            if provenance.OLDER in str(error):
                raise
        return _Seen(product, DAMAGED, "its content is not what was written")

    def _held(self, seen: _Seen) -> _Seen:
        """Hold what a file says of itself against what it must be today."""
        head, product = seen.head, seen.product
        if seen.state != OK or head is None:
            return seen
        if (head.schema, head.path) != (product.schema, product.path):
            seen.state, seen.reason = FOREIGN, f"it was written as {head.path} of the schema {head.schema}"
            return seen
        reasons = [*self._settings(seen), *self._inputs(seen)]
        if seen.state == DAMAGED:
            return seen
        if head.version != product.version:
            reasons.insert(0, f"version {head.version} of the schema, now {product.version}")
        if head.library != product.library["sha256"]:
            reasons.append("code" + _named(_changed_modules(seen.record, product)))
        changed = provenance.changed_versions(head.versions, provenance.versions(*product.plugins))
        if self.plan.study.strict_versions:
            reasons += [f"versions{_named(changed)}"] if changed else []
        else:
            self.versions |= dict.fromkeys(changed)
        if reasons:
            seen.state, seen.reason = STALE, "; ".join(reasons)
        return seen

    def _settings(self, seen: _Seen) -> list[str]:
        product, record = seen.product, seen.record
        if record is not None and provenance.digest(record["settings"]) != record["settings_digest"]:
            seen.state, seen.reason = DAMAGED, "its recorded settings do not have their recorded digest"
            return []
        if seen.head is None or seen.head.settings == product.settings_digest:
            return []
        old = record["settings"] if record else {}
        keys = [key for key in sorted({*old, *product.settings}) if old.get(key) != product.settings.get(key)]
        return ["settings" + _named(keys if record else [])]

    def _inputs(self, seen: _Seen) -> list[str]:
        """Compare what a file was made from with what it is made from today."""
        recorded = seen.head.inputs if seen.head else {}
        wanted = set(seen.product.inputs)
        reasons = []
        if more := sorted(wanted - recorded.keys()):
            reasons.append(f"inputs, not made from{_named(more)}")
        if less := sorted(recorded.keys() - wanted):
            reasons.append(f"inputs, no longer made from{_named(less)}")
        stale, other = [], []
        for path in sorted(wanted & recorded.keys()):
            source = self.seen.get(path)
            present = self._present(path, source)
            if source is not None and source.state == STALE:
                stale.append(path)
            elif present and source is not None and source.state != OK:
                stale += [path] if present == recorded[path] else []  # else it is itself what is wrong
            elif present and present != recorded[path]:
                other.append(path)
        seen.sources = [path for path in other if path in self.seen]
        reasons += [f"made from what is stale{_named(stale)}"] if stale else []
        reasons += [f"made from another version of{_named(other)}"] if other else []
        return reasons

    def _present(self, path: str, source: _Seen | None) -> str:
        """Digest of an input as it is today; nothing where that is not known."""
        if source is not None:
            return source.head.sha256 if source.head else ""
        file = self.folder / path
        if not file.is_file():
            return "missing"
        return "" if self.is_quick and file.stat().st_size > SMALL else provenance.file_digest(file)


_WITHOUT_HEAD = "it " + provenance.OLDER + ", or the digest beside it is damaged"


def _reason(error: UserError, path: Path) -> str:
    """Shorten what is said of a file to what does not name it, and what to do."""
    return "it " + re.split(r": delete it|: name ", str(error).removeprefix(f"{path} "))[0]


def _named(names: list[str]) -> str:
    """Name a few of many in brackets."""
    return f" ({', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''})" if names else ""


def _changed_modules(record: Mapping[str, Any] | None, product: Product) -> list[str]:
    old = record["library"]["modules"] if record else product.library["modules"]
    new = product.library["modules"]
    return [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]


def verify(configuration: str | Path, forget: bool = False) -> Verdict:
    """
    Hold every file of a study against its configuration, the library and the inputs of today.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.
    forget : bool
        Whether to delete what is damaged, foreign where a rule's file belongs, or stale, so that the next run makes
        it again. What no rule makes is left.

    Returns
    -------
    Verdict
        Complete, whatever is wrong.

    Raises
    ------
    UserError
        When the configuration is wrong, or a file cannot be deleted.
    """
    plan = Plan(config.load(configuration))
    look = _Look(plan, is_quick=False)
    expected = {path for product in look.products.values() for path in (product.path, product.beside) if path}
    folder = look.folder
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    others = [path for path in files if path not in expected and path not in trace.REPORTS]
    findings = [*look.findings(), *(Finding(path, FOREIGN, "no rule makes it") for path in others)]
    verdict = Verdict(folder, len(expected), findings, list(look.versions), forgets=forget)
    if forget:
        wrong = {finding.path for finding in findings if finding.state in (DAMAGED, FOREIGN, STALE)} - set(others)
        wrong |= {source for path in wrong for source in look.seen[path].sources}
        wrong |= {finding.path for finding in findings if finding.state == MISSING}  # what lies beside it
        leftovers = [path for path in others if _PARTIAL.fullmatch(Path(path).name)]
        damaged = {finding.path for finding in findings if finding.state == DAMAGED}
        verdict.forgotten = _deleted(folder, [*sorted(wrong), *leftovers], look.products, damaged)
    return verdict


def _deleted(folder: Path, paths: Iterable[str], products: Mapping[str, Product], damaged: Container[str]) -> list[str]:
    """Delete files and their digests beside them; what is damaged in a cache that studies share, too."""
    gone = []
    for path in paths:
        beside = products[path].beside if path in products else ""
        for name in filter(None, (path, beside)):
            try:
                if path in damaged and (folder / name).is_symlink():
                    (folder / name).resolve().unlink(missing_ok=True)
                (folder / name).unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise UserError(f"{folder / name} cannot be deleted ({error.strerror}): delete it yourself.") from None
            gone.append(name)
    return gone


def as_json(found: Verdict) -> str:
    """
    Write a verdict for a program to read.

    Parameters
    ----------
    found : Verdict
        From `verify`.

    Returns
    -------
    str
        `results`, `verified`, `files`, `findings`, `versions` and `forgotten`.
    """
    content = {
        "results": str(found.results),
        "verified": found.is_well,
        "files": found.n_files,
        "findings": [asdict(finding) for finding in found.findings],
        "versions": found.versions,
        "forgotten": found.forgotten,
    }
    return json.dumps(content, indent=1)


def as_text(found: Verdict) -> str:
    """
    Write a verdict for a person to read.

    Parameters
    ----------
    found : Verdict
        From `verify`.

    Returns
    -------
    str
        A line per file that is not as it should be, and a last one that sums up.
    """
    lines = [f"{finding.state:<8} {finding.path}: {finding.reason}" for finding in found.findings]
    lines += [f"note     some files were made with {change}" for change in found.versions]
    states = [finding.state for finding in found.findings]
    counts = [f"{states.count(state)} {state}" for state in (MISSING, DAMAGED, FOREIGN, STALE) if state in states]
    well = "all are what the configuration, the code and the inputs of today make"
    last = f"{found.n_files} files of {found.results}: {', '.join(counts) or well}."
    if found.forgotten:
        last += f" {len(found.forgotten)} files were deleted: run again."
    elif {DAMAGED, FOREIGN, STALE} & set(states):
        last += " --forget deletes what is wrong, so that the next run makes it again."
    elif states:
        last += " A run makes what is missing."
    return "\n".join(map(printable, [*lines, last]))


def check_start(plan: Plan, content: Mapping[str, Any], configuration: str) -> None:
    """
    Begin a run with a quick look at what is there, and refuse to go on where Snakemake would keep what is stale.

    Snakemake compares settings and code with notes of its own, which copied results lack. Where they are, it makes
    anew what it must, and nothing is said.

    Parameters
    ----------
    plan : Plan
        Of the study.
    content : mapping
        Its configuration.
    configuration : str
        The configuration file, for the message.

    Raises
    ------
    UserError
        When files that are not of today would be taken for those.
    """
    if not Path(plan.results).is_dir():
        return
    look = _Look(plan, is_quick=True)
    wrong = [finding for finding in look.findings() if finding.state != MISSING]
    if look.versions:
        print(
            f"note: some results were made with {', '.join(look.versions)}; they are kept, unless the configuration "
            "says strict_versions: true.",
            file=sys.stderr,
        )
    unknown = [finding for finding in wrong if not _is_noted(plan.results, finding.path)]
    if not unknown:
        return
    from dcsc.study.workflow_plan import planned_jobs

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "study.yaml")
        file.write_text(yaml.safe_dump(json.loads(json.dumps(content))), encoding="utf-8")
        planned = {path for job in planned_jobs(file) for path in job.outputs}
    kept = [finding for finding in unknown if f"{plan.results}/{finding.path}" not in planned]
    if kept:
        first = kept[0]
        raise UserError(
            f"{len(kept)} files under {plan.results} are not what this configuration and this code make, and Snakemake "
            f"would keep them, such as {first.path} ({first.state}: {first.reason}). "
            f"python -m dcsc verify --configfile {configuration} names them; with --forget it deletes them, so that "
            "the next run makes them again."
        )


def _is_noted(results: str, path: str) -> bool:
    """
    Tell whether Snakemake seems to know of a file; where not, it is asked.

    Its notes have names of this kind, and are written after the file.
    """
    name = f"{results}/{path}"
    try:
        noted = Path(".snakemake/metadata", base64.urlsafe_b64encode(name.encode()).decode()).stat().st_mtime
        return Path(name).stat().st_mtime <= noted + 1
    except OSError:
        return False
