"""Readers of ONNX files: thousands of damaged files, and files made to do harm."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcsc.certification import command
from dcsc.certification.network_file import read_network
from dcsc.errors import UserError
from tests.hostile.support import little_memory, mutations, refused, within

onnx = pytest.importorskip("onnx")

from tests.support.onnx_graphs import Builder  # noqa: E402

assert command.run  # loaded here, so that no test counts the memory of its imports
RNG = np.random.default_rng(3)
FUZZ = {
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
}


def seed_model():
    built = Builder(2)
    value = built.node("Pad", "x", built.constant([0, 0, 1, 0, 0, 2], dtype=np.int64))
    value = built.conv(value, RNG.standard_normal((3, 2, 3)), np.ones(3), name="a", strides=[2], pads=[1, 0])
    value = built.node("Relu", built.batch_norm(value, RNG, 3))
    value = built.node("Mul", value, built.by_channel(np.ones(3)))
    value = built.conv(value, RNG.standard_normal((3, 1, 2)), name="b", group=3, dilations=[2])
    value = built.node("Clip", value, built.constant(0.0), built.constant(6.0))
    flat = built.node("Reshape", built.constant(np.ones(12)), built.constant([2, 3, 2], dtype=np.int64))
    built.node("Relu", built.node("Conv", value, flat))
    return built.model()


CONTENT = seed_model().SerializeToString()


@given(mutations(CONTENT))
@settings(max_examples=200, **FUZZ)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with within(60), little_memory():
        network = refused(lambda: read_network(path, largest=2**24))
        if network is not None:
            refused(network.dictionaries)


@given(st.integers(0, len(CONTENT) - 1))
@settings(max_examples=50, **FUZZ)
def test_a_truncated_file_is_refused(tmp_path, length):
    path = tmp_path / "net.onnx"
    path.write_bytes(CONTENT[:length])
    with pytest.raises(UserError, match="damaged or of another format"):
        read_network(path)


def varint(number):
    parts = bytearray()
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def message(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def written(tmp_path, change):
    model = seed_model()
    change(model)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def tensor(model, name):
    return next(of for of in model.graph.initializer if of.name == name)


def huge_dims(model):
    del tensor(model, "a.weight").dims[:]
    tensor(model, "a.weight").dims.extend([2**40, 2**20, 2**20])


def more_dims(model):
    tensor(model, "a.weight").dims[0] = 300


def negative_dims(model):
    tensor(model, "a.weight").dims[0] = -3


def beside(location, **stated):
    def change(model):
        of = tensor(model, "a.weight")
        of.ClearField("raw_data")
        of.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **stated}.items():
            of.external_data.add(key=key, value=value)

    return change


def attribute(name, value, node="Conv"):
    def change(model):
        first = next(of for of in model.graph.node if of.op_type == node)
        kept = [of for of in first.attribute if of.name != name]
        del first.attribute[:]
        first.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return change


def not_finite(model):
    tensor(model, "a.weight").CopyFrom(onnx.numpy_helper.from_array(np.full((3, 2, 3), np.nan), "a.weight"))


def of_texts(model):
    tensor(model, "a.weight").CopyFrom(onnx.helper.make_tensor("a.weight", onnx.TensorProto.STRING, [18], ["x"] * 18))


def within_itself(model):
    """A value that its own maker takes, of which no graph is."""
    for node in model.graph.node:
        if node.op_type in ("Relu", "Mul"):
            node.input[0] = node.output[0]


HARM = {
    "huge shape": (huge_dims, "would take|more than the"),
    "another shape": (more_dims, "do not fit its shape"),
    "negative shape": (negative_dims, "impossible shape"),
    "outside": (beside("../secret"), "not in the folder of the file"),
    "absolute": (beside("/etc/passwd"), "not in the folder of the file"),
    "nowhere": (beside("missing.bin"), "does not exist beside the file"),
    "the folder": (beside("."), "not in the folder of the file"),
    "short": (beside("net.onnx", offset="10", length="99999999"), "is not as long"),
    "far": (beside("net.onnx", offset="9" * 18), "is not as long"),
    "no number": (beside("net.onnx", offset="-1"), "an impossible place"),
    "not finite": (not_finite, "NaN or infinity"),
    "texts": (of_texts, "no real numbers"),
    "groups": (attribute("group", 2), "groups do not divide"),
    "no groups": (attribute("group", 0), "groups do not divide"),
    "stride": (attribute("strides", [0]), "its strides are"),
    "pads": (attribute("pads", [2**40, 0]), "its pads are"),
    "dilation": (attribute("dilations", [2**20]), "dilated filters"),
    "kernel": (attribute("kernel_shape", [7]), "not that of its kernel"),
    "no list": (attribute("strides", 3), "its strides are"),
}


@pytest.mark.parametrize("name", HARM)
def test_a_file_made_to_do_harm_is_refused_in_a_sentence(tmp_path, name):
    change, words = HARM[name]
    path = written(tmp_path, change)
    with within(20), little_memory(), pytest.raises(UserError, match=words) as refusal:
        read_network(path, largest=2**22)
    assert "\n" not in str(refusal.value)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "secret").write_bytes(bytes(144))
    (tmp_path / "in" / "link").symlink_to(tmp_path / "secret")
    path = written(tmp_path / "in", beside("link"))
    with pytest.raises(UserError, match="not in the folder of the file"):
        read_network(path)


def test_a_graph_that_runs_in_a_circle_ends(tmp_path):
    path = written(tmp_path, within_itself)
    with within(20), little_memory():
        assert refused(lambda: read_network(path, largest=2**24)).segments


BOMBS = {
    "nodes": message(7, message(1, b"") * 200_000),
    "sizes of a value": message(7, message(11, message(2, message(1, message(2, message(1, b"") * 200_000))))),
    "numbers": message(7, message(5, message(7, bytes(1_000_000)))),
    "without end": b"",
}
for _ in range(3000):  # node, attribute, graph, node, ...
    BOMBS["without end"] = message(1, message(5, message(6, BOMBS["without end"])))
BOMBS["without end"] = message(7, BOMBS["without end"])


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_swell_in_memory_is_refused_before_it_is_parsed(tmp_path, name):
    path = tmp_path / "net.onnx"
    path.write_bytes(BOMBS[name])
    with within(20), little_memory(), pytest.raises(UserError, match=r"allowed|damaged"):
        read_network(path, largest=2**22)


@pytest.mark.parametrize("size", [1, 100_000])
def test_a_constant_that_is_used_twice_at_every_step_is_computed_once(tmp_path, size):
    built = Builder(2)
    value = built.constant(np.ones((size, 1, 1)))
    for _ in range(50):
        value = built.node("Mul", value, value)
    built.node("Relu", built.node("Add", built.conv("x", RNG.standard_normal((2, 2, 3)), name="a"), value))
    path = built.save(tmp_path / "net.onnx")
    with within(20):
        assert len(read_network(path).layers) == 1
        if size > 1:
            with pytest.raises(UserError, match="computes of its arrays takes more than"):
                read_network(path, largest=2**24)


@pytest.mark.parametrize("value", ["text", 1.5, [1, 2], [0.5], ["a"]])
@pytest.mark.parametrize("name", ["axis", "axes", "perm", "pads", "epsilon", "alpha", "group", "to", "auto_pad"])
def test_attributes_of_another_type_are_refused_or_passed_over(tmp_path, name, value):
    def change(model):
        for node in model.graph.node:
            kept = [of for of in node.attribute if of.name != name]
            del node.attribute[:]
            node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    with within(20):
        refused(lambda: read_network(written(tmp_path, change)))


def test_bodies_and_chains_without_end_are_refused_or_cut(tmp_path):
    built = Builder(1)
    value = "x"
    for _ in range(300):
        value = built.node("Mul", value, built.constant(1.0))
    built.node("Relu", built.conv(value, np.ones((1, 1, 2)), name="a"))
    with within(20):
        network = read_network(built.save(tmp_path / "long.onnx"))
    assert network.sources == ("a product",)
    assert len(network.layers) == 1


@pytest.mark.parametrize("kind", ["twice at every step", "within itself", "without operations"])
def test_functions_that_stand_for_too_much_are_refused(tmp_path, kind):
    def function(number):
        own = f"f{0 if kind == 'within itself' else number + 1}"
        calls = [onnx.helper.make_node(own, [f"v{i}"], [f"v{i + 1}"], domain="own") for i in range(2)]
        calls = calls if number < 30 else [] if kind == "without operations" else [relu]
        returned = f"v{len(calls)}" if calls != [relu] else "v1"
        return onnx.helper.make_function("own", f"f{number}", ["v0"], [returned], calls, [])

    relu = onnx.helper.make_node("Relu", ["v0"], ["v1"])
    built = Builder(1)
    built.node("Relu", built.conv(built.node("f0", "x", domain="own"), np.ones((1, 1, 2)), name="a"))
    model = built.model()
    model.functions.extend(map(function, range(1 if kind == "within itself" else 31)))
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with within(20), little_memory(), pytest.raises(UserError, match=r"functions of the file .* call each other"):
        read_network(tmp_path / "net.onnx")


def test_the_command_refuses_in_one_line(tmp_path, capsys):
    from dcsc.__main__ import main

    path = written(tmp_path, huge_dims)
    assert main(["certify", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
