"""Graphs made node by node, and what they compute."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSET = 17


class Builder:
    """Nodes one after another; each method gives the name of the value that it makes."""

    def __init__(self, channels=1, rank=1, sizes=None):
        self.nodes, self.tensors = [], []
        self.inputs = [
            helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["n", channels, *(sizes or ["s"] * rank)])
        ]
        self.rank = rank

    def constant(self, array, name=None, dtype=np.float64):
        name = name or f"c{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def node(self, op, *inputs, outputs=1, name="", **attributes):
        made = [f"v{len(self.nodes)}" + "abc"[:number] for number in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), made, name=name, **attributes))
        return made[0]

    def conv(self, value, weight, bias=None, name=None, **attributes):
        name = name or f"conv{len(self.nodes)}"
        inputs = [value, self.constant(weight, f"{name}.weight")]
        if bias is not None:
            inputs.append(self.constant(bias, f"{name}.bias"))
        return self.node("Conv", *inputs, **attributes)

    def by_channel(self, values):
        return self.constant(np.reshape(values, (-1, *[1] * self.rank)))

    def batch_norm(self, value, rng, count):
        parts = [rng.standard_normal(count), rng.standard_normal(count), rng.standard_normal(count), rng.random(count)]
        return self.node("BatchNormalization", value, *map(self.constant, parts), epsilon=1e-3)

    def model(self, *outputs):
        values = [helper.make_empty_tensor_value_info(name) for name in outputs or [self.nodes[-1].output[0]]]
        graph = helper.make_graph(self.nodes, "g", self.inputs, values, self.tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])

    def save(self, path, *outputs):
        onnx.save(self.model(*outputs), path)
        return path

    def values(self, signals, *names):
        """What the graph computes, by onnx's own reference."""
        return ReferenceEvaluator(self.model(*names)).run(None, {"x": signals})
