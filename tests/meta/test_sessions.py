"""Sessions on this machine: what hung or crashed once is not waited for again, and nothing else suffers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from suite import runtimes
from suite.devices.fleet import Fleet
from suite.errors import CaseError, WorkerCrashed
from suite.record import Stage
from suite.runtimes import Engine, Pool
from suite.runtimes.base import TensorInfo
from suite.sessions import Sessions, _check_fixed
from suite.spec import Target

MOODY = Target("host", "moody")
OTHER = Target("host", "moody-too")
FACTORY = "tests.meta.misbehaviour:Moody"


@pytest.fixture
def sessions(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sessions]:
    """With two engines that do as the file says, and note each time that they open it."""
    engines = {target.engine: Engine(FACTORY, target.engine, "none") for target in (MOODY, OTHER)}
    monkeypatch.setattr(runtimes, "ENGINES", {**runtimes.ENGINES, **engines})
    monkeypatch.setattr(runtimes, "RUN_SECONDS", 2.0)
    return Sessions(pool, Fleet())


def artifact(folder: Path, mood: str) -> Path:
    path = folder / f"{mood or 'good'}.tflite"
    path.write_text(mood)
    return path


def opened(path: Path) -> int:
    return len(path.with_suffix(".opened").read_text())


def ask(sessions: Sessions, path: Path, target: Target = MOODY, **more: object) -> object:
    with sessions.open(target, path, 1, **more) as session:  # type: ignore[arg-type]
        return session.run_many({})


def test_a_good_artifact_is_opened_each_time(sessions: Sessions, tmp_path: Path) -> None:
    path = artifact(tmp_path, "")
    assert [ask(sessions, path), ask(sessions, path, fresh=True)] == [{}, {}]
    assert opened(path) == 2


def test_an_artifact_that_is_known_by_its_hash_stays_open_until_another_is(
    sessions: Sessions, tmp_path: Path
) -> None:
    path, other = artifact(tmp_path, ""), artifact(tmp_path, "good too")
    assert [ask(sessions, path, sha256="1"), ask(sessions, path, sha256="1")] == [{}, {}]
    assert opened(path) == 1
    ask(sessions, path, sha256="2")  # the file is another
    assert opened(path) == 2
    ask(sessions, path, OTHER, sha256="2")  # which leaves the other engine's open
    ask(sessions, path, sha256="2")
    assert opened(path) == 3
    ask(sessions, other)  # in the same worker, and nobody told
    assert ask(sessions, path, sha256="2") == {}
    assert opened(path) == 4
    with sessions.open(MOODY, path, 2, sha256="2") as session:  # threads
        assert opened(path) == 5
        assert session.is_open  # type: ignore[union-attr]


def test_one_that_was_kept_by_a_worker_that_died_is_opened_again(
    sessions: Sessions, pool: Pool, tmp_path: Path
) -> None:
    path = artifact(tmp_path, "")
    ask(sessions, path, sha256="1")
    pool.worker("moody").close()
    assert ask(sessions, path, sha256="1") == {}
    assert opened(path) == 2


def test_one_that_failed_is_not_kept(sessions: Sessions, tmp_path: Path) -> None:
    path = artifact(tmp_path, "fail")
    for _ in range(2):
        with pytest.raises(CaseError, match="not today"):
            ask(sessions, path, sha256="1")
    assert opened(path) == 2


def test_a_timed_session_is_never_one_that_was_kept(sessions: Sessions, tmp_path: Path) -> None:
    path = artifact(tmp_path, "")
    ask(sessions, path, sha256="1")
    ask(sessions, path)  # as speed() opens it
    ask(sessions, path, fresh=True)
    assert opened(path) == 3


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize(
    ("mood", "words", "stage"),
    [
        ("hang", "moody did not answer within 2 s", Stage.RUN),
        ("segfault", "moody was ended by SIGSEGV", Stage.RUN),
        ("segfault at once", "moody was ended by SIGSEGV", Stage.LOAD),
    ],
)
def test_what_died_once_fails_at_once_for_the_same_reason(
    sessions: Sessions, tmp_path: Path, mood: str, words: str, stage: Stage, fresh: bool
) -> None:
    path = artifact(tmp_path, mood)
    endings = []
    for _ in range(3):
        with pytest.raises(WorkerCrashed, match=words) as caught:
            ask(sessions, path, fresh=fresh)
        endings.append((str(caught.value), caught.value.stage))
    assert opened(path) == 1
    assert endings == [endings[0]] * 3
    assert endings[0][1] is stage
    with pytest.raises(WorkerCrashed, match=words), sessions.watched(MOODY, path):
        raise AssertionError("begun nevertheless")


def test_another_artifact_and_another_engine_are_tried(sessions: Sessions, tmp_path: Path) -> None:
    bad, good = artifact(tmp_path, "segfault"), artifact(tmp_path, "")
    with pytest.raises(WorkerCrashed):
        ask(sessions, bad)
    assert ask(sessions, good) == {}
    with pytest.raises(WorkerCrashed, match="moody-too was ended"):
        ask(sessions, bad, OTHER)
    bad.write_text("")  # converted anew, under the same name
    assert ask(sessions, bad) == {}


def test_an_ordinary_failure_is_tried_again(sessions: Sessions, tmp_path: Path) -> None:
    path = artifact(tmp_path, "fail")
    for _ in range(2):
        with pytest.raises(CaseError, match="not today"):
            ask(sessions, path)
    assert opened(path) == 2


def test_the_death_of_another_process_is_not_held_against_the_artifact(
    sessions: Sessions, pool: Pool, tmp_path: Path
) -> None:
    path = artifact(tmp_path, "")
    with pytest.raises(WorkerCrashed, match="TensorFlow was ended"), sessions.open(MOODY, path, 1):
        pool.worker("TensorFlow").call("tests.meta.misbehaviour:segfault", stage=Stage.BUILD, timeout=30)
    assert ask(sessions, path) == {}


def test_a_phone_that_went_away_may_come_back(sessions: Sessions, tmp_path: Path) -> None:
    phone = Target("android:R58", "xnnpack")
    for _ in range(2):
        with pytest.raises(WorkerCrashed, match="unplugged"), sessions.watched(phone, artifact(tmp_path, "")):
            raise WorkerCrashed("unplugged", stage=Stage.RUN)


def test_phones_are_given_files_of_fixed_sizes() -> None:
    fixed = TensorInfo(name="image", shape=(1, 8, 8, 3), dtype="float32")
    _check_fixed((fixed,))
    free = TensorInfo(name="photo", shape=(1, -1, -1, 3), dtype="float32")
    with pytest.raises(CaseError, match="leaves sizes of its input photo free"):
        _check_fixed((fixed, free))
