"""The tutorial runs from top to bottom, says what it is stored with, and opens what the workflow made."""

import base64
import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "docs/tutorial.ipynb"


@pytest.fixture(scope="module")
def tutorial():
    spec = importlib.util.spec_from_file_location("execute_tutorial", ROOT / "docs/execute_tutorial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(cell):
    return "".join(output["text"] for output in cell.get("outputs", ()) if output["output_type"] == "stream")


def pictures(cell):
    return [output["data"]["image/png"] for output in cell.get("outputs", ()) if "image/png" in output.get("data", {})]


def test_the_tutorial_runs_and_says_what_it_is_stored_with(tutorial, finished, tmp_path):
    stored = nbformat.read(NOTEBOOK, as_version=4)
    (tmp_path / "docs").mkdir()
    (tmp_path / "results-smoke").symlink_to(finished.results)
    done = tutorial.executed(stored, tmp_path / "docs")
    assert [path.name for path in tmp_path.iterdir() if path.name != "results-smoke"] == ["docs"]
    assert list((tmp_path / "docs").iterdir()) == []
    cells = [(old, new) for old, new in zip(stored.cells, done.cells, strict=True) if old.cell_type == "code"]
    of_workflow = [
        index for index, (old, _) in enumerate(cells) if "open_results" in old.source or "trace" in old.source
    ]
    assert len(of_workflow) == 2
    for index, (old, new) in enumerate(cells):
        assert len(pictures(new)) == len(pictures(old)), old.source
        if index not in of_workflow:  # those show another study here
            assert printed(new) == printed(old), f"run `make tutorial`: {old.source}"
    assert "problems: none" in printed(cells[of_workflow[-1]][1])


def test_the_stored_tutorial_is_whole_small_and_of_no_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert len(text) < 300_000
    assert not re.search(r"/(home|root|tmp|work|usr|Users)/", re.sub(r'"image/png": "[^"]*"', "", text))
    shown = [picture for cell in notebook.cells for picture in pictures(cell)]
    assert len(shown) == 7
    assert all(base64.b64decode(picture).startswith(b"\x89PNG") for picture in shown)
    for cell in notebook.cells:
        assert cell.metadata == {}
        if cell.cell_type == "code":
            assert not any(output["output_type"] == "error" for output in cell.outputs)
            assert not any(output.get("name") == "stderr" for output in cell.outputs)


def test_every_page_that_is_linked_to_exists():
    for page in (ROOT / "docs/certify.md", NOTEBOOK):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
