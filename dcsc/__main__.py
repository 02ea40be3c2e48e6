"""The command line: `python -m dcsc <command>`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dcsc import __version__
from dcsc.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run a command.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the command line.

    Returns
    -------
    int
        0 when all is well, 1 when something is wrong with what the user gave or what was found.
    """
    chosen = _parser().parse_args(arguments)
    try:
        return chosen.run(chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dcsc", description="Questions about results and configurations.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    trace = commands.add_parser("trace", help="from a result back to seeds, settings, code and inputs")
    trace.add_argument("file", help="a .pdf, .svg, .png, .csv or .nc that the workflow wrote")
    trace.add_argument("--json", action="store_true", help="for programs")
    trace.add_argument("--results", metavar="FOLDER", help="the results folder, if the file lies elsewhere")
    trace.set_defaults(run=_trace)

    orphans = commands.add_parser("orphans", help="results that no rule makes or that are not traceable")
    orphans.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    orphans.add_argument("--results", metavar="FOLDER", help="default: the one that the configuration names")
    orphans.set_defaults(run=_orphans)

    estimate = commands.add_parser("estimate", help="jobs, core-hours, memory and disk of what is to be done")
    estimate.add_argument("targets", nargs="*", metavar="target", help="what to make; everything by default")
    estimate.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    estimate.add_argument("--cores", type=int, metavar="N", help="default: those of this machine")
    estimate.add_argument(
        "--timings", metavar="FILE", action="append", default=[], help="learn from the runs of this configuration too"
    )
    estimate.add_argument("--json", action="store_true", help="for programs")
    estimate.set_defaults(run=_estimate)

    schema = commands.add_parser("schema", help="the JSON schema of the configuration, as YAML")
    schema.set_defaults(run=_schema)
    keys = commands.add_parser("keys", help="the table of all keys of the configuration, as Markdown")
    keys.add_argument("--into", metavar="FILE", help="write it between the marks of a Markdown file")
    keys.set_defaults(run=_keys)
    return parser


def _trace(chosen: argparse.Namespace) -> int:
    from dcsc import trace

    found = trace.trace(chosen.file, chosen.results)
    print(trace.as_json(found) if chosen.json else trace.as_text(found))
    return int(bool(found.problems))


def _orphans(chosen: argparse.Namespace) -> int:
    from dcsc import trace

    found = trace.orphans(chosen.configfile, chosen.results)
    for path, reason in found.items():
        print(f"{path}: {reason}")
    return int(bool(found))


def _estimate(chosen: argparse.Namespace) -> int:
    from dcsc import estimate

    found = estimate.estimate(chosen.configfile, targets=chosen.targets, cores=chosen.cores, timings=chosen.timings)
    print(estimate.as_json(found) if chosen.json else estimate.as_text(found))
    return 0


def _schema(_: argparse.Namespace) -> int:
    from dcsc import config

    print(config.json_schema(), end="")
    return 0


def _keys(chosen: argparse.Namespace) -> int:
    from dcsc import config

    if chosen.into is None:
        print(config.key_table(), end="")
        return 0
    path = Path(chosen.into)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): check the path.") from None
    before, mark, rest = text.partition("<!-- keys -->\n")
    _, end, after = rest.partition("<!-- /keys -->")
    if not (mark and end):
        raise UserError(f"{path} has no marks <!-- keys --> and <!-- /keys -->: add them around the table.")
    path.write_text(before + mark + config.key_table() + end + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
