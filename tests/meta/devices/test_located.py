"""A phone that answers wrongly fails, and is named as where the difference comes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from suite import checks
from suite.cache import default_cache
from suite.devices import session
from suite.devices.bundle import Bundle, bundle
from suite.devices.fleet import Fleet, Phone
from suite.devices.standin import StandIn
from suite.discovery import BUNDLED, discover
from suite.errors import CheckFailed
from suite.gates import check_host, enforce
from suite.lab import Lab
from suite.localise import located
from suite.matrix import Case, Request, cases
from suite.record import Check, Stage
from suite.recorder import Recorder
from suite.spec import Target
from suite.thresholds import Thresholds

# Runs what it is given, and moves all answers on by one score.
SHIFTED = """\
"$@"; ended=$?
cd ..; tail -c +5 output.bin > moved.bin && head -c 4 output.bin >> moved.bin && mv moved.bin output.bin
exit $ended
"""


@pytest.fixture
def on_a_phone(spare: StandIn) -> Iterator[Callable[[str], tuple[Lab, Case]]]:
    place = f"android:{spare.serial}"
    fleet = Fleet([Phone(place=place, serial=spare.serial, server=str(spare.adb))])
    lab = Lab(default_cache(), Thresholds(), phones=fleet)

    def of(variant: str) -> tuple[Lab, Case]:
        request = Request(profile="smoke", models=("digits_cnn",), variants=(variant,))
        case = next(iter(cases(discover(BUNDLED), request)))
        return lab, replace(case, target=Target(place, "xnnpack"))

    yield of
    lab.close()


def proven(lab: Lab, case: Case) -> Recorder:
    """As tests/validate/test_android.py has it."""
    recorder = Recorder(case, Check.HOST_PARITY)
    path, facts = lab.artifact(case)
    with located(lab, case, (path, facts), recorder):
        parity = checks.host_parity(lab, case, path, facts.sha256)
        enforce(check_host(parity, lab.limits(case)[0]), Stage.COMPARE)
    return recorder


@pytest.mark.parametrize("variant", ["float32", "int8"])
def test_a_phone_that_answers_wrongly_is_named(
    on_a_phone: Callable[[str], tuple[Lab, Case]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variant: str,
) -> None:
    lab, case = on_a_phone(variant)
    assert "localisation" not in proven(lab, case).sections
    (tmp_path / "shifted.sh").write_text(SHIFTED)

    def planted(abi: str) -> Bundle:
        real = bundle(abi)
        files = {**real.files, "shifted.sh": tmp_path / "shifted.sh"}
        return Bundle(files=files, command=("/system/bin/sh", "./shifted.sh", *real.command))

    monkeypatch.setattr(session, "bundle", planted)
    lab._answers = "", {}
    with pytest.raises(CheckFailed, match=r"(?s)Comes in at: device .*answers otherwise than this machine"):
        proven(lab, case)
