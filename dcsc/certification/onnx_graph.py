"""
ONNX files, read without trusting them: nothing is run, and sizes are checked before memory is taken.

A graph becomes a list of plain nodes whose values have names of their own, also within the bodies of `If` and `Loop`
and in the place of each call of a function that the file defines; arrays are read when they are asked for. `onnx` is
needed to parse files, and imported when the first one is read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcsc.arrays import LARGEST, in_gib
from dcsc.errors import UserError, shown

SUFFIX = ".onnx"

_MOST_PARTS = 3_000_000
"""Fields of a file, far more than any network has."""
_DEEPEST = 32
"""Bodies within bodies."""
_MOST_CALLED = 100_000
"""Operations in the place of calls of functions, which a few lines of functions that call each other make many."""
_PART_BYTES, _BYTE_BYTES = 64, 32
"""Memory that a field takes once it is parsed, and a byte of one that may hold many small ones; upper bounds."""

# Messages within messages, by the number of their field, as the format's public schema has them.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_PLAIN_BYTES: dict[str, dict[int, int]] = {
    "model": dict.fromkeys((2, 3, 4, 6), 2),
    "graph": dict.fromkeys((2, 10), 2),
    "node": dict.fromkeys((1, 2, 3, 4, 6, 7, 8), 2),
    "attribute": {1: 2, 4: 2, 7: 2, 8: 16, 13: 2, 21: 2},
    "tensor": {4: 2, 5: 8, 7: 16, 8: 2, 9: 2, 10: 2, 11: 16, 12: 2},
}
"""Memory for each byte of texts and of packed numbers; whole numbers may be stored in one byte each."""


@dataclass(frozen=True, eq=False)
class Node:
    """
    One operation.

    Parameters
    ----------
    op : str
        Its operator, with the domain before it unless that is the standard one.
    name : str
        As the file has it, perhaps empty.
    inputs, outputs : tuple of str
        Its values; "" where an optional one is left out.
    attributes : mapping of str to object
        Numbers, texts, lists of them, and tensors, which `Graph.array` reads.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Graph:
    """
    The operations of a file in their order.

    Parameters
    ----------
    path : Path
        The file.
    nodes : tuple of Node
        Those of bodies stand before the node that has them.
    tensors : mapping of str to object
        Stored arrays by the name of their value.
    inputs : mapping of str to tuple of (int or None), or None
        Inputs of the network with what is known of their shapes.
    outputs : frozenset of str
        Values that leave the graph or a body.
    largest : int
        Bytes that an array may take.
    """

    path: Path
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Any]
    inputs: Mapping[str, tuple[int | None, ...] | None]
    outputs: frozenset[str]
    largest: int
    _outside: dict[str, Path] = field(default_factory=dict)

    def shape(self, tensor: Any) -> tuple[int, ...]:
        """Tell the shape that a stored array states, which no memory is taken for."""
        dims = tuple(int(size) for size in tensor.dims)
        if any(size < 0 for size in dims) or len(dims) > 16:
            raise UserError(f"the array {shown(tensor.name)} of {self.path} states an impossible shape: write it anew.")
        return dims

    def array(self, tensor: Any) -> NDArray:
        """
        Read a stored array.

        Parameters
        ----------
        tensor : object
            One of `tensors`, or of an attribute.

        Returns
        -------
        ndarray
            Of real numbers; 16-bit and shorter floats become 32-bit ones.

        Raises
        ------
        UserError
            When it is too large, damaged, or lies outside the folder of the file.
        """
        import onnx

        what = f"the array {shown(tensor.name)} of {self.path}"
        shape = self.shape(tensor)
        size = 8 * math.prod(shape)
        if size > self.largest:
            raise UserError(
                f"{what} has shape {shape} and takes {in_gib(size)}, more than the {in_gib(self.largest)} allowed: "
                "leave its layer out with --layers, or raise --memory."
            )
        try:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
        except (KeyError, TypeError, ValueError):
            dtype = np.dtype(object)
        if dtype.kind not in "iufbV" or dtype.hasobject:
            raise UserError(f"{what} holds no real numbers: leave its layer out with --layers.")
        try:
            if tensor.data_location == onnx.TensorProto.EXTERNAL:
                raw = self._beside(tensor, math.prod(shape) * dtype.itemsize)
                array = np.frombuffer(raw, dtype.newbyteorder("<") if dtype.kind in "iuf" else dtype).reshape(shape)
            else:
                array = onnx.numpy_helper.to_array(tensor)
        except UserError:
            raise
        except Exception:  # the parser raises many kinds, and only the file is to blame
            raise UserError(f"{what} can't be read, its values do not fit its shape: write the file anew.") from None
        if array.shape != shape:
            raise UserError(f"{what} can't be read, its values do not fit its shape: write the file anew.")
        if array.dtype not in (np.float32, np.float64) and array.dtype.kind not in "iu":
            array = array.astype(np.float32)
        return array

    def _beside(self, tensor: Any, nbytes: int) -> bytes:
        """Read values that a file beside the graph holds, and no other file."""
        stated = {entry.key: entry.value for entry in tensor.external_data}
        what = f"the array {shown(tensor.name)} of {self.path}"
        location, folder = stated.get("location", ""), self.path.parent.resolve()
        path = (folder / location).resolve() if location and "\0" not in location and len(location) < 4096 else folder
        if Path(location).is_absolute() or folder not in path.parents:
            raise UserError(f"{what} lies at {shown(location)}, not in the folder of the file: move it there.")
        if not path.is_file():
            raise UserError(f"{what} lies in {shown(location)}, which does not exist beside the file: add it.")
        texts = [stated.get(key, default) for key, default in (("offset", "0"), ("length", str(nbytes)))]
        if not all(text.isascii() and text.isdecimal() and len(text) < 19 for text in texts):
            raise UserError(f"{what} states an impossible place in {shown(location)}: write the file anew.")
        offset, length = map(int, texts)
        if length != nbytes or offset + nbytes > path.stat().st_size:
            raise UserError(f"{what} is not as long in {shown(location)} as its shape needs: write the file anew.")
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(nbytes)


def open_graph(path: str | Path, largest: int = LARGEST) -> Graph:
    """
    Read the operations of an ONNX file.

    Parameters
    ----------
    path : str or Path
        The file.
    largest : int
        Bytes that its parts, and each array, may take.

    Returns
    -------
    Graph
        With arrays unread.

    Raises
    ------
    UserError
        When the file is missing, damaged, too large, of another format, or `onnx` is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the file {path} does not exist, or is no file: correct the path.")
    try:
        import onnx
    except ImportError:
        raise UserError(f"the file {path} needs the package onnx to be read: install dcsc[onnx].") from None
    if 2 * path.stat().st_size > largest:
        raise UserError(
            f"the file {path} takes {in_gib(2 * path.stat().st_size)} to be read, more than the {in_gib(largest)} "
            "allowed: raise --memory."
        )
    damaged = UserError(f"the file {path} can't be read, it is damaged or of another format: export it anew as ONNX.")
    try:
        content = path.read_bytes()
        parts, nbytes = _Scan(largest).of("model", memoryview(content), 0)
        if parts > _MOST_PARTS or nbytes > largest:
            raise UserError(
                f"the file {path} holds {parts} parts that take up to {in_gib(nbytes)}, more than the "
                f"{in_gib(largest)} allowed: raise --memory, or leave out what is not needed."
            )
        model = onnx.ModelProto.FromString(content)
    except PermissionError:
        raise UserError(f"the file {path} can't be read, permission is denied: make it readable.") from None
    except MemoryError:
        raise UserError(f"the file {path} does not fit in memory: leave arrays out.") from None
    except UserError:
        raise
    except Exception:  # the parser raises many kinds, and only the file is to blame
        raise damaged from None
    if not model.HasField("graph") or not model.graph.node:
        raise damaged
    return _Flattened(path, largest, model).graph()


class _Scan:
    """Walk over the fields of a file before it is parsed, and add up what they will take."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.parts = self.nbytes = 0

    def of(self, message: str, content: memoryview, depth: int) -> tuple[int, int]:
        """Count the fields and bytes of a message and of those within."""
        if depth > 4 * _DEEPEST:
            raise ValueError("messages within messages without end")
        inner, place, end = _MESSAGES[message], 0, len(content)
        while place < end and self.parts <= _MOST_PARTS and self.nbytes <= self.largest:
            self.parts += 1
            self.nbytes += _PART_BYTES
            tag, place = _varint(content, place)
            number, wire = tag >> 3, tag & 7
            if wire == 0:
                _, place = _varint(content, place)
            elif wire == 2:
                length, place = _varint(content, place)
                if length > end - place:
                    raise ValueError("a field is cut off")
                if number in inner:
                    self.of(inner[number], content[place : place + length], depth + 1)
                else:
                    self.nbytes += _PLAIN_BYTES.get(message, {}).get(number, _BYTE_BYTES) * length
                place += length
            elif wire in (1, 5):
                place += 8 if wire == 1 else 4
            else:
                raise ValueError("no field of the format")
        return self.parts, self.nbytes


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of too many bytes")


class _Flattened:
    """Nodes of a graph and of the bodies within it, whose values get names that are unique in the file."""

    def __init__(self, path: Path, largest: int, model: Any) -> None:
        self.path, self.largest, self.model = path, largest, model
        self.nodes: list[Node] = []
        self.tensors: dict[str, Any] = {}
        self.inputs: dict[str, tuple[int | None, ...] | None] = {}
        self.outputs: set[str] = set()
        self.functions = {(of.domain, of.name, _overload(of)): of for of in model.functions}
        self._sizes: dict[tuple[str, str, str], float] = {}
        self._prefixes: set[str] = set()

    def graph(self) -> Graph:
        if self.functions and self._count(self.model.graph, 0) > _MOST_CALLED:
            raise UserError(
                f"the functions of the file {self.path} call each other more than {_DEEPEST} deep, or stand for more "
                f"than {_MOST_CALLED} operations: export it without functions."
            )
        self._body(self.model.graph, "", None, 0)
        return Graph(
            self.path, tuple(self.nodes), self.tensors, self.inputs, frozenset(self.outputs), self.largest
        )  # fmt: skip

    def _body(self, body: Any, prefix: str, outer: _Names | None, depth: int) -> None:
        """Add the nodes of a body; names of values that it does not make are those of the bodies around it."""
        if depth > _DEEPEST:
            raise UserError(f"the file {self.path} has more than {_DEEPEST} bodies within bodies: export it anew.")
        names = _Names(outer)
        for tensor in body.initializer:
            names.own[tensor.name] = prefix + tensor.name
            self.tensors[prefix + tensor.name] = tensor
        for value in body.input:
            if value.name not in names.own:
                names.own[value.name] = prefix + value.name
                self.inputs[prefix + value.name] = _shape_of(value)
        self._nodes(body, prefix, names, {}, depth)
        left = tuple(names.of(value.name) for value in body.output)
        self.outputs |= set(left)
        if depth:
            self.nodes.append(Node("Return", "", left, (), {}))  # to whatever uses what the body returns

    def _nodes(self, body: Any, prefix: str, names: _Names, stated: Mapping[str, Any], depth: int) -> None:
        """Add the nodes of a body or a function, whose attributes may be those that the call states."""
        for node in body.node:
            given = tuple(names.of(name) if name else "" for name in node.input)
            found = [of for of in (_stated(of, stated) for of in node.attribute) if of is not None]
            function = self.functions.get((node.domain, node.op_type, _overload(node)))
            if function is not None:
                label = self._label(prefix, node.name or node.op_type)
                made = self._call(function, given, {of.name: of for of in found}, label, depth + 1)
                names.own |= {name: value for name, value in zip(node.output, made, strict=False) if name}
                continue
            op = node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
            attributes: dict[str, Any] = {}
            for attribute in found:
                for number, inner in enumerate(_graphs(attribute)):
                    label = self._label(prefix, f"{node.name or node.op_type}.{attribute.name}{number or ''}")
                    self._body(inner, label, names, depth + 1)
                attributes[attribute.name] = _value(attribute)
            made = tuple(prefix + name if name else "" for name in node.output)
            names.own |= {name: prefix + name for name in node.output if name}
            if op == "Constant" and made and attributes.get("value") is not None:
                self.tensors[made[0]] = attributes["value"]
            self.nodes.append(Node(op, prefix + node.name if node.name else "", given, made, attributes))

    def _call(
        self, function: Any, given: tuple[str, ...], stated: Mapping[str, Any], prefix: str, depth: int
    ) -> tuple[str, ...]:
        """Add the nodes of a function in the place of a call; the values that it returns."""
        if depth > _DEEPEST:
            raise UserError(f"the file {self.path} has more than {_DEEPEST} bodies within bodies: export it anew.")
        names = _Names(None)
        names.own |= dict.fromkeys(function.input, "") | dict(zip(function.input, given, strict=False))
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        self._nodes(function, prefix, names, {**defaults, **stated}, depth)
        return tuple(names.of(name) for name in function.output)

    def _count(self, body: Any, depth: int) -> float:
        """Operations that a body or a function stands for once its calls are written out."""
        if depth > 2 * _DEEPEST:
            return math.inf
        total = 0.0
        for node in body.node:
            total += 1 + sum(self._count(inner, depth + 1) for of in node.attribute for inner in _graphs(of))
            key = node.domain, node.op_type, _overload(node)
            if key in self.functions:
                if key not in self._sizes:
                    self._sizes[key] = math.inf  # of a function within itself
                    self._sizes[key] = self._count(self.functions[key], depth + 1)
                total += self._sizes[key]
        return total

    def _label(self, prefix: str, name: str) -> str:
        """A prefix of names that no other body or call has."""
        label = next(
            of for of in (f"{prefix}{name}{number or ''}/" for number in itertools.count()) if of not in self._prefixes
        )
        self._prefixes.add(label)
        return label


class _Names:
    """What the names of a body stand for: its own values, else those of the bodies around it."""

    def __init__(self, outer: _Names | None) -> None:
        self.outer, self.own = outer, dict[str, str]()

    def of(self, name: str) -> str:
        scope: _Names | None = self
        while scope is not None:
            if name in scope.own:
                return scope.own[name]
            scope = scope.outer
        return name


def _overload(of: Any) -> str:
    """The name that tells functions of the same name apart, which older versions of the format do not have."""
    return str(getattr(of, "overload", ""))


def _stated(attribute: Any, stated: Mapping[str, Any]) -> Any:
    """An attribute, or the one of the call that it stands for, under its own name; None where the call has none."""
    if not attribute.ref_attr_name:
        return attribute
    found = stated.get(attribute.ref_attr_name)
    if found is None:
        return None
    renamed = type(attribute)()
    renamed.CopyFrom(found)
    renamed.name = attribute.name
    return renamed


def _graphs(attribute: Any) -> Iterator[Any]:
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _value(attribute: Any) -> Any:
    """What an attribute holds; tensors as they are stored, graphs as nothing."""
    kinds = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings"}
    if attribute.type not in kinds:
        return None
    value = getattr(attribute, kinds[attribute.type])
    if attribute.type == 3:
        return value.decode("utf-8", "replace")
    if attribute.type == 8:
        return tuple(text.decode("utf-8", "replace") for text in value)
    return tuple(value) if attribute.type in (6, 7) else value


def _shape_of(value: Any) -> tuple[int | None, ...] | None:
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    return tuple(
        int(size.dim_value) if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim
    )
