"""The plan of the library: its floors from the top down. Imports run downward only; CONTRIBUTING shows this table."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "dcsc"

FLOORS = {
    "__main__": "the command line",
    "study": "the typed configuration, its checks and reference; claims, estimates of cost, the way back from a result",
    "figures": "a module a panel: a tidy table in, a figure out; transitions",
    "stages": "what the workflow's scripts call, plug-ins, windows of real signals",
    "certification": "what the theory says of filters and networks of one's own",
    "store": "datasets: schemas, files, what they were made from, readers",
    "pursuit": "thresholding, basis pursuit, multi-layer and greedy pursuits: what is recovered",
    "guarantees": "uniform and statistical, of a layer and of a path: what must be recovered",
    "sampling": "what is drawn: supports, magnitudes, signs, noise, deep codes; worst cases",
    "families": "named constructors of filters",
    "model": "dictionaries, cascades, coherence, sparsity: the objects of the theory",
    "convolution": "banks of filters; convolution dense, by lists of non-zeros, and the choice",
    "ragged": "codes as lists of their non-zeros",
    "kernels": "compiled loops over arrays",
    "parallel registry statistics": "threads; functions that a configuration names; intervals",
    "arrays": "what an array must be; files of weights",
    "errors seeds": "a user's mistake, random numbers",
}
ROOMS = [floor.split() for floor in FLOORS]
FLOOR = {room: len(ROOMS) - number for number, rooms in enumerate(ROOMS) for room in rooms}


def name_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(LIBRARY.rglob("*.py"))}


def imports_of(name):
    """The modules that one imports, within functions and for annotations too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return {module for module in found if module.startswith("dcsc.") and module in MODULES}


def rendered():
    """The table as CONTRIBUTING shows it."""
    lines = ["    dcsc/          the library, floor by floor: a module imports from its own floor and from those below"]
    for rooms, what in FLOORS.items():
        names = ", ".join(f"{room}/" if (LIBRARY / room).is_dir() else room for room in rooms.split())
        lines.append(f"      {names:<26} {what}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", [name for name in MODULES if name != "dcsc"])
def test_imports_run_downward(name):
    here = name.split(".")[1]
    above = [module for module in imports_of(name) if FLOOR[module.split(".")[1]] > FLOOR[here]]
    assert not above, f"{name} imports from a floor above its own"
    beside = {module.split(".")[1] for module in imports_of(name)} - {here}
    assert not {room for room in beside if FLOOR[room] == FLOOR[here]}, "rooms of one floor do not import each other"


def test_there_is_no_circle():
    TopologicalSorter({name: imports_of(name) for name in MODULES}).prepare()


def test_few_modules_stand_beside_the_folders():
    loose = {path.stem for path in LIBRARY.glob("*.py")} - {"__init__", "__main__"}
    assert loose <= set(FLOOR)
    assert len(loose) <= 8


def test_contributors_see_this_plan():
    assert rendered() in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
