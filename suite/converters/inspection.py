"""What stands in a .tflite file: operators by precision, the runtime it needs. No TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import CaseError
from suite.record import Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A reading of one .tflite file."""

    ops: Mapping[str, Mapping[str, int]]  # precision -> operator -> count
    minimum_runtime: str | None
    input_dtypes: tuple[str, ...]
    variant: str  # the nearest name in VARIANTS


def inspect(path: Path) -> Inspection:
    """Read the flatbuffer; CaseError where it is none."""
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise CaseError(
            f"{path.name} is no TFLite file: found {data[4:8]!r} where 'TFL3' was expected. Convert it again",
            stage=Stage.LOAD,
        )
    try:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
        types = {
            value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")
        }
        builtin = {
            value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")
        }
        return _read(model, types, builtin)
    except Exception as error:  # the generated reader raises whatever its offsets lead to
        raise CaseError(
            f"{path.name} is a damaged TFLite file ({type(error).__name__}: {error}). Convert it again",
            stage=Stage.LOAD,
        ) from error


def output_steps(path: Path) -> tuple[float | None, ...]:
    """Of each output the quantisation step, where it is an 8-bit tensor or one dequantised; else None."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    graph = model.subgraphs[0]
    dequantise = schema.BuiltinOperator.DEQUANTIZE
    sources = {
        operator.outputs[0]: operator.inputs[0]
        for operator in graph.operators
        if _opcode(model.operatorCodes[operator.opcodeIndex]) == dequantise
    }
    eight_bits = (schema.TensorType.INT8, schema.TensorType.UINT8)
    found = (graph.tensors[sources.get(i, i)] for i in graph.outputs)
    return tuple(
        float(tensor.quantization.scale[0])
        if tensor.type in eight_bits
        and tensor.quantization is not None
        and tensor.quantization.scale is not None
        else None
        for tensor in found
    )


def _opcode(code: Any) -> int:
    """The operator's number, of old files and new ones."""
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _read(model: Any, types: Mapping[int, str], builtin: Mapping[int, str]) -> Inspection:
    ops: dict[str, Counter[str]] = {}
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            number = _opcode(code)
            name = builtin.get(number, str(number))
            if name == "CUSTOM" and code.customCode:
                name = f"CUSTOM {code.customCode.decode()}"
            ops.setdefault(_precision(graph, operator, types), Counter())[name] += 1
    graph = model.subgraphs[0]
    inputs = tuple(types[graph.tensors[i].type] for i in graph.inputs)
    weights = Counter(_weight_types(model, types))
    return Inspection(
        ops={precision: dict(counts.most_common()) for precision, counts in sorted(ops.items())},
        minimum_runtime=_metadata(model, b"min_runtime_version"),
        input_dtypes=inputs,
        variant=_variant(ops, inputs, weights),
    )


def _precision(graph: Any, operator: Any, types: Mapping[int, str]) -> str:
    """The type an operator computes in: its first output's, and its weights' where they differ."""
    outputs = [types[graph.tensors[i].type] for i in operator.outputs if i >= 0]
    computed = outputs[0] if outputs else "none"
    weights = [
        types[graph.tensors[i].type]
        for i in (operator.inputs if operator.inputs is not None else ())[1:2]
        if i >= 0 and graph.tensors[i].buffer
    ]
    if weights and weights[0] in ("int8", "int4", "float16") and weights[0] != computed:
        return f"{computed} with {weights[0]} weights"
    return computed


def _weight_types(model: Any, types: Mapping[int, str]) -> list[str]:
    """The type of each constant tensor, once for each kilobyte, so that the bulk decides."""
    found: list[str] = []
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            found += [types[tensor.type]] * (0 if data is None else 1 + len(data) // 1024)
    return found


def _variant(ops: Mapping[str, Any], inputs: tuple[str, ...], weights: Counter[str]) -> str:
    if "int16" in ops or any(precision.startswith("int16") for precision in ops):
        return "int16x8"
    if "int8" in ops:
        return "int8_io" if "int8" in inputs else "int8"
    if any("int8 weights" in precision or "int4 weights" in precision for precision in ops):
        return "dynamic_int8"
    return "float16" if weights["float16"] > weights["float32"] else "float32"


def _metadata(model: Any, name: bytes) -> str | None:
    for entry in model.metadata or ():
        if entry.name == name:
            text = bytes(model.buffers[entry.buffer].data).split(b"\0", 1)[0].decode()
            return text or None
    return None
