"""Each artifact answers as its original does, number by number; a failure says where it comes in."""

import pytest

from suite import checks
from suite.disagreements import case as disagreements
from suite.gates import check_parity, enforce
from suite.record import Stage


@pytest.mark.parity
def test_parity(case, artifact, lab, limits, recorder, located, pytestconfig):
    path, facts = artifact
    with located:
        parity = checks.parity(lab, case, path, facts.sha256)
        recorder.add(artifact=facts, parity=parity)
        recorder.said = f"{parity.real.sqnr_db:.1f} dB"
        disagreements.record(lab, case, path, facts.sha256, recorder, pytestconfig.option.seek)
        enforce(check_parity(parity, limits[0]), Stage.COMPARE)
