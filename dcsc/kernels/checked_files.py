"""
Files whose content is known to be what was written: a digest stands before it.

What is damaged is never handed on, so that neither a pickle nor machine code of a damaged file is run.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path

HEAD = b"dcsc machine code, SHA-256 of what follows:\n"
SIZE = hashlib.sha256().digest_size


class DamagedFileError(ValueError):
    """A file is not what was written."""


def read_checked(file: Path) -> bytes | None:
    """
    Read a file that `write_checked` wrote.

    Parameters
    ----------
    file : Path
        Which.

    Returns
    -------
    bytes or None
        Its content; None where there is no file.

    Raises
    ------
    DamagedFileError
        If it is empty, cut off, altered or cannot be read.
    """
    try:
        written = file.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedFileError(str(error)) from None
    begin = len(HEAD) + SIZE
    content = memoryview(written)[begin:]
    if written[:begin] != HEAD + hashlib.sha256(content).digest():
        raise DamagedFileError(str(file))
    return bytes(content)


def write_checked(file: Path, content: bytes) -> None:
    """
    Write a file at once, so that others that read or write it meanwhile see a whole one.

    Parameters
    ----------
    file : Path
        Which; its folder is made if need be.
    content : bytes
        What `read_checked` returns.

    Raises
    ------
    OSError
        If it cannot be written; nothing is left of it then.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    passing = file.with_name(f"{file.name}.{secrets.token_hex(8)}.tmp")
    try:
        passing.write_bytes(HEAD + hashlib.sha256(content).digest() + content)
        passing.replace(file)
    except OSError:
        with contextlib.suppress(OSError):
            passing.unlink()
        raise
