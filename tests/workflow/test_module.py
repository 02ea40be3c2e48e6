"""The workflow as a module of another, from a copy that is no checkout, and in a folder of its own."""

import sys

import pytest
import yaml

from dcsc.store.inputs import Inputs
from dcsc.store.schemas import SIGNALS
from tests.workflow.support import ROOT, TINY, Workflow, jobs_of, rules_of

SNAKEFILE = """
configfile: "config/config.yaml"


module recovery:
    snakefile: "{clone}/workflow/Snakefile"
    config: config["recovery"]
    {prefix}


use rule * from recovery as theirs_*


rule all:
    default_target: True
    input: rules.theirs_all.input
"""


@pytest.fixture
def project(clone, tmp_path):
    """Another repository that uses a copy of this one, with a plug-in and settings of its own."""

    def make(prefix):
        folder = tmp_path / "project"
        (folder / "workflow").mkdir(parents=True)
        (folder / "config").mkdir()
        text = SNAKEFILE.format(clone=clone, prefix=prefix)
        (folder / "workflow/Snakefile").write_text(text, encoding="utf-8")
        (folder / "mine.py").write_text("# registers nothing\n", encoding="utf-8")
        whole = {"samples": 3, "recovery": {**TINY, "plugins": ["mine.py"]}}
        (folder / "config/config.yaml").write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")
        return Workflow(folder)

    assert not (clone / ".git").exists()
    return make


def snakemake(workflow, *arguments):
    return workflow.execute([sys.executable, "-m", "snakemake", *arguments])


def test_a_module_with_a_prefix_runs_and_its_records_name_their_places(project):
    workflow = project('prefix: "theory"')
    chunk = "theory/results-tiny/accuracy/signals/lapped-perturbation-0.1/000000.nc"
    code, output = snakemake(workflow, "--cores", "2", chunk)
    assert code == 0, output
    assert (workflow.folder / "theory/logs/results-tiny/draw_dictionaries/lapped-perturbation-0.1.log").is_file()
    assert not (workflow.folder / "results-tiny").exists()
    tree = Inputs(workflow.folder / "theory/results-tiny").read(workflow.folder / chunk, SIGNALS)
    assert "layer_1" in tree
    code, output = snakemake(workflow, "-n", chunk)  # also that nothing differs the second time
    assert "Nothing to be done" in output, output


def test_a_module_has_every_rule_of_the_workflow_and_settings_beside_its_own(project, tmp_path):
    workflow = project("")
    other = tmp_path / "other.yaml"
    other.write_text("samples: 4\n", encoding="utf-8")
    here = tmp_path / "elsewhere"
    (here / "config").mkdir(parents=True)
    for name in ("config/config.yaml", "mine.py"):
        (here / name).write_bytes((workflow.folder / name).read_bytes())
    where = ("--snakefile", "workflow/Snakefile", "--directory", str(here))
    code, output = snakemake(workflow, "-n", *where, "--configfile", str(other), "--", "theirs_all")
    assert code == 0, output
    jobs = jobs_of(output)
    assert {"theirs_draw_dictionaries", "theirs_certify_draws", "theirs_render_recovery"} <= rules_of(jobs)
    assert all(path.startswith("results-tiny/") for job in jobs for path in job.outputs)


def test_the_catalogs_example_is_the_smoke_study_and_runs_in_its_folder(clone):
    assert (ROOT / ".test/config/config.yaml").read_bytes() == (ROOT / "config/smoke.yaml").read_bytes()
    code, output = snakemake(Workflow(clone), "-n", "--directory", ".test")
    assert code == 0, output
    assert any(path.startswith("results-smoke/") for job in jobs_of(output) for path in job.outputs)
    assert "judge_claims" in rules_of(jobs_of(output))


def test_rules_without_the_library_say_what_to_name(clone, tmp_path):
    alone = Workflow(clone).copied(tmp_path / "alone")
    (alone.folder / "dcsc").rename(tmp_path / "dcsc")
    (alone.folder / "profiles").rename(tmp_path / "profiles")
    code, output = snakemake(alone, "-n")
    assert code != 0
    assert "name a whole copy of the repository" in output
