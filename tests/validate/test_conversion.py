"""Each model converts; the artifact is no larger than it may be, and is what it says of itself."""

import pytest

from suite import checks
from suite.gates import check_size, check_static, enforce
from suite.record import Stage


@pytest.mark.conversion
def test_conversion(case, artifact, lab, limits, recorder):
    path, facts = artifact
    static = checks.static(lab, case, path)
    recorder.add(artifact=facts, static=static)
    recorder.said = f"{facts.size_bytes / 1e6:.2f} MB"
    enforce([*check_size(facts, limits[1]), *check_static(static, case.variant.name)], Stage.CONVERT)
