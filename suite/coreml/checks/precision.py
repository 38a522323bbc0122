"""How narrow the weights and the operators are, and what that does to them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from suite.coreml.checks.subject import PHOTO_STEPS, Subject, Wrong
from suite.coreml.inspection import CONSTANTS, weights
from suite.coreml.saved import Saved, declared_type
from suite.spec import Array

FEWEST_COMPRESSED = 0.95  # of the elements of weights that are worth compressing
FEWEST_FLOAT16 = 0.9  # of the operators of a float16 program
WORTH_COMPRESSING = 1024  # elements, in two dimensions or more
_NORMS = ("batch_norm", "layer_norm", "instance_norm", "l2_norm", "local_response_norm")
_DIVISIONS = ("rsqrt", "inverse", "log")


def compression(subject: Subject) -> str:
    """The weights of a compressed variant are compressed, and those of another are not."""
    large = [one for one in weights(subject.saved) if one.elements >= WORTH_COMPRESSING and one.rank > 1]
    total = sum(one.elements for one in large)
    packed = sum(one.elements for one in large if one.packing)
    share = packed / total if total else 0.0
    if "int8" in subject.variant or "palettized" in subject.variant:
        if share < FEWEST_COMPRESSED and total:
            plain = max((one for one in large if not one.packing), key=lambda one: one.elements)
            raise Wrong(
                f"{share:.0%} of the large weights are compressed, expected {FEWEST_COMPRESSED:.0%}: "
                f"{plain.name} with {plain.elements} elements is not. See what the compression's "
                "configuration leaves out"
            )
        return f"{share:.0%} of the large weights are compressed"
    if packed:
        raise Wrong(f"{share:.0%} of the large weights are compressed, expected none in {subject.variant}")
    return "no weight is compressed"


def precision(subject: Subject) -> str:
    """The operators compute in the precision that the variant names, those at the model's edges apart."""
    counts: Counter[str] = Counter()
    if subject.saved.program:
        for operation in subject.saved.operations():
            if operation.type.startswith(CONSTANTS) or operation.type == "cast" or not operation.outputs:
                continue
            if not operation.outputs[0].name.endswith(PHOTO_STEPS):
                counts[declared_type(operation.outputs[0].type).dtype] += 1
    else:
        counts["float32"] = len(subject.saved.layers())
    narrow, wide = counts["float16"], counts["float32"]
    found = f"{narrow} operators in float16, {wide} in float32"
    if subject.variant in ("mlprogram_float32", "neuralnetwork"):
        if narrow:
            raise Wrong(f"{found}, expected float32 alone: convert with compute_precision FLOAT32")
    elif narrow < FEWEST_FLOAT16 * (narrow + wide):
        raise Wrong(f"{found}, expected {FEWEST_FLOAT16:.0%} in float16: see which stayed in float32")
    return found


def float16_range(subject: Subject) -> str:
    """Nothing in float16 is infinite, and no epsilon that guards a division has become 0."""
    if not subject.saved.program:
        return _network_range(subject.saved)
    narrow = 0
    for operation in subject.saved.operations():
        kinds = [declared_type(one.type).dtype for one in operation.outputs]
        if "float16" not in kinds:
            continue
        narrow += 1
        if operation.type == "const":
            _check_finite(subject.saved.array(operation.attributes["val"]), operation.outputs[0].name)
        elif not operation.type.startswith(CONSTANTS):
            _check_epsilon(subject, operation)
        else:
            for name, value in operation.attributes.items():
                if value.type.HasField("tensorType") and declared_type(value.type).dtype == "float16":
                    _check_finite(subject.saved.array(value), f"{name} of {operation.outputs[0].name}")
    return f"{narrow} float16 values and operators are finite and guarded" if narrow else "no float16"


def _check_finite(values: Array, name: str) -> None:
    if not np.isfinite(values).all():
        raise Wrong(
            f"{name} holds {int((~np.isfinite(values)).sum())} values that are infinite or no number: "
            "float16 ends at 65504. Rescale the layer, or leave it in float32 (FP16ComputePrecision)"
        )


def _check_epsilon(subject: Subject, operation: Any) -> None:
    epsilon = subject.constant(operation, "epsilon")
    if epsilon is None or np.all(epsilon > 0):
        return
    name = operation.outputs[0].name
    advice = "float16's smallest number is 6e-8. Give the layer a larger epsilon, or leave it in float32"
    if operation.type in _NORMS:
        raise Wrong(f"the epsilon of {operation.type} {name} is 0, expected more: {advice}")
    if operation.type in _DIVISIONS and not _guarded(subject, operation):
        raise Wrong(f"nothing keeps {operation.type} {name} from 0: its epsilon is 0, and {advice}")


def _guarded(subject: Subject, operation: Any) -> bool:
    """Whether what is divided by had a positive constant added to it."""
    maker = subject.maker(operation)
    while maker is not None and maker.type == "cast":
        maker = subject.maker(maker)
    if maker is None or maker.type not in ("add", "maximum", "clip"):
        return maker is not None and maker.type in ("const", "exp", "sigmoid", "softplus", "softmax")
    added = [subject.constant(maker, argument) for argument in ("x", "y", "alpha")]
    return any(one is not None and bool(np.all(one > 0)) for one in added)


def _network_range(saved: Saved) -> str:
    """Devices run neural networks in float16, whatever they are stored in."""
    for layer in saved.layers():
        kind = getattr(layer, layer.WhichOneof("layer"))
        for field, value in kind.ListFields():
            if type(value).__name__ == "WeightParams" and value.floatValue:
                values = np.array(value.floatValue, np.float32)
                if not np.isfinite(values).all() or np.abs(values).max() > np.finfo(np.float16).max:
                    raise Wrong(
                        f"the {field.name} of layer {layer.name} reach {np.abs(values).max():g}: "
                        "GPU and Neural Engine compute in float16, which ends at 65504. Rescale the layer"
                    )
    return "every weight fits into float16"
