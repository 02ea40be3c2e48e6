"""The values of an ONNX graph that its segments act on, computed from signals by the reference evaluator of onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dcsc.arrays import LARGEST
from dcsc.certification.onnx_graph import open_graph
from dcsc.errors import UserError, nearest, shown


def values_of(
    path: str | Path, signals: Mapping[str, NDArray], wanted: Sequence[str], largest: int = LARGEST
) -> dict[str, NDArray]:
    """
    Compute some values of a graph, one signal at a time, as many networks take but one.

    Parameters
    ----------
    path : str or Path
        The ONNX file.
    signals : mapping of str to ndarray, shape (trial, ...)
        By the name of the graph's input; a name that the graph does not have is allowed where both are one.
    wanted : sequence of str
        Values, such as `Network.inputs`; only what they depend on is computed.
    largest : int
        Bytes that the file may take.

    Returns
    -------
    dict of str to ndarray, shape (trial, ...)
        In double precision.

    Raises
    ------
    UserError
        When an input is missing, or the graph can't be computed with it.
    """
    import onnx
    import onnx.inliner
    from onnx.reference import ReferenceEvaluator

    open_graph(path, largest)  # refuses what is damaged or too large before it is loaded as a whole
    model = onnx.load(str(path))
    if model.functions:  # which the evaluator takes only with every attribute stated; they were found to be few
        model = onnx.inliner.inline_local_functions(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    named = [given.name for given in model.graph.input if given.name not in stored]
    nodes, outside = _needed(model.graph, wanted)
    needed = [name for name in named if name in outside or name in wanted]
    if len(needed) == len(signals) == 1:
        signals = {needed[0]: next(iter(signals.values()))}
    for name in needed:
        if name not in signals:
            raise UserError(f"the signals lack the input {name!r} of {path}: {nearest(name, signals)}")
    unknown = [name for name in wanted if name not in {value for node in nodes for value in node.output} | set(named)]
    if unknown:
        raise UserError(
            f"the value {shown(unknown[0])} of {path} lies in the body of If or Loop, or in a "
            "function: export it without."
        )
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(nodes)
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    kinds = {given.name: given.type.tensor_type.elem_type for given in model.graph.input}
    types = {name: onnx.helper.tensor_dtype_to_np_dtype(kinds[name]) for name in needed}
    try:
        evaluator = ReferenceEvaluator(model)
        found: list[Any] = [
            evaluator.run(None, {name: np.asarray(signals[name][trial : trial + 1], types[name]) for name in needed})
            for trial in range(min(len(signals[name]) for name in needed))
        ]
    except Exception as error:  # whatever a graph of any origin makes an operation raise
        raise UserError(
            f"the graph of {path} can't be computed with signals of shapes "
            f"{[signals[name].shape[1:] for name in needed]}, {shown(str(error))}: give signals as the network takes."
        ) from None
    return {
        name: np.concatenate([np.asarray(values[place], np.float64) for values in found])
        for place, name in enumerate(wanted)
    }


def _needed(graph: Any, wanted: Sequence[str]) -> tuple[list[Any], set[str]]:
    """The nodes that some values depend on, in order, and all that these take."""
    taken, nodes = set(wanted), []
    for node in reversed(graph.node):
        if taken & set(node.output):
            nodes.append(node)
            taken |= _taken(node)
    return nodes[::-1], taken


def _taken(node: Any) -> set[str]:
    """What a node takes, in its bodies too."""
    names = {name for name in node.input if name}
    for attribute in node.attribute:
        for inner in attribute.g.node:
            names |= _taken(inner)
    return names
