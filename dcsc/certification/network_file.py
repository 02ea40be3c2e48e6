"""Reading networks from files of weights: which arrays are convolutions, and notes on what the model does not cover."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dcsc.arrays import LARGEST, ArrayFile, in_gib, natural, open_arrays
from dcsc.certification.network import ConvolutionLayer, Network, Pads, gap_of, plain_layer
from dcsc.certification.onnx_graph import SUFFIX
from dcsc.certification.onnx_layers import read_onnx
from dcsc.certification.segments import link
from dcsc.convolution.filter_bank import scaled_norms
from dcsc.errors import UserError, nearest, shown

PROPERTIES = ("stride", "padding", "dilation", "groups", "pool")
"""What may be stated of a layer beside its weights."""

Numbers = tuple[int, ...]
Stated = Mapping[str, Mapping[str, Numbers]]

LAYOUTS = ("filters-first", "filters-last", "one-channel")
"""Axes that a name may not tell: (filter, channel, tap, ...), (tap, ..., channel, filter), (tap, ..., filter)."""

_FIRST, _LAST, _ONE, _DEPTHWISE = *LAYOUTS, "depthwise"
# Names by the conventions of PyTorch and of one's own files; of Keras, Flax and TensorFlow.js, whose axes end with
# (channel, filter), or (channel, filter of each channel) where it is depthwise.
_WEIGHTS = {
    "weight": _FIRST, "filters": _FIRST, "kernel": _LAST, "pointwise_kernel": _LAST, "pointwise_filter": _LAST,
    "depthwise_kernel": _DEPTHWISE, "depthwise_filter": _DEPTHWISE,
}  # fmt: skip
_NO_CONVOLUTION = {
    "transposed convolution": ("transpose", "deconv"),
    "attention": ("query", "key", "value", "attention", "attn", "in_proj", "qkv"),
    "position or token": ("pos_embed", "position", "embedding", "cls_token"),
}
"""What arrays of three or more axes are that have one of these words in their names."""
# Scale and direction of weight normalisation, as PyTorch names them before and since version 2.
_SCALED = {"weight_v": "weight_g", "parametrizations.weight.original1": "parametrizations.weight.original0"}
_HIGHEST = 2**20  # beyond any sensible stride, padding or number of groups
_PADDINGS = {"same": (-1,), "valid": (0,)}  # words of PyTorch


def read_network(
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    chains: Sequence[Sequence[str]] = (),
    stated: Stated | None = None,
    layout: str | None = None,
    largest: int = LARGEST,
) -> Network:
    """
    Read the convolution layers of a .onnx, .npy, .npz or .safetensors file.

    The graph of an ONNX file tells which layers follow one another; of a file of arrays only the user can.

    Parameters
    ----------
    path : str or Path
        Arrays named as a state dictionary has them, `conv1.weight` and `conv1.bias`; or `filters` and, optionally,
        `stride` and `bias`, of a single dictionary. What may be stated of a layer can stand in the file too, as
        `conv1.stride` and so on, in an array or in the metadata of a safetensors file.
    names : sequence of str, optional
        The layers to take; by default all, or those of the chains.
    chains : sequence of sequence of str, optional
        Layers that follow one another with nothing but ReLU in between, for files of arrays.
    stated : mapping of str to mapping of str to tuple of int, optional
        By the property (one of `PROPERTIES`) its numbers, by the layer's name; the name "" stands for all layers
        that are not named.
    layout : str, optional
        One of `LAYOUTS`, for arrays whose names do not tell: `kernel` is one of Keras or Flax, (tap, ..., channel,
        filter); all others have filters first by default.
    largest : int
        Bytes that the weights may take.

    Returns
    -------
    Network
        Its layers, and notes on what the model leaves out.

    Raises
    ------
    UserError
        When the file cannot be read, holds no convolution, or what is stated does not fit.
    """
    if Path(path).suffix == SUFFIX:
        if chains or layout or any((stated or {}).values()):
            raise UserError(f"the graph of {path} tells what its layers do: leave out --chain, --stride and the like.")
        return read_onnx(path, names=names, largest=largest)
    file = open_arrays(path, largest)
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"layout {shown(layout)} is not allowed: {nearest(layout, LAYOUTS)}")
    weights = _weights(file)
    _check_names(file, weights, names, chains, stated or {})
    linked = [name for chain in chains for name in chain]
    chosen = [*linked, *(name for name in names or () if name not in linked)]
    chosen = chosen or list(weights)
    _check_memory(file, "the weights", sum(8 * math.prod(file.arrays[weights[name][0]].shape) for name in chosen))
    properties = {name: _properties(file, name, stated or {}) for name in chosen}
    notes: list[str] = []
    if names is None and len(chosen) > 1 and _is_unordered(file):
        notes.append("The format keeps no order: the layers stand in the order of the numbers in their names.")
    layers = [_layer(file, name, weights[name], properties[name], layout) for name in chosen]
    layers = _ungrouped(file, layers, properties, notes)
    layers, singleton = _without_idle_axes(layers, notes)
    layers = [replace(layer, padding=_padding(layer, properties[layer.name], singleton)) for layer in layers]
    rest = _rest(file, weights, chosen)
    layers, segments, said = link(layers, _above(layers, chains, properties, notes))
    notes += said
    notes += _about_scale(layers)
    notes += _about_properties(properties)
    notes += _about_rest(rest)
    if len(layers) > 1 and not chains:
        notes.append(
            "Arrays do not tell which layers follow one another: each is certified alone. State the order of those "
            "between which there is nothing but ReLU with --chain, or give the network as ONNX."
        )
    return Network(file.path.name, tuple(layers), segments, singleton, tuple(notes))


def stated_numbers(text: str, key: str, what: str) -> Numbers:
    """
    Read what is stated of a layer, such as "4", "4,1", or a word for a padding.

    Parameters
    ----------
    text : str
        The numbers.
    key : str
        One of `PROPERTIES`.
    what : str
        What they are, for the message.

    Returns
    -------
    tuple of int
        None of them negative but -1, which stands for a padding that keeps the size.

    Raises
    ------
    UserError
        When it is anything else.
    """
    return _PADDINGS[text] if key == "padding" and text in _PADDINGS else whole_numbers(text, what)


MOST_AXES, LARGEST_NUMBER = 16, 9_999_999
"""Numbers that a text may give, and the largest of them: no layer has more axes or is larger."""


def whole_numbers(text: str, what: str, largest: int = LARGEST_NUMBER) -> Numbers:
    """
    Read numbers such as "4" or "4,1".

    Parameters
    ----------
    text : str
        The numbers, with commas between them.
    what : str
        What they are, for the message.
    largest : int
        The largest that is allowed.

    Returns
    -------
    tuple of int
        None of them negative.

    Raises
    ------
    UserError
        When it is anything else.
    """
    parts = [part.strip() for part in text.strip().strip("()[]").split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdecimal() for part in parts):
        raise UserError(f"{what} is {shown(text)}: give whole numbers that are not negative, with commas between them.")
    if len(parts) > MOST_AXES:
        raise UserError(f"{what} gives {len(parts)} numbers: give one per axis, {MOST_AXES} at most.")
    digits = [part.lstrip("0") or "0" for part in parts]
    if any(len(part) > len(str(largest)) or int(part) > largest for part in digits):
        raise UserError(f"{what} is {shown(text)}: give numbers of at most {largest:,}.")
    return tuple(map(int, digits))


def _weights(file: ArrayFile) -> dict[str, tuple[str, ...]]:
    """Find the arrays of each layer by its name: its weight, or direction and scale of a normalised one."""
    layers: dict[str, tuple[str, ...]] = {}
    spatial = [name for name, array in file.arrays.items() if len(array.shape) > 2 and not _other_kind(name)]
    for name in spatial:
        parent, last = _split(name)
        if last in _WEIGHTS:
            part = last.partition("_")[0]
            both = {"depthwise", "pointwise"} <= {_split(of)[1].partition("_")[0] for of in _beside(file, parent)}
            layers[f"{parent}/{part}" if both and part != last else parent or name] = (name,)
        for direction, scale in _SCALED.items():
            stem = name.removesuffix(direction)
            if stem != name and stem + scale in file.arrays:
                layers[stem.rstrip(".") or name] = (name, stem + scale)
    if not layers:  # names of one's own: every array with filter, channel and tap axes is a layer
        layers = {name: (name,) for name in spatial}
    if not layers:
        raise UserError(
            f"the file {file.path} holds no convolution weights: store arrays (filter, channel, tap, ...) named like "
            "conv1.weight, or one named filters."
        )
    return dict(sorted(layers.items(), key=lambda item: natural(item[0]))) if _is_unordered(file) else layers


def _split(name: str) -> tuple[str, str]:
    """The name of a layer, and of its array: conv1.weight, conv1/kernel, conv1/kernel:0."""
    plain = name.removesuffix(":0")
    place = max(plain.rfind("."), plain.rfind("/"))
    return plain[: max(place, 0)], plain[place + 1 :]


def _beside(file: ArrayFile, parent: str) -> list[str]:
    return [name for name in file.arrays if _split(name)[0] == parent]


def _other_kind(name: str) -> str:
    """What else an array of many axes is, by its name; empty for a convolution."""
    if _split(name)[1] == "weight" and "transpose" not in name.lower() and "deconv" not in name.lower():
        return ""  # in PyTorch only convolutions have such weights
    parts = name.lower().replace("/", ".").split(".")
    for kind, words in _NO_CONVOLUTION.items():
        if any(word in part if len(word) > 5 else word == part for part in parts for word in words):
            return kind
    return ""


def _filters_first(file: ArrayFile, array: str, weight: NDArray, layout: str | None) -> tuple[NDArray, int]:
    """Bring a weight to the axes (filter, channel of its group, *tap), and tell the groups."""
    last = _split(array)[1]
    order = _WEIGHTS.get(last)
    if order == _FIRST and last == "filters" and "/" in array:
        order = _LAST  # as TensorFlow.js names them
    if order is None or (last == "filters" and order == _FIRST):
        if layout is None and _is_ambiguous(weight.shape):
            raise UserError(
                f"the array {array!r} of {file.path} has shape {weight.shape}, and its name does not tell which axis "
                f"counts the filters: state it with --layout, one of {', '.join(LAYOUTS)}."
            )
        order = layout or _FIRST
    if order == _FIRST:
        return weight, 1
    if order == _ONE:
        return np.moveaxis(weight, -1, 0)[:, None], 1
    if order == _DEPTHWISE:
        turned = np.moveaxis(weight, (-2, -1), (0, 1))  # (channel, filter of each, *tap)
        return turned.reshape(-1, 1, *turned.shape[2:]), len(turned)
    return np.moveaxis(weight, (-1, -2), (0, 1)), 1


def _is_ambiguous(shape: Sequence[int]) -> bool:
    """Whether an array looks as if it had its taps first: two equal small axes before a larger one."""
    return 1 < shape[0] == shape[1] < shape[-1]


def _is_unordered(file: ArrayFile) -> bool:
    return file.path.suffix == ".safetensors"


def _check_names(
    file: ArrayFile,
    weights: Mapping[str, tuple[str, ...]],
    names: Sequence[str] | None,
    chains: Sequence[Sequence[str]],
    stated: Stated,
) -> None:
    linked = [name for chain in chains for name in chain]
    named = [*(names or ()), *linked, *(name for numbers in stated.values() for name in numbers if name)]
    for name in named:
        if name not in weights:
            raise UserError(f"the file {file.path} has no layer {shown(name)}: {nearest(name, weights)}")
    if names is not None and (not names or len(set(names)) != len(names)):
        raise UserError("layers are to be chosen at least one, and each once: correct the list.")
    if len(set(linked)) != len(linked) or not all(chains):
        raise UserError("a layer is in at most one --chain, and once: correct them.")


def _check_memory(file: ArrayFile, what: str, nbytes: int) -> None:
    if nbytes > file.largest:
        raise UserError(
            f"{what} of {file.path} would take {in_gib(nbytes)}, more than the {in_gib(file.largest)} allowed: "
            "choose layers with --layers, or raise --memory."
        )


def _properties(file: ArrayFile, name: str, stated: Stated) -> dict[str, Numbers]:
    """Collect what the user or the file states of a layer."""
    properties = {}
    for key in PROPERTIES:
        given = stated.get(key, {})
        inside = _stated_in(file, name, key)
        if inside is not None and name in given and given[name] != inside:
            raise UserError(
                f"the file {file.path} states {key} {_joined(inside)} of layer {name!r}, not {_joined(given[name])}: "
                f"leave out --{key} for it."
            )
        numbers = given.get(name, given.get("")) if inside is None else inside
        if numbers is not None:
            if max(numbers) > _HIGHEST:
                raise UserError(f"{key} {_joined(numbers)} of layer {name!r} is not allowed: it exceeds {_HIGHEST}.")
            properties[key] = numbers
    return properties


def _stated_in(file: ArrayFile, name: str, key: str) -> Numbers | None:
    entries = [f"{name}.{key}"] + ([key] if name == "filters" else [])
    for entry in entries:
        if entry in file.arrays:
            if key == "padding" and file.arrays[entry].dtype[1:] in ("U4", "U5", "S4", "S5"):
                word = file.load(entry).astype(str).ravel()
                if word.size == 1 and word[0] in _PADDINGS:
                    return _PADDINGS[word[0]]
            values = file.read(entry)
            if values.dtype.kind not in "iu" or values.ndim > 1 or not 1 <= values.size <= 16 or (values < 0).any():
                raise UserError(f"the array {entry!r} of {file.path} is no {key}: store whole numbers, none negative.")
            return tuple(int(value) for value in values.ravel())
        if entry in file.metadata:
            return stated_numbers(file.metadata[entry], key, f"{entry} in the metadata of {file.path}")
    return None


def _numbers(file: ArrayFile, name: str) -> NDArray:
    values = file.read(name).astype(np.float64)
    if not values.size:
        raise UserError(f"the array {name!r} of {file.path} is empty: leave the layer out.")
    if not np.isfinite(values).all():
        raise UserError(f"the array {name!r} of {file.path} holds NaN or infinity: remove them.")
    return values


def _of_each_filter(file: ArrayFile, name: str, count: int) -> NDArray:
    values = _numbers(file, name)
    if values.size != count:
        raise UserError(
            f"the array {name!r} of {file.path} has shape {values.shape}: give one number per filter, {count}."
        )
    return values.ravel()


def _layer(
    file: ArrayFile, name: str, arrays: tuple[str, ...], properties: Mapping[str, Numbers], layout: str | None
) -> ConvolutionLayer:
    weight, groups = _filters_first(file, arrays[0], _numbers(file, arrays[0]), layout)
    count, rank = len(weight), weight.ndim - 2
    if len(arrays) == 2:
        weight, norms, _ = scaled_norms(weight)
        scale = np.divide(_of_each_filter(file, arrays[1], count), norms, out=np.zeros(count), where=norms > 0)
        weight = weight * scale.reshape(-1, *[1] * (rank + 1))
    bias = next((entry for entry in (f"{name}.bias", _bias_beside(arrays[0])) if entry in file.arrays), None)
    weight = _dilated(file, weight, _of_each_axis(name, "dilation", properties, rank))
    stride = _of_each_axis(name, "stride", properties, rank)
    layer = plain_layer(name, weight, stride, None if bias is None else _of_each_filter(file, bias, count))
    return _with_groups(file, layer, groups) if groups > 1 else layer


def _bias_beside(weight: str) -> str:
    """The name of the bias, beside that of a weight; of two weights of a separable layer the second has it."""
    parent, last = _split(weight)
    if last == "depthwise_kernel" and parent:
        return ""
    return weight[: len(parent) + bool(parent)] + "bias" + (":0" if weight.endswith(":0") else "")


def _of_each_axis(name: str, key: str, properties: Mapping[str, Numbers], rank: int) -> Numbers:
    numbers = properties.get(key, (1,))
    numbers = numbers * rank if len(numbers) == 1 else numbers
    if len(numbers) != rank or min(numbers) < 1:
        raise UserError(
            f"{key} {_joined(numbers)} of layer {name!r} is not allowed: its filters have {rank} axes, give one "
            "positive number, or one per axis."
        )
    return numbers


def _dilated(file: ArrayFile, weight: NDArray, dilation: Numbers) -> NDArray:
    """Write the holes of a dilated convolution out as zeros."""
    if set(dilation) == {1}:
        return weight
    taps = [(taps - 1) * step + 1 for taps, step in zip(weight.shape[2:], dilation, strict=True)]
    _check_memory(file, "dilated filters", 8 * math.prod((*weight.shape[:2], *taps)))
    spread = np.zeros((*weight.shape[:2], *taps))
    spread[:, :, *[slice(None, None, step) for step in dilation]] = weight
    return spread


def _ungrouped(
    file: ArrayFile,
    layers: Sequence[ConvolutionLayer],
    properties: Mapping[str, Mapping[str, Numbers]],
    notes: list[str],
) -> list[ConvolutionLayer]:
    """Tell the groups of convolutions whose filters do not see all channels."""
    done: list[ConvolutionLayer] = []
    guessed = []
    for layer in layers:
        count, channels = layer.weight.shape[:2]
        groups = properties[layer.name].get("groups", (1,))[0]
        if layer.groups > 1:  # as its name tells
            done.append(layer)
            continue
        before = len(done[-1].weight) if done else channels
        if channels == 1 < before and not count % before and "groups" not in properties[layer.name]:
            groups = before
            guessed.append(f"{layer.name} ({groups})")
        done.append(_with_groups(file, layer, groups) if groups != 1 else layer)
    if guessed:
        notes.append(
            f"Read as depthwise convolutions, of as many groups as the layer before has filters: {_listed(guessed)}. "
            "State --groups 1 for a layer that does not follow the one before it."
        )
    return done


def _with_groups(file: ArrayFile, layer: ConvolutionLayer, groups: int) -> ConvolutionLayer:
    count, channels = layer.weight.shape[:2]
    if groups < 1 or count % groups:
        raise UserError(f"groups {groups} of layer {layer.name!r} is not allowed: it must divide the {count} filters.")
    _check_memory(file, "the filters of all groups", 8 * math.prod((count, channels * groups, *layer.taps)))
    return replace(layer, groups=groups, channel_scale=np.ones(channels * groups))


def _without_idle_axes(
    layers: list[ConvolutionLayer], notes: list[str]
) -> tuple[list[ConvolutionLayer], tuple[int, ...]]:
    """Leave axes out along which no layer does anything, such as the second one of filters of shape (taps, 1)."""
    rank = layers[0].rank
    if any(layer.rank != rank for layer in layers) or rank == 1:
        return layers, ()
    idle = [axis for axis in range(rank) if all(x.taps[axis] == x.stride[axis] == 1 for x in layers)]
    if not idle or len(idle) == rank:
        return layers, ()
    kept = [axis for axis in range(rank) if axis not in idle]
    notes.append(
        f"Taken as {len(kept)}-dimensional: of the {rank} axes of the filters, {len(idle)} has one tap and stride 1."
    )
    return [
        replace(
            layer,
            weight=layer.weight.reshape(*layer.weight.shape[:2], *[layer.taps[axis] for axis in kept]),
            stride=tuple(layer.stride[axis] for axis in kept),
        )
        for layer in layers
    ], tuple(idle)


def _padding(layer: ConvolutionLayer, properties: Mapping[str, Numbers], singleton: Numbers) -> Pads | None:
    """Zeros before and after the input, where they are stated."""
    if "padding" not in properties:
        return None
    stated = properties["padding"]
    if stated == _PADDINGS["same"]:
        if set(layer.stride) != {1}:
            raise UserError(f"padding 'same' of layer {layer.name!r} is not allowed at a stride: give numbers.")
        return tuple(((taps - 1) // 2, taps // 2) for taps in layer.taps)
    full = layer.rank + len(singleton)
    kept = [axis for axis in range(full) if axis not in singleton]
    if len(stated) == 1:
        return ((stated[0], stated[0]),) * layer.rank
    before, after = stated[: full or 1], stated[-full:]
    if len(stated) not in (full, 2 * full) or any(before[axis] or after[axis] for axis in singleton):
        raise UserError(
            f"padding {_joined(stated)} of layer {layer.name!r} is not allowed: its filters have {full} axes, give one "
            "number, one per axis, or those before all axes and then those after, none along axes of one tap."
        )
    return tuple((before[axis], after[axis]) for axis in kept)


def _above(
    layers: Sequence[ConvolutionLayer],
    chains: Sequence[Sequence[str]],
    properties: Mapping[str, Mapping[str, Numbers]],
    notes: list[str],
) -> list[int | None]:
    """Which layer each one follows, as the chains state it; pooling ends a segment."""
    place = {layer.name: index for index, layer in enumerate(layers)}
    above: list[int | None] = [None] * len(layers)
    for chain in chains:
        gap = gap_of([layers[place[name]] for name in chain])
        if gap:
            raise UserError(f"--chain {','.join(chain)} is not allowed: {gap}.")
        for first, second in itertools.pairwise(chain):
            if set(properties[first].get("pool", (1,))) == {1}:
                above[place[second]] = place[first]
            else:
                notes.append(f"The pooling after {first} ends a segment: {second} acts on what it leaves.")
    return above


def _about_scale(layers: Sequence[ConvolutionLayer]) -> list[str]:
    notes = []
    scaled = [layer for layer in layers if np.abs(layer.norms - 1).max() > 1e-6]
    if scaled:
        notes.append(
            f"Scaled to unit norm, biases with them: the filters of {_listed(layer.name for layer in scaled)}."
        )
    positive = [f"{layer.name} ({np.count_nonzero(layer.bias > 0)})" for layer in layers if (layer.bias > 0).any()]
    if positive:
        notes.append(
            f"Biases above 0 stand for thresholds below 0, which keep what does not correlate: {_listed(positive)}."
        )
    return notes


def _about_properties(properties: Mapping[str, Mapping[str, Numbers]]) -> list[str]:
    """Say what is stated, and what a file of weights cannot show and nobody stated."""

    def having(key: str, trivial: int) -> list[str]:
        stated = {name: numbers[key] for name, numbers in properties.items() if key in numbers}
        return [f"{name} ({_joined(numbers)})" for name, numbers in stated.items() if set(numbers) != {trivial}]

    sentences = {
        ("dilation", 1): "Dilated filters are written out with their zeros, which is exact: {}.",
        ("groups", 1): "In groups of channels, whose filters see only each other: {}.",
        ("padding", 0): "Zero padding of {}: atoms that hang over the border are cut there. The forward pass does so "
        "here too; the certificates are about whole atoms.",
        ("pool", 1): "Left out: pooling after {}, where a segment ends.",
    }
    notes = [text.format(_listed(having(*key))) for key, text in sentences.items() if having(*key)]
    unknown = [name for name, numbers in properties.items() if "stride" not in numbers]
    if unknown:
        notes.append(f"Stride 1 is assumed, none being stated: {_listed(unknown)} (--stride).")
    missing = [key for key in ("padding", "pool") if not any(key in numbers for numbers in properties.values())]
    if missing and list(properties) != ["filters"]:
        kinds = " and ".join({"padding": "zero padding", "pool": "pooling"}[key] for key in missing)
        options = " and ".join(f"--{key}" for key in missing)
        notes.append(f"Not known: {kinds}, which leave no weights in a file; state them with {options}.")
    return notes


_KINDS = (
    "batch normalisation", "normalisation or scaling", "fully connected layer", "convolution", *_NO_CONVOLUTION,
    "other array",
)  # fmt: skip


def _rest(file: ArrayFile, weights: Mapping[str, tuple[str, ...]], chosen: Sequence[str]) -> dict[str, list[str]]:
    """Sort what is no chosen layer by what it seems to be."""
    used = {array for arrays in weights.values() for array in arrays}
    used |= {f"{name}.bias" for name in weights} | {_bias_beside(arrays[0]) for arrays in weights.values()}
    used |= {f"{name}.{key}" for name in weights for key in PROPERTIES} | {*PROPERTIES} & {*file.arrays}
    others: dict[str, dict[str, int]] = {}
    for name, array in file.arrays.items():
        if name not in used:
            base, last = _split(name)
            others.setdefault(base or name, {})[last] = len(array.shape)
    rest = {kind: [name for name, ranks in others.items() if _kind(name, ranks) == kind] for kind in _KINDS}
    return {**rest, "convolution": [name for name in weights if name not in chosen]}


def _kind(name: str, ranks: Mapping[str, int]) -> str:
    """Name what a layer seems to be by its name, or by the number of axes of each of its arrays."""
    if {"running_mean", "running_var", "moving_mean", "moving_variance"} & ranks.keys():
        return "batch normalisation"
    if max(ranks.values()) > 2:
        return next((kind for last in ranks if (kind := _other_kind(f"{name}.{last}"))), "other array")
    rank = max((ranks.get(last, 0) for last in ("weight", "weights", "kernel", "gamma", "scale")), default=0)
    return {1: "normalisation or scaling", 2: "fully connected layer"}.get(rank, "other array")


def _about_rest(rest: Mapping[str, Sequence[str]]) -> list[str]:
    notes = []
    normalisations = [*rest["batch normalisation"], *rest["normalisation or scaling"]]
    if normalisations:
        kind = "batch normalisation" if rest["batch normalisation"] else "normalisation or scaling"
        notes.append(
            f"Left out: {kind} {_listed(normalisations)}. Right after a convolution it moves thresholds only; after "
            "the activation it also rescales the channels of the next layer, whose dictionary then differs from the "
            "one certified here. Fold it into the weights to count it."
        )
    for kind in _KINDS[2:]:
        if rest[kind]:
            notes.append(f"Left out: {kind} {_listed(rest[kind])}.")
    return notes


def _joined(numbers: Iterable[int]) -> str:
    numbers = tuple(numbers)
    if numbers == _PADDINGS["same"]:
        return "same"
    return ",".join(map(str, numbers))


def _listed(names: Iterable[str], most: int = 8) -> str:
    """List names in words, the first ones of many."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
