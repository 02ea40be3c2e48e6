"""The profile of a cluster knows every rule: one in no group would become a Slurm job of its own, of seconds."""

import re

import yaml

from dcsc.figures.panels import built_in
from tests.workflow.support import ROOT


def working_rules():
    """Names of the rules that run a script, read from their source; the others only collect."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("workflow/rules/*.smk")))
    headers, bodies = (re.split(r"^ *rule(?: (\w+))?:$", source, flags=re.MULTILINE)[first::2] for first in (1, 2))
    names = {name for name, body in zip(headers, bodies, strict=True) if re.search("^ +script:", body, re.MULTILINE)}
    assert None in names  # the rules of the figures, one for each panel
    return names - {None} | {f"render_{panel.replace('-', '_')}" for panel in built_in()}


def test_every_rule_that_works_is_in_a_group_of_the_slurm_profile():
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    assert set(profile["groups"]) == working_rules()
    assert set(profile["group-components"]) <= set(profile["groups"].values())
