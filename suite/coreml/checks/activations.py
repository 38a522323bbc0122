"""Whether what a model computes on the way fits into float16, by executing it in float32 on some samples."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from suite import preprocess
from suite.coreml.checks.subject import Subject, Wrong
from suite.coreml.evaluator import Evaluator
from suite.coreml.saved import declared_type
from suite.errors import Unsupported, UsageError
from suite.spec import Array

LARGEST = 65504.0  # float16's last number
_OVERFLOWS = 65520.0  # what rounds to infinity
_ADVICE = (
    "float16 ends at 65504, and from there on all is infinite. Rescale the layer before it, "
    "or leave it in float32 (FP16ComputePrecision with an op_selector)"
)


def activations(subject: Subject) -> str:
    """Nothing that a device computes in float16 passes its range, on the samples at hand."""
    if not _narrow(subject):
        return "computed in float32"
    try:
        model = Evaluator.open(subject.path)
    except Unsupported as error:
        return f"not looked at: {error}"
    if model.pictures and subject.interface.image is None:
        return "not looked at: it takes photos, and no fixture says how they are prepared"
    largest, place, count = 0.0, "", 0
    for sample in _samples(subject, model):
        count += 1
        for name, size in model.largest(sample).items():
            if size >= _OVERFLOWS:
                raise Wrong(f"{_place(subject, name)} reaches {size:.6g} on sample {count}: {_ADVICE}")
            if size > largest:
                largest, place = size, name
    return f"up to {largest:.4g} of {LARGEST:g} on {count} samples, in {_place(subject, place)}"


def _narrow(subject: Subject) -> bool:
    """Whether a device computes any of it in float16: of a neural network, all, whatever it is stored in."""
    return not subject.saved.program or any(
        declared_type(output.type).dtype == "float16"
        for operation in subject.saved.operations()
        for output in operation.outputs
    )


def _samples(subject: Subject, model: Evaluator) -> Iterator[dict[str, Array]]:
    """Each sample as the artifact takes it: a picture where it prepares pictures itself."""
    arrays, image = dict(subject.samples or {}), subject.interface.image
    if len(arrays) != len(model.inputs):
        raise Wrong(f"it takes {len(model.inputs)} inputs, the model {len(arrays)}. Convert it again")
    named = zip(model.inputs, arrays.values(), strict=True)
    taken = {one.name: arrays.get(one.name, values) for one, values in named}
    for name in model.pictures:
        assert image is not None  # or nothing is looked at
        try:
            taken[name] = preprocess.pixels(taken[name], image)
        except UsageError as error:
            raise Wrong(str(error)) from error
    for number in range(len(next(iter(taken.values())))):
        yield {
            name: values[number] if name in model.pictures else np.asarray(values[number : number + 1])
            for name, values in taken.items()
        }


def _place(subject: Subject, name: str) -> str:
    """The operation that makes a value, as a reader of the file finds it."""
    if subject.saved.program:
        maker = subject.made_by.get(name)
        return f"{maker.type} {name}" if maker is not None else name
    makers = (layer for layer in subject.saved.layers() if name in layer.output)
    return next((f"{layer.WhichOneof('layer')} {layer.name}" for layer in makers), name)
