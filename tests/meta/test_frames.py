"""What a camera-paced run says, by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from suite import frames
from suite.frames import Verdict
from suite.gates import check_realtime
from suite.gates.cautions import cautions, told
from suite.record.camera import RealTime, Stream
from suite.spec import Budget
from suite.stats import Soundness
from suite.thresholds import Thresholds
from tests.meta import records

MS = 1_000_000


def stream(**changes: Any) -> Stream:
    """Ten frames a second, ten of them: four answered within 50 ms each, one late."""
    made = Stream(
        threaded=True,
        fps=10.0,
        offered=10,
        taken=(
            (0, 1 * MS, 10 * MS, 30 * MS, 10 * MS),
            (2, 201 * MS, 10 * MS, 30 * MS, 10 * MS),
            (4, 401 * MS, 10 * MS, 130 * MS, 10 * MS),
            (6, 601 * MS, 10 * MS, 30 * MS, 10 * MS),
        ),
        shown_ns=tuple(round(k * 100 * MS) + (2 * MS if k == 5 else 0) for k in range(10)),
        wall_ns=1000 * MS,
        cpu_ns=1500 * MS,
    )
    return replace(made, **changes)


def both(alone: float, beside: float, displayed: float = 30.0, others: int | None = None) -> RealTime:
    """Answers a second in the callback, and beside it with so many pictures; over ten seconds of 30 fps."""

    def scheme(threaded: bool, rate: float, shown: float) -> Stream:
        taken = tuple((k, k * MS, MS, MS, MS) for k in range(round(rate * 10)))
        times = tuple(k * MS for k in range(round(shown * 10)))
        return Stream(
            threaded=threaded,
            fps=30.0,
            offered=300,
            taken=taken,
            shown_ns=times,
            wall_ns=10_000 * MS,
            cpu_ns=0,
            others_cpu_ns=others,
            cores=2,
        )

    schemes = (scheme(False, alone, alone), scheme(True, beside, displayed))
    return RealTime(fps=30.0, threads=2, frame="480x640x3", schemes=schemes)


def test_every_number_by_hand() -> None:
    seen = frames.summarise(stream())
    assert (seen.displayed_fps, seen.processed_fps) == (10, 4)
    assert (seen.offered, seen.processed, seen.dropped, seen.deadline_misses) == (10, 4, 6, 1)
    assert seen.latency_p50_ms == 51
    assert seen.latency_p95_ms == pytest.approx(51 + 100 * 0.85)
    assert (seen.preprocess_ms, seen.infer_ms, seen.postprocess_ms) == (10, 30, 10)
    assert seen.jitter_ms == pytest.approx(2.0)  # two of nine gaps are 2 ms off
    assert seen.pacing_p95_ms == pytest.approx(2 * 0.55)
    assert seen.cpu_percent == 150


def test_the_window_grows_with_an_answer_that_ends_beyond_it() -> None:
    late = stream(taken=((9, 950 * MS, 0, 1050 * MS, 0),))
    assert frames.summarise(late).processed_fps == 0.5


def test_a_run_without_answers_has_no_latency_rather_than_none_at_all() -> None:
    seen = frames.summarise(stream(taken=(), shown_ns=()))
    assert (seen.latency_p95_ms, seen.jitter_ms, seen.infer_ms, seen.pacing_p95_ms) == (None,) * 4
    assert (seen.processed_fps, seen.dropped) == (0, 10)


@pytest.mark.parametrize(
    ("run", "word"),
    [
        (both(30, 30), Verdict.YES),
        (both(28.6, 28.6), Verdict.YES),
        (both(28, 20), Verdict.WITH_THREADS),
        (both(8, 8), Verdict.WITH_THREADS),
        (both(0.7, 0.7), Verdict.NO),
        (both(8, 8, displayed=25), Verdict.NO),
        (both(0, 0), Verdict.NO),
    ],
)
def test_the_verdict(run: RealTime, word: Verdict) -> None:
    assert frames.verdict(run) is word
    assert frames.sentence(run) == f"real time at 30 fps: {word}"


def late(run: RealTime, milliseconds: float) -> RealTime:
    """The same, with a camera that was late itself in one picture of ten."""
    period = 1e9 / run.fps
    schemes = tuple(
        replace(
            scheme,
            shown_ns=tuple(
                round(k * period + (milliseconds * MS if k % 10 == 0 else 0)) for k in range(scheme.offered)
            ),
        )
        if scheme.threaded
        else scheme
        for scheme in run.schemes
    )
    return replace(run, schemes=schemes)


BUSY = 2_000 * MS + 1  # of ten seconds on two cores


@pytest.mark.parametrize(
    ("run", "sound", "words"),
    [
        (both(8, 9), Soundness.SOUND, ""),
        (both(8, 9, others=BUSY - 1), Soundness.SOUND, ""),
        (both(8, 9, others=BUSY), Soundness.CONTAMINATED, "other processes took 10 % of the machine"),
        (replace(both(8, 9), contaminated="the phone was hot"), Soundness.CONTAMINATED, "the phone was hot"),
        (late(both(8, 9), 3.3), Soundness.SOUND, ""),
        (late(both(8, 9), 3.4), Soundness.UNSTABLE, "the camera itself was 3.4 ms late at p95 with threads"),
    ],
)
def test_a_run_that_can_hardly_carry_its_verdict_is_marked(
    run: RealTime, sound: Soundness, words: str
) -> None:
    found, why = frames.soundness(run)
    assert found is sound
    assert words in why
    assert frames.sentence(run).endswith("with threads" if sound is Soundness.SOUND else f" ({sound})")


def test_a_budget_in_frames_a_second_is_held() -> None:
    asked = Budget(min_processed_fps=10)
    assert check_realtime(both(12, 11), asked) == []
    (found,) = check_realtime(both(8, 9), asked)
    assert "processed fps: obtained 9, expected at least 10" in found.message
    assert not found.inconclusive
    assert check_realtime(both(8, 9), Budget()) == []


@pytest.mark.parametrize("doubtful", [both(8, 9, others=BUSY), late(both(8, 9), 20)])
def test_a_run_in_doubt_breaks_a_budget_inconclusively_and_keeps_it_for_certain(doubtful: RealTime) -> None:
    (found,) = check_realtime(doubtful, Budget(min_processed_fps=10))
    assert found.inconclusive
    assert "Inconclusive, because the run is " in found.message
    assert "measure again" in found.message
    assert check_realtime(doubtful, Budget(min_processed_fps=5)) == []


def test_a_verdict_in_doubt_is_a_warning_unless_the_model_keeps_up_all_the_same() -> None:
    def warned(run: RealTime) -> list[str]:
        return told(cautions([replace(records.passed(), realtime=run)], Thresholds()))

    (warning,) = warned(both(8, 9, others=BUSY))
    assert "the verdict on real time is contaminated. End other processes" in warning
    assert warned(both(30, 30, others=BUSY)) == warned(both(8, 9)) == []


@pytest.mark.parametrize("nothing", [None, replace(both(1, 1), schemes=()), both(0, 0)])
def test_nothing_seen_is_no_pass(nothing: RealTime | None) -> None:
    (found,) = check_realtime(nothing, Budget())
    assert "proves nothing" in found.message
