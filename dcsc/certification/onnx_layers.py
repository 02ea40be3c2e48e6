"""
The convolution layers of an ONNX graph, with the affine maps around them folded in, and the segments that they form.

From a convolution the graph is followed both ways. Behind it, affine maps of its channels go into its filters and
biases, up to the activation. Before it, those after the activation of the layer above go into its channels, and zero
padding into its own. It follows that layer if the activation is ReLU and nothing else uses what lies in between.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dcsc.arrays import LARGEST, in_gib
from dcsc.certification.network import INPUT, RELU, SAME, ConvolutionLayer, Network, Pads
from dcsc.certification.onnx_graph import Graph, Node, open_graph
from dcsc.certification.segments import by_tap, follows, link
from dcsc.errors import UserError, nearest, shown

_LONGEST_CHAIN = 64
"""Operations that are followed from one convolution, and that lead to a constant."""
_HIGHEST = 2**20  # beyond any sensible stride, padding or dilation

_CHANNELWISE = {
    "Identity", "Dropout", "Cast", "Neg", "Relu", "Clip", "LeakyRelu", "PRelu", "Elu", "Selu", "Sigmoid",
    "HardSigmoid", "HardSwish", "Tanh", "Softplus", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
    "InstanceNormalization", "LRN",
}  # fmt: skip
_WORDS = {
    "MaxPool": "max pooling", "GlobalMaxPool": "global max pooling", "AveragePool": "average pooling",
    "GlobalAveragePool": "global average pooling", "Add": "a sum", "Sum": "a sum", "Mul": "a product",
    "Concat": "a concatenation", "Resize": "resizing", "Upsample": "resizing", "Pad": "padding that is not of zeros",
    "InstanceNormalization": "normalisation over data", "LayerNormalization": "normalisation over data",
    "GroupNormalization": "normalisation over data", "LpNormalization": "normalisation over data",
    "MeanVarianceNormalization": "normalisation over data", "LRN": "normalisation over data",
    "BatchNormalization": "normalisation over data", "Split": "a split", "Slice": "a slice", "Reshape": "reshaping",
    "Transpose": "reshaping", "Squeeze": "reshaping", "Unsqueeze": "reshaping", "Flatten": "reshaping",
    "ConvTranspose": "a transposed convolution", "Conv": "a convolution without an activation",
    "PRelu": "PReLU", "LeakyRelu": "leaky ReLU", "Elu": "ELU", "Selu": "SELU", "Softmax": "softmax",
    "HardSwish": "hard-swish", "HardSigmoid": "hard sigmoid", "Tanh": "tanh", "Gelu": "GELU", "Clip": "clipping",
    "ReduceMean": "a mean",
}  # fmt: skip
_OTHER_LAYERS = {
    "ConvTranspose": "transposed convolution", "ConvInteger": "quantised convolution",
    "QLinearConv": "quantised convolution", "DeformConv": "deformable convolution", "Gemm": "fully connected layer",
    "MatMul": "matrix product", "LSTM": "recurrent layer", "GRU": "recurrent layer", "RNN": "recurrent layer",
    "Attention": "attention", "MultiHeadAttention": "attention",
}  # fmt: skip


def read_onnx(path: str | Path, *, names: Sequence[str] | None = None, largest: int = LARGEST) -> Network:
    """
    Read the convolution layers of an ONNX file and the segments in which they follow one another.

    Parameters
    ----------
    path : str or Path
        The file; large arrays may lie in files beside it.
    names : sequence of str, optional
        The layers to take; by default all.
    largest : int
        Bytes that the weights may take.

    Returns
    -------
    Network
        Its layers in the order of the graph, their segments, and notes on what the model leaves out.

    Raises
    ------
    UserError
        When the file cannot be read, holds no convolution, or lacks a layer that is named.
    """
    graph = open_graph(path, largest)
    try:
        return _read(_Reader(graph), names, largest)
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # attributes of any type may be there
        raise UserError(
            f"the graph of {path} does not fit together, an operation has inputs or attributes that it can't have: "
            "export it anew."
        ) from None


def _read(reader: _Reader, names: Sequence[str] | None, largest: int) -> Network:
    convolutions, path = reader.convolutions(), reader.graph.path
    if names is not None:
        for name in names:
            if name not in convolutions:
                raise UserError(f"the file {path} has no layer {shown(name)}: {nearest(name, convolutions)}")
        if not names or len(set(names)) != len(names):
            raise UserError("layers are to be chosen at least one, and each once: correct the list.")
    chosen = {name: node for name, node in convolutions.items() if names is None or name in names}
    _check_memory(reader.graph, chosen, largest)
    read = [reader.layer(name, node) for name, node in chosen.items()]
    layers, segments, notes = link([of.layer for of in read], _above(read))
    sources = tuple(_source(read[segment[0]]) for segment in segments)
    notes += reader.notes([name for name in convolutions if name not in chosen], read)
    inputs = tuple(read[segment[0]].source for segment in segments)
    return Network(reader.graph.path.name, tuple(layers), segments, (), tuple(notes), sources, inputs)


def _above(read: Sequence[_Placed]) -> list[int | None]:
    """Which layer each one follows, if that is all that it acts on and nothing else uses it."""
    makers: dict[str, int] = {}
    found: list[int | None] = []
    for index, of in enumerate(read):
        above = makers.get(of.source)
        found.append(above if above is not None and not of.is_shared and follows(read[above].layer, of.layer) else None)
        makers[of.output] = index
    return found


def _source(of: _Placed) -> str:
    return of.before + (", which has another use" if of.is_shared and of.before == RELU else "")


def _check_memory(graph: Graph, chosen: Mapping[str, Node], largest: int) -> None:
    """Refuse before memory is taken for the weights of all layers together."""
    stored = [graph.tensors[node.inputs[1]] for node in chosen.values() if node.inputs[1] in graph.tensors]
    total = sum(8 * math.prod(graph.shape(tensor)) for tensor in stored)
    if total > largest:
        raise UserError(
            f"the weights of {graph.path} would take {in_gib(total)}, more than the {in_gib(largest)} allowed: "
            "choose layers with --layers, or raise --memory."
        )


class _Affine(NamedTuple):
    """x -> scale x + shift of each channel."""

    scale: NDArray
    shift: NDArray


@dataclass(frozen=True, eq=False)
class _Placed:
    """
    A layer, and where it stands in the graph.

    `output` is the value after the activation, `source` the one that it acts on. `gain` is what was folded into its
    channels, and `is_shared` tells that what lies between the source and the layer has another use as well.
    """

    layer: ConvolutionLayer
    output: str
    source: str
    before: str
    gain: NDArray
    is_shared: bool


class _Reader:
    """Follows a graph from its convolutions."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = {value: node for node in graph.nodes for value in node.outputs if value}
        self.users: dict[str, list[Node]] = {}
        for node in graph.nodes:
            if node.op not in ("Shape", "Size"):  # the values do not matter to them
                for value in dict.fromkeys(node.inputs):
                    self.users.setdefault(value, []).append(node)
        self._constants: dict[str, NDArray | None] = {}
        self._held = 0  # bytes of these
        self._is_constant: dict[str, bool] = {}
        self._channels: dict[str, int | None] = {}
        self.is_dynamic: list[str] = []

    # Constants

    def constant(self, value: str, depth: int = 0) -> NDArray | None:
        """Compute what does not depend on the input of the network, by the few operations that weights pass through."""
        if value in self._constants:
            return self._constants[value]
        if value in self.graph.tensors:
            return self.graph.array(self.graph.tensors[value])
        node = self.makers.get(value)
        found = None
        if node is not None and depth < _LONGEST_CHAIN and node.outputs[0] == value:
            found = self._computed(node, depth)
        self._held += 0 if found is None else found.nbytes
        if self._held > self.graph.largest:
            raise UserError(
                f"what {self.graph.path} computes of its arrays takes more than the {in_gib(self.graph.largest)} "
                "allowed: raise --memory, or store the weights as they are used."
            )
        self._constants[value] = found
        return found

    def _computed(self, node: Node, depth: int) -> NDArray | None:
        if node.op == "Constant":
            for key in ("value_float", "value_int", "value_floats", "value_ints"):
                if node.attributes.get(key) is not None:
                    return np.asarray(node.attributes[key], np.float64 if "float" in key else np.int64)
            return None
        if node.op not in _OPERATIONS:
            return None
        given = [self.constant(name, depth + 1) if name else None for name in node.inputs]
        if any(array is None and name for array, name in zip(given, node.inputs, strict=True)) or not given:
            return None
        arrays = [array for array in given if array is not None]
        try:
            size = 8 * math.prod(np.broadcast_shapes(*[a.shape for a in arrays])) if node.op in _BINARY else 0
            if size > self.graph.largest:
                return None
            with np.errstate(all="ignore"):
                return _OPERATIONS[node.op](node, given)
        except (ValueError, IndexError, TypeError, AttributeError):  # a graph that does not fit together
            return None

    def is_constant(self, value: str, depth: int = 0) -> bool:
        """Whether a value can be computed, without reading stored arrays."""
        if value in self.graph.tensors:
            return True
        if value not in self._is_constant:
            node = self.makers.get(value)
            known = node is not None and depth < _LONGEST_CHAIN
            if known and node is not None and node.op != "Constant":
                inputs = [name for name in node.inputs if name]
                known = node.op in _OPERATIONS and bool(inputs)
                self._is_constant[value] = False  # should a value lead back to itself
                known = known and all(self.is_constant(name, depth + 1) for name in inputs)
            self._is_constant[value] = known
        return self._is_constant[value]

    # Convolutions

    def convolutions(self) -> dict[str, Node]:
        """Name the convolutions that have constant weights."""
        found: dict[str, Node] = {}
        taken: Counter[str] = Counter()
        for node in self.graph.nodes:
            if node.op == "Conv" and len(node.inputs) > 1:
                if not self.is_constant(node.inputs[1]):
                    self.is_dynamic.append(node.name or node.outputs[0])
                    continue
                name = self._name(node)
                taken[name] += 1
                while name in found:
                    name = f"{name} ({taken[name]})"
                found[name] = node
        if not found:
            raise UserError(f"the file {self.graph.path} holds no convolution with constant weights: give another one.")
        return found

    def _name(self, node: Node) -> str:
        """The name of the weight where it is that of a module, else that of the node."""
        weight, dot, last = node.inputs[1].rpartition(".")
        name = weight if dot and last == "weight" else node.name or node.outputs[0]
        return "".join(c if c.isprintable() and c not in ",=" else "_" for c in name)[:120] or "Conv"

    def layer(self, name: str, node: Node) -> _Placed:
        """Read a convolution with all that is folded into it."""
        weight, bias, groups = self._weight(name, node)
        rank = weight.ndim - 2
        stride = self._numbers(name, node, "strides", rank)
        weight = self._dilated(name, weight, self._numbers(name, node, "dilations", rank))
        padding = self._padding(name, node, rank)
        after, activation, output = self._behind(node.outputs[0], len(weight), weight.ndim)
        weight = weight * after.scale.reshape(-1, *[1] * (rank + 1))
        bias = bias * after.scale + after.shift
        before = self._before(node.inputs[0], weight.shape[1] * groups, weight.ndim, padding)
        # What the channels are shifted by before the padding comes with every tap that is not on a padded zero.
        taps = by_tap(weight, groups, before.inner_shift)
        bias = bias + taps.reshape(len(taps), -1).sum(axis=1)
        fringe = None
        if before.shift.any():
            fringe = by_tap(weight, groups, before.shift)
            bias = bias + fringe.reshape(len(fringe), -1).sum(axis=1)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise UserError(f"layer {name!r} of {self.graph.path} holds NaN or infinity: leave it out with --layers.")
        layer = ConvolutionLayer(
            name, weight, stride, bias, before.scale, np.arange(len(weight)), len(weight), groups, before.padding,
            activation, fringe,
        )  # fmt: skip
        return _Placed(layer, output, before.source, self._what(before.source), before.scale, before.is_shared)

    def _weight(self, name: str, node: Node) -> tuple[NDArray, NDArray, int]:
        weight = self.constant(node.inputs[1])
        stored = None if len(node.inputs) < 3 or not node.inputs[2] else self.constant(node.inputs[2])
        if weight is None or (stored is None and len(node.inputs) > 2 and node.inputs[2]):
            raise self._refusal(name, "its weights or biases can't be computed from what the file stores")
        groups = node.attributes.get("group", 1)
        if weight.ndim < 3 or not weight.size:
            raise self._refusal(name, f"its weight has shape {weight.shape}, not (filter, channel, tap, ...)")
        if not isinstance(groups, int) or groups < 1 or len(weight) % groups:
            raise self._refusal(name, f"its {shown(groups)} groups do not divide its {len(weight)} filters")
        kernel = node.attributes.get("kernel_shape")
        if kernel is not None and tuple(kernel) != weight.shape[2:]:
            raise self._refusal(name, f"its weight has shape {weight.shape}, which is not that of its kernel")
        bias = np.zeros(len(weight)) if stored is None else stored.astype(np.float64)
        if bias.shape != (len(weight),):
            raise self._refusal(name, f"its bias has shape {bias.shape}, not {(len(weight),)}")
        return weight.astype(np.float64), bias, groups

    def _refusal(self, name: str, why: str) -> UserError:
        return UserError(f"layer {shown(name)} of {self.graph.path} can't be read, {why}: export the file anew.")

    def _numbers(self, name: str, node: Node, key: str, rank: int) -> tuple[int, ...]:
        numbers = node.attributes.get(key) or (1,) * rank
        if not isinstance(numbers, tuple) or len(numbers) != rank or not all(1 <= n <= _HIGHEST for n in numbers):
            raise self._refusal(name, f"its {key} are {shown(numbers)}")
        return tuple(int(n) for n in numbers)

    def _padding(self, name: str, node: Node, rank: int) -> Pads | str:
        automatic = node.attributes.get("auto_pad", "NOTSET")
        if automatic in SAME:
            return automatic
        numbers = node.attributes.get("pads") if automatic != "VALID" else None
        numbers = numbers or (0,) * (2 * rank)
        if not isinstance(numbers, tuple) or len(numbers) != 2 * rank or not all(0 <= n <= _HIGHEST for n in numbers):
            raise self._refusal(name, f"its pads are {shown(numbers)}")
        return tuple((int(numbers[axis]), int(numbers[rank + axis])) for axis in range(rank))

    def _dilated(self, name: str, weight: NDArray, dilation: tuple[int, ...]) -> NDArray:
        """Write the holes of a dilated convolution out as zeros."""
        if set(dilation) == {1}:
            return weight
        taps = [(taps - 1) * step + 1 for taps, step in zip(weight.shape[2:], dilation, strict=True)]
        size = 8 * math.prod((*weight.shape[:2], *taps))
        if size > self.graph.largest:
            raise UserError(f"the dilated filters of layer {name!r} take {in_gib(size)}: leave it out with --layers.")
        spread = np.zeros((*weight.shape[:2], *taps))
        spread[:, :, *[slice(None, None, step) for step in dilation]] = weight
        return spread

    # What is around them

    def _behind(self, value: str, count: int, ndim: int) -> tuple[_Affine, str, str]:
        """Follow a convolution to its activation: the affine maps before it, its name, and the value after it."""
        scale, shift = np.ones(count), np.zeros(count)
        for _ in range(_LONGEST_CHAIN):
            users = self.users.get(value, [])
            if len(users) != 1:
                break
            node = users[0]
            if self._is_relu(node, value):
                return _Affine(scale, shift), RELU, node.outputs[0]
            affine = self._affine(node, value, count, ndim)
            if affine is None:
                break
            scale, shift = scale * affine.scale, shift * affine.scale + affine.shift
            value = node.outputs[0]
        return _Affine(scale, shift), self._activation(value), value

    def _is_relu(self, node: Node, value: str) -> bool:
        """Whether a node is ReLU, however it is written."""
        if node.op == "Relu":
            return True
        if node.op == "Clip":
            low, high = self._limits(node)
            return low == 0 and high > 1e30
        if node.op == "Max" and len(node.inputs) == 2:
            others = [self.constant(name) for name in node.inputs if name != value]
            return len(others) == 1 and others[0] is not None and others[0].size == 1 and not others[0].any()
        if node.op == "PRelu" and node.inputs[0] == value:
            slope = self.constant(node.inputs[1])
            return slope is not None and not slope.any()
        return node.op == "LeakyRelu" and node.attributes.get("alpha", 0.01) == 0

    def _limits(self, node: Node) -> tuple[float, float]:
        """The limits of clipping: attributes in old files, inputs in newer ones; NaN where they are not constant."""
        found = []
        for place, (key, default) in enumerate((("min", -math.inf), ("max", math.inf)), start=1):
            if len(node.inputs) > place and node.inputs[place]:
                array = self.constant(node.inputs[place])
                found.append(math.nan if array is None or array.size != 1 else float(array.ravel()[0]))
            else:
                stated = node.attributes.get(key)
                found.append(float(stated) if isinstance(stated, int | float) else default)
        return found[0], found[1]

    def _activation(self, value: str) -> str:
        """Name what is done to a value that is not passed on by ReLU."""
        users = self.users.get(value, [])
        ops = {node.op for node in users}
        if ops == {"Mul", "Sigmoid"}:
            return "SiLU"
        if ops in ({"Mul", "HardSigmoid"}, {"Mul", "Add"}) and self._is_hard_swish(value, users):
            return "hard-swish"
        if len(users) == 1:
            (node,) = users
            if node.op == "Clip":
                low, high = self._limits(node)
                return f"ReLU{high:g}" if low == 0 and math.isfinite(high) else "clipping"
            if node.op in ("PRelu", "LeakyRelu", "Elu", "Selu", "HardSwish", "HardSigmoid", "Tanh", "Gelu", "Softmax"):
                return _WORDS[node.op]
            if node.op in ("Sigmoid", "Softplus", "Celu", "ThresholdedRelu", "Mish", "Softsign", "Exp"):
                return node.op.lower() if node.op != "Mish" else node.op
        return "none"

    def _is_hard_swish(self, value: str, users: Sequence[Node]) -> bool:
        """Whether a value is multiplied by a clipped or hard sigmoid of its own."""
        for node in users:
            if node.op == "HardSigmoid":
                return True
            if node.op == "Add" and {user.op for user in self.users.get(node.outputs[0], [])} == {"Clip"}:
                return any(self.is_constant(name) for name in node.inputs)
        return False

    def _affine(self, node: Node, value: str, count: int, ndim: int) -> _Affine | None:
        """Read a node as an affine map of each channel of one of its inputs."""
        ones, zeros = np.ones(count), np.zeros(count)
        if node.op in ("Identity", "Cast"):
            kept = node.op == "Identity" or node.attributes.get("to") in (1, 10, 11, 16)
            return _Affine(ones, zeros) if kept else None
        if node.op == "Dropout":
            training = len(node.inputs) > 2 and node.inputs[2] and self.constant(node.inputs[2])
            return _Affine(ones, zeros) if training is None or not np.any(training) else None
        if node.op == "Neg":
            return _Affine(-ones, zeros)
        if node.op == "BatchNormalization":
            return self._batch_normalisation(node, value, count)
        if node.op not in ("Add", "Sub", "Mul", "Div") or len(node.inputs) != 2:
            return None
        is_first = node.inputs[0] == value
        other = node.inputs[1] if is_first else node.inputs[0]
        if other == value or not self.is_constant(other):
            return None
        number = self._by_channel(node, self.constant(other), count, ndim)
        if number is None or (node.op == "Div" and (not is_first or not number.all())):
            return None
        if node.op == "Mul":
            return _Affine(number, zeros)
        if node.op == "Div":
            return _Affine(1 / number, zeros)
        if node.op == "Add":
            return _Affine(ones, number)
        return _Affine(ones, -number) if is_first else _Affine(-ones, number)

    def _batch_normalisation(self, node: Node, value: str, count: int) -> _Affine | None:
        if len(node.inputs) < 5 or node.inputs[0] != value or node.attributes.get("training_mode"):
            return None
        arrays = [self.constant(name) for name in node.inputs[1:5]]
        if any(array is None or array.shape != (count,) for array in arrays):
            return None
        gain, shift, mean, variance = (np.asarray(array, np.float64) for array in arrays)
        deviation = np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
        if not (deviation > 0).all():
            return None
        return _Affine(gain / deviation, shift - mean * gain / deviation)

    def _by_channel(self, node: Node, array: NDArray | None, count: int, ndim: int) -> NDArray | None:
        """Spread a constant over the channels, unless it differs along another axis."""
        if array is None:
            return None
        shape = array.shape
        if "axis" in node.attributes and array.ndim == 1:  # how files before opset 7 say it
            shape = (1,) * (int(node.attributes["axis"]) == 1) + shape + (1,) * max(ndim - 2, 0)
        if len(shape) > ndim:
            return None
        shape = (1,) * (ndim - len(shape)) + shape
        if shape[1] not in (1, count) or any(size != 1 for axis, size in enumerate(shape) if axis != 1):
            return None
        return np.broadcast_to(array.astype(np.float64).ravel(), (count,)).copy()

    def _before(self, value: str, count: int, ndim: int, padding: Pads | str) -> _Before:
        """Follow a convolution back to what it acts on, through padding and affine maps of channels."""
        scale, shift, inner, is_shared = np.ones(count), np.zeros(count), np.zeros(count), False
        for _ in range(_LONGEST_CHAIN):
            node = self.makers.get(value)
            is_shared = is_shared or len(self.users.get(value, [])) > 1
            if node is None or not node.inputs or node.outputs[0] != value:
                break
            pads = self._zero_pads(node, ndim)
            if pads is not None and isinstance(padding, tuple) and (not shift.any() or not np.any(padding)):
                inner, shift = inner + shift, np.zeros(count)  # nothing is padded after these shifts
                padding = tuple((a + c, b + d) for (a, b), (c, d) in zip(padding, pads, strict=True))
                value = node.inputs[0]
                continue
            given = next((name for name in node.inputs if name and not self.is_constant(name)), "")
            if not given or (node.op != "BatchNormalization" and self.channels(given) not in (count, None)):
                break
            affine = self._affine(node, given, count, ndim)
            if affine is None or (self.channels(given) is None and not self._keeps_channels(node, given)):
                break
            scale, shift = scale * affine.scale, shift + scale * affine.shift
            value = given
        if isinstance(padding, tuple) and not np.any(padding):
            inner, shift = inner + shift, np.zeros(count)
        return _Before(scale, inner, shift, padding, value, is_shared)

    def _keeps_channels(self, node: Node, given: str) -> bool:
        """Whether a node has as many channels as its input, of whatever number, and no constant that spreads it."""
        others = [self.constant(name) for name in node.inputs if name != given] if node.op in _BINARY else []
        return all(other is not None and other.size == 1 for other in others)

    def _zero_pads(self, node: Node, ndim: int) -> Pads | None:
        """Zeros that a node pads the spatial axes with, if that is all it does."""
        if node.op != "Pad" or node.attributes.get("mode", "constant") != "constant":
            return None
        stated = node.attributes.get("pads", node.attributes.get("paddings"))
        if len(node.inputs) > 1:
            if len(node.inputs) > 3 and node.inputs[3]:
                return None
            array = self.constant(node.inputs[1]) if node.inputs[1] else None
            stated = None if array is None else tuple(int(n) for n in array.ravel())
        fill: Any = node.attributes.get("value", 0.0)
        if len(node.inputs) > 2 and node.inputs[2]:
            array = self.constant(node.inputs[2])
            fill = math.nan if array is None or array.size != 1 else float(array.ravel()[0])
        if not isinstance(stated, tuple) or len(stated) != 2 * ndim or fill != 0:
            return None
        if any(stated[axis] or stated[ndim + axis] for axis in (0, 1)) or not all(0 <= n <= _HIGHEST for n in stated):
            return None
        return tuple((stated[axis], stated[ndim + axis]) for axis in range(2, ndim))

    def channels(self, value: str) -> int | None:
        """Number of channels of a value, where it is plain."""
        path: list[str] = []
        found: int | None = None
        spread: set[int] = set()  # sizes of constants, which must not have more channels than what they act on
        while len(path) < _LONGEST_CHAIN:
            if value in self._channels:
                found = self._channels[value]
                break
            path.append(value)
            node = self.makers.get(value)
            if node is None:
                shape = self.graph.inputs.get(value)
                found = shape[1] if shape is not None and len(shape) > 1 else None
                break
            weight = node.inputs[1] if len(node.inputs) > 1 else ""
            if node.op in ("Conv", "BatchNormalization") and weight in self.graph.tensors:
                found = (self.graph.shape(self.graph.tensors[weight]) or (None,))[0]
                break
            given = self._unspread(node, spread)
            if given is None:
                break
            value = given
        found = found if spread <= {1, found} else None
        if not spread:  # else those on the way may have fewer
            self._channels |= dict.fromkeys(path, found)
        return found

    def _unspread(self, node: Node, spread: set[int]) -> str | None:
        """The input whose channels a node keeps, if there is one, unless a constant of one of these sizes adds some."""
        if node.op in _CHANNELWISE or any(self._zero_pads(node, ndim) is not None for ndim in (3, 4, 5)):
            return node.inputs[0]
        if node.op not in _BINARY or len(node.inputs) != 2:
            return None
        given = [name for name in node.inputs if not self.is_constant(name)]
        if len(given) != 1:
            return None
        other = self.constant(node.inputs[1] if given[0] == node.inputs[0] else node.inputs[0])
        spread.add(0 if other is None else other.size)
        return given[0]

    def _what(self, value: str) -> str:
        """Say in words where a value comes from."""
        node = self.makers.get(value)
        if node is None:
            return INPUT if value in self.graph.inputs else "a constant"
        if self._is_relu(node, node.inputs[0] if node.inputs else ""):
            return RELU
        return _WORDS.get(node.op, node.op)

    # What is said of them

    def notes(self, left: Sequence[str], read: Sequence[_Placed]) -> list[str]:
        """Say what was folded, assumed and left out."""
        notes = []
        scaled = [of.layer for of in read if _is_folded(of)]
        if scaled:
            notes.append(
                f"Folded in, which is exact: scales and shifts of the channels of {_listed(x.name for x in scaled)}."
            )
        fringed = [of.layer.name for of in read if of.layer.fringe is not None]
        if fringed:
            notes.append(
                f"A shift before the zero padding of {_listed(fringed)} goes into its biases, which is exact for whole "
                "atoms; those that the border cuts have thresholds of their own, which the forward pass here uses and "
                "the certificates do not."
            )
        others: dict[str, list[str]] = {}
        for node in self.graph.nodes:
            if node.op in _OTHER_LAYERS:
                others.setdefault(_OTHER_LAYERS[node.op], []).append(node.name or node.outputs[0])
        notes += [f"Left out: {kind} {_listed(names, 4)}." for kind, names in others.items()]
        if self.is_dynamic:
            notes.append(f"Left out: convolutions whose weights are computed, {_listed(self.is_dynamic, 4)}.")
        if left:
            notes.append(f"Left out, not chosen: {_listed(left)}.")
        foreign = sorted({node.op for node in self.graph.nodes if "." in node.op})
        if foreign:
            notes.append(f"Not looked into, being no standard operators: {_listed(foreign)}.")
        return notes


class _Before(NamedTuple):
    """
    What lies before a convolution, and what it acts on.

    Zeros are padded to scale x + shift and `inner_shift` is added, where x is `source`; `is_shared` tells whether
    another node uses a value on the way.
    """

    scale: NDArray
    inner_shift: NDArray
    shift: NDArray
    padding: Pads | str
    source: str
    is_shared: bool


def _is_folded(of: _Placed) -> bool:
    return bool((of.gain != 1).any()) or of.layer.fringe is not None


def _listed(names: Iterable[str], most: int = 8) -> str:
    """List names in words, the first ones of many."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


# The operations that weights pass through on the way from the file; the sizes of what they make are checked before.


def _axes(node: Node, given: Sequence[NDArray | None]) -> tuple[int, ...] | None:
    if node.attributes.get("axes") is not None:
        return tuple(node.attributes["axes"])
    return tuple(int(n) for n in given[1].ravel()) if len(given) > 1 and given[1] is not None else None


def _reshaped(node: Node, given: Sequence[Any]) -> NDArray:
    shape = node.attributes.get("shape", ()) if len(given) < 2 else given[1].ravel().tolist()
    if not node.attributes.get("allowzero"):
        shape = [given[0].shape[axis] if n == 0 else n for axis, n in enumerate(shape)]
    return given[0].reshape(shape)


def _unsqueezed(node: Node, given: Sequence[Any]) -> NDArray:
    axes = _axes(node, given) or ()
    return np.expand_dims(given[0], axes) if len(axes) + given[0].ndim <= 16 else given[0]


def _reduced(total: Callable[..., NDArray]) -> Callable[[Node, Sequence[Any]], NDArray]:
    def reduce(node: Node, given: Sequence[Any]) -> NDArray:
        return total(given[0], axis=_axes(node, given), keepdims=bool(node.attributes.get("keepdims", 1)))

    return reduce


def _dequantised(node: Node, given: Sequence[Any]) -> NDArray | None:
    values, scale = given[0].astype(np.float64), given[1].astype(np.float64)
    zero = given[2].astype(np.float64) if len(given) > 2 and given[2] is not None else np.zeros(())
    if node.attributes.get("block_size") or scale.ndim > 1:
        return None
    shape = [1] * values.ndim
    if scale.size > 1:
        shape[int(node.attributes.get("axis", 1))] = scale.size
    return (values - (zero.reshape(shape) if zero.size > 1 else zero)) * scale.reshape(shape if scale.size > 1 else ())


_BINARY: dict[str, Callable[[Any, Any], NDArray]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.true_divide, "Pow": np.power,
}  # fmt: skip
_UNARY: dict[str, Callable[[Any], NDArray]] = {
    "Identity": np.asarray, "Sqrt": np.sqrt, "Neg": np.negative, "Abs": np.abs, "Exp": np.exp,
    "Reciprocal": lambda x: 1 / x,
}  # fmt: skip
_OPERATIONS: dict[str, Callable[[Node, Sequence[Any]], NDArray | None]] = {
    **{op: lambda node, given: _BINARY[node.op](_real(given[0]), _real(given[1])) for op in _BINARY},
    **{op: lambda node, given: _UNARY[node.op](given[0]) for op in _UNARY},
    "Cast": lambda node, given: given[0] if node.attributes.get("to") in (1, 10, 11, 16) else None,
    "Reshape": _reshaped,
    "Flatten": lambda node, given: given[0].reshape(math.prod(given[0].shape[: node.attributes.get("axis", 1)]), -1),
    "Transpose": lambda node, given: np.transpose(given[0], node.attributes.get("perm")),
    "Squeeze": lambda node, given: np.squeeze(given[0], _axes(node, given)),
    "Unsqueeze": _unsqueezed,
    "ReduceSum": _reduced(np.sum),
    "ReduceMean": _reduced(np.mean),
    "ReduceL2": _reduced(lambda x, **how: np.sqrt(np.sum(np.square(x), **how))),
    "DequantizeLinear": _dequantised,
}


def _real(array: NDArray) -> NDArray:
    """In double precision; whole numbers, as shapes are, stay what they are."""
    return array.astype(np.float64) if array.dtype.kind == "f" else array
