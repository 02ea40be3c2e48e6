"""Datasets on disk: exact round trips, identical bytes, atomic writing, and refusal of what is not right."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.errors import UserError
from dcsc.ragged import RaggedCodes
from dcsc.stages.dictionaries import draw_dictionaries
from dcsc.store import dataset, provenance, schemas
from dcsc.store.readers import cascade_of

MEMBER = {
    "grid": [24],
    "replicates": 2,
    "layers": [
        {"family": "gaussian", "parameters": {"n_filters": 3, "taps": 4, "stride": 2}},
        {"family": "gaussian", "parameters": {"n_filters": 2, "taps": 3, "stride": 1}},
    ],
}
RECORD = provenance.record("dictionaries", schemas.DICTIONARIES.version, {"seed": 1}, {"sha256": "", "modules": {}}, {})


@pytest.fixture(scope="module")
def content():
    return draw_dictionaries(MEMBER, 1)


@pytest.fixture
def file(content, tmp_path):
    path = tmp_path / "dictionaries" / "x.nc"
    dataset.write(content, path, RECORD)
    return path


@st.composite
def batches_of_codes(draw):
    shape = draw(st.sampled_from([(3, 5), (2, 4, 3)]))
    batch = tuple(draw(st.integers(1, 3)) for _ in schemas.BATCH)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = {
        "signs": rng.choice([-1.0, 1.0], (*batch, *shape)),
        "large integers": rng.choice([-300.0, 200.0], (*batch, *shape)),
        "reals": rng.standard_normal((*batch, *shape)),
    }[draw(st.sampled_from(["signs", "large integers", "reals"]))]
    return values * (rng.random(values.shape) < draw(st.sampled_from([0.0, 0.2, 1.0]))), shape


@given(batches_of_codes())
@settings(max_examples=100)
def test_codes_come_back_exactly(codes_and_shape):
    dense, shape = codes_and_shape
    back = dataset.codes_from_dataset(dataset.codes_to_dataset(RaggedCodes.from_dense(dense, shape)))
    np.testing.assert_array_equal(back.to_dense(), dense)
    assert back.code_shape == shape


def test_dictionaries_come_back_bit_for_bit(file, content):
    tree = dcsc.open_results(file)
    for name, group in content.items():
        for variable, values in group.data_vars.items():
            np.testing.assert_array_equal(tree[name][variable], values)
    first, second = cascade_of(tree, 0), cascade_of(tree, 1)
    assert first.depth == 2
    assert not np.array_equal(first.dictionaries[0].filters, second.dictionaries[0].filters)


def test_the_same_content_gives_the_same_bytes(file, content, tmp_path):
    other = tmp_path / "elsewhere" / "x.nc"
    dataset.write(content, other, RECORD)
    assert other.read_bytes() == file.read_bytes()
    assert dataset.sidecar(other).read_bytes() == dataset.sidecar(file).read_bytes()


def test_every_variable_is_described_and_every_dimension_has_a_coordinate(file):
    tree = dcsc.open_results(file)
    for node in tree.subtree:
        for name, variable in node.to_dataset(inherit=False).variables.items():
            assert variable.attrs["units"], name
            assert variable.attrs["long_name"], name
        assert set(node.dims) <= set(node.coords)
    assert json.loads(tree.attrs["provenance"]) == RECORD


def test_other_readers_of_netcdf_open_it(file, content):
    with netCDF4.Dataset(file) as opened:
        np.testing.assert_array_equal(opened["layer_1/filters"][:], content["/layer_1"]["filters"])


def test_nothing_but_the_dataset_and_its_digest_is_left(file):
    assert sorted(path.name for path in file.parent.iterdir()) == ["x.nc", "x.nc.sha256"]
    first, remark = dataset.sidecar(file).read_text().splitlines()
    assert first == f"{provenance.file_digest(file)}  x.nc"
    assert remark.startswith("# {")  # sha256sum -c leaves it out


def test_a_failed_write_leaves_the_old_file(file, content, monkeypatch):
    before = file.read_bytes()

    def fail(*_, **__):
        raise RuntimeError("NetCDF: HDF error")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(UserError, match=r"x\.nc cannot be written, NetCDF: HDF error: .*, then run again"):
        dataset.write(content, file, RECORD)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["x.nc", "x.nc.sha256"]


def test_a_full_disk_is_named_whatever_the_library_below_says(file, content, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    monkeypatch.setattr(xr.DataTree, "to_netcdf", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "no")))
    with pytest.raises(UserError, match="the disk is full: free space, then run again"):
        dataset.write(content, file, RECORD)


def sign(file):
    dataset.sidecar(file).write_text(f"{provenance.file_digest(file)}  {file.name}\n")


def truncated(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def empty(file):
    file.write_bytes(b"")


def foreign(file):
    file.unlink()
    xr.Dataset({"a": ("x", [1, 2])}).to_netcdf(file)


def reattributed(**changes):
    def change(file):
        with netCDF4.Dataset(file, "a") as opened:
            opened.provenance = json.dumps(json.loads(opened.provenance) | changes)

    return change


def without_filters(file):
    with netCDF4.Dataset(file, "a") as opened:
        opened["layer_1"].renameVariable("filters", "filers")


WRONG = {
    "truncated": (truncated, "is not a readable netCDF file: delete it and run again"),
    "empty": (empty, "is not a readable netCDF file: delete it and run again"),
    "foreign": (foreign, "has no provenance of dcsc: name a file that its workflow wrote"),
    "another schema": (reattributed(schema="signals"), "holds 'signals', not 'dictionaries'"),
    "an older version": (
        reattributed(version=0),
        rf"has version 0 of the schema 'dictionaries', this dcsc reads {schemas.DICTIONARIES.version}: delete the file",
    ),
    "a variable missing": (without_filters, "does not fit the schema 'dictionaries'"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("signed", [True, False])
def test_a_wrong_file_is_refused_in_one_sentence(file, name, signed):
    damage, message = WRONG[name]
    damage(file)
    if signed:  # as if it had been written so
        sign(file)
    else:
        message = "is not what was written, its digest differs: delete it and run again"
    with pytest.raises(UserError, match=message) as caught:
        dataset.read(file, schemas.DICTIONARIES)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.nc does not exist: make it by running its rule"):
        dcsc.open_results(tmp_path / "nowhere.nc")


def test_a_notebook_is_told_of_a_schema_from_the_future(file):
    reattributed(schema="dreams")(file)
    sign(file)
    with pytest.raises(UserError, match="holds 'dreams', which this version does not know: update dcsc"):
        dcsc.open_results(file)


def test_a_disk_that_turns_read_only_in_the_middle_of_a_write_is_one_sentence(content, tmp_path, monkeypatch):
    """What is half written cannot be tidied then."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UserError, match=r"x\.nc cannot be written, Read-only file system: make it writable, then"):
        dataset.write(content, tmp_path / "x.nc", RECORD)


def test_a_stage_cannot_write_what_does_not_fit_its_schema(content, tmp_path):
    wrong = {**content, "/layer_1": content["/layer_1"].drop_vars("stride")}
    with pytest.raises(ValueError, match="the variable stride is missing in /layer_1"):
        dataset.write(wrong, tmp_path / "x.nc", RECORD)
    assert list(tmp_path.iterdir()) == []


def test_chunks_join_along_the_trials():
    whole = xr.Dataset(
        {"rate": (("active", "trial"), np.arange(10.0).reshape(2, 5)), "size": ("active", [1, 2])},
        coords={"trial": np.arange(5), "active": [3, 4]},
    )
    parts = [whole.isel(trial=slice(0, 2)), whole.isel(trial=slice(2, 5))]
    assert dataset.join_chunks(parts).identical(whole)
    assert dataset.join_chunks([whole]).identical(whole)


_MANY_READERS = """
import os, signal, sys, threading
import dcsc

path, trees = sys.argv[1], []
dcsc.open_results(path)  # what is imported in the midst of a fork is no matter of ours

def read():
    for _ in range(6):
        trees.append(dcsc.open_results(path))

threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
children = []
for _ in range(3):  # in the midst of the reading of others
    child = os.fork()
    if not child:
        signal.alarm(60)
        os._exit(0 if dcsc.open_results(path).identical(dcsc.open_results(path)) else 1)
    children.append(child)
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
for thread in threads:
    thread.join()
assert codes == [0] * 3 and len(trees) == 48, (codes, len(trees))
assert all(tree.identical(trees[0]) for tree in trees)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are started anew here")
def test_threads_and_processes_read_at_once(file):
    # In a process of its own, which a library that knows no threads would end.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _MANY_READERS, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
