"""Intermediate datasets: hundreds of damaged copies, none of which is opened, as the C library might hang or lie."""

import json
import os
import shutil

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.__main__ import main
from dcsc.errors import UserError
from dcsc.figures import style
from dcsc.figures.inputs import Style
from dcsc.stages.dictionaries import draw_dictionaries
from dcsc.store import dataset, provenance, schemas
from dcsc.study import trace
from tests.hostile.support import little_memory, mutations, refused, within

COPIES = 500
UNCHECKED = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
MEMBER = {
    "grid": [24],
    "replicates": 2,
    "layers": [{"family": "gaussian", "parameters": {"n_filters": 3, "taps": 4, "stride": 2}}],
}
RECORD = provenance.record("dictionaries", schemas.DICTIONARIES.version, {"seed": 1}, {"sha256": "", "modules": {}}, {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "results" / "dictionaries" / "x.nc"
    dataset.write(draw_dictionaries(MEMBER, 1), path, RECORD)
    return path


def never_opened(monkeypatch):
    """Make every way into the C library fail the test."""

    def opened(*_, **__):
        raise SystemError("a damaged file was opened")

    monkeypatch.setattr(xr, "open_datatree", opened)
    monkeypatch.setitem(trace._READERS, ".nc", opened)


def test_no_damaged_copy_is_opened(file, monkeypatch):
    content, seen = file.read_bytes(), set()
    never_opened(monkeypatch)

    @given(mutations(content))
    @settings(max_examples=2 * COPIES, suppress_health_check=UNCHECKED)
    def damaged(copy):
        if copy == content or copy in seen:
            return
        seen.add(copy)
        file.write_bytes(copy)
        with within(60), little_memory():
            for read in (dcsc.open_results, trace.read_record, lambda path: dataset.read(path, schemas.DICTIONARIES)):
                with pytest.raises(UserError, match="is not what was written, its digest differs"):
                    read(file)

    damaged()
    assert len(seen) >= COPIES
    assert sorted(os.listdir(file.parent)) == ["x.nc", "x.nc.sha256"]


@given(st.binary(max_size=400) | st.text(max_size=100).map(str.encode))
@settings(max_examples=200, suppress_health_check=UNCHECKED)
def test_a_damaged_digest_lets_nothing_through(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("digest")
    (folder / "x.nc").write_bytes(b"anything")
    dataset.sidecar(folder / "x.nc").write_bytes(content)
    with within(60), pytest.raises(UserError, match="its digest differs"):
        dcsc.open_results(folder / "x.nc")


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_a_dataset_without_a_digest_is_not_opened(file, monkeypatch, kind):
    never_opened(monkeypatch)
    beside = dataset.sidecar(file)
    beside.unlink()
    if kind == "folder":
        beside.mkdir()
    if kind == "pipe":
        os.mkfifo(beside)
    with within(60), pytest.raises(UserError, match=r"has no digest beside it, x\.nc\.sha256: copy both"):
        dcsc.open_results(file)


def test_the_digest_of_another_file_does_not_count(file):
    other = file.with_name("y.nc")
    shutil.copyfile(dataset.sidecar(file), dataset.sidecar(other))
    other.write_bytes(b"other")
    with pytest.raises(UserError, match="its digest differs"):
        dcsc.open_results(other)


def signed(path, content):
    path.write_bytes(content)
    dataset.sidecar(path).write_text(f"{provenance.file_digest(path)}  {path.name}\n")


@pytest.mark.parametrize(
    "inputs",
    [
        [{"path": "../../../../etc/passwd", "sha256": "0"}],
        [{"path": "/etc/passwd", "sha256": "0"}],
        [{"path": "x\nPROBLEM  forged", "sha256": "0"}],
        [{"path": "\x1b[2J", "sha256": "\x1b[2J"}],
        [{"path": "x" * 5000, "sha256": "0"}],
        [{"path": str(number), "sha256": "0"} for number in range(2000)],
    ],
)
def test_a_record_that_names_foreign_files_is_only_read(file, tmp_path, capsys, inputs):
    """Tracing computes digests of what a record names; it writes nothing, and prints no control characters."""
    record = {**RECORD, "inputs": inputs}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs={"provenance": json.dumps(record)})})
    tree.to_netcdf(file, engine="netcdf4")
    signed(file, file.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    with within(60):
        code = main(["trace", str(file)])
    printed = capsys.readouterr()
    assert code == 1
    assert all(character.isprintable() or character == "\n" for character in printed.out + printed.err)
    assert "\nPROBLEM  forged" not in printed.out
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", style.FORMATS)
def test_a_damaged_figure_is_read_or_refused(tmp_path, suffix):
    """Of a figure nothing but its text is read, and nothing of it is run."""
    path = tmp_path / f"a.{suffix}"
    figure = mpl.figure.Figure(figsize=(1, 1))
    style.save(figure, [path], Style("paper", "colorblind", 17.0, 50), RECORD)

    @given(mutations(path.read_bytes()))
    @settings(max_examples=100, suppress_health_check=UNCHECKED)
    def damaged(content):
        path.write_bytes(content)
        with within(60), little_memory():
            found = refused(lambda: trace.read_record(path))
        assert found is None or isinstance(found["settings"], dict)

    damaged()


def test_a_table_is_not_read_at_all(tmp_path):
    (tmp_path / "a.csv").write_text("=cmd|' /C calc'!A0\n")
    (tmp_path / "a.csv-metadata.json").write_text("[" * 100_000)
    with within(60), pytest.raises(UserError, match="has no provenance"):
        trace.read_record(tmp_path / "a.csv")


def test_what_is_written_comes_back(file):
    """The counterpart: an undamaged file is read."""
    tree = dcsc.open_results(file)
    np.testing.assert_array_equal(tree["layer_1/filters"], draw_dictionaries(MEMBER, 1)["/layer_1"]["filters"])
