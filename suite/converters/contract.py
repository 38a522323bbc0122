"""The contract around a model, from photo to label: as its fixture states it, and as a file tells an app."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from suite.card import Card
from suite.converters import packing
from suite.converters.interface import labels_of
from suite.converters.metadata import Metadata, Tensor
from suite.errors import CaseError
from suite.record import Stage
from suite.spec import ImageInput, ModelSpec

LABEL_FILE = "labels.txt"
_TOLD = re.compile(r"\b(resize|interpolation|channels): (\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a fixture says of its model."""

    model: str
    content: str  # hash of the model
    image: ImageInput | None
    labels: tuple[str, ...]  # of the scores, in order; empty where nothing names them

    def identity(self) -> dict[str, Any]:
        """All that decides what is written into a file."""
        return {**asdict(self), "mode": asdict(self.image.mode) if self.image else None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a file says to an app.

    Of `mean`, `std` (by channel of the tensor), `channels`, `resize` and
    `interpolation` those are empty that it leaves open. `labels` is None where
    it names none.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channels: str = ""  # "RGB", "BGR", "grey"
    resize: str = ""
    interpolation: str = ""
    labels: tuple[str, ...] | None = None
    described: bool = True  # it says anything at all
    by_metadata: bool = True  # as .tflite do; Core ML prepares photos itself
    float16: bool = False  # how its numbers are kept


def stated(spec: ModelSpec, card: Card) -> Stated | None:
    """The contract of a fixture; None where it says neither how photos go in nor what answers are called.

    A value range that was guessed for a model without a fixture has no place in a file that ships.
    """
    image, labels = spec.input if isinstance(spec.input, ImageInput) else None, labels_of(spec, card)
    if image is None and not labels:
        return None
    return Stated(model=spec.name, content=card.content, image=image, labels=labels)


# --- into a .tflite ---------------------------------------------------------------


def packed(data: bytes, contract: Stated) -> bytes:
    """A converted .tflite with the contract as metadata and label file."""
    inputs, outputs = packing.tensor_names(data)
    files = {LABEL_FILE: label_file(contract.labels)} if contract.labels else {}
    return packing.pack(data, describe(contract, inputs, outputs), files)


def describe(contract: Stated, inputs: Sequence[str], outputs: Sequence[str]) -> Metadata:
    """The contract in the standard's words; what it has no words for stands in the input's description."""
    return Metadata(
        name=contract.model,
        description="Converted and verified by Pocketproof.",
        version=contract.content[:12],
        author="Pocketproof",
        inputs=tuple(_input(name, contract.image) for name in inputs),
        outputs=tuple(_output(name, contract.labels) for name in outputs),
    )


def label_file(labels: Sequence[str]) -> bytes:
    """A label a line; CaseError for a label that is blank or holds a line's end."""
    for place, label in enumerate(labels):
        if not label.strip() or len(label.splitlines()) != 1:
            raise CaseError(
                f"label {place} is {label!r}: a label file holds one a line, and readers skip blank lines. "
                "Give every class a name of one line",
                stage=Stage.BUILD,
            )
    return "".join(f"{label}\n" for label in labels).encode()


def _input(name: str, image: ImageInput | None) -> Tensor:
    if image is None:
        return Tensor(name=name)
    scale, bias = image.mode.scale[: image.channels], image.mode.bias[: image.channels]
    order = "grey" if image.channels == 1 else image.mode.channel_order
    return Tensor(
        name=name,
        description=_words(image, order),
        # The standard knows no BGR: under "RGB" an app would feed the channels the wrong way round.
        colours={"grey": "GRAYSCALE", "RGB": "RGB"}.get(order, "UNKNOWN"),
        mean=tuple(0.0 - offset / factor for factor, offset in zip(scale, bias, strict=True)),
        std=tuple(1 / factor for factor in scale),
        low=tuple(min(offset, 255 * factor + offset) for factor, offset in zip(scale, bias, strict=True)),
        high=tuple(max(offset, 255 * factor + offset) for factor, offset in zip(scale, bias, strict=True)),
    )


def _words(image: ImageInput, order: str) -> str:
    swapped = " Swap red and blue before the normalisation, which is by channel of the tensor."
    return (
        f"A photo of {image.width} x {image.height} pixels, 0 to 255. resize: {image.resize}; "
        f"interpolation: {image.interpolation}; channels: {order}.{swapped if order == 'BGR' else ''}"
    )


def _output(name: str, labels: tuple[str, ...]) -> Tensor:
    if not labels:
        return Tensor(name=name)
    return Tensor(name=name, description="Scores, one a label.", labels=(LABEL_FILE,))


# --- out of a .tflite -------------------------------------------------------------


def told(data: bytes) -> Told:
    """What a .tflite says to an app; CaseError where it contradicts itself or is damaged."""
    found = packing.unpack(data)
    if found.metadata is None:
        return Told(described=False)
    _check_complete(found.metadata, found.files, data)
    image = next((one for one in found.metadata.inputs if one.colours or one.mean), None)
    words = dict(_TOLD.findall(image.description)) if image is not None else {}
    channels = {"RGB": "RGB", "GRAYSCALE": "grey"}.get(image.colours, "") if image is not None else ""
    named = [one for one in found.metadata.outputs if one.labels]
    return Told(
        mean=image.mean if image is not None else (),
        std=image.std if image is not None else (),
        channels=channels or words.get("channels", ""),
        resize=words.get("resize", ""),
        interpolation=words.get("interpolation", ""),
        labels=_lines(found.files[named[0].labels[0]]) if named else None,
    )


def _check_complete(metadata: Metadata, files: Mapping[str, bytes], data: bytes) -> None:
    """As many descriptions as tensors, and every file that is promised."""
    inputs, outputs = packing.tensor_names(data)
    for what, tensors, names in (("inputs", metadata.inputs, inputs), ("outputs", metadata.outputs, outputs)):
        if len(tensors) != len(names):
            raise CaseError(
                f"the metadata describes {len(tensors)} {what}, the model has {len(names)}: "
                "readers refuse it. Write it again for this model",
                stage=Stage.LOAD,
            )
    if missing := [name for name in metadata.packed if name not in files]:
        raise CaseError(
            f"the metadata promises {', '.join(missing)}, packed behind the model are "
            f"{', '.join(files) or 'no files'}: an app finds no labels. Pack it again, "
            "with a tool that keeps the zip at the end of the file",
            stage=Stage.LOAD,
        )


def _lines(content: bytes) -> tuple[str, ...]:
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        raise CaseError(f"the label file is no UTF-8 ({error}). Write it again", stage=Stage.LOAD) from error
    if lines[-1] == "":
        lines.pop()
    return tuple(line.removesuffix("\r") for line in lines)
