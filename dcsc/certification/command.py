"""The command `certify`: from the options of a command line to the certificate of a file."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dcsc.arrays import GIB, ArrayFile, in_gib, open_arrays
from dcsc.certification import page, report
from dcsc.certification.certificate import certify
from dcsc.certification.network import Network
from dcsc.certification.network_file import (
    LARGEST_NUMBER,
    PROPERTIES,
    Numbers,
    read_network,
    stated_numbers,
    whole_numbers,
)
from dcsc.errors import UserError, nearest, shown


def run(options: Mapping[str, Any]) -> str:
    """
    Certify a file as a command line asks for it.

    Parameters
    ----------
    options : mapping
        `file`, the texts of the other options by their names without dashes, and `json`.

    Returns
    -------
    str
        What is to be printed; the dataset is written if `output` names one.

    Raises
    ------
    UserError
        When an option or a file is not right.
    """
    largest = int(_number(options["memory"], "--memory", 0.0, 2.0**20) * GIB)
    output = options["output"]
    if output is not None and Path(output).suffix != ".nc":
        raise UserError(f"--output {output} is not allowed: name a file that ends in .nc.")
    if options["report"] is not None and Path(options["report"]).suffix != ".html":
        raise UserError(f"--report {options['report']} is not allowed: name a file that ends in .html.")
    stated = {key: of for key in PROPERTIES if (of := _by_layer(options[key], key))}
    names = options["layers"].split(",") if options["layers"] is not None else None
    chains = [text.split(",") for text in options["chain"]]
    network = read_network(
        options["file"], names=names, chains=chains, stated=stated, layout=options["layout"], largest=largest
    )
    numbers: dict[str, Any] = {
        "contrast": _number(options["contrast"], "--contrast", 0.0, 1.0),
        "delta": _number(options["delta"], "--delta", 0.0, 1.0),
        "draws": _whole(options["draws"], "--draws"),
        "seed": _whole(options["seed"], "--seed", 2**63),
    }
    grid = _grid(options["grid"], network)
    files = {name: options[name] for name in ("file", "signals", "activations") if options[name] is not None}
    certificate = certify(network, grid=grid, largest=largest, **numbers, **_measured(options, network, largest))
    if output is not None:
        recorded = {name: _recorded(path, Path(output)) for name, path in files.items()}
        settings = {
            **numbers,
            **recorded,
            "layers": names,
            "chains": chains,
            "layout": options["layout"],
            "grid": grid,
            "stated": stated,
        }
        report.write(certificate, output, settings, {recorded[name]: path for name, path in files.items()})
    if options["json"]:
        return json.dumps(report.as_record(certificate), indent=1, allow_nan=False)
    text = report.as_text(certificate, options["layer"])
    if options["report"] is not None:
        page.write(certificate, options["report"])
        text += f"\n\nThe pictures are in {options['report']}."
    return text


def _number(text: str, option: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low < value <= high:
        raise UserError(f"{option} {shown(text)} is not allowed: give a number above {low:g} and at most {high:g}.")
    return value


def _whole(text: str, option: str, largest: int = LARGEST_NUMBER) -> int:
    numbers = whole_numbers(text, option, largest)
    if len(numbers) != 1:
        raise UserError(f"{option} {shown(text)} is not allowed: give one whole number.")
    return numbers[0]


def _by_layer(texts: Sequence[str], key: str) -> dict[str, Numbers]:
    """Read LAYER=N,N and N, which stands for the layers that are not named."""
    option = f"--{key}"
    stated: dict[str, Numbers] = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        if name in stated:
            raise UserError(f"{option} states {name or 'all other layers'} twice: state each once.")
        stated[name] = stated_numbers(numbers, key, f"{option} {text}" if name else option)
    return stated


def _grid(text: str | None, network: Network) -> Numbers | None:
    if text is None:
        return None
    rank = network.layers[0].rank
    grid = whole_numbers(text, "--grid")
    grid = grid * rank if len(grid) == 1 else grid
    if len(grid) != rank or min(grid) < 1:
        raise UserError(f"--grid {text} is not allowed: give {rank} positive numbers, or one for all axes.")
    return grid


def _measured(options: Mapping[str, Any], network: Network, largest: int) -> dict[str, Any]:
    """Read the signals or activations, if a file of them is named."""
    if options["signals"] is not None:
        return {"signals": _only_array(open_arrays(options["signals"], largest), "signals")}
    if options["activations"] is None:
        return {}
    file = open_arrays(options["activations"], largest)
    total = sum(8 * math.prod(array.shape) for array in file.arrays.values())
    if total > largest:
        raise UserError(f"the activations of {file.path} take {in_gib(total)}: give fewer, or raise --memory.")
    if len(network.layers) == 1 and len(file.arrays) == 1:
        return {"activations": {network.layers[0].name: _only_array(file, "activations")}}
    known = {layer.name for layer in network.layers}
    unknown = next((name for name in file.arrays if name not in known), None)
    if unknown is not None:
        raise UserError(f"the file {file.path} holds activations {unknown!r} of no layer: {nearest(unknown, known)}")
    return {"activations": {name: file.read(name) for name in file.arrays}}


def _only_array(file: ArrayFile, name: str) -> NDArray:
    chosen = name if name in file.arrays else next(iter(file.arrays), "")
    if not chosen or (chosen != name and len(file.arrays) > 1):
        raise UserError(f"the file {file.path} holds {sorted(file.arrays)} and no array {name!r}: store one.")
    return file.read(chosen)


def _recorded(path: str, output: Path) -> str:
    """Name an input as seen from the folder of the output, without any path of the machine."""
    relative = Path(os.path.relpath(path, output.parent))
    return relative.as_posix() if relative.parts.count("..") < 3 else relative.name
