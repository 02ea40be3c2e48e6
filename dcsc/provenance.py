"""What a result was made from: the configuration slice, the library's source, the inputs, all by digest."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dcsc
from dcsc.errors import UserError

PACKAGE = Path(__file__).parent


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


@cache
def _imported(path: Path) -> frozenset[Path]:
    """Modules of this package that a file names in an import, wherever in the file that stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
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
    Collect the modules of this package that some files import, directly or not.

    Parameters
    ----------
    paths : iterable of str or Path
        Python files, such as the script of a stage.

    Returns
    -------
    list of Path
        Files of the package, sorted; imports inside functions count.
    """
    found: set[Path] = set()
    waiting = [Path(path) for path in paths]
    while waiting:
        new = _imported(waiting.pop()) - found
        found |= new
        waiting += new
    return sorted(found)


def library_digest(*paths: str | Path) -> str:
    """
    Hash the source of the library that some files use.

    Parameters
    ----------
    *paths : str or Path
        Python files, such as the script of a stage.

    Returns
    -------
    str
        Changes when, and only when, a module in the import closure of the files changes.
    """
    return digest({path.relative_to(PACKAGE).as_posix(): file_digest(path) for path in closure(paths)})


def record(
    schema: str, version: int, settings: Mapping[str, Any], library: str, inputs: Mapping[str, str]
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
    library : str
        Digest of the library's source that made it.
    inputs : mapping of str to str
        Digest of every input by its path relative to the results folder.

    Returns
    -------
    dict
        A JSON value.
    """
    return {
        "schema": schema,
        "version": version,
        "dcsc": dcsc.__version__,
        "settings": dict(settings),
        "settings_digest": digest(dict(settings)),
        "library": library,
        "inputs": [{"path": path, "sha256": inputs[path]} for path in sorted(inputs)],
    }
