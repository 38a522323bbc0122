"""Each artifact is right about as often as its original, on the same samples."""

import pytest

from suite import checks
from suite.gates import check_accuracy, enforce
from suite.record import Stage


@pytest.mark.accuracy
def test_accuracy(case, artifact, lab, limits, recorder):
    path, facts = artifact
    accuracy = checks.accuracy(lab, case, path, facts.sha256)
    recorder.add(artifact=facts)
    if isinstance(accuracy, str):
        recorder.without(accuracy=accuracy)
        pytest.skip(accuracy)
    recorder.add(accuracy=accuracy)
    recorder.said = f"top-1 {accuracy.top1:.3f}, drop {accuracy.drop:+.3f}"
    enforce(check_accuracy(accuracy, limits[1]), Stage.COMPARE)
