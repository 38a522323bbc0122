"""Each artifact for minutes on end, with --sustained: the ranking at minute 1 is not that at minute 30."""

import pytest

from suite import measurements


@pytest.mark.benchmark
def test_sustained(case, artifact, lab, recorder, pytestconfig):
    path, facts = artifact
    sustained = measurements.sustained(lab, case, path, pytestconfig.option.sustained)
    recorder.add(artifact=facts, sustained=sustained)
    if not sustained.temperatures:
        recorder.without(thermal=sustained.reasons.get("temperatures", "this machine shows no sensor"))
    rate = sum(sustained.inferences) / sum(sustained.window_ns) * 1e9
    recorder.said = f"{rate:.1f} inferences a second over {pytestconfig.option.sustained:g} minutes"
