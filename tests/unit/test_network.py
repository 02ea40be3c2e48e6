"""Layers of a network as dictionaries: the forward pass is that of the network, and what is left out is said."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import dcsc
from dcsc.certification.network_file import read_network, whole_numbers
from dcsc.errors import UserError


def convolution(signal, weight, bias, stride, dilation=None, groups=1):
    """A convolution layer on a periodic grid, one tap at a time: what a network computes."""
    rank = weight.ndim - 2
    dilation = dilation or (1,) * rank
    positions = [n // s for n, s in zip(signal.shape[1:], stride, strict=True)]
    found = np.zeros((len(weight), *positions))
    width = weight.shape[1]
    for filter_index in range(len(weight)):
        first = filter_index // (len(weight) // groups) * width
        for position in itertools.product(*map(range, positions)):
            total = bias[filter_index]
            for channel in range(width):
                for tap in itertools.product(*map(range, weight.shape[2:])):
                    point = tuple(
                        (p * s + t * d) % n
                        for p, s, t, d, n in zip(position, stride, tap, dilation, signal.shape[1:], strict=True)
                    )
                    total += weight[(filter_index, channel, *tap)] * signal[(first + channel, *point)]
            found[(filter_index, *position)] = total
    return found


@st.composite
def networks(draw):
    """State dictionary, strides, and a signal on the smallest grid, of one or two axes."""
    rank = draw(st.sampled_from([1, 2]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels, state, strides = draw(st.integers(1, 2)), {}, {}
    for number in range(1, draw(st.integers(1, 3)) + 1):
        filters = draw(st.integers(1, 3))
        taps = [draw(st.integers(2, 4 if rank == 1 else 2)) for _ in range(rank)]
        state[f"conv{number}.weight"] = rng.standard_normal((filters, channels, *taps))
        state[f"conv{number}.bias"] = rng.standard_normal(filters)
        strides[f"conv{number}"] = tuple(draw(st.integers(1, 2)) for _ in range(rank))
        channels = filters
    return state, strides, rng


@given(networks(), st.booleans())
@settings(max_examples=30)
def test_the_forward_pass_is_that_of_the_network(tmp_path_factory, network_and_strides, normalised):
    state, strides, rng = network_and_strides
    path = tmp_path_factory.mktemp("network") / "weights.npz"
    rest = {"norm.running_mean": np.zeros(1), "norm.running_var": np.ones(1)} if normalised else {}
    np.savez(path, **state, **rest)
    network = read_network(path, chains=[list(strides)], stated={"stride": strides})
    assert network.is_cascade
    cascade = network.cascade()
    signal = rng.standard_normal(cascade.dictionaries[0].signal_shape)
    output = signal
    for layer, (_, codes) in zip(network.layers, network.forward(signal[None], cascade), strict=True):
        output = convolution(output, state[f"{layer.name}.weight"], state[f"{layer.name}.bias"], layer.stride)
        output = np.maximum(output, 0)
        norms = layer.norms.reshape(-1, *[1] * layer.rank)
        np.testing.assert_allclose(codes[0] * norms, output, atol=1e-9 * max(1.0, np.abs(output).max()))
    for dictionary, grid in zip(cascade.dictionaries, network.smallest_grids(), strict=True):
        assert dictionary.grid == grid
        np.testing.assert_allclose((dictionary.filters**2).sum(axis=tuple(range(1, dictionary.filters.ndim))), 1)


@given(networks(), st.integers(1, 40))
def test_the_grid_is_the_smallest_that_fits(tmp_path_factory, network_and_strides, points):
    state, strides, _ = network_and_strides
    path = tmp_path_factory.mktemp("network") / "weights.npz"
    np.savez(path, **state)
    network = read_network(path, chains=[list(strides)], stated={"stride": strides})
    grids = network.grids_from([points] * network.layers[0].rank)
    assert all(n >= points for n in grids[0])
    network.cascade(grids[0])
    for axis in range(len(grids[0])):
        step = math.prod(layer.stride[axis] for layer in network.layers)
        smaller = [*grids[0]]
        smaller[axis] -= step
        if smaller[axis] >= points:
            with pytest.raises(UserError, match=r"layer 'conv\d'"):
                network.cascade(smaller)


RNG = np.random.default_rng(0)


@pytest.fixture
def written(tmp_path):
    def write(**arrays):
        path = tmp_path / "weights.npz"
        np.savez(path, **arrays)
        return path

    return write


def outputs(network, signal):
    """What the layers compute, in the scale of the network."""
    cascade = network.cascade()
    found = network.forward(signal[None], cascade)
    return [
        codes[0] * layer.norms.reshape(-1, *[1] * layer.rank)
        for layer, (_, codes) in zip(network.layers, found, strict=True)
    ]


def test_groups_and_dilation_are_written_out_exactly(written):
    first, second = RNG.standard_normal((4, 1, 3)), RNG.standard_normal((4, 2, 3))
    network = read_network(
        written(**{"a.weight": first, "b.weight": second, "b.groups": 2, "b.dilation": 2, "b.stride": 1}),
        chains=[["a", "b"]],
        stated={"stride": {"": (1,)}},
    )
    assert network.layers[1].filters.shape == (4, 4, 5)
    signal = RNG.standard_normal((1, *network.smallest_grids()[0]))
    middle = np.maximum(convolution(signal, first, np.zeros(4), (1,)), 0)
    deepest = np.maximum(convolution(middle, second, np.zeros(4), (1,), (2,), groups=2), 0)
    found = outputs(network, signal)
    np.testing.assert_allclose(found[0], middle, atol=1e-12)
    np.testing.assert_allclose(found[1], deepest, atol=1e-11)
    said = " ".join(network.notes)
    assert "whose filters see only each other: b (2)" in said
    assert "zeros, which is exact: b (2)" in said


def test_a_depthwise_layer_is_recognised_by_its_channels(written):
    first, second = RNG.standard_normal((3, 1, 2)), RNG.standard_normal((3, 1, 2))
    network = read_network(written(**{"a.weight": first, "b.weight": second}), chains=[["a", "b"]])
    signal = RNG.standard_normal((1, *network.smallest_grids()[0]))
    middle = np.maximum(convolution(signal, first, np.zeros(3), (1,)), 0)
    np.testing.assert_allclose(
        outputs(network, signal)[1], np.maximum(convolution(middle, second, np.zeros(3), (1,), groups=3), 0), atol=1e-12
    )
    assert any("depthwise" in note and "b (3)" in note for note in network.notes)


def test_a_layer_of_half_the_channels_is_not_taken_for_a_grouped_one(written):
    """Such as the downsampling of a residual network, which acts on the input of its block."""
    network = read_network(written(**{"a.weight": np.ones((4, 1, 3)), "down.weight": np.ones((4, 2, 1))}))
    assert network.layers[1].weight.shape == (4, 2, 1)
    assert not network.is_cascade


def test_weight_normalisation_is_undone(written):
    weight = RNG.standard_normal((3, 1, 4))
    norms = np.sqrt((weight**2).sum(axis=(1, 2), keepdims=True))
    for direction, scale in (("a.weight_v", "a.weight_g"), ("a.parametrizations.weight.original1",) * 2):
        scale = scale.replace("original1", "original0")
        network = read_network(written(**{direction: weight * [[[2.0]], [[3.0]], [[4.0]]], scale: norms}))
        assert [layer.name for layer in network.layers] == ["a"]
        np.testing.assert_allclose(network.layers[0].weight, weight)


def test_filters_that_are_zero_are_left_out_with_their_channels(written):
    first, second = RNG.standard_normal((3, 1, 2)), RNG.standard_normal((2, 3, 2))
    first[1] = 0
    network = read_network(written(**{"a.weight": first, "b.weight": second}), chains=[["a", "b"]])
    assert network.is_cascade
    np.testing.assert_array_equal(network.layers[0].kept, [0, 2])
    np.testing.assert_array_equal(network.layers[1].weight, second[:, [0, 2]])
    assert any("1 of the 3 filters of a, which are zero" in note for note in network.notes)


def test_axes_along_which_nothing_happens_are_left_out(written):
    weight = RNG.standard_normal((2, 1, 5, 1))
    network = read_network(written(**{"conv.weight": weight}), stated={"stride": {"conv": (2, 1)}})
    assert network.singleton == (1,)
    assert network.layers[0].stride == (2,)
    np.testing.assert_array_equal(network.layers[0].weight, weight[..., 0])
    assert any(note.startswith("Taken as 1-dimensional") for note in network.notes)
    both = read_network(written(**{"conv.weight": weight[:, :, :1]}))
    assert both.layers[0].taps == (1, 1)  # a layer of one tap acts on all axes of its signals


def test_what_the_model_has_no_place_for_is_said(written):
    path = written(
        **{
            "conv1.weight": RNG.standard_normal((2, 1, 4)), "conv1.bias": [1.0, -1.0],
            "conv1_BN.weight": np.ones(2), "conv1_BN.bias": np.zeros(2), "conv1_BN.running_mean": np.zeros(2),
            "conv1_BN.running_var": np.ones(2), "conv1_BN.num_batches_tracked": np.array(3),
            "conv2.weight": RNG.standard_normal((2, 2, 4)),
            "ln.weight": np.ones(2), "ln.bias": np.zeros(2),
            "classifier.weight": np.ones((3, 4)), "classifier.bias": np.ones(3),
            "table": np.ones((2, 2)),
        }
    )  # fmt: skip
    silent = " ".join(read_network(path).notes)
    assert "batch normalisation conv1_BN, ln" in silent
    assert "fully connected layer classifier" in silent
    assert "other array table" in silent
    assert "Scaled to unit norm" in silent
    assert "thresholds below 0, which keep what does not correlate: conv1 (1)" in silent
    assert "Stride 1 is assumed" in silent
    assert "Not known: zero padding and pooling" in silent
    stated = {"padding": {"conv1": (3,), "": (0,)}, "pool": {"": (2,)}, "stride": {"": (1,)}}
    said = " ".join(read_network(path, stated=stated).notes)
    assert "Zero padding of conv1 (3):" in said
    assert "pooling after conv1 (2), conv2 (2)," in said
    assert "Not known" not in said
    assert "Stride 1 is assumed" not in said
    assert "convolution conv2" in " ".join(read_network(path, names=["conv1"]).notes)


def test_norms_go_into_the_next_layer_of_a_chain(written):
    state = {"a.weight": np.array([[[3.0, 4.0]], [[0.0, 1.0]]]), "b.weight": np.ones((1, 2, 1))}
    linked = read_network(written(**state), chains=[["a", "b"]])
    np.testing.assert_allclose(linked.dictionaries()[1].filters[0, :, 0], np.array([5, 1]) / np.sqrt(26))
    assert any("norms of each layer's filters are multiplied into" in note for note in linked.notes)
    alone = read_network(written(**state))
    np.testing.assert_allclose(alone.dictionaries()[1].filters[0, :, 0], np.array([1, 1]) / np.sqrt(2))


def test_layers_whose_channels_fit_are_no_cascade_unless_that_is_stated(written):
    path = written(**{f"{name}.weight": np.ones((2, 2, 3)) for name in "abcd"})
    network = read_network(path)
    assert network.segments == ((0,), (1,), (2,), (3,))
    assert any("Arrays do not tell which layers follow one another" in note for note in network.notes)
    network = read_network(path, chains=[["c", "a"], ["b", "d"]])
    assert [layer.name for layer in network.layers] == ["c", "a", "b", "d"]
    assert network.segments == ((0, 1), (2, 3))
    assert [layer.name for layer in read_network(path, chains=[["c", "a"]], names=["b"]).layers] == ["c", "a", "b"]
    pooled = read_network(path, chains=[["a", "b", "c"]], stated={"pool": {"b": (2,)}})
    assert pooled.segments == ((0, 1), (2,))
    assert any("pooling after b ends a segment" in note for note in pooled.notes)


def test_padding_is_read_as_pytorch_stores_it(written):
    path = written(**{"a.weight": np.ones((2, 2, 4, 3)), "a.padding": "same", "b.weight": np.ones((2, 2, 3, 3)),
                      "b.padding": [1, 2], "c.weight": np.ones((2, 2, 3, 3)), "c.padding": "valid"})  # fmt: skip
    assert [layer.padding for layer in read_network(path).layers] == [((1, 2), (1, 1)), ((1, 1), (2, 2)), ((0, 0),) * 2]
    path = written(**{"a.weight": np.ones((2, 2, 4, 1))})
    for stated, expected in (((31, 0, 32, 0), ((31, 32),)), ((31, 0), ((31, 31),)), ((5,), ((5, 5),))):
        (layer,) = read_network(path, stated={"padding": {"": stated}}).layers
        assert layer.padding == expected
    for wrong in ((31, 32), (1, 2, 3)):
        with pytest.raises(UserError, match="none along axes of one tap"):
            read_network(path, stated={"padding": {"": wrong}})


def test_layers_that_do_not_follow_one_another_are_certified_alone(written):
    path = written(
        **{"a.weight": np.ones((3, 1, 4)), "b.weight": np.ones((2, 4, 3)), "c.weight": np.ones((2, 2, 3, 3))}
    )
    network = read_network(path, names=["a", "b"])
    assert not network.is_cascade
    with pytest.raises(UserError, match="--chain a,b is not allowed: a has 3 filters and b takes 4 channels"):
        read_network(path, chains=[["a", "b"]])
    assert [dictionary.grid for dictionary in network.dictionaries()] == [(7,), (5,)]
    with pytest.raises(UserError, match="do not form a cascade"):
        network.cascade()
    with pytest.raises(UserError, match="a has 1 axes and c has 2"):
        read_network(path, chains=[["a", "c"]])


def test_filters_of_ones_own_need_no_names_of_a_network(tmp_path):
    filters = RNG.standard_normal((3, 2, 5))
    np.save(tmp_path / "mine.npy", filters)
    np.savez(tmp_path / "mine.npz", filters=filters, stride=[2], bias=[1, 2, 3])
    assert [layer.name for layer in read_network(tmp_path / "mine.npy").layers] == ["mine"]
    (layer,) = read_network(tmp_path / "mine.npz").layers
    assert (layer.name, layer.stride) == ("filters", (2,))
    np.testing.assert_array_equal(layer.bias, [1, 2, 3])


def test_names_of_keras_flax_and_tensorflow_tell_their_axes(written):
    """One layer under every convention, and depthwise ones, whose filters stand channel by channel."""
    weight, deep = RNG.standard_normal((5, 3, 2, 4)), RNG.standard_normal((3, 2, 2, 4))
    last, depthwise = np.moveaxis(weight, (0, 1), (3, 2)), np.moveaxis(deep, (0, 1), (2, 3))
    bias = RNG.standard_normal(5)
    for name, beside in (("conv/kernel", "conv/bias"), ("conv/kernel:0", "conv/bias:0"), ("conv.kernel", "conv.bias"),
                         ("params/conv/kernel", "params/conv/bias"), ("conv/filters", "conv/bias")):  # fmt: skip
        (layer,) = read_network(written(**{name: last, beside: bias})).layers
        np.testing.assert_array_equal(layer.weight, weight)
        np.testing.assert_array_equal(layer.bias, bias)
        assert layer.name in ("conv", "params/conv")
    for name in ("conv/depthwise_kernel:0", "conv/depthwise_filter"):
        (layer,) = read_network(written(**{name: depthwise})).layers
        assert layer.groups == 3
        np.testing.assert_array_equal(layer.weight, deep.reshape(6, 1, 2, 4))
    one_tap = RNG.standard_normal((1, 1, 6, 5))
    network = read_network(
        written(**{"s/depthwise_kernel": depthwise, "s/pointwise_kernel": one_tap, "s/bias": bias}),
        chains=[["s/depthwise", "s/pointwise"]],
    )
    np.testing.assert_array_equal(network.layers[0].bias, np.zeros(6))
    np.testing.assert_array_equal(network.layers[1].bias, bias)
    np.testing.assert_array_equal(network.layers[1].weight, one_tap[0, 0].T[:, :, None, None])


def test_what_is_no_convolution_by_its_name_is_left_out(written):
    network = read_network(
        written(
            **{
                "conv/kernel": np.ones((3, 3, 2, 4)), "conv2d_transpose/kernel": np.ones((3, 3, 2, 4)),
                "deconv.weight": np.ones((2, 3, 4)), "encoder/query/kernel": np.ones((4, 2, 2)),
                "pos_embedding": np.ones((1, 4, 4)), "bn/moving_mean": np.ones(4), "scale/weights": np.ones(4),
                "dense/kernel": np.ones((4, 4)),
            }
        )
    )  # fmt: skip
    assert [layer.name for layer in network.layers] == ["conv"]
    said = " ".join(network.notes)
    for words in ("transposed convolution conv2d_transpose, deconv", "attention encoder/query",
                  "position or token pos_embedding", "batch normalisation bn, scale", "layer dense"):  # fmt: skip
        assert words in said


def test_an_array_whose_name_does_not_tell_its_axes_is_refused_until_they_are_stated(tmp_path):
    filters = RNG.standard_normal((8, 8, 32))
    np.save(tmp_path / "sporco.npy", filters)
    with pytest.raises(UserError, match="does not tell which axis counts the filters: state it with --layout"):
        read_network(tmp_path / "sporco.npy")
    shapes = {"filters-first": (8, 8, 32), "filters-last": (32, 8, 8), "one-channel": (32, 1, 8, 8)}
    for layout, shape in shapes.items():
        (layer,) = read_network(tmp_path / "sporco.npy", layout=layout).layers
        assert layer.weight.shape == shape
    np.testing.assert_array_equal(
        read_network(tmp_path / "sporco.npy", layout="one-channel").layers[0].weight[5, 0], filters[:, :, 5]
    )
    with pytest.raises(UserError, match="layout 'last' is not allowed: did you mean 'filters-last'"):
        read_network(tmp_path / "sporco.npy", layout="last")


def test_safetensors_are_read_in_the_order_of_their_numbers(tmp_path):
    state = {f"conv{number}.weight": np.ones((2, 2, 3), np.float16) for number in (1, 2, 10)}
    save_file(state, tmp_path / "w.safetensors", metadata={"conv2.stride": "2", "conv10.padding": "(1)"})
    network = read_network(tmp_path / "w.safetensors")
    assert [layer.name for layer in network.layers] == ["conv1", "conv2", "conv10"]
    assert [layer.stride for layer in network.layers] == [(1,), (2,), (1,)]
    assert any("keeps no order" in note for note in network.notes)
    assert any("Zero padding of conv10 (1)" in note for note in network.notes)


MISTAKES = {
    "no convolution": ({"a": np.ones((2, 2))}, {}, "holds no convolution weights: store arrays"),
    "unknown layer": ({"conv1.weight": np.ones((1, 1, 2))}, {"names": ["conv2"]}, "no layer 'conv2': did you mean"),
    "layer twice": ({"c.weight": np.ones((1, 1, 2))}, {"names": ["c", "c"]}, "each once"),
    "no layers": ({"c.weight": np.ones((1, 1, 2))}, {"names": []}, "at least one"),
    "stated of none": ({"c.weight": np.ones((1, 1, 2))}, {"stated": {"stride": {"d": (1,)}}}, "no layer 'd'"),
    "not finite": ({"c.weight": np.full((1, 1, 2), np.nan)}, {}, "NaN or infinity"),
    "empty": ({"c.weight": np.ones((0, 1, 2))}, {}, "is empty"),
    "zero": ({"c.weight": np.zeros((1, 1, 2))}, {}, "no filter that is not zero"),
    "bias": ({"c.weight": np.ones((2, 1, 2)), "c.bias": np.ones(3)}, {}, r"shape \(3,\): give one number per filter"),
    "stride": ({"c.weight": np.ones((2, 1, 2)), "c.stride": [1, 2]}, {}, "stride 1,2 of layer 'c' is not allowed"),
    "zero stride": ({"c.weight": np.ones((2, 1, 2)), "c.stride": 0}, {}, "stride 0 of layer 'c' is not allowed"),
    "fraction": ({"c.weight": np.ones((2, 1, 2)), "c.stride": 0.5}, {}, "store whole numbers"),
    "two strides": (
        {"c.weight": np.ones((2, 1, 2)), "c.stride": 2},
        {"stated": {"stride": {"c": (3,)}}},
        "states stride 2 of layer 'c', not 3: leave out --stride",
    ),
    "groups": ({"c.weight": np.ones((3, 1, 2)), "c.groups": 2}, {}, "groups 2 of layer 'c' is not allowed"),
    "huge dilation": ({"c.weight": np.ones((3, 1, 2)), "c.dilation": 2**19}, {"largest": 2**20}, "would take"),
    "huge groups": ({"c.weight": np.ones((2**10, 1, 2)), "c.groups": 2**10}, {"largest": 2**20}, "would take"),
    "too large": ({"c.weight": np.ones((3, 1, 200))}, {"largest": 2**10}, "choose layers with --layers"),
    "beyond reason": ({"c.weight": np.ones((3, 1, 2)), "c.stride": 2**40}, {}, "exceeds"),
    "scale": ({"c.weight_v": np.ones((3, 1, 2)), "c.weight_g": np.ones(2)}, {}, "one number per filter, 3"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_sentence(written, name):
    arrays, options, message = MISTAKES[name]
    with pytest.raises(UserError, match=message) as refusal:
        read_network(written(**arrays), **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "a", "-1", "1.5", "1,,b", "\u0661"])
def test_numbers_are_read_strictly(text):
    with pytest.raises(UserError, match="give whole numbers that are not negative"):
        whole_numbers(text, "--stride")


@pytest.mark.parametrize("text", ["1" * 8, "64,10000000", "9" * 5000])
def test_numbers_beyond_the_range_are_told_the_range(text):
    with pytest.raises(UserError, match="give numbers of at most 9,999,999"):
        whole_numbers(text, "--grid")
    assert whole_numbers("0" * 5000 + "64", "--grid") == (64,)
    assert whole_numbers("20180625", "--seed", 2**63) == (20180625,)


def test_more_numbers_than_axes_are_told_so():
    with pytest.raises(UserError, match="gives 17 numbers: give one per axis, 16 at most"):
        whole_numbers(",".join("1" * 17), "--grid")


def test_dictionaries_are_a_network_too():
    dictionary = dcsc.families.create("gaussian", grid=(24,), seed=0, n_filters=3, taps=4, stride=2)
    network = dcsc.network.from_dictionaries([dictionary])
    np.testing.assert_allclose(network.dictionaries((24,))[0].filters, dictionary.filters, atol=1e-15)
    assert network.notes == ()
