"""Hostile input to the whole workflow: damaged intermediates of every stage, and names made to be run by a shell."""

import os
import random

import pytest
import xarray as xr

from dcsc.errors import UserError
from dcsc.store import dataset, schemas
from tests.workflow.support import TINY, digests

COPIES = 500
COMMAND = "$(touch pwned) `touch pwned`; touch pwned & '\"{wildcards.experiment} %s"


def damaged(content, rng):
    """One to four bytes changed, or a piece cut off, moved or doubled."""
    content = bytearray(content)
    kind = rng.choice(["flip", "flip", "cut", "drop", "double", "clear"])
    place, length = rng.randrange(len(content)), rng.randrange(1, 64)
    if kind == "flip":
        for _ in range(rng.randrange(1, 5)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del content[place:]
    elif kind == "drop":
        del content[place : place + length]
    elif kind == "double":
        content[place:place] = content[place : place + length]
    else:
        content[place : place + length] = bytes(length)
    return bytes(content)


def test_no_damaged_intermediate_of_any_stage_is_opened(study, monkeypatch):
    def opened(*_, **__):
        raise SystemError("a damaged file was opened")

    monkeypatch.setattr(xr, "open_datatree", opened)
    rng = random.Random(0)
    files = sorted(study.results.rglob("*.nc"))
    assert {"dictionaries", "signals", "pursuits", "metrics"} <= {part for file in files for part in file.parts}
    contents = {file: file.read_bytes() for file in files}
    refusals = 0
    while refusals < COPIES:
        file = rng.choice(files)
        copy = damaged(contents[file], rng)
        if copy == contents[file]:
            continue
        file.write_bytes(copy)
        for schema in schemas.SCHEMAS.values():
            with pytest.raises(UserError, match="is not what was written, its digest differs: delete it and run again"):
                dataset.read(file, schema)
        file.write_bytes(contents[file])
        refusals += 1


def test_a_run_writes_only_into_its_results_and_logs(finished, clone):
    """Byte code, the marks of the test itself and Snakemake's own folder aside."""
    ours = {"results-tiny", "logs"}
    aside = {".snakemake", "spy", "study.yaml"}
    before = {path.relative_to(clone) for path in clone.rglob("*")}
    after = {
        path.relative_to(finished.folder) for path in finished.folder.rglob("*") if "__pycache__" not in path.parts
    }
    assert {path.parts[0] for path in after - before} <= ours | aside
    for path in before & after:
        if (clone / path).is_file():
            assert (clone / path).read_bytes() == (finished.folder / path).read_bytes(), path


@pytest.mark.slow
def test_names_made_to_be_run_by_a_shell_are_only_names(study):
    plugin = study.folder / f"{COMMAND.replace('/', '')}.py"
    plugin.write_text("pass\n")
    accuracy = {**TINY["experiments"]["accuracy"], "title": COMMAND}
    hostile = study.configured({**TINY, "plugins": [plugin.name], "experiments": {"accuracy": accuracy}})
    hostile.snakemake("--cores", "2", "accuracy")  # Snakemake may refuse the name; it must not run it
    assert "pwned" not in os.listdir(study.folder)
    assert not list(study.folder.rglob("pwned"))


@pytest.mark.slow
def test_a_title_made_to_be_run_by_a_shell_is_only_a_title(study):
    before = digests(study.results)
    accuracy = {**TINY["experiments"]["accuracy"], "title": COMMAND}
    study.configured({**TINY, "experiments": {**TINY["experiments"], "accuracy": accuracy}}).run()
    assert not list(study.folder.rglob("pwned"))
    assert digests(study.results) == before
