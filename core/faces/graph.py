"""Rewrites of ONNX graphs that keep their numbers: what turns OpenCV's models into InsightFace's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Constants = dict[str, NDArray[Any]]


def fold_constants(model: onnx.ModelProto, data_input: str) -> None:
    """Replace block-quantised weights by fp32 ones and leave `data_input` as the only input.

    onnxruntime has no kernel for block-wise `DequantizeLinear` of these shapes; fp32 runs anywhere.
    """
    graph = model.graph
    constants: Constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    aliases: dict[str, str] = {}
    kept = [node for node in graph.node if not _fold(node, constants, aliases)]
    for node in kept:
        node.input[:] = [aliases.get(name, name) for name in node.input]
    _replace(graph.node, kept)
    used = {name for node in kept for name in node.input}
    _replace(graph.initializer, [tensor(constants[name], name) for name in constants if name in used])
    _replace(graph.input, [item for item in graph.input if item.name == data_input])
    del graph.value_info[:]


def _fold(node: onnx.NodeProto, constants: Constants, aliases: dict[str, str]) -> bool:
    """Compute what does not depend on the data; True if `node` is no longer needed."""
    if node.op_type == "Dropout":  # does nothing at inference
        aliases[node.output[0]] = aliases.get(node.input[0], node.input[0])
        return True
    if node.op_type == "Constant":
        constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        return True
    if not all(name in constants for name in node.input):
        return False
    values = [constants[name] for name in node.input]
    if node.op_type == "DequantizeLinear":
        constants[node.output[0]] = _dequantize(values[0], values[1], values[2], attributes(node))
        return True
    if node.op_type == "Reshape":
        constants[node.output[0]] = values[0].reshape(values[1])
        return True
    return False


def _dequantize(
    quantized: NDArray[Any], scale: NDArray[Any], zero: NDArray[Any], options: Mapping[str, Any]
) -> NDArray[np.float32]:
    axis, block = int(options.get("axis", 1)), int(options.get("block_size", 0))
    scale, zero = (_spread(item.astype(np.float32), quantized.shape, axis, block) for item in (scale, zero))
    return ((quantized.astype(np.float32) - zero) * scale).astype(np.float32)


def _spread(
    values: NDArray[np.float32], shape: tuple[int, ...], axis: int, block: int
) -> NDArray[np.float32]:
    """Bring per-block or per-channel values into a form that broadcasts over `shape`."""
    if block:
        return np.repeat(values, block, axis).take(range(shape[axis]), axis)
    if values.ndim == 1 and values.size > 1:
        return values.reshape([-1 if place == axis else 1 for place in range(len(shape))])
    return values


def split_prelu(model: onnx.ModelProto) -> None:
    """Write `PRelu(x)` as `a*x + (1-a)*Relu(x)`: the same numbers from faster CPU kernels."""
    graph = model.graph
    slopes = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        (data, slope), out = node.input, node.output[0]
        graph.initializer.append(tensor(1 - slopes[slope], f"{out}_rest"))
        nodes += [
            helper.make_node("Relu", [data], [f"{out}_relu"]),
            helper.make_node("Mul", [f"{out}_relu", f"{out}_rest"], [f"{out}_positive"]),
            helper.make_node("Mul", [data, slope], [f"{out}_both"]),
            helper.make_node("Add", [f"{out}_positive", f"{out}_both"], [out]),
        ]
    _replace(graph.node, nodes)


def flip_input_channels(model: onnx.ModelProto) -> None:
    """Make a network that was trained on BGR take RGB, by flipping its first convolution."""
    graph = model.graph
    stem = next(node for node in graph.node if node.input[0] == graph.input[0].name)
    weight = next(item for item in graph.initializer if item.name == stem.input[1])
    weight.CopyFrom(tensor(numpy_helper.to_array(weight)[:, ::-1], weight.name))


def name_dimensions(value: onnx.ValueInfoProto, names: Mapping[int, str]) -> None:
    """Make the given axes of an input or output free, under these names."""
    for axis, name in names.items():
        value.type.tensor_type.shape.dim[axis].dim_param = name


def tensor(values: NDArray[Any], name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, order="C"), name)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


def _replace(field: Any, items: list[Any]) -> None:
    del field[:]
    field.extend(items)
