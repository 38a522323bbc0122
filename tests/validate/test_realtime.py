"""Each artifact behind a camera of 30 fps: in the camera's callback, and in a thread beside it."""

import pytest

from suite import frames, measurements
from suite.benchmark import thread_counts
from suite.gates import check_realtime, enforce
from suite.record import Stage


@pytest.mark.realtime
def test_realtime(case, artifact, lab, limits, recorder):
    path, facts = artifact
    realtime = measurements.realtime(lab, case, path, thread_counts(case.target)[-1])
    recorder.add(artifact=facts, realtime=realtime)
    recorder.said = frames.sentence(realtime)
    enforce(check_realtime(realtime, limits[1]), Stage.MEASURE)
