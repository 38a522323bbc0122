"""An app that does what each artifact tells comes from a photo to the same label as the fixture does."""

import pytest

from suite import checks
from suite.gates import check_contract, enforce
from suite.record import Stage


@pytest.mark.contract
def test_contract(case, artifact, lab, limits, recorder):
    path, facts = artifact
    contract = checks.contract(lab, case, path, facts.sha256)
    recorder.add(artifact=facts)
    if isinstance(contract, str):
        recorder.without(contract=contract)
        pytest.skip(contract)
    recorder.add(contract=contract)
    recorder.notes = (*recorder.notes, *contract.gaps)
    recorder.said = f"{contract.photos} photos, {contract.labels} labels"
    enforce(check_contract(contract, limits[1]), Stage.COMPARE)
