"""The photo's contract as the artifact states it: colour order, scale and bias."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from suite.coreml.checks.subject import PHOTO_STEPS, Subject, Wrong
from suite.spec import Array

_SCALE_TOLERANCE = 1e-3  # relative: float16 rounds to 5e-4


def image(subject: Subject) -> str:
    """Colour space, scale and bias are those of the fixture's preprocessing."""
    photos = [one for one in subject.saved.spec.description.input if one.type.HasField("imageType")]
    want = subject.interface.image
    if not photos:
        return "takes numbers: the app prepares them"
    if want is None:
        if subject.converted:
            raise Wrong(f"the input {photos[0].name} takes photos, the fixture says nothing of photos")
        return "takes photos, and no fixture says how they are prepared"
    kind = photos[0].type.imageType
    colours = kind.ColorSpace.Name(kind.colorSpace)
    if colours != want.mode.channel_order:
        raise Wrong(
            f"the photo is taken as {colours}, the model was trained on {want.mode.channel_order}: "
            "red and blue are swapped. Convert with color_layout of that order"
        )
    found = _photo_scalings(subject, photos[0].name)
    expected = np.array([want.mode.scale, want.mode.bias])
    if not any(_near(one, expected) for one in found):
        scale, bias = found[-1]
        raise Wrong(
            f"a photo is scaled by {_numbers(scale)} and shifted by {_numbers(bias)}, expected "
            f"{_numbers(expected[0])} and {_numbers(expected[1])} ({want.mode.name} preprocessing): "
            "set scale and bias of the ImageType to that"
        )
    return f"{colours}, scaled and shifted as {want.mode.name}"


def told(subject: Subject) -> tuple[str, Array, str] | None:
    """Colour order, scale and bias (2, 3), and the words on the input; None where it takes numbers.

    Where a layer of the model scales too, that of several readings counts which
    is nearest to what the fixture states.
    """
    photos = [one for one in subject.saved.spec.description.input if one.type.HasField("imageType")]
    if not photos or subject.interface.image is None:
        return None
    kind, mode = photos[0].type.imageType, subject.interface.image.mode
    expected = np.array([mode.scale, mode.bias])
    size = np.maximum(np.abs(expected), [[1e-6], [1.0]])
    found = _photo_scalings(subject, photos[0].name)
    nearest = min(found, key=lambda one: float((np.abs(one - expected) / size).max()))
    return kind.ColorSpace.Name(kind.colorSpace), nearest, photos[0].shortDescription


def _near(found: Array, expected: Array) -> bool:
    slack = _SCALE_TOLERANCE * np.maximum(np.abs(expected), [[1e-6], [1.0]])
    return bool((np.abs(found - expected) <= slack).all())


def _photo_scalings(subject: Subject, name: str) -> list[Array]:
    """Scale and bias, (2, 3), after the image type's own steps and after each scaling or shift that follows.

    Where the image type scales, none of what comes before its steps counts.
    """
    if subject.saved.program:
        steps, own = _program_steps(subject, name), _own_steps(subject, name)
    else:
        steps, own = _network_steps(subject, name), 1
    scaling, found = np.array([np.ones(3), np.zeros(3)]), []
    if not own:
        found.append(scaling)
    for place, (factor, offset) in enumerate(steps, 1):
        scaling = np.array([scaling[0] * factor, scaling[1] * factor + offset])
        if place >= own:
            found.append(scaling)
    return found


def _own_steps(subject: Subject, name: str) -> int:
    """How many operations coremltools made of the image type's scale and bias."""
    return sum(f"{name}{suffix}" in subject.made_by for suffix in PHOTO_STEPS)


def _program_steps(subject: Subject, name: str) -> Iterator[tuple[Array, Array]]:
    """(factor, offset) by channel of each multiplication or addition that the photo alone passes through."""
    users: dict[str, list[Any]] = {}
    for operation in subject.saved.operations():
        for value in operation.inputs.values():
            for binding in value.arguments:
                users.setdefault(binding.name, []).append(operation)
    while len(users.get(name, ())) == 1:
        (operation,) = users[name]
        if operation.type not in ("cast", "transpose", "identity"):
            step = _step(operation.type, subject.constant(operation, "y"), subject.constant(operation, "x"))
            if step is None:
                return
            yield step
        name = operation.outputs[0].name


def _step(kind: str, y: Array | None, x: Array | None) -> tuple[Array, Array] | None:
    constant = y if y is not None else x
    if constant is None or constant.size not in (1, 3):
        return None
    values = np.broadcast_to(constant.astype(np.float64).reshape(-1), 3)
    one, zero = np.ones(3), np.zeros(3)
    if kind == "mul":
        return values, zero
    if kind == "add":
        return one, values
    if kind == "sub" and y is not None:
        return one, -values
    if kind == "real_div" and y is not None:
        return 1 / values, zero
    return None


def _network_steps(subject: Subject, name: str) -> Iterator[tuple[Array, Array]]:
    """The network's own preprocessing, and the multiplications and additions after it."""
    network = getattr(subject.saved.spec, subject.saved.spec.WhichOneof("Type"))
    colours = next(
        one.type.imageType.ColorSpace.Name(one.type.imageType.colorSpace)
        for one in subject.saved.spec.description.input
        if one.name == name
    )
    factor, offset = np.ones(3), np.zeros(3)
    for one in network.preprocessing:
        if one.featureName in ("", name) and one.HasField("scaler"):
            biases = {"R": one.scaler.redBias, "G": one.scaler.greenBias, "B": one.scaler.blueBias}
            factor = np.full(3, one.scaler.channelScale or 1.0)
            offset = np.array([biases[colour] for colour in colours[:3]])
    yield factor, offset
    constants: dict[str, Array] = {}
    for layer in network.layers:
        kind = layer.WhichOneof("layer")
        if kind == "loadConstantND":
            constants[layer.output[0]] = np.array(layer.loadConstantND.data.floatValue)
            continue
        if name not in layer.input:
            continue
        others = [constants[other] for other in layer.input if other in constants]
        if kind == "scale" and not layer.scale.hasBias:
            others = [np.array(layer.scale.scale.floatValue)]
        if (
            kind in ("scale", "multiplyBroadcastable", "multiply")
            and len(others) == 1
            and others[0].size in (1, 3)
        ):
            yield np.broadcast_to(others[0], 3), np.zeros(3)
        elif kind == "multiply" and layer.multiply.alpha:
            yield np.full(3, layer.multiply.alpha), np.zeros(3)
        elif kind not in ("transpose", "copy"):
            return
        name = layer.output[0]


def _numbers(values: Any) -> str:
    return f"({', '.join(f'{value:.4g}' for value in values)})"
