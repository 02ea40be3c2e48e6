"""
Checks of the configuration options in a Snakemake command line, before Snakemake reads them.

It reads `--configfile` and `--config` before any file of the workflow, and ends with a traceback where it cannot.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from dcsc.errors import UserError, shown

KEY_AND_VALUE = re.compile(r"[A-Za-z_][\w-]*\w=", re.ASCII)


def check(arguments: Sequence[str]) -> None:
    """
    Check what a command line says of the configuration.

    Parameters
    ----------
    arguments : sequence of str
        Those of `snakemake`; others than `--configfile` and `--config` are not looked at.

    Raises
    ------
    UserError
        With one sentence that names what is wrong.
    """
    from dcsc.study import config

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--configfile", "--configfiles", nargs="*", action="extend")
    parser.add_argument("--config", "-C", nargs="*", action="extend")
    options = list(arguments)
    given, _ = parser.parse_known_args(options[: options.index("--")] if "--" in options else options)
    if given.configfile == []:
        raise UserError("--configfile names no file: give the path of a configuration after it.")
    if given.config == []:
        raise UserError("--config has no value: give key=value after it, such as seed=7.")
    keys = [entry.split("=", 1)[0] for entry in given.config or ()]
    for entry in given.config or ():
        if not KEY_AND_VALUE.match(entry):
            raise UserError(
                f"--config {shown(entry)} is not allowed: give key=value, such as seed=7, with a key of two letters "
                "or more."
            )
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"--config gives the key {shown(twice)} twice: give it once.")
    config.check_files(given.configfile or ())


def stop_if_wrong() -> None:
    """End with one sentence when the command line of this process is wrong."""
    try:
        check(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error in the configuration: {error}")
