"""The examples in docstrings run and show what comes out."""

import doctest
import importlib
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
