"""What `dcsc new` writes runs, and nothing is overwritten."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from dcsc import __main__ as command
from tests.workflow.support import Workflow, copy_of_repository, jobs_of, rules_of


def test_a_new_study_runs_as_its_readme_says(tmp_path, capsys):
    folder = tmp_path / "my study"
    assert command.main(["new", str(folder)]) == 0
    listed = [Path(line) for line in capsys.readouterr().out.splitlines()[:3]]
    assert listed == [folder / name for name in ("README.md", "config.yaml", "my_plugin.py")]
    (line,) = re.findall(r"^    snakemake (.*)$", (folder / "README.md").read_text(), re.MULTILINE)
    arguments = shlex.split(line)
    assert Path(arguments[1]).is_file()
    checkout = copy_of_repository(tmp_path / "checkout")
    arguments[1] = str(checkout / "Snakefile")
    study = Workflow(folder)
    code, output = study.execute([sys.executable, "-m", "snakemake", *arguments, "-n"])
    assert code == 0, output
    assert {"draw_dictionaries", "certify_draws", "render_thresholds", "judge_claims"} <= rules_of(jobs_of(output))
    configuration = folder / "config.yaml"
    text = configuration.read_text(encoding="utf-8")
    for large, small in {
        "active: [1, 2, 4, 8, 16]": "active: [1, 8]",
        "trials: 64": "trials: 8",
        "cascades: [lapped, mine]": "cascades: [mine]",
        "figures: [recovery, thresholds]": "figures: [recovery]",
    }.items():
        assert large in text
        text = text.replace(large, small)
    configuration.write_text(text, encoding="utf-8")
    code, output = study.execute([sys.executable, "-m", "snakemake", *arguments])
    assert code == 0, output
    assert (folder / "results/figures/transition-recovery.png").is_file()
    assert "| holds |" in (folder / "results/claims.md").read_text()


@pytest.mark.parametrize("name", ["README.md", "config.yaml", "my_plugin.py"])
def test_nothing_is_overwritten(tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    assert command.main(["new", str(tmp_path)]) == 1
    assert name in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert command.main(["new", os.fspath(tmp_path / "file" / "study")]) == 1
    assert "cannot be written" in capsys.readouterr().err
