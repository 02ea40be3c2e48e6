"""What the code and the workflow never do: run text, unpickle, load plain YAML tags, or build a shell command."""

import ast
import re
import sys
from pathlib import Path

import pytest

from dcsc.study import run

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "dcsc").rglob("*.py"), *(ROOT / "scripts").glob("*.py")])
RULES = sorted([ROOT / "Snakefile", ROOT / "workflow/Snakefile", *(ROOT / "workflow/rules").glob("*.smk")])

FORBIDDEN_CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load",
    "torch.load", "pandas.read_pickle", "pd.read_pickle", "subprocess.getoutput",
}  # fmt: skip
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pty", "commands"}
OWN_CODE = ROOT / "dcsc/kernels/machine_code.py"
"""Unpickles what the user's processes compiled, from the user's folder, once its digest was compared, as numba does."""


def dotted(node):
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def calls(path):
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_text_is_run_and_nothing_unpickled(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found = {name.partition(".")[0] for name in names} & FORBIDDEN_MODULES
        assert not found - ({"pickle"} if path == OWN_CODE else set())
    for call in calls(path):
        name = dotted(call.func)
        assert name not in FORBIDDEN_CALLS, f"{path}:{call.lineno} calls {name}"
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        assert name not in ("np.load", "numpy.load"), f"{path}:{call.lineno}: arrays are read by dcsc.arrays"
        for key in ("shell", "allow_pickle"):
            assert key not in keywords or (isinstance(keywords[key], ast.Constant) and keywords[key].value is False)


def test_commands_are_run_by_lists_of_words_snakemake_and_what_jobs_are_forked_from():
    found = {path.name: call for path in SOURCES for call in calls(path) if dotted(call.func).startswith("subprocess.")}
    assert sorted(found) == ["forking.py", "run.py", "workflow_plan.py"]
    assert all(isinstance(found[name].args[0], ast.List) for name in ("forking.py", "workflow_plan.py"))
    assert run.command("config/config.yaml", "1", ["all"], [])[:3] == [sys.executable, "-m", "snakemake"]


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_rule_runs_a_shell(path):
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    assert not re.search(r"^\s*(shell|run|wrapper|notebook)\s*:", text, re.MULTILINE)
    assert not re.search(r"\b(shell|eval|exec|system|popen|check_output|check_call)\s*\(", text)
    assert not re.search(r"\bimport (subprocess|pickle)\b", text)
