"""What an iOS app sees of a Core ML model: names, shapes, the photo it takes, the labels it answers.

The converter writes it into the artifact, and the static checks hold the saved
artifact to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from suite.card import Card
from suite.data import classes
from suite.errors import CaseError
from suite.record import Stage
from suite.runtimes.base import TensorInfo
from suite.spec import ImageInput, ModelSpec

PROBABILITIES = "classLabel_probs"  # Core ML's own name for a classifier's scores by label
LABEL = "classLabel"

# Without --deployment-target. Compressed weights need constexpr operators, which came with iOS16;
# neural networks start from the oldest and take what their layers need.
OLDEST: Mapping[str, str] = {
    "mlprogram_float32": "iOS15",
    "mlprogram_float16": "iOS15",
    "mlprogram_int8_weights": "iOS16",
    "mlprogram_palettized_6bit": "iOS16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """Inputs, outputs and labels of one model in Core ML.

    `inputs` and `outputs`: name -> (shape at batch one, numpy dtype). `image` is the contract of
    the only input where that takes a photo; then scale, bias and channel
    order are in the artifact, and the app hands over the picture as it is.
    """

    inputs: Mapping[str, tuple[tuple[int, ...], str]]
    outputs: Mapping[str, tuple[tuple[int, ...], str]]
    image: ImageInput | None = None
    labels: tuple[str, ...] = ()  # empty: no classifier
    deployment_target: str = ""  # empty: the oldest that the variant runs on
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """`x = (pixel * scale + bias) * factors`: Core ML's image type has one scale for all channels.

    `bias` and `factors` are by channel, in the model's order; `factors` is
    empty where the one scale does.
    """

    scale: float
    bias: tuple[float, ...]
    factors: tuple[float, ...]


def scaling(image: ImageInput) -> Scaling:
    """The image contract as Core ML states it, the rest as factors that the graph multiplies by."""
    mode = image.mode
    mean = sum(mode.scale) / len(mode.scale)
    factors = tuple(scale / mean for scale in mode.scale)
    if all(abs(factor - 1) < 1e-9 for factor in factors):
        return Scaling(scale=mode.scale[0], bias=mode.bias, factors=())
    bias = tuple(offset / factor for offset, factor in zip(mode.bias, factors, strict=True))
    return Scaling(scale=mean, bias=bias, factors=factors)


def interface(spec: ModelSpec, card: Card, deployment_target: str = "") -> Interface:
    """What the model of a fixture looks like from an app.

    The photo contract is taken from the fixture alone: a value range that was
    guessed for a model without one has no place in a file that ships. Grey
    models take a tensor: Core ML's grey images are whole numbers, luma is not.
    """
    image = spec.input if isinstance(spec.input, ImageInput) and spec.input.channels == 3 else None
    return Interface(
        inputs=_at_batch_one(card.inputs),
        outputs=_at_batch_one(card.outputs),
        image=image,
        labels=labels_of(spec, card),
        deployment_target=deployment_target,
        metadata={
            "model": spec.name,
            "content": card.content,
            **({"preprocessing": image.mode.name} if image else {}),
        },
    )


def _at_batch_one(infos: tuple[TensorInfo, ...]) -> dict[str, tuple[tuple[int, ...], str]]:
    return {info.name: ((1, *info.shape[1:]), info.dtype) for info in infos}


def labels_of(spec: ModelSpec, card: Card) -> tuple[str, ...]:
    """The names of the scores, where there is one vector of scores and they have names.

    CaseError where more or fewer are named than there are scores.
    """
    count = card.scores or 0
    if spec.labels:
        if len(spec.labels) != count:
            raise CaseError(
                f"the fixture names {len(spec.labels)} labels, the model answers {count or 'no vector of'} "
                "scores: give as many labels as scores, in their order",
                stage=Stage.BUILD,
            )
        return spec.labels
    dataset = spec.dataset() if spec.dataset is not None and count else None
    if dataset is None or (spec.is_published and not classes.fit(dataset, count)):
        return ()
    classes.check(dataset, count, Stage.BUILD)
    return dataset.classes
