"""Writes ML programs message by message, with or without faults, where coremltools would not."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from suite.coreml.saved import proto
from suite.spec import Array

_TYPES = {"float32": 11, "float16": 10, "int32": 23, "bool": 1, "int8": 21, "uint8": 31}
_STORED = {"float16": 1, "float32": 2, "uint8": 3, "int8": 4}


@dataclass
class Package:
    """A package in the making: one function, one block."""

    model: Any = field(default_factory=lambda: proto("Model_pb2").Model(specificationVersion=7))
    weights: bytearray = field(default_factory=lambda: bytearray(64))

    def __post_init__(self) -> None:
        self.model.mlProgram.version = 1
        self.function.opset = "CoreML6"
        self.block.SetInParent()

    @property
    def function(self) -> Any:
        return self.model.mlProgram.functions["main"]

    @property
    def block(self) -> Any:
        return self.function.block_specializations["CoreML6"]

    def typed(self, message: Any, dtype: str, shape: tuple[int, ...]) -> None:
        message.tensorType.dataType = _TYPES[dtype]
        message.tensorType.rank = len(shape)
        for size in shape:
            one = message.tensorType.dimensions.add()
            if size < 0:
                one.unknown.variadic = False
            else:
                one.constant.size = size

    def input(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> None:
        one = self.function.inputs.add(name=name)
        self.typed(one.type, dtype, shape)
        feature = self.model.description.input.add(name=name)
        feature.type.multiArrayType.shape.extend(shape)
        feature.type.multiArrayType.dataType = {"float32": 65568, "float16": 65552, "int32": 131104}[dtype]

    def const(self, name: str, value: Any, *, stored: bool = False) -> str:
        one = self.block.operations.add(type="const")
        output = one.outputs.add(name=name)
        held = one.attributes["val"]
        if isinstance(value, str):
            for message in (output.type, held.type):
                message.tensorType.dataType = 2
            held.immediateValue.tensor.strings.values.append(value)
            return name
        array = np.asarray(value)
        for message in (output.type, held.type):
            self.typed(message, array.dtype.name, array.shape)
        if stored:
            held.blobFileValue.fileName = "@model_path/weights/weight.bin"
            held.blobFileValue.offset = self.store(array)
        elif array.dtype == np.bool_:
            held.immediateValue.tensor.bools.values.extend(array.reshape(-1).tolist())
        elif array.dtype == np.int32:
            held.immediateValue.tensor.ints.values.extend(array.reshape(-1).tolist())
        elif array.dtype == np.float32:
            held.immediateValue.tensor.floats.values.extend(array.reshape(-1).tolist())
        else:
            held.immediateValue.tensor.bytes.values = array.tobytes()
        return name

    def store(self, array: Array) -> int:
        self.weights += bytes(-len(self.weights) % 64)
        place = len(self.weights)
        data = array.tobytes()
        self.weights += struct.pack("<IIQQQ", 0xDEADBEEF, _STORED[array.dtype.name], len(data), place + 64, 0)
        self.weights += bytes(64 - 32) + data
        return place

    def op(
        self,
        kind: str,
        name: str,
        shape: tuple[int, ...],
        dtype: str = "float32",
        /,
        **arguments: str | list[str],
    ) -> Any:
        one = self.block.operations.add(type=kind)
        for key, names in arguments.items():
            for source in [names] if isinstance(names, str) else names:
                one.inputs[key].arguments.add(name=source)
        self.typed(one.outputs.add(name=name).type, dtype, shape)
        return one

    def answer(self, name: str) -> None:
        self.block.outputs.append(name)
        feature = self.model.description.output.add(name=name)
        feature.type.multiArrayType.dataType = 65568

    def save(self, path: Path) -> Path:
        folder = path / "Data" / "com.apple.CoreML"
        (folder / "weights").mkdir(parents=True)
        (folder / "model.mlmodel").write_bytes(self.model.SerializeToString())
        (folder / "weights" / "weight.bin").write_bytes(bytes(self.weights))
        items = {
            number: {
                "author": "com.apple.CoreML",
                "description": "CoreML Model",
                "name": name,
                "path": f"com.apple.CoreML/{name}",
            }
            for number, name in (("1", "model.mlmodel"), ("2", "weights"))
        }
        (path / "Manifest.json").write_text(
            json.dumps({"fileFormatVersion": "1.0.0", "itemInfoEntries": items, "rootModelIdentifier": "1"})
        )
        return path


def small(dtype: str = "float32") -> Package:
    """x (1, 3, 6, 6) -> conv -> relu -> add its own mean -> y (1, 4, 6, 6)."""
    package = Package()
    package.input("x", (1, 3, 6, 6), dtype)
    rng = np.random.default_rng(0)
    package.const("weight", rng.standard_normal((4, 3, 3, 3)).astype(dtype), stored=True)
    package.const("bias", rng.standard_normal(4).astype(dtype), stored=True)
    package.const("same", "same")
    package.const("axes", np.int32([2, 3]))
    package.const("keep", np.array(True))
    package.op("conv", "c", (1, 4, 6, 6), dtype, x="x", weight="weight", bias="bias", pad_type="same")
    package.op("relu", "r", (1, 4, 6, 6), dtype, x="c")
    package.op("reduce_mean", "m", (1, 4, 1, 1), dtype, x="r", axes="axes", keep_dims="keep")
    package.op("add", "y", (1, 4, 6, 6), dtype, x="r", y="m")
    package.answer("y")
    return package


def small_network() -> Any:
    """x (1, 3, 6, 6) -> convolution -> relu -> pooling -> product, three times in a loop -> y (1, 4)."""
    spec = proto("Model_pb2").Model(specificationVersion=6)
    network = spec.neuralNetwork
    network.arrayInputShapeMapping = proto("NeuralNetwork_pb2").EXACT_ARRAY_MAPPING
    array = spec.description.input.add(name="x").type.multiArrayType
    array.shape.extend((1, 3, 6, 6))
    array.dataType = 65568
    spec.description.output.add(name="y").type.multiArrayType.dataType = 65568
    rng = np.random.default_rng(0)

    def layer(name: str, source: str, into: Any = network) -> Any:
        return into.layers.add(name=name, input=[source], output=[name])

    one = layer("c", "x").convolution
    one.outputChannels, one.kernelChannels, one.nGroups = 4, 3, 1
    one.kernelSize.extend((3, 3))
    one.same.SetInParent()
    one.weights.floatValue.extend(rng.standard_normal(4 * 3 * 3 * 3).tolist())
    layer("r", "c").activation.ReLU.SetInParent()
    pool = layer("p", "r").pooling
    pool.globalPooling, pool.type = True, 1
    layer("f", "p").squeeze.axes.extend((2, 3))
    layer("y", "f").copy.SetInParent()
    loop = network.layers.add(name="loop").loop
    loop.maxLoopIterations = 3
    product = layer("y", "y", loop.bodyNetwork).innerProduct
    product.inputChannels = product.outputChannels = 4
    product.weights.floatValue.extend(rng.standard_normal(16).tolist())
    return spec
