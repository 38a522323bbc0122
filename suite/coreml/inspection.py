"""What stands in a saved Core ML model: operators by precision, weights by width, the iOS it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.coreml.saved import Saved, declared_type, open_saved, reading
from suite.spec import DEPLOYMENT_TARGETS

# Operators that hold or unpack constants; they compute nothing at run time.
CONSTANTS = ("const", "constexpr_")
# The attribute (iOS16) or input (iOS18) that holds what a constexpr unpacks, and its width at most.
_PACKED = {
    "constexpr_affine_dequantize": "quantized_data",
    "constexpr_blockwise_shift_scale": "data",
    "constexpr_lut_to_dense": "indices",
    "constexpr_lut_to_sparse": "indices_nonzero_data",
    "constexpr_sparse_to_dense": "nonzero_data",
    "constexpr_sparse_blockwise_shift_scale": "nonzero_data",
    "constexpr_cast": "source_val",
}
_NETWORK_WEIGHTS = ("weights", "bias", "gamma", "beta", "mean", "variance", "data", "scale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A reading of one saved model."""

    ops: Mapping[str, Mapping[str, int]]  # precision -> operator -> count
    minimum_runtime: str | None
    photo: bool  # an input takes pictures, and has the preprocessing in it
    variant: str  # the nearest name in VARIANTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One constant that is a weight: real numbers, whatever they are stored as."""

    name: str
    elements: int
    rank: int  # 1 for biases and the like
    dtype: str  # that the program computes with
    packing: str  # the constexpr operator that unpacks it; empty: stored as it is
    stored_bytes: int


def inspect(path: Path) -> Inspection:
    """Read a .mlmodel or .mlpackage; CaseError where it is none or damaged."""
    saved = open_saved(path)
    with reading(path):
        return _read(saved)


def _read(saved: Saved) -> Inspection:
    counts = _program_ops(saved) if saved.program else _network_ops(saved)
    return Inspection(
        ops={precision: dict(ops.most_common()) for precision, ops in sorted(counts.items())},
        minimum_runtime=oldest_system(saved.spec.specificationVersion),
        photo=any(one.type.WhichOneof("Type") == "imageType" for one in saved.spec.description.input),
        variant=_variant(saved),
    )


def oldest_system(version: int) -> str | None:
    """The oldest iOS that reads this specification version; None for one newer than all that are known."""
    return next((name for name, newest in DEPLOYMENT_TARGETS.items() if newest >= version), None)


def weights(saved: Saved) -> Iterator[Weight]:
    """Every weight of more than one number."""
    yield from _program_weights(saved) if saved.program else _network_weights(saved)


def _program_weights(saved: Saved) -> Iterator[Weight]:
    unpacked = set()
    for operation in saved.operations():
        if packed := _PACKED.get(operation.type):
            value, source = _argument(operation, packed)
            if value is None:
                unpacked.add(source)
    for operation in saved.operations():
        if not operation.outputs or not operation.type.startswith(CONSTANTS):
            continue
        declared = declared_type(operation.outputs[0].type)
        name = operation.outputs[0].name
        if not declared.dtype.startswith(("float", "bfloat")) or declared.elements < 2 or name in unpacked:
            continue
        packing = "" if operation.type == "const" else operation.type
        stored = 0
        for value in operation.attributes.values():
            if value.type.WhichOneof("type") == "tensorType" and declared_type(value.type).dtype != "string":
                stored += saved.array(value).nbytes
        yield Weight(
            name=name,
            elements=declared.elements,
            rank=len(declared.shape),
            dtype=declared.dtype,
            packing=packing,
            stored_bytes=stored,
        )


def _argument(operation: Any, name: str) -> tuple[Any, str]:
    """(the value, "") or (None, the name of the operation's result that is it)."""
    if name in operation.attributes:
        return operation.attributes[name], ""
    for binding in operation.inputs[name].arguments if name in operation.inputs else ():
        return (binding.value, "") if binding.WhichOneof("binding") == "value" else (None, binding.name)
    return None, ""


def _network_weights(saved: Saved) -> Iterator[Weight]:
    for layer in saved.layers():
        kind = getattr(layer, layer.WhichOneof("layer"))
        for field, value in kind.ListFields():
            if field.name not in _NETWORK_WEIGHTS or type(value).__name__ != "WeightParams":
                continue
            elements, dtype, packing, stored = network_weight(value)
            if elements > 1:
                yield Weight(
                    name=f"{layer.name}/{field.name}",
                    elements=elements,
                    rank=2 if field.name in ("weights", "data") else 1,
                    dtype=dtype,
                    packing=packing,
                    stored_bytes=stored,
                )


def network_weight(value: Any) -> tuple[int, str, str, int]:
    """(elements, dtype, packing, stored bytes) of a WeightParams message."""
    if value.floatValue:
        return len(value.floatValue), "float32", "", 4 * len(value.floatValue)
    if value.float16Value:
        return len(value.float16Value) // 2, "float16", "", len(value.float16Value)
    raw = value.rawValue or value.int8RawValue
    bits = value.quantization.numberOfBits or 8
    return len(raw) * 8 // bits, "float32", "quantization", len(raw)


def _program_ops(saved: Saved) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    packed = {
        operation.outputs[0].name: "palettized" if "lut" in operation.type else "int8"
        for operation in saved.operations()
        if operation.type in _PACKED and operation.outputs
    }
    for operation in saved.operations():
        if operation.type.startswith(CONSTANTS) or not operation.outputs:
            continue
        precision = declared_type(operation.outputs[0].type).dtype
        sources = (binding.name for value in operation.inputs.values() for binding in value.arguments)
        if packing := next((packed[name] for name in sources if name in packed), ""):
            precision += f" with {packing} weights"
        counts.setdefault(precision, Counter())[operation.type] += 1
    return counts


def _network_ops(saved: Saved) -> dict[str, Counter[str]]:
    """A network computes in float32 by declaration; devices may use float16 all the same."""
    return {"float32": Counter(layer.WhichOneof("layer") for layer in saved.layers())}


def _variant(saved: Saved) -> str:
    """By what the bulk of the weights is."""
    if not saved.program:
        return "neuralnetwork"
    bulk: Counter[str] = Counter()
    for weight in weights(saved):
        bulk[weight.packing or weight.dtype] += weight.elements
    most = bulk.most_common(1)[0][0] if bulk else "float32"
    if "lut" in most:
        return "mlprogram_palettized_6bit"
    if most.startswith("constexpr"):
        return "mlprogram_int8_weights"
    return "mlprogram_float16" if most == "float16" else "mlprogram_float32"
