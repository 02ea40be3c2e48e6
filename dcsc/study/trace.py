"""Trace of an output of the workflow back to its inputs, seeds, configuration and code, with all digests verified."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dcsc.errors import UserError, printable
from dcsc.store import provenance, seals
from dcsc.store.dataset import NETCDF
from dcsc.store.provenance import metadata_of
from dcsc.study.plan import FILES

OK, DIFFERS, MISSING, UNREADABLE, UNRECORDED = "ok", "DIFFERS", "missing", "no provenance", "not recorded"
FOREIGN = "another file"
PROBLEMS = (DIFFERS, MISSING, UNREADABLE, FOREIGN)

_NETCDF, _TABLE_METADATA = ".nc", "-metadata.json"
_PAGES = (".csv", ".json", ".md")
_PICTURES = (".png", ".svg", ".pdf")
_DEPTHS = {schema: path.count("/") for schema, path in FILES.items()} | {"certificate": 0, "claims": 0, "page": 0}
"""How many folders below the results folder the files of each schema lie."""

_LARGEST_RECORD = 64 * 2**20


@dataclass
class Node:
    """
    One file on the way back, and whether what is recorded of it still holds.

    Parameters
    ----------
    path : str
        Relative to the results folder.
    state : str
        Of its content against its recorded digest: "ok", "DIFFERS", "missing", "no provenance",
        "not recorded" or "another file".
    sha256 : str
        Digest of the present content.
    record : dict or None
        Its provenance; None for a file that was brought, or whose provenance is lost.
    settings : str
        State of the recorded settings against their digest.
    library : str
        State of the recorded library against the present source.
    changed : list of str
        Modules whose present source differs.
    versions : list of str
        What computed it in another version than today's.
    inputs : list of str
        Paths of other nodes.
    """

    path: str
    state: str
    sha256: str = ""
    record: dict[str, Any] | None = None
    settings: str = ""
    library: str = ""
    changed: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What is wrong with this file, in words."""
        found = [f"{self.path}: {_WORDS[self.state]}"] if self.state in PROBLEMS else []
        if self.settings == DIFFERS:
            found.append(f"{self.path}: its recorded settings do not have their recorded digest")
        if self.state == FOREIGN and self.record:
            found[0] += f" {self.record['path']}, of the schema {self.record['schema']}"
        return found


_WORDS = {
    DIFFERS: "its content is not what was recorded",
    MISSING: "it is missing, make it again by running its rule",
    UNREADABLE: "it has no provenance of dcsc that can be read",
    FOREIGN: "it is another file, which was written as",
}


@dataclass
class Trace:
    """
    The way back from one file.

    Parameters
    ----------
    root : str
        Path of the file, a key of `nodes`.
    results : Path
        The results folder.
    nodes : dict of str to Node
        Every file on the way, once.
    """

    root: str
    results: Path
    nodes: dict[str, Node]

    @property
    def problems(self) -> list[str]:
        """What is wrong on the way, in words; empty when every digest holds."""
        return [problem for node in self.nodes.values() for problem in node.problems]

    @property
    def seeds(self) -> list[int]:
        """Seeds that anything on the way drew from."""
        records = [node.record for node in self.nodes.values() if node.record]
        return sorted({record["settings"]["seed"] for record in records if "seed" in record["settings"]})

    @property
    def changed(self) -> list[str]:
        """Modules of the library that differ from those that made anything on the way."""
        return sorted({module for node in self.nodes.values() for module in node.changed})

    @property
    def versions(self) -> list[str]:
        """What computed anything on the way in another version than today's."""
        return sorted({change for node in self.nodes.values() for change in node.versions})


def read_record(path: str | Path) -> dict[str, Any]:
    """
    Read the provenance record in a file, without running anything of it.

    Parameters
    ----------
    path : str or Path
        A dataset (.nc), a figure (.pdf, .svg, .png), or a table or page (.csv, .json, .md) with its metadata
        beside it.

    Returns
    -------
    dict
        As from `provenance.record`.

    Raises
    ------
    UserError
        When the file is missing or holds no record.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: name a file that the workflow wrote.")
    reader = _READERS.get(path.suffix)
    if reader is None:
        allowed = ", ".join(sorted(_READERS))
        raise UserError(f"{path} is not a file that can be traced: name one that ends in {allowed}.")
    if path.suffix == _NETCDF:
        provenance.check_digest(path)
    return record_inside(path)


def record_inside(path: Path) -> dict[str, Any]:
    """
    Read the record in a file that is there, and of which the digest is known to be right where it is a dataset.

    Parameters
    ----------
    path : Path
        As for `read_record`.

    Returns
    -------
    dict
        As from `provenance.record`.

    Raises
    ------
    UserError
        When the file holds no record, or one of an older version.
    """
    try:
        text = _READERS[path.suffix](path)
        record = json.loads(text) if isinstance(text, str) else text
        if not provenance.is_older(record):
            return provenance.check_record(record)
    except Exception:  # a damaged or foreign file can fail anywhere in the readers of its format
        raise UserError(f"{path} has no provenance of dcsc: name a file that its workflow wrote.") from None
    raise UserError(f"{path} {provenance.OLDER}: delete it and run again.")


def _of_netcdf(path: Path) -> str:
    import netCDF4

    with NETCDF, netCDF4.Dataset(path, "r") as dataset:
        return dataset.getncattr("provenance")


def _of_png(path: Path) -> str:
    from PIL import Image

    with Image.open(path, formats=("PNG",)) as image:
        return image.info["Description"]


def _of_svg(path: Path) -> str:
    from xml.etree import ElementTree

    events = ElementTree.iterparse(path, events=("end",))
    return next(element.text for _, element in events if element.tag == "{http://purl.org/dc/elements/1.1/}description")


def _of_pdf(path: Path) -> str:
    """Read Keywords of the information dictionary, which matplotlib writes uncompressed."""
    if path.stat().st_size > _LARGEST_RECORD:
        raise ValueError("too large for a figure")
    content = path.read_bytes()
    number = re.findall(rb"/Info (\d+) \d+ R", content)[-1]
    dictionary = re.split(rb"(?:^|[\r\n])" + number + rb" \d+ obj\b", content, maxsplit=1)[1]
    text = re.split(rb"/Keywords\s*\(((?:[^\\()]|\\.)*)\)", dictionary, maxsplit=1, flags=re.DOTALL)[1]
    return re.sub(rb"\\(.)", _unescaped, text, flags=re.DOTALL).decode("ascii")


def _unescaped(match: re.Match[bytes]) -> bytes:
    return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(match.group(1), match.group(1))


def _of_page(path: Path) -> dict[str, Any]:
    return json.loads(metadata_of(path).read_text(encoding="utf-8"))["provenance"]


_READERS: dict[str, Callable[[Path], Any]] = {_NETCDF: _of_netcdf, ".png": _of_png, ".svg": _of_svg, ".pdf": _of_pdf}
_READERS |= dict.fromkeys(_PAGES, _of_page)


def _own_digest(path: Path) -> str:
    """Read the digest that is kept beside a file, or nothing."""
    try:
        if path.suffix in _PAGES:
            return str(json.loads(metadata_of(path).read_text(encoding="utf-8"))["sha256"])
        if path.suffix == _NETCDF:
            return provenance.recorded_digest(path)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return ""


def trace(path: str | Path, results: str | Path | None = None) -> Trace:
    """
    Trace a file back to everything that it was made from, and verify the digests.

    Parameters
    ----------
    path : str or Path
        A dataset, figure or table.
    results : str or Path, optional
        The results folder; by default the one that the file lies in.

    Returns
    -------
    Trace
        Complete even when something is wrong, which its `problems` name.

    Raises
    ------
    UserError
        When the file is missing or holds no record.
    """
    path = Path(path)
    record = read_record(path)
    folder = Path(results) if results is not None else _results_of(path, record)
    if not folder.is_dir():
        raise UserError(f"the results folder {folder} does not exist: name it with --results.")
    root = _within(path, folder)
    return Trace(root, folder, dict(_followed({root: path}, folder)))


def _within(path: Path, folder: Path) -> str:
    """Name a file relative to the results folder if it lies there."""
    whole, base = path.resolve(), folder.resolve()
    return whole.relative_to(base).as_posix() if whole.is_relative_to(base) else str(path)


def _results_of(path: Path, record: Mapping[str, Any]) -> Path:
    """Find the results folder of a file: where its schema has it, else the nearest that holds its inputs."""
    parents = list(path.absolute().parents)
    usual = _DEPTHS.get(record["schema"], 1)
    likely = [*parents[usual : usual + 1], *parents, Path("results").absolute()]
    for folder in likely:
        if any(_is_file(folder / entry["path"]) for entry in record["inputs"]):
            return folder
    return likely[0]


def _followed(roots: Mapping[str, Path], results: Path) -> Iterator[tuple[str, Node]]:
    """Visit files and all that they were made from, each once."""
    waiting = deque((name, path, _own_digest(path)) for name, path in roots.items())
    seen = {name for name, _, _ in waiting}
    recorded: dict[str, set[str]] = {}
    nodes: dict[str, Node] = {}
    while waiting:
        name, path, expected = waiting.popleft()
        node = nodes[name] = _examined(name, path, expected, name in roots, results)
        for entry in node.record["inputs"] if node.record else ():
            node.inputs.append(entry["path"])
            recorded.setdefault(entry["path"], set()).add(entry["sha256"])
            if entry["path"] not in seen:
                seen.add(entry["path"])
                waiting.append((entry["path"], results / entry["path"], entry["sha256"]))
    for name, digests in recorded.items():  # two files may have been made from different versions of one input
        if nodes[name].sha256 and digests != {nodes[name].sha256}:
            nodes[name].state = DIFFERS
    yield from nodes.items()


def _examined(name: str, path: Path, expected: str, must_have_record: bool, results: Path) -> Node:
    """Compare one file with what is recorded of it."""
    if not _is_file(path):
        return Node(name, MISSING)
    found = provenance.file_digest(path)
    own = _own_digest(path)
    state = UNRECORDED if not expected else OK if found == expected and own in ("", found) else DIFFERS
    sealed = path if path.suffix in _PICTURES else metadata_of(path) if path.suffix in _PAGES else None
    if sealed is not None and must_have_record:
        state = OK if state != DIFFERS and seals.is_sealed(sealed) else DIFFERS
    try:
        record = read_record(path) if must_have_record or _is_ours(name) else None
    except UserError:
        return Node(name, UNREADABLE if state != DIFFERS else DIFFERS, found)
    node = Node(name, state, found, record)
    if record:
        node.settings = OK if provenance.digest(record["settings"]) == record["settings_digest"] else DIFFERS
        node.changed = list(_changed(provenance.canonical(record["library"])))
        node.library = DIFFERS if node.changed else OK
        plugins = (results / entry["path"] for entry in record["inputs"] if entry["path"].endswith(".py"))
        node.versions = provenance.changed_versions(record["versions"], provenance.versions(*map(str, plugins)))
        if not name.startswith(("../", "/")) and record["path"] not in ("", name) and state != DIFFERS:
            node.state = FOREIGN
    return node


def _is_file(path: Path) -> bool:
    """Tell whether there is a file, also of a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _is_ours(name: str) -> bool:
    """Tell the datasets of the workflow from files that a user brought, which lie elsewhere."""
    return name.endswith((_NETCDF, ".csv")) and not name.startswith(("../", "/"))


@cache
def _changed(library: str) -> tuple[str, ...]:
    """Compare a recorded library with the present source, once for all files that it made."""
    return tuple(provenance.changed(json.loads(library)))


def as_json(found: Trace) -> str:
    """
    Write a trace for a program to read.

    Parameters
    ----------
    found : Trace
        From `trace`.

    Returns
    -------
    str
        `file`, `verified`, `problems`, `seeds`, `changed_modules` and `nodes` by path.
    """
    content = {
        "file": found.root,
        "results": str(found.results),
        "verified": not found.problems,
        "problems": found.problems,
        "seeds": found.seeds,
        "changed_modules": found.changed,
        "changed_versions": found.versions,
        "nodes": {name: asdict(node) for name, node in found.nodes.items()},
    }
    return json.dumps(content, indent=1)


def as_text(found: Trace) -> str:
    """
    Write a trace for a person to read.

    Parameters
    ----------
    found : Trace
        From `trace`.

    Returns
    -------
    str
        A tree, then what follows from it in a few lines.
    """
    lines = list(_branch(found, found.root, "", "", set()))
    modules = found.changed
    shown = ", ".join(modules[:4]) + (f" and {len(modules) - 4} more" if len(modules) > 4 else "")
    lines += [
        "",
        f"files    {len(found.nodes)}, under {found.results}",
        "seeds    " + (", ".join(map(str, found.seeds)) or "none"),
        "versions " + (", ".join(found.versions) or "the present ones"),
        "library  " + (f"differs from the present source: {shown}" if modules else "the present source"),
    ]
    problems = found.problems
    lines += [f"PROBLEM  {problem}" for problem in problems] or ["digests  all verified"]
    # What a file says of itself must not forge lines or move the cursor.
    return "\n".join(map(printable, lines))


def _branch(found: Trace, name: str, first: str, rest: str, shown: set[str]) -> Iterator[str]:
    """Draw a file, what it was made with, and below it what it was made from."""
    node = found.nodes[name]
    digest = f"  sha256 {node.sha256[:12]}" if node.sha256 else ""
    yield f"{first}{name}{digest}  {node.state}" + ("  (shown above)" if name in shown and node.inputs else "")
    if name in shown:
        return
    shown.add(name)
    if node.record:
        stem = rest + ("│  " if node.inputs else "   ")
        record = node.record
        yield f"{stem}schema {record['schema']} {record['version']}, dcsc {record['dcsc']}"
        changed = f" ({', '.join(node.changed[:2])}{', ...' if len(node.changed) > 2 else ''})" if node.changed else ""
        yield f"{stem}library {record['library']['sha256'][:12]}  {node.library}{changed}"
        digest = record["settings_digest"]
        yield f"{stem}settings {digest[:12]}  {node.settings}" + ("  (shown above)" if digest in shown else "")
        if digest not in shown:
            shown.add(digest)
            for key in sorted(record["settings"]):
                yield f"{stem}  {key}: {provenance.canonical(record['settings'][key])}"
    for entry in node.inputs:
        last = entry == node.inputs[-1]
        yield from _branch(found, entry, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "), shown)


def orphans(configuration: str | Path, results: str | Path | None = None) -> dict[str, str]:
    """
    List the files of a results folder that the present configuration does not account for.

    Parameters
    ----------
    configuration : str or Path
        A YAML file.
    results : str or Path, optional
        The folder; by default the one that the configuration names.

    Returns
    -------
    dict of str to str
        Why, by path: no rule makes it, or it cannot be traced.

    Raises
    ------
    UserError
        When the configuration is wrong or Snakemake cannot list the rules' files.
    """
    from dcsc.study import config
    from dcsc.study.workflow_plan import rule_outputs

    made = config.load(configuration).results
    folder = Path(results if results is not None else made)
    if not folder.is_dir():
        raise UserError(f"the results folder {folder} does not exist: run the workflow, or name it with --results.")
    outputs = {Path(path).relative_to(made).as_posix() for path in rule_outputs(configuration) if _is_in(path, made)}
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    known = {name for name in names if name in outputs or name in REPORTS}
    found = dict.fromkeys(names.keys() - known, "no rule makes it")
    return dict(sorted((found | _untraceable({name: names[name] for name in known}, folder)).items()))


REPORTS = ("report.html", "report.zip")
"""Snakemake itself writes them, on demand."""


def _is_in(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _untraceable(names: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """Say of each traceable file what is wrong with it or with anything that it was made from."""
    roots = {
        name: path for name, path in names.items() if path.suffix in _READERS and not name.endswith(_TABLE_METADATA)
    }
    nodes = dict(_followed(roots, folder))
    broken = {name: node.problems[0] for name, node in nodes.items() if node.problems}
    grown = True
    while grown:
        grown = False
        for name, node in nodes.items():
            cause = next((broken[entry] for entry in node.inputs if entry in broken), None)
            if cause and name not in broken:
                broken[name], grown = cause, True
    return {name: f"not traceable, {reason}" for name, reason in broken.items() if name in roots}
