"""A model that can be a reference, of whatever kind, in the process that holds TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from suite.errors import CaseError
from suite.record import Stage
from suite.runtimes.base import TensorInfo
from suite.spec import Array, ImageInput

BATCH = 32  # samples a step, where the model takes any number


class Original(Protocol):
    """A model that can be a reference."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parameters: int
    rescales: bool

    def content(self) -> str:
        """Hash of architecture and weights."""
        ...

    def modules(self) -> set[str]:
        """The Python modules, Keras' own apart, whose code its layers run."""
        ...

    def predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """(n, ...) samples by input name to (n, ...) answers by output name."""
        ...

    def signature(self) -> Any:
        """A tf.function of keyword tensors at batch one, answering a dict."""
        ...

    def move(self, seed: int) -> None:
        """Become another checkpoint: every weight a little elsewhere."""
        ...


def check_finite(name: str, values: Array) -> None:
    """CaseError for a weight that holds NaN or infinity."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise CaseError(
            f"the weight {name} holds {bad} of {values.size} values that are NaN or infinite: "
            "no format can be held to such a model. Load another checkpoint",
            stage=Stage.BUILD,
        )


def fixed_shape(name: str, shape: Any, image: ImageInput | None) -> tuple[int, ...]:
    """The input's shape at any batch; a free size is the image contract's, or an error."""
    sizes = [None if size is None else int(size) for size in shape[1:]]
    if image is not None:
        if len(sizes) != 3 or any(
            size not in (None, want) for size, want in zip(sizes, image.shape, strict=True)
        ):
            raise CaseError(
                f"the model's input {name} takes {tuple(sizes)}, "
                f"the fixture's ImageInput says {image.shape}: make them agree",
                stage=Stage.BUILD,
            )
        return (-1, *image.shape)
    if None in sizes:
        raise CaseError(
            f"the model's input {name} leaves a size free: {tuple(sizes)}. Phones need it fixed: "
            "write a fixture with an ImageInput, or save the model with a fixed input shape",
            stage=Stage.BUILD,
        )
    return (-1, *(size for size in sizes if size is not None))


def brief(error: BaseException) -> str:
    """The first line of what an error says, 300 characters at most."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
