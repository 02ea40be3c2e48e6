"""Creation of a folder from which a user starts a study."""

from __future__ import annotations

import os
import shlex
from importlib import resources
from pathlib import Path

from dcsc.errors import UserError
from dcsc.store import provenance

FILES = ("README.md", "config.yaml", "my_plugin.py")
"""What a new study has, as it lies beside this module under template/."""


def new(folder: str | Path) -> list[Path]:
    """
    Write a small configuration, with comments, and a plug-in file that it uses.

    Parameters
    ----------
    folder : str or Path
        Where; it is made, or is empty of files of these names.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    UserError
        When a file is there already, or the folder cannot be written.
    """
    folder = Path(folder)
    for name in FILES:
        if os.path.lexists(folder / name):
            raise UserError(f"{folder / name} exists: name a new folder, nothing is overwritten.")
    source = resources.files("dcsc.study") / "template"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            text = (source / name).read_text(encoding="utf-8").replace("{checkout}", shlex.quote(checkout()))
            with open(folder / name, "x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): name another folder.") from None
    return [folder / name for name in FILES]


def checkout() -> str:
    """
    Tell where the rules of the workflow are, which an installed package does not hold.

    Returns
    -------
    str
        The folder of the checkout that this library runs from, or words in its place.
    """
    root = provenance.PACKAGE.parent
    return str(root) if (root / "workflow" / "Snakefile").is_file() else "path/to/dcsc"
