"""Digests that belong to a file: a seal inside pictures and metadata, a line in a file beside a dataset."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcsc.errors import UserError
from dcsc.store import provenance
from dcsc.store.provenance import sidecar

BLANK = "sha256-of-this-file:" + "0" * 64
"""A seal before it is set; the digest is that of all bytes of the file with this in its place."""

_SEAL = re.compile(rb"sha256-of-this-file:[0-9a-f]{64}")
_PNG = b"\x89PNG\r\n\x1a\n"


def seal(content: bytes) -> bytes:
    """
    Set the seal in the bytes of a file, whatever is written there.

    Parameters
    ----------
    content : bytes
        Of a file in which a seal stands once, as text that the format leaves as it is.

    Returns
    -------
    bytes
        As many.

    Raises
    ------
    ValueError
        When there is no seal, or more than one.
    """
    places = list(_SEAL.finditer(content))
    if len(places) != 1:
        raise ValueError(f"{len(places)} seals in a file")
    start, end = places[0].span()
    blank = _with_checksums(content[:start] + BLANK.encode() + content[end:], start)
    digest = hashlib.sha256(blank).hexdigest().encode()
    return _with_checksums(blank[: end - len(digest)] + digest + blank[end:], start)


def _with_checksums(content: bytes, place: int) -> bytes:
    """Set the checksum of the chunk of a PNG that holds a place; other formats have none."""
    start = len(_PNG)
    while content.startswith(_PNG) and start + 12 <= len(content):
        end = start + 8 + struct.unpack(">I", content[start : start + 4])[0]
        if start <= place < end:
            return content[:end] + struct.pack(">I", zlib.crc32(content[start + 4 : end])) + content[end + 4 :]
        start = end + 4
    return content


def is_sealed(path: str | Path) -> bool:
    """
    Tell whether a file is as it was sealed, to the last byte.

    Parameters
    ----------
    path : str or Path
        A picture, or the metadata of a table or page.

    Returns
    -------
    bool
        False also when it cannot be read or has no seal.
    """
    try:
        content = Path(path).read_bytes()
        return seal(content) == content
    except (OSError, ValueError, struct.error):
        return False


def seal_file(path: Path) -> None:
    """
    Set the seal in a file.

    Parameters
    ----------
    path : Path
        As for `seal`.
    """
    path.write_bytes(seal(path.read_bytes()))


@dataclass(frozen=True)
class Head:
    """
    What tells whether a result is one of today's, without its settings and modules in full.

    Parameters
    ----------
    schema, version, path, versions
        As in its record.
    settings, library : str
        Digests of the settings, and of the library's source.
    inputs : mapping of str to str
        Digest of every input by its path.
    sha256 : str
        Digest of the content, as recorded.
    size : int
        Bytes of the content, as recorded; -1 where that is not.
    """

    schema: str
    version: int
    path: str
    settings: str
    library: str
    versions: Mapping[str, str] = field(hash=False)
    inputs: Mapping[str, str] = field(hash=False)
    sha256: str = ""
    size: int = -1


def head_of(record: Mapping[str, Any], sha256: str = "", size: int = -1) -> Head:
    """
    Take the head of a record.

    Parameters
    ----------
    record : mapping
        From `provenance.record`.
    sha256 : str
        Digest of the content.
    size : int
        Its bytes.

    Returns
    -------
    Head
        Of the file.
    """
    return Head(
        schema=record["schema"],
        version=record["version"],
        path=record["path"],
        settings=record["settings_digest"],
        library=record["library"]["sha256"],
        versions=record["versions"],
        inputs={entry["path"]: entry["sha256"] for entry in record["inputs"]},
        sha256=sha256,
        size=size,
    )


def beside(path: Path, head: Head) -> str:
    """
    Write what stands beside a dataset: its digest in the format of sha256sum, and its head as a remark.

    Parameters
    ----------
    path : Path
        The dataset.
    head : Head
        Of it.

    Returns
    -------
    str
        Two lines.
    """
    names = ("schema", "version", "path", "settings", "library", "versions", "inputs", "size")
    remark = provenance.canonical({name: getattr(head, name) for name in names})
    return f"{head.sha256}  {path.name}\n# {remark}\n"


def head_beside(path: Path) -> Head:
    """
    Read the head of a dataset from beside it.

    Parameters
    ----------
    path : Path
        The dataset, which is not opened.

    Returns
    -------
    Head
        As it was written.

    Raises
    ------
    OSError, ValueError, TypeError, LookupError
        When it cannot be read, or is none.
    """
    first, remark, *_ = sidecar(path).read_text(encoding="utf-8").splitlines()
    return Head(sha256=first.split()[0], **json.loads(remark.removeprefix("# ")))


def check_text(path: str | Path, place: str = "") -> dict[str, Any]:
    """
    Check a table or page against what was recorded of it when it was written.

    Parameters
    ----------
    path : str or Path
        The file.
    place : str
        Where it lies, relative to the results folder: refused if it was written elsewhere. Not compared by default.

    Returns
    -------
    dict
        Its provenance record.

    Raises
    ------
    UserError
        When the file or its metadata is missing or changed, or belongs elsewhere.
    """
    path = Path(path)
    try:
        metadata = json.loads(provenance.metadata_of(path).read_text(encoding="utf-8"))
        record = metadata["provenance"]
        older = provenance.is_older(record)
        sealed = is_sealed(provenance.metadata_of(path))
        whole = older or (sealed and metadata["sha256"] == provenance.file_digest(path))
        if whole and not older:
            provenance.check_record(record)
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        whole = older = False
    if older:
        raise UserError(f"{path} {provenance.OLDER}: delete it and run again.")
    if not whole:
        raise UserError(f"{path} is not as the workflow wrote it: delete it and run again.")
    if place:
        provenance.check_place(record, path, place)
    return record
