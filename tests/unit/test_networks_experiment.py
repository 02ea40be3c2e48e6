"""The experiment on networks as a command, on a network of one layer."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest

from dcsc import UserError
from dcsc.study import networks
from tests.support.onnx_graphs import Builder

ROOT = Path(__file__).parents[2]
CONFIG = """
results: results-tiny
networks: {tiny: {weights: tiny.onnx, signals: x.npy}}
shares: [1.0, 0.5]
iterations: 12
claims:
  coherent:
    statement: Trained filters are coherent.
    figures: [networks-layers]
    measure: {value: trained_above_random, out_of: layers, counted: layers}
    criterion: {at_least: 0}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    builder = Builder()
    value = builder.conv("x", rng.standard_normal((4, 1, 3)), rng.standard_normal(4), name="one")
    builder.node("Relu", value)
    builder.save(tmp_path / "tiny.onnx")
    np.save(tmp_path / "x.npy", rng.standard_normal((3, 1, 20)))
    (tmp_path / "c.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {path: path.read_bytes() for path in sorted((folder / "results-tiny").rglob("*")) if path.is_file()}


def test_a_run_is_kept_and_is_the_same_again(folder):
    lines = list(networks.run("c.yaml"))
    assert "was made, 1 layers" in lines[0]
    first = contents(folder)
    assert {path.suffix for path in first} >= {".nc", ".csv", ".png", ".svg", ".pdf", ".json", ".md"}
    assert [claim["holds"] for claim in json.loads((folder / "results-tiny/claims.json").read_text())] == [True]
    assert "is up to date" in next(networks.run("c.yaml"))
    (folder / "results-tiny/planted/tiny.nc").write_bytes(b"damaged")
    assert "was made" in next(iter(list(networks.run("c.yaml"))))
    assert contents(folder) == first


def test_unknown_keys_and_tables_are_refused(folder):
    (folder / "c.yaml").write_text(CONFIG.replace("shares", "share"))
    with pytest.raises(UserError, match=r"unknown key share: did you mean 'shares'"):
        networks.load("c.yaml")
    (folder / "c.yaml").write_text(CONFIG.replace("[networks-layers]", "[layers]"))
    with pytest.raises(UserError, match=r"names the table 'layers'"):
        networks.load("c.yaml")


def test_the_shipped_configurations_are_valid():
    study, windows = (networks.load(ROOT / f"config/{name}.yaml") for name in ("networks", "networks-windows"))
    assert len(study.networks) >= 6
    assert "trained-coherence-is-cooperative" in study.claims
    assert windows.networks["silero-vad"].weights == study.networks["silero-vad"].weights


def test_the_page_on_networks_says_what_its_tables_hold():
    specification = importlib.util.spec_from_file_location("update_networks", ROOT / "docs/update_networks.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    page = (ROOT / "docs/networks.md").read_text(encoding="utf-8")
    assert script.updated(page) == page
    tables = [len(part.splitlines()) for part in re.findall(r"(?s)<!-- [a-z]+ -->\n\n(.*?)<!-- end -->", page)]
    assert len(tables) == 4
    assert min(tables) > 5
