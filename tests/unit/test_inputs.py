"""What a job reads: refused where it lies in another's place, or was made from another version of its input."""

import json
import shutil

import netCDF4
import pytest

import dcsc
from dcsc.errors import UserError
from dcsc.stages.dictionaries import draw_dictionaries
from dcsc.store import dataset, provenance, schemas
from dcsc.store.inputs import Inputs

MEMBER = {
    "grid": [8],
    "replicates": 1,
    "layers": [{"family": "gaussian", "parameters": {"n_filters": 1, "taps": 2, "stride": 1}}],
}
LIBRARY = {"sha256": "", "modules": {}}
SCHEMA = schemas.DICTIONARIES


def write(results, place, inputs=(), seed=1):
    digests = {path: provenance.file_digest(results / path) for path in inputs}
    record = provenance.record(SCHEMA.name, SCHEMA.version, {"seed": seed}, LIBRARY, digests, place)
    dataset.write(draw_dictionaries(MEMBER, seed), results / place, record)


def copy(results, source, target):
    for suffix in ("", ".sha256"):
        shutil.copy(results / f"{source}{suffix}", results / f"{target}{suffix}")


@pytest.fixture
def results(tmp_path):
    results = tmp_path / "results"
    write(results, "a.nc")
    write(results, "b.nc", ["a.nc"])
    write(results, "deep/c.nc", ["b.nc", "a.nc"])
    return results


def test_files_in_their_places_are_read_and_their_digests_kept(results):
    read = Inputs(results)
    for name in ("deep/c.nc", "a.nc", "b.nc"):
        assert read.read(results / name, SCHEMA).identical(dcsc.open_results(results / name, results))
    (results / "own.npy").write_bytes(b"own")
    given = [results / name for name in ("a.nc", "own.npy")]
    assert read.digests(given) == {name: provenance.file_digest(results / name) for name in ("a.nc", "own.npy")}


@pytest.mark.parametrize(("source", "target"), [("a.nc", "b.nc"), ("b.nc", "deep/c.nc"), ("deep/c.nc", "a.nc")])
def test_a_file_in_the_place_of_another_is_refused_by_every_reader(results, source, target):
    copy(results, source, target)
    file = results / target
    readers = (
        lambda: Inputs(results).read(file, SCHEMA),
        lambda: dcsc.open_results(file, results),
        lambda: dataset.read(file, SCHEMA, target),
    )
    for read in readers:
        with pytest.raises(UserError, match=f"is another file, it was written as '{source}' and not as '{target}'"):
            read()
    assert dcsc.open_results(file).identical(dcsc.open_results(results / source))  # which may lie anywhere


@pytest.mark.parametrize("order", [("a.nc", "b.nc"), ("b.nc", "a.nc")])
def test_files_that_were_not_made_from_one_another_are_refused(results, order):
    write(results, "a.nc", seed=2)
    read = Inputs(results)
    read.read(results / order[0], SCHEMA)
    with pytest.raises(UserError, match=r"do not agree on a\.nc: a part of .* was made from another version"):
        read.read(results / order[1], SCHEMA)


def test_files_that_were_made_from_two_versions_of_one_are_refused(results):
    write(results, "a.nc", seed=2)
    write(results, "b.nc", ["a.nc"])
    read = Inputs(results)
    read.read(results / "b.nc", SCHEMA)
    with pytest.raises(UserError, match=r"deep/c\.nc .*do not agree on|do not agree on [ab]\.nc"):
        read.read(results / "deep/c.nc", SCHEMA)


def test_a_record_of_the_format_before_is_told_to_be_older(results):
    file = results / "a.nc"
    with netCDF4.Dataset(file, "a") as opened:
        record = json.loads(opened.provenance)
        del record["path"], record["versions"]
        opened.provenance = json.dumps(record)
    provenance.sidecar(file).write_text(f"{provenance.file_digest(file)}  {file.name}\n")
    with pytest.raises(UserError, match="was made by an older version of dcsc, whose records name neither place"):
        dcsc.open_results(file)
