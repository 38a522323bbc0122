"""Good conversions under many seeds: each is another one, and an alarm is told with its seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from suite import generated, seeded
from suite.cache import Cache
from suite.data import digits
from suite.data.drawn import Drawn
from suite.discovery import BUNDLED, discover
from suite.errors import CaseError
from suite.gates import Finding, Gate
from suite.matrix import Case, Request, cases
from suite.record import Stage
from suite.seeded import AS_IT_IS, SeededLab
from suite.thresholds import Thresholds


@pytest.fixture(scope="module")
def lab(shared_cache: Cache) -> Iterator[SeededLab]:
    made = SeededLab(shared_cache, Thresholds())
    yield made
    made.close()


@pytest.fixture(scope="module")
def chosen() -> list[Case]:
    """The small net in float32 and int8."""
    return cases(discover(BUNDLED), Request(profile="smoke", models=("digits_cnn",)))


def test_a_seed_is_another_checkpoint_other_samples_and_other_inputs(
    lab: SeededLab, chosen: list[Case]
) -> None:
    case = next(case for case in chosen if case.variant.name == "int8")
    seen = []
    for seed in (AS_IT_IS, 1, 2, 1):
        lab.reseed(seed)
        subject = lab.subject(case.spec)
        feeds = subject.feeds
        seen.append(
            (
                subject.original.card.content,
                lab.artifact(case)[1].sha256,
                feeds.calibration().sha256,
                feeds.evaluation().sha256,
                feeds.generated().sha256,
            )
        )
    lab.reseed(AS_IT_IS)
    assert seen[1] == seen[3]
    assert all(len(set(column)) == 3 for column in zip(*seen, strict=True))


def test_drawn_samples_are_as_many_real_and_kept_apart() -> None:
    data = digits.load()
    one, other = Drawn(data, 1), Drawn(data, 2)
    held_out, calibrated = one.evaluation(), one.calibration(64)
    assert (len(held_out), len(calibrated)) == (240, 64)
    assert held_out.labels is not None
    known = {
        image.tobytes(): label
        for part in (data.train(), data.evaluation())
        for image, label in zip(part.images, part.labels, strict=True)
    }
    assert all(
        known[image.tobytes()] == label for image, label in zip(held_out.images, held_out.labels, strict=True)
    )
    places = set(one._order[:256])
    assert not places & set(one._order[256:])
    assert not np.array_equal(calibrated.images, other.calibration(64).images)
    assert not np.array_equal(held_out.images, other.evaluation().images)
    assert one.sha256() not in (other.sha256(), data.sha256())


def test_generated_inputs_keep_their_corners_under_any_seed() -> None:
    usual, drawn = generated.patterns(), generated.patterns(seed=5)
    assert usual[: len(generated.CORNERS)] == drawn[: len(generated.CORNERS)]
    assert set(usual) != set(drawn)
    assert drawn == generated.patterns(seed=5)


def test_all_cases_take_turns() -> None:
    asked = cases(discover(BUNDLED), Request(profile="smoke", variants=("float32", "mlprogram_float16")))
    planned = seeded.plan(asked, 100)
    assert all(len({case.spec.name for case in own}) == 1 for _, own in planned)
    assert [case for number, own in planned if number == AS_IT_IS for case in own] == asked
    runs = [(number, case.id) for number, own in planned if number != AS_IT_IS for case in own]
    assert len(set(runs)) == len(runs) == 100
    times = Counter(name for _, name in runs)
    assert set(times) == {case.id for case in asked}
    light = [count for name, count in times.items() if name.startswith("digits")]
    heavy = [count for name, count in times.items() if not name.startswith("digits")]
    assert max(light) - min(light) <= 1
    assert max(heavy) - min(heavy) <= 1
    assert 3 * (min(heavy) - 1) <= min(light) <= 3 * max(heavy)


def test_a_case_that_may_lose_accuracy_is_judged_as_it_is_and_not_seeded() -> None:
    asked = cases(
        discover(BUNDLED), Request(models=("densenet121", "resnet50"), variants=("float32", "int8"))
    )
    planned = seeded.plan(asked, 9)
    assert {case.id for number, own in planned if number == AS_IT_IS for case in own} == {
        case.id for case in asked
    }
    drawn = [case.id.rpartition("/host")[0] for number, own in planned if number != AS_IT_IS for case in own]
    assert set(drawn) == {"densenet121/float32", "resnet50/float32", "resnet50/int8"}
    assert len(drawn) == 9
    alone = [case for case in asked if case.id.startswith("densenet121/int8")]
    assert [len(own) for number, own in seeded.plan(alone, 2) if number != AS_IT_IS] == [1, 1]


def test_as_many_runs_as_are_asked_for(chosen: list[Case]) -> None:
    for runs in (1, 2, 3, 5):
        planned = seeded.plan(chosen, runs, seed=70)
        assert sum(len(own) for number, own in planned if number != AS_IT_IS) == runs
        assert {number for number, _ in planned} <= {AS_IT_IS, 71, 72, 73}


def test_an_alarm_names_its_case_and_seed(lab: SeededLab, chosen: list[Case]) -> None:
    def judge(case: Case) -> list[Finding]:
        if lab.seed == 2:
            return [Finding(gate=Gate.PARITY, message="too far")]
        if lab.seed == 3 and case.variant.name == "int8":
            raise CaseError("it broke", stage=Stage.RUN)
        return []

    names = [case.id for case in chosen]
    assert list(seeded.alarms(lab, AS_IT_IS, chosen, judge)) == []
    assert list(seeded.alarms(lab, 2, chosen, judge)) == [
        (f"{name}, seed 2: too far", False) for name in names
    ]
    assert list(seeded.alarms(lab, 3, chosen, judge)) == [(f"{names[1]}, seed 3: it broke", True)]
    lab.reseed(AS_IT_IS)
