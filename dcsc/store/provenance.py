"""Provenance of a result: digests of its part of the configuration, of the library's source, and of its inputs."""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from dcsc import _HOMES, _MODULES, __version__, guarantees
from dcsc.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]
SCRIPTS = PACKAGE.parent / "scripts"
DIGITS = 16
"""Digits of a module's digest that are recorded: enough to tell versions apart."""
LAZY = {
    f"{package}.{name}": f"{package}.{home}"
    for package, homes in ((PACKAGE.name, _HOMES | _MODULES), (guarantees.__name__, guarantees._HOMES))
    for name, home in homes.items()
}
"""Names that a package loads when they are first used, and where from."""
COMPUTING = ("numpy", "scipy", "numba", "xarray", "netcdf4", "snakemake")
"""Distributions whose versions every record names."""


def canonical(value: Any) -> str:
    """
    Write JSON with one spelling for one content.

    Parameters
    ----------
    value : JSON value
        What is written.

    Returns
    -------
    str
        Sorted keys, no spaces.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """
    Hash a JSON value.

    Parameters
    ----------
    value : JSON value
        What is hashed, canonically.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def file_digest(path: str | Path) -> str:
    """
    Hash the bytes of a file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    str
        SHA-256 in hexadecimal digits.

    Raises
    ------
    UserError
        When the file cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): make it again by running its rule.") from None


def sidecar(path: str | Path) -> Path:
    """
    Name the file that records the digest of a dataset.

    Parameters
    ----------
    path : str or Path
        The dataset.

    Returns
    -------
    Path
        Beside it, in the format of sha256sum.
    """
    return Path(f"{path}.sha256")


def metadata_of(path: Path) -> Path:
    """
    Name the file that records the digest and provenance of a table or page.

    Parameters
    ----------
    path : Path
        The table or page.

    Returns
    -------
    Path
        Beside it, in the vocabulary of CSV on the Web.
    """
    return path.with_name(path.name + "-metadata.json")


def recorded_digest(path: str | Path) -> str:
    """
    Read the digest that is kept beside a dataset.

    Parameters
    ----------
    path : str or Path
        The dataset.

    Returns
    -------
    str
        The first word of its sidecar, of any content; empty when there is none.
    """
    beside = sidecar(path)
    try:
        if beside.is_file():  # a pipe would be waited for
            with beside.open("rb") as file:
                return next(iter(file.read(256).decode("ascii", "replace").split()), "")
    except (OSError, ValueError):
        pass
    return ""


def check_digest(path: str | Path) -> None:
    """
    Compare a dataset with its recorded digest, before a library that a damaged file could mislead opens it.

    Parameters
    ----------
    path : str or Path
        The dataset.

    Raises
    ------
    UserError
        When it is missing, has no digest beside it, or is not what was written.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist: make it by running its rule.")
    if not sidecar(path).is_file():
        raise UserError(
            f"{path} has no digest beside it, {sidecar(path).name}: copy both, or delete the dataset and run again."
        )
    if recorded_digest(path) != file_digest(path):
        raise UserError(f"{path} is not what was written, its digest differs: delete it and run again.")


def _dotted(node: ast.expr) -> str:
    """Spell an attribute such as a.b.c, or nothing when it hangs on a call or an index."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


def _names(tree: ast.Module) -> set[str]:
    """Collect the dotted names that a file imports, and those it reaches through the lazy attributes of packages."""
    names: set[str] = set()
    bound: dict[str, str] = {}  # what a name of the file stands for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
            roots = [alias.name.partition(".")[0] for alias in node.names]
            bound |= {a.asname or root: a.name if a.asname else root for a, root in zip(node.names, roots, strict=True)}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported = {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            names |= {node.module, *imported.values()}
            bound |= imported
    for node in ast.walk(tree):
        root, _, rest = _dotted(node).partition(".") if isinstance(node, ast.Attribute) else ("", "", "")
        if root in bound:
            names.add(f"{bound[root]}.{rest}")
    return names | {home for name, home in LAZY.items() if {name, f"{name.rpartition('.')[0]}.*"} & names}


@cache
def _imported(path: Path) -> frozenset[Path]:
    """Modules of this package that a file uses, wherever in the file that stands."""
    try:
        names = _names(ast.parse(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): correct the path.") from None
    except (SyntaxError, ValueError):
        raise UserError(f"{path} is not valid Python: correct it.") from None
    files = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != PACKAGE.name:
            continue
        for length in range(1, len(parts) + 1):  # importing a module runs the packages that hold it
            base = PACKAGE.joinpath(*parts[1:length])
            files |= {file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()}
    return frozenset(files - {PACKAGE.with_suffix(".py")})


def closure(paths: Iterable[str | Path]) -> list[Path]:
    """
    Collect the modules of this package that some files use, directly or not.

    Parameters
    ----------
    paths : iterable of str or Path
        Python files, such as the script of a stage; those of this package are part of it.

    Returns
    -------
    list of Path
        Files of the package, sorted; imports inside functions count.

    Raises
    ------
    UserError
        When a file cannot be read as Python.
    """
    waiting = [Path(path).resolve() for path in paths]
    files = {path for path in waiting if path.is_relative_to(PACKAGE)}
    while waiting:
        new = _imported(waiting.pop()) - files
        files |= new
        waiting += new
    return sorted(files)


def modules(*paths: str | Path) -> list[str]:
    """
    Name the source that some files use.

    Parameters
    ----------
    *paths : str or Path
        The script of a stage, modules that it loads by name, and plugins; scripts beside the package
        count, plugins only with what they import.

    Returns
    -------
    list of str
        Files of the package and scripts, sorted, relative to the folder that holds both.
    """
    scripts = {Path(path).resolve() for path in paths}
    files = {*closure(paths), *(path for path in scripts if path.parent == SCRIPTS)}
    return [file.relative_to(PACKAGE.parent).as_posix() for file in sorted(files)]


def library(names: Iterable[str]) -> dict[str, Any]:
    """
    Hash the source of the library.

    Parameters
    ----------
    names : iterable of str
        Its files, from `modules`. A job is told them, since to find them anew takes longer than many a job.

    Returns
    -------
    dict
        `sha256` changes when, and only when, one of the files changes; `modules` has the first digits of the
        digest of each.
    """
    digests = {name: file_digest(PACKAGE.parent / name) for name in names}
    return {"sha256": digest(digests), "modules": {name: text[:DIGITS] for name, text in digests.items()}}


def changed(recorded: Mapping[str, Any]) -> list[str]:
    """
    List the modules whose present source is not the recorded one.

    Parameters
    ----------
    recorded : mapping
        From `library`.

    Returns
    -------
    list of str
        Their names, sorted; a module that is gone counts.
    """
    names = sorted(recorded["modules"])
    present = {name: PACKAGE.parent / name for name in names}
    return [
        name
        for name, file in present.items()
        if not file.is_file() or file_digest(file)[:DIGITS] != recorded["modules"][name]
    ]


@cache
def versions(*plugins: str) -> dict[str, str]:
    """
    Name the versions of what computes.

    Parameters
    ----------
    *plugins : str
        Python files of the user's; what they import counts too.

    Returns
    -------
    dict of str to str
        By the name of the distribution; what is not installed is left out.
    """
    names = {*COMPUTING, *(name for path in plugins for name in _distributions(Path(path)))}
    found = {}
    for name in sorted(names):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _distributions(plugin: Path) -> set[str]:
    """Names of the distributions that a file imports from, in small letters."""
    try:
        names = _names(ast.parse(plugin.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        return set()  # who loads the plugin says what is wrong with it
    roots = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - {PACKAGE.name}
    homes = metadata.packages_distributions() if roots else {}
    return {home.lower() for root in roots for home in homes.get(root, ())}


def changed_versions(recorded: Mapping[str, str], present: Mapping[str, str]) -> list[str]:
    """
    Tell what computes now in another version than it did.

    Parameters
    ----------
    recorded, present : mapping of str to str
        From `versions`.

    Returns
    -------
    list of str
        Such as "numpy 2.1.0, now 2.2.0"; a distribution that only one of them has counts.
    """
    return [
        f"{name} {recorded.get(name, 'absent')}, now {present.get(name, 'absent')}"
        for name in sorted({*recorded, *present})
        if recorded.get(name) != present.get(name)
    ]


def record(
    schema: str,
    version: int,
    settings: Mapping[str, Any],
    library: Mapping[str, Any],
    inputs: Mapping[str, str],
    path: str = "",
    plugins: Iterable[str] = (),
) -> dict[str, Any]:
    """
    Describe where a result comes from; nothing of the clock, the host or its paths.

    Parameters
    ----------
    schema : str
        What kind of result it is.
    version : int
        Version of that kind's schema.
    settings : mapping
        The slice of the configuration that made it, with the seed where it draws.
    library : mapping
        The library's source that made it, from `library`.
    inputs : mapping of str to str
        Digest of every input by its path relative to the results folder.
    path : str
        Its own place, relative to the results folder; empty for a file that may lie anywhere.
    plugins : iterable of str
        Python files of the user's that were used; versions of what they import are recorded.

    Returns
    -------
    dict
        A JSON value.
    """
    return {
        "schema": schema,
        "version": version,
        "path": path,
        "dcsc": __version__,
        "versions": versions(*plugins),
        "settings": dict(settings),
        "settings_digest": digest(dict(settings)),
        "library": dict(library),
        "inputs": [{"path": path, "sha256": inputs[path]} for path in sorted(inputs)],
    }


OLDER = "was made by an older version of dcsc, whose records name neither place nor versions"
FORGET = "python -m dcsc verify --configfile FILE --forget"
"""What to do with results that no reader takes."""


def check_record(record: Any) -> dict[str, Any]:
    """
    Check the parts of a record that readers use.

    Parameters
    ----------
    record : JSON value
        What a file says of itself.

    Returns
    -------
    dict
        The same.

    Raises
    ------
    LookupError, TypeError, ValueError
        When it is none; also of an older format, see `is_older`.
    """
    kinds = {"schema": str, "version": int, "dcsc": str, "settings": dict, "settings_digest": str, "inputs": list}
    kinds |= {"path": str, "versions": dict}
    modules, versions = record["library"]["modules"], record["versions"]
    texts = [record["library"]["sha256"], *modules, *modules.values(), *versions, *versions.values(), record["path"]]
    texts += [text for entry in record["inputs"] for text in (entry["path"], entry["sha256"])]
    if not all(isinstance(record[key], kind) for key, kind in kinds.items()) or not all(map(_is_text, texts)):
        raise ValueError("parts of the record are of a wrong type")
    return record


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value


def is_older(record: Any) -> bool:
    """
    Tell a record that an older version of dcsc wrote.

    Parameters
    ----------
    record : JSON value
        What a file says of itself.

    Returns
    -------
    bool
        Whether it lacks what records name since.
    """
    return isinstance(record, dict) and "settings_digest" in record and not {"path", "versions"} <= record.keys()


def check_place(record: Mapping[str, Any], path: str | Path, place: str) -> None:
    """
    Compare what a file says of its place with the place that it was read from.

    Parameters
    ----------
    record : mapping
        From `record`.
    path : str or Path
        The file, for the message.
    place : str
        Where it was read from, relative to the results folder.

    Raises
    ------
    UserError
        When it belongs elsewhere.
    """
    if record["path"] and record["path"] != place:
        raise UserError(
            f"{path} is another file, it was written as {record['path']!r} and not as {place!r}: "
            f"put it back, or delete it and run again; {FORGET} deletes every such file."
        )
