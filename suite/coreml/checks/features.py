"""What an app sees: inputs, outputs, batch and labels."""

from __future__ import annotations

import math
from typing import Any

from suite.converters.interface import LABEL, PROBABILITIES
from suite.coreml import flexible
from suite.coreml.checks.subject import Subject, Wrong, list_words, made, shape_words
from suite.coreml.saved import Declared, declared_type
from suite.spec import ImageInput

_WIDTH = {"float32": 32, "float16": 16, "double": 64, "int32": 32}


def inputs(subject: Subject) -> str:
    """Names, dtypes and shapes of the inputs are those of the original."""
    expected = {name: Declared(dtype, shape) for name, (shape, dtype) in subject.interface.inputs.items()}
    described = subject.saved.spec.description.input
    found = {one.name: one.type for one in described}
    if subject.converted and found.keys() != expected.keys():
        raise Wrong(
            f"the inputs are called {list_words(found)}, expected {list_words(expected)}: "
            "apps feed them by name"
        )
    if len(found) != len(expected):
        raise Wrong(
            f"found {len(found)} inputs ({list_words(found)}), "
            f"expected {len(expected)}: {list_words(expected)}"
        )
    image = subject.interface.image
    for one, want in zip(described, expected.values(), strict=True):
        name, kind = one.name, one.type
        want = expected.get(name, want)
        if not subject.converted and _flexible(kind):
            flexible.check(one, _photo_size(image, want) if kind.HasField("imageType") else want.shape)
        elif kind.WhichOneof("Type") == "imageType":
            _check_photo_size(name, kind.imageType, _photo_size(image, want))
        elif subject.converted and image is not None:
            raise Wrong(
                f"the input {name} takes numbers, expected a photo: convert with the fixture's ImageInput"
            )
        else:
            _check_tensor(f"the input {name}", _feature(kind), want, subject.converted)
    _check_main_inputs(subject)
    return ", ".join(f"{name}: {_words(kind)}" for name, kind in found.items())


def _photo_size(image: ImageInput | None, want: Declared) -> tuple[int, ...]:
    """Height and width of what the model takes."""
    return (image.height, image.width) if image else want.shape[1:3] if len(want.shape) == 4 else (0, 0)


def _check_photo_size(name: str, found: Any, size: tuple[int, ...]) -> None:
    height, width = size
    if (found.height, found.width) != (height, width):
        raise Wrong(
            f"the input {name} takes photos of {found.width} x {found.height}, the model {width} x {height}: "
            "Core ML does not resize. Convert with the fixture's height and width"
        )


def _check_main_inputs(subject: Subject) -> None:
    """What the description promises is what the program takes."""
    if not subject.saved.program or "main" not in subject.saved.spec.mlProgram.functions:
        return
    taken = {
        one.name: declared_type(one.type) for one in subject.saved.spec.mlProgram.functions["main"].inputs
    }
    for one in subject.saved.spec.description.input:
        kind, declared = one.type.WhichOneof("Type"), taken.get(one.name)
        if declared is None:
            raise Wrong(f"the program takes no {one.name}, which the description promises. Convert it again")
        shape = _photo_shape(one.type.imageType) if kind == "imageType" else _feature(one.type).shape
        if declared.shape != shape and -1 not in declared.shape:
            raise Wrong(
                f"the description gives {one.name} the shape {shape_words(shape)}, the program takes "
                f"{shape_words(declared.shape)}: iOS would refuse it. Convert it again"
            )


def outputs(subject: Subject) -> str:
    """Names, dtypes and shapes of the outputs are those of the original, and the program makes them."""
    description = subject.saved.spec.description
    found = {one.name: one.type for one in description.output}
    if subject.saved.program:
        _check_made(subject, list(found))
    if description.predictedFeatureName:
        return _check_classifier(subject, list(found))
    expected = {name: Declared(dtype, shape) for name, (shape, dtype) in subject.interface.outputs.items()}
    if subject.converted and subject.interface.labels:
        raise Wrong(
            f"the outputs are {list_words(found)}, expected a classifier with labels: convert it again"
        )
    if len(found) != len(expected) or (subject.converted and found.keys() != expected.keys()):
        raise Wrong(
            f"the outputs are called {list_words(found)}, expected {list_words(expected)}: "
            "apps read them by name"
        )
    for name, kind in found.items():
        want = expected.get(name) or next(iter(expected.values()))
        if name in expected or len(expected) == 1:
            _check_tensor(
                f"the output {name}", _feature(kind), want, subject.converted, by_program=made(subject, name)
            )
    return ", ".join(f"{name}: {_words(kind)}" for name, kind in found.items())


def _check_made(subject: Subject, names: list[str]) -> None:
    made = {
        name
        for function in subject.saved.spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for name in block.outputs
    }
    if missing := [name for name in names if name not in made]:
        raise Wrong(
            f"the description promises {list_words(missing)}, "
            f"the program answers {list_words(sorted(made))}. Convert it again"
        )


def _check_classifier(subject: Subject, names: list[str]) -> str:
    description = subject.saved.spec.description
    label, scores = description.predictedFeatureName, description.predictedProbabilitiesName
    if missing := [name for name in (label, scores) if name not in names]:
        raise Wrong(
            f"a classifier promises {list_words(missing)}, which is not among its outputs {list_words(names)}"
        )
    if subject.converted and (label, scores) != (LABEL, PROBABILITIES):
        raise Wrong(f"the outputs are called {label} and {scores}, expected {LABEL} and {PROBABILITIES}")
    return f"{label}: the best label, {scores}: scores by label"


def batch(subject: Subject) -> str:
    """One sample at a time: a batch that was left open silently becomes the range 1..2.

    Where someone else made the file, height, width and the like may be free on purpose.
    """
    free = {one.name: sizes for one in subject.saved.spec.description.input if (sizes := _flexible(one.type))}
    for name, (words, batched) in free.items():
        if subject.converted:
            raise Wrong(
                f"the input {name} is of no fixed size ({words}), "
                "expected a batch of 1: convert from a concrete function with a static batch"
            )
        if batched:
            raise Wrong(
                f"the first axis of the input {name} is free ({words}), expected a batch of 1: "
                "convert with a static batch"
            )
    said = "".join(f"; the input {name} may be {words}" for name, (words, _) in free.items())
    return f"one sample at a time{said}"


def _flexible(kind: Any) -> tuple[str, bool] | None:
    """The sizes that are allowed, in words, and whether the batch is among what varies; None if none do."""
    ranges, listed = flexible.allowed(kind)
    if ranges:
        batched = kind.HasField("multiArrayType") and ranges[0][0] != ranges[0][1]
        return " x ".join(flexible.range_words(*one) for one in ranges), batched
    if listed:
        batched = kind.HasField("multiArrayType") and len({shape[:1] for shape in listed}) > 1
        return " or ".join(shape_words(shape) for shape in listed), batched
    return None


def labels(subject: Subject) -> str:
    """As many labels as scores, none of them twice, in the order of the original's scores."""
    found, scores = _labels(subject)
    want = subject.interface.labels
    if not found:
        if subject.converted and want:
            raise Wrong(f"the artifact has no labels, expected {len(want)}: convert with class labels")
        return "no labels: the app names the scores"
    if twice := sorted({label for label in found if found.count(label) > 1}):
        raise Wrong(
            f"the labels {list_words(twice)} stand for several scores each: in a dictionary by label they "
            "overwrite one another. Make every label its own, for example with the class number in it"
        )
    if scores not in (len(found), -1):
        raise Wrong(f"found {len(found)} labels for {scores} scores: give as many as scores")
    if want and tuple(found) != want:
        if len(found) != len(want):
            raise Wrong(
                f"found {len(found)} labels, expected {len(want)}: every index is off after the first gap"
            )
        place = next(i for i, (one, other) in enumerate(zip(found, want, strict=True)) if one != other)
        raise Wrong(
            f"label {place} is {found[place]!r}, expected {want[place]!r}: "
            "the scores would be read under wrong names. Give the labels in the model's order"
        )
    return f"{len(found)} labels in order"


def names(subject: Subject) -> tuple[str, ...]:
    """The labels that the file gives to its scores, in their order; empty where it has none."""
    return tuple(_labels(subject)[0])


def _labels(subject: Subject) -> tuple[list[str], int]:
    """The labels, and how many scores they stand for (-1: not known)."""
    spec = subject.saved.spec
    if not subject.saved.program:
        if spec.WhichOneof("Type") != "neuralNetworkClassifier":
            return [], -1
        network = spec.neuralNetworkClassifier
        kind = network.WhichOneof("ClassLabels")
        names = [str(one) for one in getattr(network, kind).vector] if kind else []
        last = [layer for layer in network.layers if network.labelProbabilityLayerName in layer.output]
        dense = last[0].innerProduct.outputChannels if last and last[0].HasField("innerProduct") else -1
        return names, int(dense)
    for operation in subject.saved.operations():
        if operation.type == "classify":
            classes = operation.inputs["classes"].arguments[0]
            value = classes.value
            if classes.WhichOneof("binding") == "name" and classes.name in subject.made_by:
                value = subject.made_by[classes.name].attributes["val"]
            names = [_text(one) for one in value.immediateValue.list.values]
            scores = made(subject, operation.inputs["probabilities"].arguments[0].name)
            return names, math.prod(scores.shape) if scores else -1
    return [], -1


def _text(value: Any) -> str:
    tensor = value.immediateValue.tensor
    values = getattr(tensor, tensor.WhichOneof("value") or "strings").values
    return str(values[0]) if len(values) else ""


def _check_tensor(
    what: str, found: Declared, want: Declared, converted: bool, by_program: Declared | None = None
) -> None:
    free = by_program is not None and -1 in by_program.shape
    other = math.prod(found.shape) != want.elements and not free
    if found.shape and found.shape != want.shape and (converted or other):
        raise Wrong(
            f"{what} is declared {shape_words(found.shape)}, expected {shape_words(want.shape)}. "
            "Convert it again"
        )
    if by_program is not None and found.shape and not _fits(found.shape, by_program.shape):
        raise Wrong(
            f"{what} is described as {shape_words(found.shape)}, "
            f"the program makes {shape_words(by_program.shape)}: iOS would refuse it. Convert it again"
        )
    if converted and _WIDTH.get(found.dtype) != 32:
        raise Wrong(f"{what} is {found.dtype}, expected {want.dtype}: apps copy its bytes as they are")


def _fits(shape: tuple[int, ...], made: tuple[int, ...]) -> bool:
    return len(shape) == len(made) and all(b in (-1, a) for a, b in zip(shape, made, strict=True))


def _feature(kind: Any) -> Declared:
    """Shape and dtype of a multi-array of the description."""
    array = kind.multiArrayType
    return Declared(array.ArrayDataType.Name(array.dataType).lower(), tuple(map(int, array.shape)))


def _photo_shape(kind: Any) -> tuple[int, ...]:
    channels = 1 if "GRAYSCALE" in kind.ColorSpace.Name(kind.colorSpace) else 3
    return (1, channels, int(kind.height), int(kind.width))


def _words(kind: Any) -> str:
    if kind.WhichOneof("Type") == "imageType":
        return f"a photo of {kind.imageType.width} x {kind.imageType.height}"
    return (
        str(_feature(kind)) if kind.WhichOneof("Type") == "multiArrayType" else str(kind.WhichOneof("Type"))
    )
