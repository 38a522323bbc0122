"""What a phone takes from its battery: watts beside a run, or the charge that minutes cost."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

from suite.devices import readings
from suite.devices.vitals import Vitals
from suite.record.costs import Energy

FEWEST_STEPS = 5  # of the charge counter, which moves by thousandths of a charge or so
_CABLE = (
    "the phone is fed by a cable or charges, so its battery does not give what it takes: "
    "connect adb over Wi-Fi and unplug it"
)


def files(seen: Vitals) -> tuple[str, ...]:
    """What to read beside a run; none where the battery would not tell."""
    if seen.power_folder is None or seen.charging is not False:
        return ()
    return (f"{seen.power_folder}/current_now", f"{seen.power_folder}/voltage_now")


def beside(seen: Vitals, text: str, seconds_per_inference: float, seconds: float) -> Energy | str:
    """Energy of a run beside which `files` were read; a reason where they do not tell."""
    if not files(seen):
        return silence(seen)
    amperes, volts = (readings.of(text, file) for file in files(seen))
    pairs = zip(amperes, volts, strict=False)
    powers = [power for pair in pairs if (power := readings.watts(" ".join(pair))) is not None]
    if not powers:
        return f"{seen.power_folder} said nothing beside the run"
    mean = statistics.fmean(powers)
    return Energy(
        watts=mean,
        joules_per_inference=mean * seconds_per_inference,
        seconds=seconds,
        readings=len(powers),
        source=f"{seen.power_folder}/current_now",
    )


def silence(seen: Vitals) -> str:
    """Why a battery does not tell what the phone takes at a moment; empty where it does."""
    if seen.charging:
        return _CABLE
    if seen.charging is None:
        return seen.reasons.get("charging", "")
    return seen.reasons.get("power_folder", "")


def over(looks: Sequence[Vitals], inferences: int, seconds: float) -> Energy | str:
    """Energy of minutes, by the battery's own count of its charge at each look; a reason where it is mute.

    `seconds` lie between the first look and the last.
    """
    if any(seen.charging for seen in looks):
        return _CABLE
    charges = [seen.charge_uah for seen in looks if seen.charge_uah is not None]
    volts = [seen.voltage_mv / 1e3 for seen in looks if seen.voltage_mv is not None]
    if len(charges) < len(looks) or not volts or any(seen.charging is None for seen in looks):
        reasons = {reason for seen in looks for name, reason in seen.reasons.items() if name in _COUNTED}
        return "; ".join(sorted(reasons))
    steps = sum(one != other for one, other in pairwise(charges))
    if charges[-1] >= charges[0] or steps < FEWEST_STEPS:
        return (
            f"the battery's charge counter moved {steps} times, from {charges[0]} to {charges[-1]} µAh, "
            f"and {FEWEST_STEPS} times downwards are needed: measure for longer"
        )
    joules = (charges[0] - charges[-1]) * 3600e-6 * statistics.fmean(volts)
    return Energy(
        watts=joules / seconds,
        joules_per_inference=joules / inferences,
        seconds=seconds,
        readings=len(charges),
        source="dumpsys battery: charge counter",
    )


_COUNTED = ("charging", "charge_uah", "voltage_mv")
