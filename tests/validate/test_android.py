"""Each artifact answers on a phone as it does on this machine; the other tests hold both to the original."""

import pytest

from suite import checks
from suite.gates import check_host, enforce
from suite.record import Stage


@pytest.mark.android
@pytest.mark.host_parity
def test_host_parity(case, artifact, lab, limits, recorder, located):
    path, facts = artifact
    with located:
        parity = checks.host_parity(lab, case, path, facts.sha256)
        recorder.add(artifact=facts, host_parity=parity)
        steps = f", {parity.max_steps:.2g} steps" if parity.max_steps is not None else ""
        recorder.said = f"{parity.real.sqnr_db:.1f} dB{steps}"
        enforce(check_host(parity, limits[0]), Stage.COMPARE)
