"""The gate catches planted faults, and `prove` fails where a gate is blind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from suite import prove
from suite.__main__ import main
from suite.cache import default_cache
from suite.converters.flatbuffer import Flatbuffer
from suite.discovery import BUNDLED, discover
from suite.errors import CaseError, StagedError, WorkerCrashed, WorkerStopped
from suite.faults import FAULTS, Fault, Inapplicable, select
from suite.faulty import FaultyLab
from suite.glance import ROOM_DB, Widened
from suite.lab import Lab
from suite.matrix import Request, cases
from suite.prove import Outcome, Proof, _shared
from suite.record import Check, Stage, Status
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


def _proof(
    *endings: str | None, alarms: tuple[str, ...] = (), errors: tuple[str, ...] = (), **words: bool
) -> Proof:
    outcomes = tuple(
        Outcome(name="x", family="y", model="m", variant="v", killed_by=one, message="", **words)
        for one in endings
    )
    return Proof(outcomes=outcomes, good_runs=1, alarms=alarms, errors=errors)


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
    for neither in ("equivalent", "not_exercised", "broken"):  # nothing was put to the gate
        assert _proof(None, **{neither: True}).kill_rate is None
        assert not _proof(None, **{neither: True}).holds
    assert not _proof("parity", errors=("a worker was killed",)).holds


def test_what_is_not_known_is_counted_apart() -> None:
    caught, unseen, stopped = (
        _proof("parity").outcomes,
        _proof(None, not_exercised=True).outcomes,
        _proof(None, broken=True).outcomes,
    )
    found = Proof(outcomes=(*caught, *unseen), good_runs=1, alarms=())
    assert found.holds
    said = found.as_json()
    assert (said["kill_rate"], said["equivalent"], said["not_exercised"], said["errors"]) == (1.0, 0, 1, [])
    found = Proof(outcomes=(*caught, *stopped), good_runs=1, alarms=())
    assert found.kill_rate == 1.0
    assert not found.holds
    assert len(found.as_json()["errors"]) == 1


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


@pytest.fixture
def lab() -> Iterator[FaultyLab]:
    made = FaultyLab(default_cache(), Thresholds())
    yield made
    made.close()


def _put(lab: FaultyLab, tmp_path: Path, fault: Fault) -> Outcome:
    case = next(iter(cases(discover(BUNDLED), Request(profile="smoke", models=("digits_cnn",)))))
    return prove.put(lab, case, fault, lab.artifact(case)[0], [], tmp_path)


def _described(data: bytes) -> bytes:
    """Another file, of which no answer can tell."""
    model = Flatbuffer(data)
    model.model.description = b"by hand"
    return model.pack()


def test_what_no_sample_shows_is_not_called_equivalent(lab: FaultyLab, tmp_path: Path) -> None:
    found = _put(lab, tmp_path, Fault(name="described", family="weights", what="", alter=_described))
    assert (found.ending, found.equivalent, found.counted) == ("not exercised", False, False)
    assert "of this run" in found.message
    (symmetric,) = select(("mean_order_wrong",))  # all channels of this net are centred alike
    found = _put(lab, tmp_path, symmetric)
    assert (found.ending, found.not_exercised) == ("equivalent", False)


ENDINGS = [
    (WorkerStopped("it did not answer within 900 s", stage=Stage.RUN), "ERROR"),
    (StagedError("no space is left", stage=Stage.RUN), "ERROR"),
    (CaseError("a file is missing", stage=Stage.BUILD, status=Status.ERROR), "ERROR"),
    (WorkerCrashed("it was ended by SIGSEGV", stage=Stage.LOAD), "parity"),
    (CaseError("no such operator", stage=Stage.LOAD), "parity"),
]


@pytest.mark.parametrize(("error", "ending"), ENDINGS, ids=lambda one: str(one))
def test_what_the_machine_did_is_no_kill(
    lab: FaultyLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: StagedError, ending: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setitem(prove._MEASURES, Check.PARITY, fail)
    (fault,) = select(("softmax_doubled",))
    monkeypatch.setitem(prove._MEASURES, Check.CONVERSION, lambda *_: None)  # it sees this one before
    assert _put(lab, tmp_path, fault).ending == ending


def test_a_time_out_after_all_checks_is_no_kill_either(
    lab: FaultyLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise WorkerStopped("it was killed", stage=Stage.RUN)

    monkeypatch.setattr(prove, "_equal_to_the_bit", stop)
    found = _put(lab, tmp_path, Fault(name="described", family="weights", what="", alter=_described))
    assert (found.ending, found.message) == ("ERROR", "it was killed")


UNLABELLED = """
from suite.spec import ImageInput, ModelSpec

def build(weights):
    import keras
    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    x = keras.layers.Flatten()(x)
    scores = keras.layers.Dense(10, name="scores")(x)
    return keras.Model(image, {answers})

SPEC = ModelSpec(build=build, input=ImageInput(height=16, width=16, preprocessing="tf"),
                 labels=tuple({labels!r}), profiles=("smoke",))
"""
ANSWERS = {"unlabelled": "scores", "two_outputs": "[scores, keras.layers.Dense(3, name='box')(x)]"}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_model_without_labels_or_with_two_answers_is_proven_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blind: Callable[[], Path], name: str
) -> None:
    monkeypatch.setenv("POCKETPROOF_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / f"{name}.py").write_text(
        UNLABELLED.replace("{answers}", ANSWERS[name]).replace(
            "{labels!r}", "'abcdefghij'" if name == "unlabelled" else "()"
        )
    )
    options = ["--variants=float32", "--good-runs=1", f"--fixtures-dir={folder}"]
    faults = "layer_transposed,off_by_one,channels_exchanged"

    def run(place: str, *more: str) -> tuple[int, dict]:
        status = main(["prove", *options, f"--faults={faults}", f"--report-dir={tmp_path / place}", *more])
        return status, json.loads((tmp_path / place / "prove.json").read_text())

    status, found = run("seen")
    assert (status, found["kill_rate"], found["false_alarms"], found["errors"]) == (0, 1.0, 0, [])
    assert {one["name"] for one in found["faults"]} == {"layer_transposed", "channels_exchanged"}
    (left,) = found["not_planted"]
    assert left["name"] == "off_by_one"
    assert ("no labels" if name == "unlabelled" else "one vector of scores") in left["message"]
    status, found = run("blind", f"--config={blind()}")
    assert (status, found["kill_rate"]) == (1, 0.0)  # and no longer filed as not planted


def test_threads_outlive_what_they_started() -> None:
    """A worker is killed with the thread that started it."""
    started: list[threading.Thread] = []
    with _shared([object(), object()]) as shared:
        shared(lambda lab: started.append(threading.current_thread()), [()] * 4)
        assert all(thread.is_alive() for thread in started)
        assert shared(lambda lab, number: number + 1, [(1,), (2,), (3,)]) == [2, 3, 4]


def test_in_turns_each_fault_comes_in_one_of_so_many_cases() -> None:
    turns = [prove.in_turn(FAULTS, 4, turn) for turn in range(4)]
    assert sorted(fault.name for turn in turns for fault in turn) == sorted(fault.name for fault in FAULTS)
    assert max(map(len, turns)) - min(map(len, turns)) <= 1
    assert prove.in_turn(FAULTS, 4, 4) == turns[0]
    assert prove.in_turn(FAULTS, 1, 3) == list(FAULTS)


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


@pytest.mark.parametrize("option", ["--one-in", "--good-runs"])
def test_a_proof_of_nothing_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--models=digits_cnn", option, "0"]) == 2
    assert f"{option} 0: expected 1 or more" in capsys.readouterr().err


def test_a_sample_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = _run(tmp_path, "--faults=layer_zeroed,truncated", "--one-in=2", "--good-runs=1")
    assert (status, found["one_in"], len(found["faults"])) == (0, 2, 1)
    assert "(a sample: each fault in one of 2 cases)" in capsys.readouterr().out


def test_an_unknown_fault_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prove", "--faults=layer_zero"]) == 2
    assert "layer_zeroed" in capsys.readouterr().err
