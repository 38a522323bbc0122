"""Where Core ML runs each operator on an iPhone; the other tests hold its answers and times."""

import pytest

from suite import measurements
from suite.errors import CheckFailed
from suite.record import Stage, StaticCheck, Status


@pytest.mark.ios
@pytest.mark.conversion
def test_placement(case, artifact, lab, recorder):
    path, facts = artifact
    placed = measurements.placement(lab, case, path)
    words = "; ".join(
        f"{device}: {', '.join(f'{name} x {count}' for name, count in counts.items())}"
        for device, counts in placed.items()
    )
    recorder.add(artifact=facts, static={"placement": StaticCheck(status=Status.PASSED, message=words)})
    recorder.said = ", ".join(f"{device} {sum(counts.values())}" for device, counts in placed.items())
    if not placed:
        raise CheckFailed("the compute plan names no operator: convert the model again", stage=Stage.CONVERT)
