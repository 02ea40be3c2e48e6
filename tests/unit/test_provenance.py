"""Digests that say what a result was made from, and the static closure of imports behind them."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcsc.errors import UserError
from dcsc.store import provenance

ROOT = provenance.PACKAGE.parent
SCRIPTS = sorted(path for path in (ROOT / "scripts").glob("*.py") if path.name != "job.py")
# The plug-in that `dcsc new` writes is a user's file, which imports what users import.
MODULES = sorted(path for path in provenance.PACKAGE.rglob("*.py") if path.parent.name != "template")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def in_closure(*paths):
    return {path.relative_to(ROOT).as_posix() for path in provenance.closure(paths)}


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_one_content_has_one_spelling_and_digest(value):
    turned = dict(reversed(value.items()))
    assert provenance.canonical(turned) == provenance.canonical(value)
    assert json.loads(provenance.canonical(value)) == value
    assert provenance.digest(turned) == provenance.digest(value)


def test_different_contents_have_different_digests():
    values = [1, 1.5, "1", True, None, [1], {"a": 1}, {"a": "1"}, {}]
    assert len({provenance.digest(value) for value in values}) == len(values)


def test_a_record_holds_nothing_of_the_machine_or_the_clock():
    record = provenance.record(
        "signals", 1, {"seed": 3}, provenance.library(provenance.modules(SCRIPTS[0])), {"b.nc": "0", "a.nc": "1"}
    )
    assert [entry["path"] for entry in record["inputs"]] == ["a.nc", "b.nc"]
    assert record["settings_digest"] == provenance.digest({"seed": 3})
    assert str(Path.home()) not in json.dumps(record)
    assert str(ROOT) not in json.dumps(record)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.nc cannot be read .*: make it again by running its rule"):
        provenance.file_digest(tmp_path / "gone.nc")


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS, ROOT / "scripts/job.py"], ids=lambda path: path.name)
def test_modules_name_what_they_import(path):
    """A bare `import dcsc`, or a lazy attribute of it, would hide the module that is meant from a reader."""
    homes = {f"dcsc.{path.stem}" for path in provenance.PACKAGE.iterdir()}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert "dcsc" not in [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module == "dcsc":
            assert {f"dcsc.{alias.name}" for alias in node.names} <= homes | {
                "dcsc.__version__",
                "dcsc._HOMES",
                "dcsc._MODULES",
            }
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not followed"


FORMS = {
    "import dcsc.model.sparsity": "dcsc/model/sparsity.py",
    "import dcsc\n\ndcsc.sparsity.contrast": "dcsc/model/sparsity.py",
    "import dcsc\n\ndcsc.patch_norm": "dcsc/model/sparsity.py",
    "import dcsc as library\n\nlibrary.patch_norm(1)": "dcsc/model/sparsity.py",
    "from dcsc import sparsity": "dcsc/model/sparsity.py",
    "from dcsc import patch_norm": "dcsc/model/sparsity.py",
    "from dcsc.model.sparsity import contrast as c": "dcsc/model/sparsity.py",
    "def later():\n    from dcsc.guarantees import bounds": "dcsc/guarantees/bounds.py",
    "import dcsc.guarantees.bounds": "dcsc/guarantees/__init__.py",
    "import dcsc\n\ndcsc.guarantees.ladder": "dcsc/guarantees/rungs.py",
    "import dcsc.guarantees\n\ndcsc.guarantees.ladder(1)": "dcsc/guarantees/rungs.py",
    "import dcsc.guarantees as g\n\ng.ladder": "dcsc/guarantees/rungs.py",
    "from dcsc import guarantees as g\n\ng.ladder.holds": "dcsc/guarantees/rungs.py",
    "from dcsc.guarantees import ladder": "dcsc/guarantees/rungs.py",
    "from dcsc.guarantees import *": "dcsc/guarantees/rungs.py",
}


@pytest.mark.parametrize("code", FORMS)
def test_every_form_of_import_is_followed(tmp_path, code):
    file = tmp_path / "plugin.py"
    file.write_text(code, encoding="utf-8")
    assert FORMS[code] in in_closure(file)
    assert "dcsc/study/trace.py" not in in_closure(file)


@pytest.mark.parametrize(("code", "reason"), [("def (", "is not valid Python"), (None, "cannot be read")])
def test_a_plugin_that_is_no_python_file_is_named(tmp_path, code, reason):
    file = tmp_path / "plugin.py"
    if code is not None:
        file.write_text(code, encoding="utf-8")
    with pytest.raises(UserError, match=rf"plugin\.py {reason}"):
        provenance.closure([file])


def test_stages_use_what_they_should_and_no_more():
    dictionaries = in_closure(ROOT / "scripts/draw_dictionaries.py")
    assert "dcsc/families/lapped.py" in dictionaries
    assert not dictionaries & {
        "dcsc/model/sparsity.py",
        "dcsc/figures/style.py",
        "dcsc/stages/signals.py",
        "dcsc/study/trace.py",
    }
    assert "dcsc/model/sparsity.py" in in_closure(ROOT / "scripts/measure_recovery.py")
    assert not any("pursuit" in name for name in in_closure(ROOT / "scripts/summarize_metrics.py"))
    pursuits = in_closure(ROOT / "scripts/run_pursuits.py")
    assert "dcsc/guarantees/uniform_thresholding.py" in pursuits, "thresholds come from it"
    assert not pursuits & {"dcsc/statistics.py", "dcsc/guarantees/certified_size.py"}, "limits do not concern pursuits"
    for script in SCRIPTS:
        assert not in_closure(script) & {
            "dcsc/study/trace.py",
            "dcsc/__main__.py",
            "dcsc/study/config.py",
            "dcsc/study/options/study.py",
        }


def test_the_digest_of_a_library_covers_scripts_and_modules_named_by_hand():
    recovery, job = provenance.PACKAGE / "figures/recovery.py", ROOT / "scripts/job.py"
    library = provenance.library(provenance.modules(ROOT / "scripts/render_figure.py", job, recovery))
    assert {"scripts/render_figure.py", "scripts/job.py", "dcsc/figures/recovery.py"} <= set(library["modules"])
    assert library["sha256"] != provenance.library(provenance.modules(ROOT / "scripts/render_figure.py", job))["sha256"]
    assert provenance.changed(library) == []


def test_changed_modules_are_named():
    library = provenance.library(provenance.modules(SCRIPTS[0]))
    library["modules"] |= {"dcsc/seeds.py": "0" * provenance.DIGITS, "dcsc/gone.py": "0" * provenance.DIGITS}
    assert provenance.changed(library) == ["dcsc/gone.py", "dcsc/seeds.py"]


def test_a_record_names_the_versions_of_what_computes():
    versions = provenance.record("signals", 1, {}, {"sha256": "", "modules": {}}, {})["versions"]
    assert set(versions) == {"numpy", "scipy", "numba", "xarray", "netcdf4", "snakemake"}
    assert versions["numpy"] == np.__version__


def test_the_versions_of_what_a_plugin_imports_are_among_them(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("import json, dcsc\nimport yaml\n\n\ndef f():\n    from pywt import Wavelet\n")
    assert set(provenance.versions(str(plugin))) - set(provenance.versions()) == {"pyyaml", "pywavelets"}
    plugin.with_name("broken.py").write_text("def (")
    assert provenance.versions(str(plugin.with_name("broken.py"))) == provenance.versions()


def test_changed_versions_are_told():
    old, new = {"numpy": "1.0", "scipy": "1.1", "gone": "2"}, {"numpy": "2.0", "scipy": "1.1", "new": "3"}
    told = ["gone 2, now absent", "new absent, now 3", "numpy 1.0, now 2.0"]
    assert provenance.changed_versions(old, new) == told
    assert provenance.changed_versions(old, old) == []


@pytest.mark.parametrize("lost", ["path", "versions"])
def test_a_record_that_lacks_what_is_new_is_older(lost):
    record = provenance.record("signals", 1, {}, {"sha256": "", "modules": {}}, {})
    assert not provenance.is_older(record)
    assert provenance.check_record(record) is record
    del record[lost]
    assert provenance.is_older(record)
    assert not any(map(provenance.is_older, ([], {}, None, {"title": 1})))
