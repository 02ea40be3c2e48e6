"""The examples in docstrings run and show what comes out; parameters are those of the function, in its order."""

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

from dcsc import families

LIBRARY = Path(__file__).parents[2] / "dcsc"
MODULES = [
    ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(LIBRARY.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
SHOWN = (
    "dcsc.certification.certificate",
    "dcsc.certification.phase_diagram",
    "dcsc.families",
    "dcsc.families.registry",
    "dcsc.guarantees.thresholds_as_run",
    "dcsc.guarantees.uniform_thresholding",
    "dcsc.model.cascade",
    "dcsc.model.coherence",
    "dcsc.model.dictionary",
    "dcsc.model.sparsity",
    "dcsc.pursuit.basis_pursuit",
    "dcsc.pursuit.thresholding",
    "dcsc.sampling.values",
    "dcsc.seeds",
    "dcsc.statistics",
    "dcsc.study.catalogue",
)
"""Where a user looks first; these modules have an example."""


@pytest.mark.parametrize("name", MODULES)
def test_examples_show_what_comes_out(name, monkeypatch):
    monkeypatch.setattr(families.registry.FAMILIES, "entries", dict(families.registry.FAMILIES.entries))
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed


def test_what_a_user_looks_at_first_has_an_example():
    assert set(SHOWN) <= set(MODULES)


def documented(docstring):
    """Names of each entry under Parameters, such as `n_filters, taps : int`."""
    section = re.split(r"\n\n\w[\w ]*\n-{3,}\n", docstring.partition("Parameters\n----------\n")[2])[0]
    entries = [line.partition(" : ")[0] for line in section.splitlines() if line and not line.startswith(" ")]
    return [[name.strip().lstrip("*") for name in entry.split(",")] for entry in entries]


def functions():
    for path in sorted(LIBRARY.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and "Parameters\n---" in (ast.get_docstring(node) or ""):
                yield f"{path.relative_to(LIBRARY)}: {node.name}", node


def test_documented_parameters_are_those_of_the_function_in_its_order():
    looked_at = 0
    for name, node in functions():
        taken = node.args
        ordered = [*taken.posonlyargs, *taken.args, taken.vararg, *taken.kwonlyargs, taken.kwarg]
        signature = [argument.arg for argument in ordered if argument and argument.arg not in ("self", "cls")]
        entries = documented(ast.get_docstring(node))
        assert sorted(one for names in entries for one in names) == sorted(signature), name
        first = [signature.index(names[0]) for names in entries]  # names of one kind may share an entry
        assert first == sorted(first), name
        looked_at += 1
    assert looked_at > 500
