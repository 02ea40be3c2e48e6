"""Arrays of files: exact round trips in every type and order that NumPy and safetensors write."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from safetensors.numpy import save_file

from dcsc.arrays import natural, open_arrays
from dcsc.errors import UserError, printable, shortened, shown

TYPES = ("<f2", "<f4", "<f8", ">f4", ">f8", "i1", "<i2", "<i4", ">i8", "u1", "<u2", ">u4", "<u8")
ARRAYS = st.sampled_from(TYPES).flatmap(
    lambda dtype: arrays_of.arrays(np.dtype(dtype), arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


def same(found, expected):
    assert found.dtype.isnative
    assert found.shape == expected.shape
    assert found.dtype == (np.float32 if expected.dtype.itemsize == 2 and expected.dtype.kind == "f" else found.dtype)
    np.testing.assert_array_equal(found, expected)


@given(ARRAYS, st.booleans())
def test_numpy_files_come_back_exactly(tmp_path_factory, array, fortran):
    array = np.asfortranarray(array) if fortran else array
    folder = tmp_path_factory.mktemp("arrays")
    np.save(folder / "one.npy", array)
    np.savez(folder / "plain.npz", a=array, b=np.arange(3))
    np.savez_compressed(folder / "packed.npz", a=array)
    same(open_arrays(folder / "one.npy").read("one"), array)
    for name in ("plain.npz", "packed.npz"):
        file = open_arrays(folder / name)
        assert file.arrays["a"].shape == array.shape
        assert file.arrays["a"].nbytes == array.nbytes
        same(file.read("a"), array)


@given(ARRAYS)
def test_safetensors_come_back_exactly(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("arrays") / "x.safetensors"
    save_file({"a.weight": array.astype(array.dtype.newbyteorder("="), order="C")}, path, {"key": "value"})
    file = open_arrays(path)
    assert file.metadata == {"key": "value"}
    assert file.arrays["a.weight"].nbytes == array.nbytes
    same(file.read("a.weight"), array)


def test_long_doubles_become_doubles(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(3, np.longdouble))
    assert open_arrays(tmp_path / "x.npy").read("x").dtype == np.float64


@pytest.mark.parametrize("array", [np.ones(2, complex), np.array(["a"]), np.array([True]), np.zeros(1, "M8[s]")])
def test_what_is_no_real_number_is_refused(tmp_path, array):
    np.savez(tmp_path / "x.npz", a=array)
    with pytest.raises(UserError, match=r"the array 'a' of .*x\.npz is of type .*: store real numbers"):
        open_arrays(tmp_path / "x.npz").read("a")


def test_a_limit_is_kept_before_reading(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(1000))
    file = open_arrays(tmp_path / "x.npy", largest=7999)
    with pytest.raises(UserError, match=r"has shape \(1000,\) and takes 7.45e-06 GiB, more than"):
        file.read("x")
    open_arrays(tmp_path / "x.npy", largest=8000).read("x")


def test_a_file_that_changes_after_it_was_opened_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(1000))
    file = open_arrays(tmp_path / "x.npy")
    (tmp_path / "x.npy").write_bytes(b"short")
    with pytest.raises(UserError, match="can't be read"):
        file.read("x")
    (tmp_path / "x.npy").unlink()
    with pytest.raises(UserError, match="can't be read"):
        file.read("x")


@given(st.lists(st.text(max_size=8), unique_by=lambda name: tuple(natural(name))))
def test_any_names_can_be_sorted_naturally(names):
    ordered = sorted(names, key=natural)
    names.reverse()
    assert sorted(names, key=natural) == ordered


def test_numbers_in_names_count_as_numbers():
    names = ["conv10", "conv2", "conv1", "conv", "block2.conv1", "block10.conv1"]
    assert sorted(names, key=natural) == ["block2.conv1", "block10.conv1", "conv", "conv1", "conv2", "conv10"]


@given(st.text())
def test_messages_are_one_printable_line(text):
    assert str(UserError(text)).isprintable()
    assert shortened(text) in (text, text[:77] + "...")
    if text.isprintable():
        assert printable(text) == text


def test_values_of_any_size_are_shown_shortened():
    cyclic = []
    cyclic.append(cyclic)
    for value in ("x" * 10**6, 10**5000, [[[[[1]]]]], cyclic, {"a": [1] * 10**6}, float("nan")):
        assert len(shown(value)) <= 80
    assert shown("a\n") == "'a\\n'"
    assert shown(0.5) == "0.5"
