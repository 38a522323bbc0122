"""Each artifact answers as its original does, number by number."""

import pytest

from suite.gates import check_parity
from suite.plugin import enforce
from suite.record import Stage


@pytest.mark.parity
def test_parity(case, artifact, lab, limits, recorder):
    path, facts = artifact
    parity = lab.parity(case, path, facts.sha256)
    recorder.add(artifact=facts, parity=parity)
    recorder.said = f"{parity.real.sqnr_db:.1f} dB"
    enforce(check_parity(parity, limits[0]), Stage.COMPARE)
