"""The session that runs Core ML itself, by MLModel, with the evaluator in the framework's place."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import numpy as np
import pytest

from suite.runtimes.coreml_evaluator import open_session
from tests.meta.coreml.conftest import Fixture

SESSION = """
import sys
from pathlib import Path
import numpy as np
from suite.coreml import proxy
from suite.errors import PocketproofError
from suite.runtimes.base import TimingPolicy
from suite.runtimes.coreml import open_session

path, given, answers = map(Path, sys.argv[1:4])
photos = np.load(given)
with proxy.installed():
    session = open_session(path, 2, "CPU_AND_NE")
    many = session.run_many({"image": photos})
    one = session.run({"image": photos[0]})
    policy = TimingPolicy(min_runs=3, min_seconds=0, warmup_min_seconds=0)
    timing = session.time({"image": photos[:1]}, policy)
    assert len(timing.samples_ns) >= 3 and timing.load_ns > 0
    assert session.memory({"image": photos[:1]}, 2).peak_bytes > 0
    name = session.outputs[0].name
    np.testing.assert_array_equal(one[name], many[name][0])
    np.save(answers, many[name])
    session.close()
    session.close()
    try:
        session.run({"image": photos[0]})
    except PocketproofError as error:
        print(error)
"""


@pytest.mark.parametrize("variant", ["mlprogram_float16", "neuralnetwork"])
def test_it_answers_what_the_evaluator_answers(
    photo: Callable[[str], Fixture],
    script: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: object,
    variant: str,
) -> None:
    path, _ = photo("caffe").convert(variant)
    photos = np.random.default_rng(1).integers(0, 256, (3, 20, 24, 3)).astype(np.uint8)
    np.save(f"{tmp_path}/photos.npy", photos)
    done = script(SESSION, path, f"{tmp_path}/photos.npy", f"{tmp_path}/answers.npy")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the session is closed: open the artifact again" in done.stdout
    here = open_session(path, 1)
    expected = next(iter(here.run_many({"image": photos}).values()))
    np.testing.assert_allclose(np.load(f"{tmp_path}/answers.npy"), expected, rtol=0, atol=1e-6)


def test_a_file_that_is_none_is_refused_as_that(
    script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: object
) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom suite.errors import CaseError\n"
        "from suite.runtimes.coreml import open_session\n"
        "try:\n    open_session(Path(sys.argv[1]), 1, 'ALL')\nexcept CaseError as error:\n    print(error)\n"
    )
    file = f"{tmp_path}/model.mlmodel"
    with open(file, "w") as stream:  # noqa: PTH123
        stream.write("<html>")
    done = script(code, file)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "model.mlmodel is damaged" in done.stdout
