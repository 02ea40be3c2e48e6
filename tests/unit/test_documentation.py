"""The code that the documentation shows runs, and the examples of extensions do what they say."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from dcsc import stages
from dcsc.errors import UserError
from dcsc.stages import dictionaries, signals
from dcsc.stages.settings import Draws
from dcsc.store import dataset, readers
from dcsc.study import config
from dcsc.study.plan import Plan

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


@pytest.mark.parametrize("name", ["requirements.lock", "docs/site/requirements.lock", "docs/site/weights.lock"])
def test_no_address_or_path_of_a_machine_is_written_into_the_lock_files(name):
    lock = (ROOT / name).read_text()
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


def examples_of(heading, page="docs/howto.md"):
    """The examples of one section, by language."""
    section = re.split(r"^## ", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = (part for part in section if part.startswith(f"{heading}\n"))
    found = {}
    for language, block in re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL):
        found.setdefault(language, []).append(block)
    return found


LAPPED = {"family": "lapped", "parameters": {"n_filters": 4}}
INNER = {"family": "gaussian", "parameters": {"n_filters": 4, "taps": 4, "stride": 2}}


def plan_of(example, grid, *layers):
    """The plan of a study of one experiment, parts of which are an example."""
    experiment = {
        "title": "Does the example run?",
        "cascades": ["it"],
        "pursuits": {"it": {"rule": "top-k"}},
        "figures": ["recovery"],
        **yaml.safe_load(example),
    }
    cascades = {"it": {"grid": [grid], "layers": layers}}
    return Plan(config.validate({"seed": 1, "cascades": cascades, "experiments": {"own": experiment}}))


def drawn_from(example):
    """The signals of such an experiment, of one layer of four filters."""
    plan = plan_of(example, 64, LAPPED)
    made = dictionaries.draw_dictionaries(plan.dictionary_settings("it")["cascade"], 1)
    settings = plan.signal_settings("own", "it", "000000")
    return signals.draw_signals(Draws.from_json(settings), readers.cascades_of(xr.DataTree.from_dict(made)))


def test_the_example_of_listed_signals_draws_the_same_from_yaml_and_from_python():
    examples = examples_of("Draw signals of your own")
    names = {}
    exec(compile(examples["python"][0], "howto.md", "exec"), names)
    drawn = dataset.codes_from_dataset(drawn_from(examples["yaml"][0])["/layer_1"]).to_dense()[0]
    random_signs, listed_signs = drawn
    np.testing.assert_array_equal(listed_signs[1], names["codes"].to_dense())
    np.testing.assert_array_equal(np.abs(random_signs), np.abs(listed_signs))
    assert (random_signs != listed_signs).any()
    assert (np.count_nonzero(listed_signs, axis=(2, 3)) == [[2], [3]]).all()


def test_the_example_of_codes_of_a_file_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = examples_of("Study codes that you have")
    names = {}
    exec(compile(examples["python"][0], "howto.md", "exec"), names)
    clean, noisy = dataset.codes_from_dataset(drawn_from(examples["yaml"][0])["/layer_1"]).to_dense()[0]
    np.testing.assert_array_equal(clean, noisy)
    sizes = np.count_nonzero(names["codes"], axis=(1, 2))
    np.testing.assert_array_equal(clean[0], names["codes"][(sizes > 0) & (sizes <= 5)][:100])
    np.testing.assert_array_equal(clean[1], names["codes"][(sizes > 5) & (sizes <= 10)][:100])


def test_the_example_of_densities_of_a_layer_runs():
    (example,) = examples_of("Choose densities, and what figures show recovery against, by layer")["yaml"]
    plan = plan_of(example, 1024, LAPPED, INNER)
    assert len(plan.cells_of("own", "it")) == 3
    assert plan.figure_settings("own")["axis"] == {"of": "density", "layer": 1}


def test_no_line_of_a_page_is_taken_for_a_comment():
    pages = [
        path for pattern in ("*.md", "config/*.md", "docs/**/*.md", "workflow/report/*") for path in ROOT.glob(pattern)
    ]
    assert len(pages) > 40
    begun = [
        f"{page.name}: {line}" for page in pages for line in page.read_text("utf-8").splitlines() if line[:1] == "%"
    ]
    assert begun == []  # MyST leaves out lines that begin with a percent sign
