"""How a phone is left: cleaned, with its own clocks, after its return too; else that is told."""

from __future__ import annotations

import pytest

from suite.cache import digest
from suite.devices import facts, fleet
from suite.devices.adb import DIRECTORY, PID_FILE, Device
from suite.devices.fleet import Fleet, Phone
from suite.devices.standin import StandIn
from suite.errors import StagedError
from suite.record import Stage
from suite.spec import Target
from tests.meta.devices.moments import ours
from tests.meta.devices.synthetic import asked
from tests.meta.devices.test_device_session import left_on
from tests.meta.product import Product


def test_it_is_switched_off_when_a_phone_that_was_away_at_the_end_is_back(
    synthetic: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, back = Device._answers, list[StandIn]()

    def plugged(self: Device) -> bool:
        if not back:
            back.append(synthetic.plug())
        return answers(self)

    monkeypatch.setattr(Device, "_answers", plugged)
    with Device(synthetic.serial, synthetic.adb, return_seconds=30) as device:
        device.fix_performance()
        synthetic.unplug()
    assert back
    assert device.left == ""
    assert asked(synthetic) == ["true", "false"]
    assert not ours(synthetic).exists()


def test_a_phone_that_stays_away_is_told_with_the_remedy_until_it_is_cleaned(
    synthetic: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "RETURN_SECONDS", 0.1)
    phone = Phone(place="android:x", serial=synthetic.serial, server=str(synthetic.adb))
    held = Fleet([phone], fixed_performance=True)
    held.device(Target("android:x", "xnnpack"))
    assert asked(synthetic) == ["true"]
    synthetic.unplug()
    held.close()
    note = held.left["android:x"]
    assert note.startswith(f"{synthetic.serial}: its clocks are held steady, and our files are on it still: ")
    assert f"The next run on it removes them, or: adb -s {synthetic.serial} shell 'cmd power" in note
    held.sweep()
    assert held.left, "it is away still"
    synthetic.plug()
    held.sweep()
    assert not held.left
    assert asked(synthetic) == ["true", "false"]


def test_a_phone_that_is_left_as_it_was_is_no_note(synthetic: StandIn) -> None:
    phone = Phone(place="android:x", serial=synthetic.serial, server=str(synthetic.adb))
    held = Fleet([phone])
    held.device(Target("android:x", "xnnpack"))
    held.close()
    assert not held.left
    assert asked(synthetic) == []


def test_a_phone_that_was_started_anew_is_told_again(synthetic: StandIn) -> None:
    refuses = synthetic.folder / "data" / "local" / "refuses"
    with Device(synthetic.serial, synthetic.adb) as device:
        device.fix_performance()
        refuses.write_text("20")  # its services are not there yet
        synthetic.unplug()
        synthetic.plug()
        for _ in range(2):
            with pytest.raises(StagedError):
                device.shell("true", stage=Stage.RUN)
        refuses.unlink()
        device.wait_for_return(30)
        before = asked(synthetic)
        device.shell("true", stage=Stage.RUN)
        assert asked(synthetic) == before, "once is enough"
        assert set(before) == {"true"}
        assert len(before) > 1
    assert asked(synthetic) == [*before, "false"]


def test_a_phone_whose_clocks_are_held_is_unlike_itself(synthetic: StandIn) -> None:
    with Device(synthetic.serial, synthetic.adb) as device:
        free = facts.environment(device)
        device.fix_performance()
        held = facts.environment(device)
    assert [one["device"]["fixed_performance"] for one in (free, held)] == [False, True]
    assert free["fingerprint"] != held["fingerprint"]
    known = {
        name: said for name, said in free["device"].items() if name not in ("serial", "fixed_performance")
    }
    assert free["fingerprint"] == digest(known)[:12], "as it was before the mode was known"


def test_a_number_that_another_process_has_by_now_ends_nobody(spare: StandIn) -> None:
    beside = "sleep 77 </dev/null >/dev/null 2>&1 &"
    with Device(spare.serial, spare.adb) as device:
        device.checked(f"cd {DIRECTORY}; {beside} echo $! > {PID_FILE}", stage=Stage.RUN)
        device.stop_runner(Stage.RUN)
        assert left_on(spare)[1] == ["sh"]  # which holds the lock
        device.checked(
            f"cd /; {beside} echo $! $$ > {PID_FILE}; echo $! > {DIRECTORY}/other", stage=Stage.RUN
        )
        device.stop_runner(Stage.RUN)
        assert left_on(spare)[1] == ["sh", "sleep"]
        device.checked(f"kill -9 $(cat {DIRECTORY}/other)", stage=Stage.RUN)
    assert left_on(spare) == ("", [])


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_run_says_at_its_end_what_it_could_not_remove(
    phone: StandIn, spare: StandIn, product: Product, workers: tuple[str, ...]
) -> None:
    asked_for = ("-m", "android and conversion", "--models=digits_cnn", "--variants=float32")
    line = (*asked_for, f"--adb-host={spare.adb}", f"--serial={spare.serial}", *workers)
    run = product.run(*line, "-p", "tests.meta.devices.away")
    assert run.status == 0, run.text
    assert f"{spare.serial}: our files are on it still: " in run.text
    assert f"or: adb -s {spare.serial} shell 'rm -r /data/local/tmp/pocketproof'" in run.text
    with Device(spare.serial, spare.adb):  # as the next run does
        pass
    assert left_on(spare) == ("", [])
