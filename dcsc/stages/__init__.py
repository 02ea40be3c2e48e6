"""
The stages of an experiment as functions from settings and datasets to datasets.

dictionaries -> signals -> pursuits -> metrics -> summary; each takes the slice of the
configuration that it needs, and knows nothing of the workflow that calls it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from dcsc import registry
from dcsc.errors import UserError


def load_plugins(paths: Iterable[str | Path]) -> None:
    """
    Run the user's files that register families, pursuits, samplers, real signals or figures.

    Parameters
    ----------
    paths : iterable of str or Path
        Python files.

    Raises
    ------
    UserError
        When a file is missing or fails.
    """
    for path in paths:
        path = Path(path)
        spec = importlib.util.spec_from_file_location(f"dcsc_plugin_{path.stem}", path)
        if path.suffix != ".py" or not path.is_file() or spec is None or spec.loader is None:
            raise UserError(f"plugin {path} is not a Python file: give the path of one that exists.")
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # classes in it look for it there
        try:
            with registry.unchanged():
                spec.loader.exec_module(module)
        except UserError as error:
            raise UserError(f"plugin {path}: {error}") from None
        except (Exception, SystemExit) as error:  # a plug-in may fail in any way
            raise UserError(f"plugin {path} fails ({type(error).__name__}: {error}): correct it.") from None
