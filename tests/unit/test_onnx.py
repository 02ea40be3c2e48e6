"""Networks as ONNX graphs: the layers compute what the graph computes, and only those form a cascade that do."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dcsc
from dcsc.certification.forward import run_segment
from dcsc.certification.network import of_filters
from dcsc.certification.onnx_values import values_of
from dcsc.errors import UserError

onnx = pytest.importorskip("onnx")

from tests.support.onnx_graphs import Builder  # noqa: E402

RNG = np.random.default_rng(0)


def outputs(network, number, signals):
    """What the layers of a segment compute, in the scale of the network, without the filters that are zero."""
    return [
        run.active_codes * of_filters(run.layer.norms, run.layer.rank)
        for run in run_segment(network.segment(number), signals)
    ]


def assert_same(found, expected, kept):
    expected = np.maximum(expected, 0)[:, kept]
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, atol=1e-9 * scale)
    clear = np.abs(expected) > 1e-9 * scale
    np.testing.assert_array_equal(found > 1e-9 * scale, clear)


def affine(draw, rng, built, value, count):
    """One of the ways in which graphs scale and shift channels."""
    kind = draw(st.sampled_from(["batch norm", "mul", "add", "sub", "div", "from", "scalar", "identity", "neg"]))
    numbers = rng.uniform(0.5, 2.0, count) * rng.choice([-1, 1], count)
    if kind == "batch norm":
        return built.batch_norm(value, rng, count)
    if kind == "from":
        return built.node("Sub", built.by_channel(numbers), value)
    if kind == "scalar":
        return built.node("Mul", built.constant(1.5), value)
    if kind in ("identity", "neg"):
        return built.node(kind.capitalize(), value)
    return built.node(kind.capitalize(), value, built.by_channel(numbers))


RELUS = (
    lambda b, v: b.node("Relu", v),
    lambda b, v: b.node("Clip", v, b.constant(0.0)),
    lambda b, v: b.node("Max", v, b.constant(0.0)),
    lambda b, v: b.node("LeakyRelu", v, alpha=0.0),
    lambda b, v: b.node("Dropout", b.node("Relu", v)),
)


@st.composite
def chains(draw):
    """A chain of convolutions with affine maps around ReLU, and the value after each ReLU."""
    rank = draw(st.sampled_from([1, 2]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = draw(st.integers(1, 3))
    built, value, ends, size = Builder(channels, rank), "x", [], 23
    for number in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(0, 2))):
            value = affine(draw, rng, built, value, channels)
        is_padded, is_shifted = draw(st.booleans()), draw(st.booleans())
        if is_padded:
            pads = [0, 0, *[draw(st.integers(0, 2)) for _ in range(rank)]] * 2
            value = built.node("Pad", value, built.constant(pads, dtype=np.int64))
            if is_shifted:
                value = affine(draw, rng, built, value, channels)
        groups = draw(st.sampled_from([g for g in (1, channels) if channels % g == 0]))
        count = groups * draw(st.integers(1, 2))
        taps = [draw(st.integers(1, 4)) for _ in range(rank)]
        weight, bias = rng.standard_normal((count, channels // groups, *taps)), rng.standard_normal(count)
        how = {
            "strides": [draw(st.integers(1, 3 if number == 0 else 2)) for _ in range(rank)],
            "dilations": [draw(st.integers(1, 2)) for _ in range(rank)],
            "group": groups,
        }
        if is_padded and is_shifted:
            how["auto_pad"] = "VALID"  # what is padded, shifted and padded again is no part of a layer
        elif draw(st.booleans()) or is_padded:
            how["pads"] = [draw(st.integers(0, 5)) for _ in range(2 * rank)]
        elif set(how["dilations"]) == {1}:  # all that onnx's reference knows
            how["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))
        value = built.conv(value, weight, bias, name=f"conv{number}", **how)
        channels = count
        for _ in range(draw(st.integers(0, 2))):
            value = affine(draw, rng, built, value, channels)
        value = draw(st.sampled_from(RELUS))(built, value)
        ends.append(value)
    signals = rng.standard_normal((2, built.inputs[0].type.tensor_type.shape.dim[1].dim_value, *[size] * rank))
    return built, ends, signals


@given(chains())
@settings(max_examples=40)
def test_a_chain_is_one_cascade_that_computes_what_the_graph_computes(tmp_path_factory, chain):
    built, ends, signals = chain
    network = dcsc.read_network(built.save(tmp_path_factory.mktemp("graph") / "net.onnx", *ends))
    assert network.segments == (tuple(range(len(ends))),)
    assert network.sources == ("the network's input",)
    found = outputs(network, 0, signals)
    for layer, mine, theirs in zip(network.layers, found, built.values(signals, *ends), strict=True):
        assert layer.activation == "ReLU"
        assert_same(mine, theirs, layer.kept)


def weights(count, channels, *taps):
    return RNG.standard_normal((count, channels, *taps))


def relu(built, value):
    return built.node("Relu", value)


def squeeze_and_excitation(b):
    main = relu(b, b.conv("x", weights(4, 2, 3), name="a", pads=[1, 1]))
    gate = b.node("GlobalAveragePool", main)
    gate = relu(b, b.conv(gate, weights(2, 4, 1), name="down"))
    gate = b.node("HardSigmoid", b.conv(gate, weights(4, 2, 1), name="up"))
    scaled = b.node("Mul", main, gate)
    return relu(b, b.conv(scaled, weights(2, 4, 3), name="b"))


def residual(b):
    first = relu(b, b.conv("x", weights(2, 2, 3), name="a", pads=[1, 1]))
    inner = relu(b, b.conv(first, weights(2, 2, 3), name="b", pads=[1, 1]))
    inner = b.conv(inner, weights(2, 2, 3), name="c", pads=[1, 1])
    total = relu(b, b.node("Add", inner, first))
    return relu(b, b.conv(total, weights(2, 2, 1), name="d"))


def branches(b):
    first = relu(b, b.conv("x", weights(2, 2, 3), name="a"))
    left, right = (relu(b, b.conv(first, weights(2, 2, 3), name=name)) for name in ("b", "c"))
    return relu(b, b.conv(b.node("Concat", left, right, axis=1), weights(2, 4, 1), name="d"))


def pooled(b):
    first = b.node("MaxPool", relu(b, b.conv("x", weights(2, 2, 3), name="a")), kernel_shape=[2], strides=[2])
    return relu(b, b.conv(relu(b, b.conv(first, weights(2, 2, 3), name="b")), weights(3, 2, 2), name="c"))


def normalised(b):
    first = relu(b, b.conv("x", weights(2, 2, 3), name="a"))
    first = b.node("InstanceNormalization", first, b.constant(np.ones(2)), b.constant(np.zeros(2)))
    return relu(b, b.conv(first, weights(2, 2, 3), name="b"))


def without_activation(b):
    return relu(b, b.conv(b.conv("x", weights(2, 1, 3), name="a", group=2), weights(3, 2, 1), name="b"))


def padded_by_reflection(b):
    first = relu(b, b.conv("x", weights(2, 2, 3), name="a"))
    first = b.node("Pad", first, b.constant([0, 0, 1, 0, 0, 1], dtype=np.int64), mode="reflect")
    return relu(b, b.conv(first, weights(2, 2, 3), name="b"))


def activation(*ops):
    def make(b):
        value = b.conv("x", weights(2, 2, 3), name="a")
        found = {"v": value}
        for name, op, inputs, attributes in ops:
            given = [found[i] if isinstance(i, str) else b.constant(i) for i in inputs]
            found[name] = b.node(op, *given, **attributes)
        return relu(b, b.conv(found[name], weights(2, 2, 3), name="b"))

    return make


GRAPHS = {
    "SE": (squeeze_and_excitation, [["a"], ["down", "up"], ["b"]],
           ["the network's input", "global average pooling", "a product"]),
    "residual": (residual, [["a"], ["b", "c"], ["d"]],
                 ["the network's input", "ReLU, which has another use", "ReLU"]),
    "branches": (branches, [["a"], ["b"], ["c"], ["d"]],
                 ["the network's input", *["ReLU, which has another use"] * 2, "a concatenation"]),
    "max pooling": (pooled, [["a"], ["b", "c"]], ["the network's input", "max pooling"]),
    "normalisation": (normalised, [["a"], ["b"]], ["the network's input", "normalisation over data"]),
    "no activation": (without_activation, [["a"], ["b"]],
                      ["the network's input", "a convolution without an activation"]),
    "reflection": (padded_by_reflection, [["a"], ["b"]], ["the network's input", "padding that is not of zeros"]),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_only_what_follows_one_another_is_a_cascade(tmp_path, name):
    make, segments, sources = GRAPHS[name]
    built = Builder(2)
    make(built)
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    assert [[network.layers[index].name for index in segment] for segment in network.segments] == segments
    assert list(network.sources) == sources
    # What each segment computes of what the graph gives it is what the graph computes.
    signals = RNG.standard_normal((2, 2, 20))
    by_name = {node.input[1].removesuffix(".weight"): node for node in built.nodes if node.op_type == "Conv"}
    for number, segment in enumerate(segments):
        names = [by_name[segment[0]].input[0], *(by_name[layer].output[0] for layer in segment)]
        given, *expected = built.values(signals, *names)
        for mine, theirs, layer in zip(outputs(network, number, given), expected, segment, strict=True):
            kept = next(of.kept for of in network.layers if of.name == layer)
            assert_same(mine, theirs, kept)


SLOPE = np.full((2, 1), 0.25)
ACTIVATIONS = {
    "PReLU": [("y", "PRelu", ["v", SLOPE], {})],
    "leaky ReLU": [("y", "LeakyRelu", ["v"], {})],
    "ReLU6": [("y", "Clip", ["v", 0.0, 6.0], {})],
    "clipping": [("y", "Clip", ["v", -1.0, 6.0], {})],
    "hard-swish": [("y", "HardSwish", ["v"], {})],
    "hard-swish of two": [("s", "HardSigmoid", ["v"], {"alpha": 1 / 6}), ("y", "Mul", ["v", "s"], {})],
    "hard-swish of four": [
        ("s", "Add", ["v", 3.0], {}), ("c", "Clip", ["s", 0.0, 6.0], {}), ("m", "Mul", ["v", "c"], {}),
        ("y", "Div", ["m", 6.0], {}),
    ],
    "SiLU": [("s", "Sigmoid", ["v"], {}), ("y", "Mul", ["v", "s"], {})],
    "tanh": [("y", "Tanh", ["v"], {})],
    "sigmoid": [("y", "Sigmoid", ["v"], {})],
    "ELU": [("y", "Elu", ["v"], {})],
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_another_activation_ends_a_segment_and_is_named(tmp_path, name):
    built = Builder(2)
    activation(*ACTIVATIONS[name])(built)
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    assert network.segments == ((0,), (1,))
    assert network.layers[0].activation == name.partition(" of ")[0]
    assert network.layers[1].activation == "ReLU"


def test_weights_are_read_wherever_they_stand(tmp_path):
    """In nodes, reshaped, quantised, of half precision, weight-normalised, and in files beside the graph."""
    weight = np.round(weights(4, 2, 3) * 8) / 8
    for kind in ("node", "reshaped", "half", "quantised", "normalised"):
        built = Builder(2)
        name = f"{kind}.weight"
        if kind == "node":
            value = onnx.numpy_helper.from_array(weight, "")
            built.nodes.append(onnx.helper.make_node("Constant", [], [name], value=value))
        elif kind == "reshaped":
            flat = built.constant(weight.reshape(8, 3).T)
            turned = built.node("Transpose", flat, perm=[1, 0])
            shape = built.constant([4, -1, 3], dtype=np.int64)
            built.nodes.append(onnx.helper.make_node("Reshape", [turned, shape], [name]))
        elif kind == "half":
            half = built.constant(weight, dtype=np.float16)
            built.nodes.append(onnx.helper.make_node("Cast", [half], [name], to=onnx.TensorProto.DOUBLE))
        elif kind == "quantised":
            whole = built.constant(weight * 8, dtype=np.int8)
            scale, zero = built.constant(np.full(4, 1 / 8)), built.constant(np.zeros(4), dtype=np.int8)
            built.nodes.append(onnx.helper.make_node("DequantizeLinear", [whole, scale, zero], [name], axis=0))
        else:
            norms = np.sqrt((weight**2).sum(axis=(1, 2), keepdims=True))
            direction, scale = built.constant(weight * 3), built.constant(norms)
            length = built.node("ReduceL2", direction, axes=[1, 2], keepdims=1)
            ratio = built.node("Div", direction, length)
            built.nodes.append(onnx.helper.make_node("Mul", [ratio, scale], [name]))
        built.node("Relu", built.node("Conv", "x", name))
        (layer,) = dcsc.read_network(built.save(tmp_path / f"{kind}.onnx")).layers
        assert layer.name == kind
        np.testing.assert_allclose(layer.weight, weight, atol=1e-12)
    built = Builder(2)
    built.node("Relu", built.conv("x", weight, np.ones(4), name="a"))
    onnx.save(
        built.model(), tmp_path / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0
    )  # fmt: skip
    (layer,) = dcsc.read_network(tmp_path / "big.onnx").layers
    np.testing.assert_array_equal(layer.weight, weight)
    np.testing.assert_array_equal(layer.bias, np.ones(4))


def test_layers_within_bodies_are_found_and_follow_no_other_branch(tmp_path):
    def body(name):
        inner = Builder(2)
        inner.node("Relu", inner.conv("x", weights(2, 2, 3), name="a"))
        inner.node("Relu", inner.conv(inner.nodes[-1].output[0], weights(2, 2, 3), name="b"))
        model = inner.model()
        return onnx.helper.make_graph(model.graph.node, name, [], model.graph.output, model.graph.initializer)

    built = Builder(2)
    flag = built.constant(True, dtype=bool)
    built.node("If", flag, name="which", then_branch=body("one"), else_branch=body("two"))
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    assert [layer.name for layer in network.layers] == [
        "which.else_branch/a", "which.else_branch/b", "which.then_branch/a", "which.then_branch/b",
    ]  # fmt: skip
    assert network.segments == ((0, 1), (2, 3))


def test_a_constant_that_adds_channels_is_not_folded(tmp_path):
    built = Builder(1)
    spread = built.node("Mul", "x", built.by_channel(np.array([1.0, 2.0, 3.0])))
    built.node("Relu", built.conv(spread, weights(2, 3, 3), name="a"))
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    assert network.sources == ("a product",)
    np.testing.assert_array_equal(network.layers[0].channel_scale, np.ones(3))


def test_filters_that_are_zero_are_left_out_and_what_they_pass_on_is_kept(tmp_path):
    """Batch normalisation leaves filters of norm 1e-34 whose biases still reach the next layer, but for its fringe."""
    first, second = weights(3, 2, 3), weights(4, 3, 3)
    first[1] *= 1e-34
    built = Builder(2)
    middle = relu(built, built.conv("x", first, np.array([0.1, 2.0, 0.3]), name="a"))
    last = relu(built, built.conv(middle, second, np.ones(4), name="b", pads=[2, 1]))
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    np.testing.assert_array_equal(network.layers[0].kept, [0, 2])
    assert any("1 of the 3 filters of a, which are zero" in note for note in network.notes)
    signals = RNG.standard_normal((2, 2, 12))
    for mine, theirs, layer in zip(
        outputs(network, 0, signals), built.values(signals, middle, last), network.layers, strict=True
    ):
        assert_same(mine, theirs, layer.kept)


def test_what_is_no_convolution_with_stored_weights_is_said(tmp_path):
    built = Builder(2)
    value = relu(built, built.conv("x", weights(2, 2, 3), name="a"))
    value = built.node("ConvTranspose", value, built.constant(weights(2, 2, 3)), name="up")
    value = built.node("Conv", value, value, name="dynamic")
    built.node("Mine", value, name="own", domain="mine")
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    said = " ".join(network.notes)
    assert "transposed convolution up" in said
    assert "whose weights are computed, dynamic" in said
    assert "mine.Mine" in said
    with pytest.raises(UserError, match="leave out --chain"):
        dcsc.read_network(tmp_path / "net.onnx", chains=[["a"]])
    with pytest.raises(UserError, match="no layer 'b'"):
        dcsc.read_network(tmp_path / "net.onnx", names=["b"])


def test_chosen_layers_keep_the_links_between_them(tmp_path):
    built = Builder(2)
    value = "x"
    for name in "abc":
        value = relu(built, built.conv(value, weights(2, 2, 3), name=name))
    path = built.save(tmp_path / "net.onnx")
    assert dcsc.read_network(path, names=["a", "b"]).segments == ((0, 1),)
    assert dcsc.read_network(path, names=["a", "c"]).segments == ((0,), (1,))


def test_functions_of_a_file_are_followed_where_they_are_called(tmp_path):
    """As PyTorch's newer exporter writes them: a function of another one, weights as inputs, attributes of the call."""
    make, opset = onnx.helper, [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
    inner = make.make_node("Conv", ["x", "w"], ["y"])
    stride = inner.attribute.add()
    stride.name, stride.ref_attr_name, stride.type = "strides", "step", onnx.AttributeProto.INTS
    pads = inner.attribute.add()  # which no call states
    pads.name, pads.ref_attr_name, pads.type = "pads", "around", onnx.AttributeProto.INTS
    convolve = make.make_function(
        "own", "Convolve", ["x", "w"], ["y"], [inner], opset, attributes=["around"],
        attribute_protos=[make.make_attribute("step", [1])],
    )  # fmt: skip
    step = make.make_node("Convolve", ["a", "b"], ["c"], domain="own")
    given_ = step.attribute.add()
    given_.name, given_.ref_attr_name, given_.type = "step", "step", onnx.AttributeProto.INTS
    block = make.make_function(
        "own", "Block", ["a", "b"], ["d"], [step, make.make_node("Relu", ["c"], ["d"])], opset, attributes=["step"]
    )  # fmt: skip
    built = Builder(2)
    one, two = built.constant(weights(3, 2, 4), "one.weight"), built.constant(weights(2, 3, 3), "two.weight")
    first = built.node("Block", "x", one, domain="own", step=[2])
    second = built.node("Block", first, two, domain="own")
    model = built.model(first, second)
    model.functions.extend([convolve, block])
    model.opset_import.append(opset[1])
    onnx.save(model, tmp_path / "net.onnx")
    network = dcsc.read_network(tmp_path / "net.onnx")
    assert [(layer.name, layer.stride, layer.activation) for layer in network.layers] == [
        ("one", (2,), "ReLU"), ("two", (1,), "ReLU"),
    ]  # fmt: skip
    assert network.segments == ((0, 1),)
    signals = RNG.standard_normal((2, 2, 20))
    found = values_of(tmp_path / "net.onnx", {"x": signals}, [first, second])
    for mine, value, layer in zip(outputs(network, 0, signals), (first, second), network.layers, strict=True):
        theirs = found[value]
        assert_same(mine, theirs, layer.kept)


def test_a_layer_used_twice_is_two_layers(tmp_path):
    built = Builder(2)
    weight = built.constant(weights(2, 2, 3), "a.weight")
    value = relu(built, built.node("Conv", "x", weight))
    relu(built, built.node("Conv", value, weight))
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    assert [layer.name for layer in network.layers] == ["a", "a (2)"]
    assert network.segments == ((0, 1),)


@given(chains())
@settings(max_examples=15)
def test_whole_atoms_and_what_the_border_leaves_of_the_others(tmp_path_factory, chain):
    built, ends, signals = chain
    network = dcsc.read_network(built.save(tmp_path_factory.mktemp("graph") / "net.onnx", *ends))
    for run in run_segment(network.segment(0), signals):
        whole = np.zeros(run.dictionary.grid)
        whole[tuple(slice(*ends) for ends in run.inside)] = 1
        squares = (run.dictionary.filters**2).sum(axis=1)
        norms = np.zeros(run.active_codes.shape[1:])
        for position in np.ndindex(*run.positions):
            window = tuple(
                slice(p * s, p * s + t) for p, s, t in zip(position, run.layer.stride, run.layer.taps, strict=True)
            )
            norms[(slice(None), *position)] = np.sqrt((squares * whole[window]).reshape(len(squares), -1).sum(axis=1))
        assert run.n_atoms == norms.size
        assert run.smallest_norm == pytest.approx(min(norms.min(), 1), abs=1e-7)
        assert run.n_whole <= (norms > 1 - 1e-9).sum()  # taps that are zero may be cut without a loss


def test_what_signals_cannot_do_is_a_sentence(tmp_path):
    built = Builder(2)
    first = relu(built, built.conv("x", weights(4, 2, 5), name="a"))
    relu(built, built.conv(built.node("MaxPool", first, kernel_shape=[2]), weights(4, 4, 3), name="b"))
    network = dcsc.read_network(built.save(tmp_path / "net.onnx"))
    with pytest.raises(UserError, match="layer 'a' gets 4 points of its input, fewer than its 5 taps need"):
        dcsc.certify(network, draws=0, signals=np.ones((1, 2, 4)))
    with pytest.raises(UserError, match="give fewer or smaller ones, or raise --memory"):
        dcsc.certify(network, draws=0, signals=np.ones((40, 2, 4000)), largest=2**22)
    inner = dcsc.read_network(tmp_path / "net.onnx", names=["b"])
    assert len(dcsc.certify(inner, draws=0, signals=np.ones((1, 4, 9))).measured) == 1
    both = dcsc.certify(network, draws=0, signals=RNG.standard_normal((3, 2, 30)))
    assert [of.name for of in both.measured] == ["a"]
    assert any("run through the segment a." in note for note in both.notes)


def test_without_the_package_a_sentence_tells_what_to_install(tmp_path, monkeypatch):
    built = Builder(2)
    built.conv("x", weights(2, 2, 3))
    path = built.save(tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match=r"needs the package onnx to be read: install dcsc\[onnx\]"):
        dcsc.read_network(path)
