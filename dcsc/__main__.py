"""The command line: `dcsc <command>`, or `python -m dcsc <command>`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dcsc import __version__
from dcsc.errors import UserError, printable


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
    given, further = _divided(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    chosen = parser.parse_args(given)
    chosen.snakemake = further
    try:
        return chosen.run(chosen)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        return 0


def _divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell what is ours from what comes after `--`; argparse would take that for targets."""
    if "--" not in arguments or arguments[:1] != ["run"]:
        return list(arguments), []
    at = arguments.index("--")
    return list(arguments[:at]), list(arguments[at + 1 :])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dcsc", description="Certificates of filters; studies begun, estimated, traced."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="command")

    _add_certify(commands)

    networks = commands.add_parser(
        "networks",
        help="codes planted in the layers of networks: what trained coherence does",
        description="Plants codes in the layers of the networks that a configuration names and asks one step of each "
        "layer for their supports; docs/networks.md explains. Networks whose dataset is up to date are not done anew.",
    )
    networks.add_argument("configfile", metavar="CONFIG", help="such as config/networks.yaml")
    networks.set_defaults(run=_networks)

    offered = commands.add_parser("list", help="every family, sampler, pursuit and figure, with its parameters")
    offered.add_argument("kinds", nargs="*", metavar="kind", help="families, supports, ...; all by default")
    offered.add_argument("--plugin", metavar="FILE.py", action="append", default=[], help="with what it registers")
    offered.add_argument("--json", action="store_true", help="for programs")
    offered.set_defaults(run=_list)

    new = commands.add_parser("new", help="a folder to start a study of your own from")
    new.add_argument("folder", help="where to write a small configuration with comments, and a plug-in file")
    new.set_defaults(run=_new)

    trace = commands.add_parser("trace", help="from a result back to seeds, settings, code and inputs")
    trace.add_argument("file", help="a .pdf, .svg, .png, .csv or .nc that the workflow wrote")
    trace.add_argument("--json", action="store_true", help="for programs")
    trace.add_argument("--results", metavar="FOLDER", help="the results folder, if the file lies elsewhere")
    trace.set_defaults(run=_trace)

    orphans = commands.add_parser("orphans", help="results that no rule makes or that are not traceable")
    orphans.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    orphans.add_argument("--results", metavar="FOLDER", help="default: the one that the configuration names")
    orphans.set_defaults(run=_orphans)

    verify = commands.add_parser("verify", help="every file of the results against configuration, code and inputs")
    verify.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    verify.add_argument("--forget", action="store_true", help="delete what is wrong, so that the next run makes it")
    verify.add_argument("--json", action="store_true", help="for programs")
    verify.set_defaults(run=_verify)

    crate = commands.add_parser(
        "crate",
        help="a finished study as a Workflow Run RO-Crate, for others to read",
        description="Writes configuration, code, inputs, results, versions and what was made from what, in the "
        "vocabulary of RO-Crate. Two exports are equal byte for byte: no clock is read.",
    )
    crate.add_argument("output", help="a folder that is not there yet, or a .zip file")
    crate.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    crate.add_argument("--date", metavar="YYYY-MM-DD", required=True, help="when it is published")
    crate.add_argument("--license", metavar="NAME", default="MIT", help="of SPDX, or an address; default: %(default)s")
    crate.add_argument("--author", metavar="NAME", help="who ran the study")
    crate.add_argument(
        "--datasets", choices=["inside", "by-digest"], default="inside", help="in the crate, or named by digest alone"
    )
    crate.set_defaults(run=_crate)

    run = commands.add_parser(
        "run",
        help="run the workflow, shown a line a stage",
        usage="dcsc run [target ...] [--configfile FILE] [--cores N] [--verbose] [-- OPTION OF SNAKEMAKE ...]",
    )
    run.add_argument("targets", nargs="*", metavar="target", help="stage, experiment, figure or file; default: all")
    run.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    run.add_argument("--cores", metavar="N", help="jobs at a time; default: all cores, or what a --profile says")
    run.add_argument("--verbose", action="store_true", help="Snakemake's own output")
    run.set_defaults(run=_run)

    estimate = commands.add_parser("estimate", help="jobs, core-hours, memory and disk of what is to be done")
    estimate.add_argument("targets", nargs="*", metavar="target", help="what to make; everything by default")
    estimate.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    estimate.add_argument("--cores", type=int, metavar="N", help="default: those of this machine")
    estimate.add_argument(
        "--timings", metavar="FILE", action="append", default=[], help="learn from the runs of this configuration too"
    )
    estimate.add_argument("--json", action="store_true", help="for programs")
    estimate.set_defaults(run=_estimate)

    profile = commands.add_parser("profile", help="where the time of a study went, by rule, experiment and job")
    profile.add_argument("--configfile", metavar="FILE", default="config/config.yaml", help="default: %(default)s")
    profile.add_argument("--json", action="store_true", help="for programs")
    profile.set_defaults(run=_profile)

    schema = commands.add_parser("schema", help="the JSON schema of the configuration, as YAML")
    schema.set_defaults(run=_schema)
    keys = commands.add_parser("keys", help="the table of all keys of the configuration, as Markdown")
    keys.add_argument("--into", metavar="FILE", help="write it between the marks of a Markdown file")
    keys.set_defaults(run=_keys)
    return parser


def _add_certify(commands: argparse._SubParsersAction) -> None:
    certify = commands.add_parser(
        "certify",
        help="what the theory certifies for filters, or the convolution layers of a network",
        description="Coherence, Welch bound, Babel function and certified stripe-sparsity of every layer of a file of "
        "weights; with signals or activations, what was measured of them and which guarantees cover it. "
        "LAYER=N,N states something of one layer, N of all layers that are not named; docs/certify.md explains.",
    )
    certify.add_argument(
        "file",
        help="a network as .onnx, or a .npz, .npy or .safetensors file: conv1.weight, conv1.bias, ..., or filters",
    )
    certify.add_argument("--layers", metavar="NAME,...", help="which layers; default: all")
    certify.add_argument(
        "--chain",
        metavar="NAME,...",
        action="append",
        default=[],
        help="layers of a file of arrays that follow one another with nothing but ReLU in between; may be repeated",
    )
    for key, what in {
        "stride": "default: what the file states, else 1",
        "dilation": "written out as zeros",
        "groups": "of channels; default: 1, or what the name of a depthwise kernel tells",
        "padding": "zero padding: one number, one per axis, those before and then those after, or same",
        "pool": "pooling after a layer, where a segment ends",
    }.items():
        certify.add_argument(f"--{key}", metavar="[LAYER=]N", action="append", default=[], help=what)
    certify.add_argument(
        "--layout",
        metavar="AXES",
        help="of arrays whose names do not tell: filters-first (filter, channel, tap, ...), filters-last (tap, ..., "
        "channel, filter) or one-channel (tap, ..., filter)",
    )
    certify.add_argument("--grid", metavar="N,...", help="grid of the signal; default: the smallest one that fits")
    certify.add_argument("--contrast", metavar="R", default="1", help="X_min / X_max; default: %(default)s")
    certify.add_argument("--delta", metavar="P", default="0.01", help="admitted failure; default: %(default)s")
    certify.add_argument(
        "--draws",
        metavar="N",
        default="400",
        help="codes drawn for each size of the instance rungs, 0 for none; default: %(default)s",
    )
    certify.add_argument("--seed", metavar="N", default="0", help="of these draws; default: %(default)s")
    measured = certify.add_mutually_exclusive_group()
    measured.add_argument("--signals", metavar="FILE", help="signals to run through the layers: (trial, channel, ...)")
    measured.add_argument(
        "--activations", metavar="FILE", help="activations by the name of the layer: (trial, filter, ...)"
    )
    certify.add_argument("--output", metavar="FILE.nc", help="write everything to a netCDF file as well")
    certify.add_argument("--layer", metavar="NAME", help="print all of one layer instead of a line for each")
    certify.add_argument("--report", metavar="FILE.html", help="write a page with pictures as well")
    certify.add_argument("--json", action="store_true", help="for programs")
    certify.add_argument("--memory", metavar="GIB", default="2", help="that it may take; default: %(default)s")
    certify.set_defaults(run=_certify)


def _use_one_thread() -> None:
    """Let BLAS use one thread, so that results do not depend on the cores; it must be set before NumPy is imported."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def _networks(chosen: argparse.Namespace) -> int:
    _use_one_thread()
    from dcsc.study import networks

    for line in networks.run(chosen.configfile):
        print(printable(line), flush=True)
    return 0


def _certify(chosen: argparse.Namespace) -> int:
    _use_one_thread()
    from dcsc.certification import command

    print(command.run(vars(chosen)))
    return 0


def _list(chosen: argparse.Namespace) -> int:
    import json
    import shutil

    from dcsc import stages
    from dcsc.study import catalogue

    stages.load_plugins(chosen.plugin)
    found = catalogue.catalogue(chosen.kinds)
    width = shutil.get_terminal_size((100, 24)).columns
    print(json.dumps(catalogue.as_records(found), indent=1) if chosen.json else catalogue.as_text(found, width))
    return 0


def _new(chosen: argparse.Namespace) -> int:
    from dcsc.study import new

    for path in new.new(chosen.folder):
        print(printable(str(path)))
    print(printable(f"How to run it is in {Path(chosen.folder) / 'README.md'}."))
    return 0


def _trace(chosen: argparse.Namespace) -> int:
    from dcsc.study import trace

    found = trace.trace(chosen.file, chosen.results)
    print(trace.as_json(found) if chosen.json else trace.as_text(found))
    return int(bool(found.problems))


def _orphans(chosen: argparse.Namespace) -> int:
    from dcsc.study import trace

    found = trace.orphans(chosen.configfile, chosen.results)
    for path, reason in found.items():
        print(printable(f"{path}: {reason}"))
    return int(bool(found))


def _verify(chosen: argparse.Namespace) -> int:
    from dcsc.study import verify

    found = verify.verify(chosen.configfile, chosen.forget)
    print(verify.as_json(found) if chosen.json else verify.as_text(found))
    return int(not found.is_well)


def _crate(chosen: argparse.Namespace) -> int:
    from dcsc.study import crate

    told = crate.Told(chosen.date, chosen.license, chosen.author, chosen.datasets == "inside")
    print(printable(f"{crate.export(chosen.configfile, chosen.output, told)} holds the study."))
    return 0


def _run(chosen: argparse.Namespace) -> int:
    from dcsc.study import run

    return run.run(
        chosen.configfile, chosen.targets, cores=chosen.cores, further=chosen.snakemake, verbose=chosen.verbose
    )


def _estimate(chosen: argparse.Namespace) -> int:
    from dcsc.study import estimate

    found = estimate.estimate(chosen.configfile, targets=chosen.targets, cores=chosen.cores, timings=chosen.timings)
    print(estimate.as_json(found) if chosen.json else estimate.as_text(found))
    return 0


def _profile(chosen: argparse.Namespace) -> int:
    from dcsc.study import profile

    jobs = profile.timed_jobs(chosen.configfile)
    print(profile.as_json(jobs) if chosen.json else profile.as_text(jobs))
    return 0


def _schema(_: argparse.Namespace) -> int:
    from dcsc.study import reference

    print(reference.json_schema(), end="")
    return 0


def _keys(chosen: argparse.Namespace) -> int:
    from dcsc.study import reference

    if chosen.into is None:
        print(reference.key_table(), end="")
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
    path.write_text(before + mark + reference.key_table() + end + after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
