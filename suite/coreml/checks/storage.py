"""The file itself: its manifest, the weights' bounds, the iOS it needs, and what it carries for nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from suite.converters.interface import OLDEST
from suite.coreml.checks.subject import Subject, Wrong, bytes_words
from suite.coreml.inspection import network_weight, oldest_system
from suite.coreml.saved import Saved, held_values
from suite.spec import DEPLOYMENT_TARGETS

SLACK_BYTES = 4096  # of a weights file beyond what the program uses
_BLOB_BYTES = 128  # a weight's own header, and its alignment at most


def package(subject: Subject) -> str:
    """The manifest is whole and points into the package; the model in it is one that coremltools knows."""
    kind = subject.saved.spec.WhichOneof("Type")
    return f"{kind}, specification version {subject.saved.spec.specificationVersion}"


def weights_file(subject: Subject) -> str:
    """Every weight lies within its file, with the type and size that the program says."""
    count = 0
    if subject.saved.program:
        for operation in subject.saved.operations():
            for value in held_values(operation):
                if value.WhichOneof("value") == "blobFileValue":
                    subject.saved.array(value)
                    count += 1
        return f"{count} weights within {bytes_words(sum(map(len, subject.saved.files.values())))}"
    for layer in subject.saved.layers():
        for name, stored, expected in _network_sizes(layer):
            if stored != expected:
                raise Wrong(
                    f"layer {layer.name} has {stored} values as its {name}, its sizes say {expected}: "
                    "the file was altered or badly made. Convert it again"
                )
            count += 1
    return f"{count} weights, each of its layer's size"


def _network_sizes(layer: Any) -> Iterator[tuple[str, int, int]]:
    """(name, values stored, values expected) of the layers that have weights of a stated size."""
    kind = layer.WhichOneof("layer")
    value = getattr(layer, kind)
    if kind == "convolution":
        kernel = math.prod(value.kernelSize) * value.kernelChannels
        channels = (
            value.outputChannels
            if not value.isDeconvolution
            else value.outputChannels // max(1, value.nGroups)
        )
        if value.HasField("weights"):
            yield "weights", _values(value.weights), channels * kernel
        if value.hasBias:
            yield "bias", _values(value.bias), value.outputChannels
    elif kind == "innerProduct":
        yield "weights", _values(value.weights), value.inputChannels * value.outputChannels
        if value.hasBias:
            yield "bias", _values(value.bias), value.outputChannels
    elif kind == "loadConstantND":
        yield "data", _values(value.data), math.prod(value.shape)


def _values(stored: Any) -> int:
    return network_weight(stored)[0]


def size(subject: Subject) -> str:
    """The weights file holds nothing that the program does not use."""
    if not subject.saved.program:
        return bytes_words(subject.path.stat().st_size)
    used: dict[tuple[str, int], int] = {}
    for operation in subject.saved.operations():
        for value in held_values(operation):
            if value.WhichOneof("value") == "blobFileValue":
                place = value.blobFileValue
                used[place.fileName, place.offset] = subject.saved.array(value).nbytes + _BLOB_BYTES
    stored, needed = sum(map(len, subject.saved.files.values())), sum(used.values())
    if stored > needed + SLACK_BYTES:
        raise Wrong(
            f"the weights file has {bytes_words(stored)}, the program uses {bytes_words(needed)} of it: "
            "the rest is downloaded for nothing. Save the model anew with coremltools"
        )
    return f"{bytes_words(stored)} of weights, all of them used"


def specification_version(subject: Subject) -> str:
    """The oldest iOS that the app supports can read the file, and every operator in it."""
    version = subject.saved.spec.specificationVersion
    needed, why = version, f"specification version {version}"
    for name, least, reason in _needs(subject.saved):
        if least > version:
            raise Wrong(
                f"{name} {reason} specification version {least}, the file says {version}: "
                "iOS would refuse it or go wrong. Convert it again"
            )
    target = subject.interface.deployment_target or OLDEST.get(subject.variant, "")
    system = oldest_system(version)
    if system is None:
        raise Wrong(
            f"{why} is newer than any that is known here: convert for an older iOS, or update Pocketproof"
        )
    if target and needed > DEPLOYMENT_TARGETS[target]:
        raise Wrong(
            f"{why} needs {system}, the app is to run on {target}: "
            "compressing weights raises it silently. Give --deployment-target "
            f"{system}, or ship a variant without compression"
        )
    return f"{why}: {system} and newer" + (f", {target} is asked for" if target else "")


def _needs(saved: Saved) -> Iterator[tuple[str, int, str]]:
    """(what, the specification version that it came with, why) of a program's parts."""
    if not saved.program:
        return
    for name, function in saved.spec.mlProgram.functions.items():
        number = function.opset.removeprefix("CoreML")
        yield (
            f"function {name}",
            int(number) + 1 if number.isdigit() else 0,
            f"is of {function.opset}, which came with",
        )
    for operation in saved.operations():
        if operation.type in _CONSTEXPR_VERSIONS:
            yield operation.type, _CONSTEXPR_VERSIONS[operation.type], "came with"


_CONSTEXPR_VERSIONS = {
    "constexpr_affine_dequantize": 7,
    "constexpr_lut_to_dense": 7,
    "constexpr_sparse_to_dense": 7,
    "constexpr_cast": 7,
    "constexpr_blockwise_shift_scale": 9,
    "constexpr_lut_to_sparse": 9,
    "constexpr_sparse_blockwise_shift_scale": 9,
}
