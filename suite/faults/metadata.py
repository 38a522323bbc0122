"""Faults of what a file tells an app: its metadata and its label file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from suite.converters import packing
from suite.converters.flatbuffer import Flatbuffer
from suite.converters.metadata import Metadata, Tensor
from suite.converters.packing import Packed
from suite.faults import app
from suite.faults.sites import Inapplicable


def metadata_lost(data: bytes) -> bytes:
    """A tool that knows nothing of metadata wrote the file again: normalisation and labels are gone."""
    _unpacked(data)
    model = Flatbuffer(data)
    packing.put(model.model, None)
    return packing.serialise(model.model)


def label_file_lost(data: bytes) -> bytes:
    """A tool wrote the model again without the zip at its end: the promised label file is not there."""
    found = _labelled(data)
    assert found.metadata is not None
    return packing.pack(data, found.metadata, {})


def normalisation_lost(data: bytes) -> bytes:
    """The metadata says nothing of mean and deviation: pixels go in as they are."""
    return _with_input(data, lambda one: replace(one, mean=(), std=()))


def normalisation_of_unit_values(data: bytes) -> bytes:
    """Mean and deviation are those of pixels that were divided by 255."""
    return _with_input(
        data,
        lambda one: replace(one, mean=tuple(v / 255 for v in one.mean), std=tuple(v / 255 for v in one.std)),
    )


def means_reversed(data: bytes) -> bytes:
    """Mean and deviation are in the reverse order of channels."""
    return _with_input(data, lambda one: replace(one, mean=one.mean[::-1], std=one.std[::-1]))


def deviation_inverted(data: bytes) -> bytes:
    """The deviation holds the scale: pixels are divided where they should be multiplied."""
    return _with_input(data, lambda one: replace(one, std=tuple(1 / value for value in one.std)))


def colours_exchanged(data: bytes) -> bytes:
    """The metadata names the other order of channels."""

    def exchange(one: Tensor) -> Tensor:
        bgr = "channels: BGR" in one.description
        before, after = ("BGR", "RGB") if bgr else ("RGB", "BGR")
        words = one.description.replace(f"channels: {before}", f"channels: {after}")
        return replace(one, colours="RGB" if bgr else "UNKNOWN", description=words)

    return _with_input(data, exchange)


def labels_off_by_one(data: bytes) -> bytes:
    """The first line of the packed label file is missing."""
    return _with_labels(data, app.off_by_one)


def labels_with_background(data: bytes) -> bytes:
    """The packed label file has 1001 lines for 1000 classes: `background` comes first."""
    return _with_labels(data, app.background_first)


def labels_shuffled(data: bytes) -> bytes:
    """The packed label file is in the order of another data set."""
    return _with_labels(data, app.shuffled)


def labels_twice(data: bytes) -> bytes:
    """The packed label file holds a name twice (`crane`)."""
    return _with_labels(data, app.duplicate_names)


def _unpacked(data: bytes) -> Packed:
    found = packing.unpack(data)
    if found.metadata is None:
        raise Inapplicable("the file has no metadata: no fixture states the model's contract")
    return found


def _labelled(data: bytes) -> Packed:
    found = _unpacked(data)
    if not found.files:
        raise Inapplicable("the file has no labels: nothing names the model's scores")
    return found


def _with_input(data: bytes, change: Callable[[Tensor], Tensor]) -> bytes:
    found = _unpacked(data)
    assert found.metadata is not None
    described: Metadata = found.metadata
    if not any(one.colours for one in described.inputs):
        raise Inapplicable("the model takes no photo")
    changed = tuple(change(one) for one in described.inputs)
    if all(_feeds(before) == _feeds(after) for before, after in zip(described.inputs, changed, strict=True)):
        raise Inapplicable("an app would do the same by it")
    return packing.pack(data, replace(described, inputs=changed), found.files)


def _feeds(one: Tensor) -> tuple[object, ...]:
    """What an app makes of it: without a normalisation, pixels as they are."""
    return one.mean or (0.0,) * 3, one.std or (1.0,) * 3, one.colours, one.description


def _with_labels(data: bytes, rename: Callable[[tuple[str, ...]], tuple[str, ...]]) -> bytes:
    found = _labelled(data)
    assert found.metadata is not None
    files = {
        name: "".join(f"{label}\n" for label in rename(tuple(content.decode().splitlines()))).encode()
        for name, content in found.files.items()
    }
    return packing.pack(data, found.metadata, files)


FAULTS: tuple[Callable[[bytes], bytes], ...] = (
    metadata_lost,
    label_file_lost,
    normalisation_lost,
    normalisation_of_unit_values,
    means_reversed,
    deviation_inverted,
    colours_exchanged,
    labels_off_by_one,
    labels_with_background,
    labels_shuffled,
    labels_twice,
)
