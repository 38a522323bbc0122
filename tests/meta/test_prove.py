"""The gate catches planted faults, and `prove` fails where a gate is blind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from suite import prove
from suite.__main__ import main
from suite.cache import default_cache
from suite.discovery import BUNDLED, discover
from suite.faults import FAULTS, Inapplicable
from suite.glance import ROOM_DB, Widened
from suite.lab import Lab
from suite.matrix import Request, cases
from suite.prove import Outcome, Proof, _shared
from suite.record import Check
from suite.spec import ExpectedFailure
from suite.thresholds import Thresholds

FILE_FAULTS = [fault for fault in FAULTS if fault.alter is not None]


@pytest.fixture(scope="module")
def good() -> list[bytes]:
    """The small net in float32 and int8."""
    request = Request(profile="smoke", models=("digits_cnn",))
    lab = Lab(default_cache(), Thresholds())
    found = [lab.artifact(case)[0].read_bytes() for case in cases(discover(BUNDLED), request)]
    lab.close()
    return found


def _proof(*endings: str | None, alarms: tuple[str, ...] = (), equivalent: bool = False) -> Proof:
    outcomes = tuple(
        Outcome(
            name="x", family="y", model="m", variant="v", killed_by=one, message="", equivalent=equivalent
        )
        for one in endings
    )
    return Proof(outcomes=outcomes, good_runs=1, alarms=alarms)


@pytest.mark.parametrize("fault", FILE_FAULTS, ids=lambda fault: fault.name)
def test_a_fault_changes_the_file_and_little_of_its_size(fault, good) -> None:
    changed = 0
    for before in good:
        try:
            faulty = fault.alter(before)
        except Inapplicable:
            continue
        assert faulty != before
        assert len(faulty) < len(before) + 10_000
        changed += 1
    if not changed:  # a network without such a layer
        assert fault.name in {"skip_dropped", "pooling_exchanged", "relu6_without_its_bound", "range_clipped",
                              "padding_exchanged", "padding_on_the_other_side", "softmax_missing",
                              "means_reversed"}  # fmt: skip


def test_a_proof_holds_only_if_every_fault_is_caught_and_nothing_good_is() -> None:
    assert _proof("parity", "accuracy").holds
    assert not _proof("parity", None).holds
    assert _proof("parity", None).kill_rate == 0.5
    assert not _proof("parity", alarms=("one",)).holds
    assert not _proof().holds
    assert not _proof(None, equivalent=True).holds  # nothing was put to the gate


def test_what_shows_on_few_samples_has_to_be_plain() -> None:
    for variant in ("float32", "float16", "int8"):
        bounds, _ = Thresholds().resolve("any", variant)
        widened, budget = Widened.of(Thresholds()).resolve("any", variant)
        assert budget == Thresholds().resolve("any", variant)[1]
        assert widened.min_sqnr_db == bounds.min_sqnr_db - ROOM_DB
        assert 1 - widened.min_cosine == pytest.approx((1 - bounds.min_cosine) * 10 ** (ROOM_DB / 10))
        assert widened.min_top1_agreement is None  # one of eight is an eighth
        if bounds.max_scaled_diff is not None:
            assert widened.max_scaled_diff == pytest.approx(2 * bounds.max_scaled_diff, rel=0.01)
        if bounds.floor_margin_db is not None:
            assert widened.floor_margin_db == bounds.floor_margin_db + ROOM_DB


def test_what_is_known_to_fail_on_the_good_conversion_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Check] = []
    recording = {
        check: lambda lab, case, recorder, check=check: measured.append(check)
        for check in (Check.CONVERSION, Check.PARITY, Check.ACCURACY)
    }
    monkeypatch.setattr(prove, "_MEASURES", recording)
    case = next(iter(cases(discover(BUNDLED), Request(profile="smoke", models=("digits_cnn",)))))
    known = ExpectedFailure(variant=case.variant.name, check="accuracy", reason="a finding", owner="us")
    for expected, left in (((), list(recording)), ((known,), [Check.CONVERSION, Check.PARITY])):
        measured.clear()
        spec = replace(case.spec, expected_failures=expected)
        record = prove.examine(object(), replace(case, spec=spec), tuple(Check))
        assert measured == left == list(record.checks)


def test_threads_outlive_what_they_started() -> None:
    """A worker is killed with the thread that started it."""
    started: list[threading.Thread] = []
    with _shared([object(), object()]) as shared:
        shared(lambda lab: started.append(threading.current_thread()), [()] * 4)
        assert all(thread.is_alive() for thread in started)
        assert shared(lambda lab, number: number + 1, [(1,), (2,), (3,)]) == [2, 3, 4]


PLANTED = (
    "channels_exchanged,duplicate_names,layer_transposed,softmax_doubled,truncated,folded_twice,"
    "calibrated_on_zeros,label_file_lost,labels_shuffled,normalisation_lost"
)


def _run(folder: Path, *more: str) -> tuple[int, dict]:
    arguments = ["--models=digits_cnn", "--variants=float32", f"--report-dir={folder}", *more]
    status = main(["prove", "--good-runs=3", *arguments])
    return status, json.loads((folder / "prove.json").read_text())


def test_the_gate_kills_what_is_planted_in_a_small_net(tmp_path: Path) -> None:
    status, found = _run(tmp_path)
    assert status == 0
    assert found["kill_rate"] == 1.0
    assert (found["false_alarms"], found["good_runs"]) == (0, 3)
    assert {one["name"] for one in found["faults"] if one["equivalent"]} <= {"mean_order_wrong"}
    early = {one["name"] for one in found["faults"] if one["at_a_glance"]}
    assert {"channels_exchanged", "layer_zeroed", "truncated"} <= early


def test_a_blind_gate_makes_the_command_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], blind: Callable[[], Path]
) -> None:
    status, found = _run(tmp_path, f"--config={blind()}", f"--faults={PLANTED}")
    assert status == 1
    survived = {one["name"] for one in found["faults"] if one["killed_by"] is None}
    assert {"channels_exchanged", "layer_transposed", "duplicate_names"} <= survived
    assert not survived & {"truncated", "label_file_lost", "labels_shuffled", "normalisation_lost"}
    assert "SURVIVED: layer_transposed in digits_cnn/float32" in capsys.readouterr().out


@pytest.fixture
def blind(tmp_path: Path) -> Callable[[], Path]:
    """Thresholds that hold nothing."""

    def write() -> Path:
        bounds = (
            "max_scaled_diff", "min_cosine", "min_sqnr_db", "min_top1_agreement",
            "generated_min_cosine", "generated_min_sqnr_db", "max_accuracy_drop",
        )  # fmt: skip
        lines = [f'{name} = "unbounded"' for name in bounds]
        path = tmp_path / "blind.toml"
        path.write_text("\n".join(["[tool.pocketproof.thresholds.float32]", *lines]))
        return path

    return write


def test_an_unknown_fault_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--faults=layer_zero"]) == 2
    assert "layer_zeroed" in capsys.readouterr().err
