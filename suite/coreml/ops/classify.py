"""The last operation of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.ops.registry import OpError, op
from suite.spec import Array


@op("classify")
def classify(probabilities: Array, classes: Any) -> Any:
    """The class of the highest score, and the scores in the order of the classes (for a dictionary)."""
    labels = np.asarray(classes)
    scores = np.asarray(probabilities).reshape(-1)
    if labels.ndim != 1 or labels.size != scores.size or not labels.size:
        raise OpError(f"{labels.size} classes for {scores.size} scores")
    return labels[int(scores.argmax())], scores
