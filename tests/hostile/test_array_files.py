"""Readers of .npy, .npz and .safetensors files: thousands of damaged files, and files made to do harm."""

import io
import json
import os
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from dcsc import families
from dcsc.__main__ import main
from dcsc.arrays import open_arrays
from dcsc.certification import command
from dcsc.certification.network_file import read_network
from dcsc.errors import UserError
from tests.hostile.support import little_memory, mutations, refused, within

pytestmark = pytest.mark.filterwarnings("error")
assert command.run  # loaded here, so that no test counts the memory of its imports
RNG = np.random.default_rng(3)
STATE = {
    "conv1.weight": RNG.standard_normal((3, 1, 4)).astype(np.float32),
    "conv1.bias": RNG.standard_normal(3).astype(np.float32),
    "conv1.stride": np.array(2),
    "conv2.weight": RNG.standard_normal((2, 3, 3)),
    "norm.running_var": np.ones(2),
}


def npz(compressed):
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **STATE)
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


SEEDS = {
    "plain.npz": npz(False),
    "packed.npz": npz(True),
    "mine.npy": npy(STATE["conv2.weight"]),
    "fortran.npy": npy(np.asfortranarray(STATE["conv2.weight"])),
    "weights.safetensors": save(STATE, metadata={"conv2.stride": "1"}),
}


def read_all(path):
    file = open_arrays(path, 2**24)
    found = {}
    for name, stored in file.arrays.items():
        array = refused(lambda name=name: file.read(name))
        if array is not None:
            assert array.shape == stored.shape
            assert array.dtype.kind in "iuf"
            found[name] = array
    return found


def examine(folder, name, content):
    """Read a damaged file in every way that the package does."""
    path = folder / name
    path.write_bytes(content)
    with within(60), little_memory():
        found = refused(lambda: read_all(path))
        if found and path.suffix == ".npz":  # its checksums leave no room for a wrong value
            originals = [value.tobytes() for value in STATE.values()]
            assert all(array.tobytes() in originals for array in found.values())
        network = refused(lambda: read_network(path, largest=2**24))
        if network is not None:
            refused(network.dictionaries)
        refused(lambda: families.create("file", (64,), path=path, normalize=True))


FUZZ = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
}


@pytest.mark.parametrize("name", SEEDS)
def test_a_damaged_file_is_read_right_or_refused(tmp_path, name):
    @given(mutations(SEEDS[name]))
    @settings(max_examples=200, **FUZZ)
    def damaged(content):
        examine(tmp_path, name, content)

    damaged()
    assert sorted(os.listdir(tmp_path)) == [name]


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_thousands_of_damaged_files_are_read_right_or_refused(tmp_path, name):
    @given(mutations(SEEDS[name]))
    @settings(max_examples=5000, **FUZZ)
    def damaged(content):
        examine(tmp_path, name, content)

    damaged()


@given(st.binary(max_size=300), st.sampled_from(sorted(SEEDS)))
@settings(max_examples=200, **FUZZ)
def test_a_file_of_anything_is_refused(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    with within(60), pytest.raises(UserError):
        read_network(tmp_path / name)


def header(shape, dtype="<f8", version=b"\x01\x00", fortran=False):
    text = f"{{'descr': {dtype!r}, 'fortran_order': {fortran}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text


def zipped(members, **options):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def bomb(mebibytes):
    """A member that unpacks to much more than it takes, its checksum right."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.weight.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((1, 1, mebibytes * 2**17)))
        for _ in range(mebibytes):
            member.write(bytes(2**20))
    return stream.getvalue()


def claimed(content, size):
    """An archive whose directory claims another size for its only member."""
    place = content.index(b"PK\x01\x02") + 24
    return content[:place] + struct.pack("<I", size) + content[place + 4 :]


def tensors(entries, data=b"", length=None):
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


F32 = {"dtype": "F32", "shape": [1, 1, 2], "data_offsets": [0, 8]}
TRAP = b"cos\nsystem\n(S'touch pwned'\ntR."
HOSTILE = {
    "shape beyond all memory": ("x.npy", header((2**62,)) + bytes(8)),
    "shape that overflows": ("x.npy", header((2**32, 2**32, 2**32)) + bytes(8)),
    "negative shape": ("x.npy", header((-1, 1, 2)) + bytes(16)),
    "header of 4 GiB": ("x.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100)),
    "header that is code": ("x.npy", header("__import__('os').system('touch pwned')") + bytes(8)),
    "header nested deeply": ("x.npy", header("(" * 5000 + ")" * 5000) + bytes(8)),
    "type of a function": ("x.npy", header((1, 1, 1), "|O") + TRAP),
    "pickle": ("x.npy", TRAP),
    "pickle in an archive": ("x.npz", zipped([("conv.weight.npy", header((1, 1, 1), "|O") + TRAP)])),
    "pickled by numpy": ("x.npy", npy(np.array([[[{}]]], dtype=object))),
    "a member that is no array": ("x.npz", zipped([("archive/data.pkl", TRAP)])),
    "a member outside": ("x.npz", zipped([("../../pwned.npy", header((1, 1, 1)) + bytes(7))])),
    "the same member twice": (
        "x.npz", zipped([("a.npy", header((1, 1, 1)) + bytes(8)), ("b.npy", bytes(8))]).replace(b"b.npy", b"a.npy"),
    ),
    "an archive in name only": ("x.npz", b"PK\x03\x04" + bytes(100)),
    "a size that is claimed": ("x.npz", claimed(zipped([("a.npy", header((1, 1, 1)) + bytes(8))]), 2**31)),
    "packed by LZMA": ("x.npz", zipped([("a.npy", header((1, 1, 1)) + bytes(8))]).replace(b"\x08\x00", b"\x0e\x00")),
    "a name of control characters": ("x.npz", zipped([("\x1b[2J\n.npy", header((1, 1, 1)) + bytes(8))])),
    "text": ("x.npy", npy(np.array([[["a"]]]))),
    "records": ("x.npy", npy(np.zeros((1, 1, 1), dtype=[("a", "f8"), ("b", "i4")]))),
    "header of exabytes": ("x.safetensors", tensors({"a.weight": F32}, bytes(8), 2**62)),
    "offsets beyond the end": ("x.safetensors", tensors({"a.weight": {**F32, "shape": [1, 1, 2**40]}}, bytes(8))),
    "offsets that overlap": ("x.safetensors", tensors({"a.weight": F32, "b.weight": F32}, bytes(8))),
    "shape that overflows too": ("x.safetensors", tensors({"a.weight": {**F32, "shape": [2**62, 2**62]}}, bytes(8))),
    "no JSON": ("x.safetensors", tensors(b"[" * 100_000)),
    "a type without a name here": (
        "x.safetensors", tensors({"a.weight": {**F32, "dtype": "BF16", "data_offsets": [0, 4]}}, bytes(4)),
    ),
    "an unknown type": ("x.safetensors", tensors({"a.weight": {**F32, "dtype": "O"}}, bytes(8))),
    "metadata that is no number": (
        "x.safetensors", tensors({"__metadata__": {"a.stride": "__import__('os')"}, "a.weight": F32}, b"\0\0\x80?" * 2),
    ),
    "a model that runs code": ("x.pth", zipped([("archive/data.pkl", TRAP)])),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_made_to_do_harm_is_refused(tmp_path, monkeypatch, capsys, name):
    file, content = HOSTILE[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).write_bytes(content)
    with within(60), little_memory(16):
        assert main(["certify", file]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert printed.err[:-1].isprintable()
    assert os.listdir(tmp_path) == [file]


def test_pickles_are_named_as_what_they_are(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[[{}]]], dtype=object))
    with pytest.raises(UserError, match="holds Python objects, whose reading can run code"):
        read_network(tmp_path / "x.npy")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(1))
    with pytest.raises(UserError, match=r"can run code when it is read: convert it .* see docs/certify\.md"):
        read_network(tmp_path / "x.pkl")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    content = bomb(512)
    assert len(content) < 2**20
    (tmp_path / "x.npz").write_bytes(content)
    with (
        within(60),
        little_memory(4),
        pytest.raises(UserError, match=r"take 0\.5 GiB, more than the 0\.25 GiB allowed"),
    ):
        read_network(tmp_path / "x.npz", largest=2**28)


def test_a_stream_longer_than_its_directory_says_is_cut_and_refused(tmp_path):
    """The directory of the archive says 136 bytes, the packed stream goes on for 64 MiB."""
    start = header((1, 1, 1)) + bytes(8)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(start) + b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    small = zipped([("a.npy", start)])
    local = bytearray(small[: small.index(b"a.npy") + 5])
    local[18:22] = struct.pack("<I", len(packed))
    directory = bytearray(small[small.index(b"PK\x01\x02") : small.index(b"PK\x05\x06")])
    directory[20:24] = struct.pack("<I", len(packed))
    end = bytearray(small[small.index(b"PK\x05\x06") :])
    end[16:20] = struct.pack("<I", len(local) + len(packed))
    (tmp_path / "x.npz").write_bytes(bytes(local) + packed + bytes(directory) + bytes(end))
    with within(60), little_memory(16):
        network = refused(lambda: open_arrays(tmp_path / "x.npz").read("a"))
    assert network is None or network.tolist() == [[[0.0]]]


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "missing", "unreadable name"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    path = tmp_path / "x.npz"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "unreadable name":
        path = tmp_path / "a\0b\ud800.npz"
    with within(60), pytest.raises(UserError, match="does not exist, or is no file"):
        open_arrays(path)
