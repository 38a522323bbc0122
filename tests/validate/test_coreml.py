"""Core ML, on a Mac or an iPhone, answers as the evaluator does by the same artifact."""

import pytest

from suite import checks
from suite.gates import check_host, enforce
from suite.record import Stage


@pytest.mark.host_parity
def test_host_parity(case, artifact, lab, limits, recorder, located):
    path, facts = artifact
    with located:
        parity = checks.host_parity(lab, case, path, facts.sha256)
        recorder.add(artifact=facts, host_parity=parity)
        recorder.said = f"{parity.real.sqnr_db:.1f} dB"
        enforce(check_host(parity, limits[0]), Stage.COMPARE)
