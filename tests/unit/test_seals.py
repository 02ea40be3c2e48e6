"""Seals: whatever byte of a picture or of metadata changes is seen, and to seal again changes nothing."""

import matplotlib as mpl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dcsc.errors import UserError
from dcsc.figures import style
from dcsc.figures.inputs import Style
from dcsc.store import dataset, provenance, seals
from dcsc.study import trace

RECORD = provenance.record(
    "figure", 1, {"title": 'brackets ( ) \\ " <b> ü'}, {"sha256": "", "modules": {}}, {}, "figures/a.png"
)
FILES = [*(f"a.{suffix}" for suffix in style.FORMATS), "a.csv-metadata.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sealed")
    figure = mpl.figure.Figure(figsize=(1, 1))
    figure.subplots().plot([1, 2])
    style.save(figure, [folder / f"a.{suffix}" for suffix in style.FORMATS], Style("paper", "deep", 8.0, 50), RECORD)
    dataset.write_text("a\n1\n", folder / "a.csv", RECORD)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_is_sealed_and_readable(folder, name):
    content = (folder / name).read_bytes()
    assert seals.is_sealed(folder / name)
    assert seals.seal(content) == content
    read = trace.read_record(folder / name.removesuffix("-metadata.json"))
    assert {key: read[key] for key in RECORD} == RECORD


def test_a_sealed_png_has_the_checksums_of_its_format(folder):
    with Image.open(folder / "a.png") as image:
        image.verify()


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_is_seen(folder, tmp_path_factory, name):
    content = (folder / name).read_bytes()
    path = tmp_path_factory.mktemp("damaged") / name

    @given(st.integers(0, len(content) - 1), st.integers(1, 255))
    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
    def damaged(place, change):
        path.write_bytes(content[:place] + bytes([content[place] ^ change]) + content[place + 1 :])
        assert not seals.is_sealed(path)

    damaged()
    for other in (content[:-1], content + b"\n", b"", content[: len(content) // 2], content * 2):
        path.write_bytes(other)
        assert not seals.is_sealed(path)


def test_every_byte_of_the_seal_and_of_its_checksum_counts(folder, tmp_path):
    content = (folder / "a.png").read_bytes()
    start = content.index(seals.BLANK[:19].encode())
    end = content.index(b"IDAT")  # the checksum of the text stands before the next chunk
    for place in range(start, end):
        (tmp_path / "a.png").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert not seals.is_sealed(tmp_path / "a.png"), place


@pytest.mark.parametrize("content", [b"", b"no seal", 2 * seals.BLANK.encode()])
def test_a_file_has_one_seal(content):
    with pytest.raises(ValueError, match="seals in a file"):
        seals.seal(content)


def test_a_missing_file_is_not_sealed(tmp_path):
    assert not seals.is_sealed(tmp_path / "nowhere.png")


@pytest.mark.parametrize("name", ["a.csv", "a.csv-metadata.json"])
def test_a_changed_table_or_its_metadata_is_refused(folder, tmp_path, name):
    for file in ("a.csv", "a.csv-metadata.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    assert dataset.read_table(tmp_path / "a.csv")["a"].tolist() == [1]
    text = (tmp_path / name).read_text()
    (tmp_path / name).write_text(text.replace("a", "b", 1))
    with pytest.raises(UserError, match=r"a\.csv is not as the workflow wrote it: delete it and run again"):
        dataset.read_table(tmp_path / "a.csv")


def test_a_table_of_another_place_is_refused(folder):
    assert dataset.read_table(folder / "a.csv", "figures/a.png")["a"].tolist() == [1]
    with pytest.raises(UserError, match=r"was written as 'figures/a\.png' and not as 'figures/a\.csv'"):
        dataset.read_table(folder / "a.csv", "figures/a.csv")


def test_the_head_beside_a_dataset_comes_back(tmp_path):
    head = seals.head_of({**RECORD, "inputs": [{"path": "b.nc", "sha256": "1"}]}, "0" * 64, 17)
    path = tmp_path / "a.nc"
    provenance.sidecar(path).write_text(seals.beside(path, head), encoding="utf-8")
    assert seals.head_beside(path) == head
    assert provenance.recorded_digest(path) == "0" * 64
