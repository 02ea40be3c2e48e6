"""The code that the documentation shows runs, and the examples of extensions do what they say."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

import dcsc
from dcsc import families, stages
from dcsc.errors import UserError
from dcsc.pursuit import protocol

ROOT = Path(__file__).parents[2]


def blocks(name):
    return re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


def test_the_readmes_example_runs(capsys):
    (block,) = blocks("README.md")
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    mu, recovered, for_all_signs, on_average = (float(line.split()[0]) for line in capsys.readouterr().out.splitlines())
    assert 0 < mu < 1
    assert names["recovered"][names["certified"].covered].all()
    assert 0 < for_all_signs <= on_average <= recovered < 1


def test_the_example_of_a_certificate_runs(capsys):
    example, *_ = blocks("docs/certify.md")  # the others need a PyTorch of the user's
    exec(compile(example, "docs/certify.md", "exec"), {})
    mu, ratio = capsys.readouterr().out.splitlines()[0].split()
    assert 0 < float(mu) < 1
    assert float(ratio) >= 1


def test_the_documented_family_and_pursuit_work_as_plugins(tmp_path, monkeypatch):
    # What a plug-in registers must not be seen by other tests.
    monkeypatch.setattr(families.registry.FAMILIES, "entries", dict(families.registry.FAMILIES.entries))
    monkeypatch.setattr(protocol.PURSUITS, "entries", dict(protocol.PURSUITS.entries))
    paths = []
    for block in blocks("CONTRIBUTING.md"):
        name = re.match(r"# (\w+\.py)\n", block).group(1)
        (tmp_path / name).write_text(block)
        paths.append(tmp_path / name)
    stages.load_plugins(paths)
    dictionary = dcsc.families.create("exponential", grid=(64,), rates=(0.5, 1.0), taps=8)
    np.testing.assert_allclose(dictionary.filters[0, 0, 1] / dictionary.filters[0, 0, 0], np.exp(-0.5))
    model = dcsc.Cascade([dictionary])
    code = np.zeros((1, *dictionary.code_shape))
    code[0, 1, 20] = 1.0
    signals = model.synthesize(code)[0]
    dcsc.pursuit.check_parameters("twice-thresholded", ["rule", "threshold"])  # it passes them on
    found = dcsc.pursuit.get("twice-thresholded")(model, signals, rule="hard", threshold=0.98)
    np.testing.assert_array_equal(np.argwhere(found.codes[0]), [[0, 1, 20]])


@pytest.mark.parametrize(
    ("content", "words"), [("x = 1 / 0", "ZeroDivisionError"), ("def", "SyntaxError"), (None, "not a Python file")]
)
def test_a_plugin_that_fails_is_named(tmp_path, content, words):
    path = tmp_path / "mine.py"
    if content:
        path.write_text(content)
    with pytest.raises(UserError, match=words) as refusal:
        stages.load_plugins([path])
    assert "mine.py" in str(refusal.value)


def test_every_key_and_dependency_is_documented():
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    for package in re.findall(r'^  "([A-Za-z0-9_-]+)>', project, re.MULTILINE):
        assert package in contributing, f"CONTRIBUTING.md does not say why {package} is needed"


def test_no_address_or_path_of_a_machine_is_written_into_the_lock_file():
    lock = (ROOT / "requirements.lock").read_text()
    assert "http" not in lock
    assert "file:" not in lock
    assert "index-url" not in lock


def test_the_readme_says_of_the_abstract_what_the_page_about_the_run_says():
    specification = importlib.util.spec_from_file_location("update_readme", ROOT / "docs/update_readme.py")
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    readme, page = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/reproduction.md"))
    assert script.updated(readme, page) == readme
    sentences = [
        " ".join(entry["sentence"].split())
        for entry in yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))["sentences"]
    ]
    assert all(sentence in readme for sentence in sentences)
    failing = page.replace("| holds |", "| **DOES NOT HOLD** |", 1)
    assert "What does not hold, and is shown so" in script.verdicts(failing)
