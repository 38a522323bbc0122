"""Each model converts, and the artifact is no larger than it may be."""

import pytest

from suite.gates import check_size
from suite.plugin import enforce
from suite.record import Stage


@pytest.mark.conversion
def test_conversion(case, artifact, limits, recorder):
    _, facts = artifact
    recorder.add(artifact=facts)
    recorder.said = f"{facts.size_bytes / 1e6:.2f} MB"
    enforce(check_size(facts, limits[1]), Stage.CONVERT)
