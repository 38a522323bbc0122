"""iPhones: what Xcode's tools list, in the shapes they list it; elsewhere a skip with the remedy."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from suite import iphones
from suite.devices.ios import environment, placed
from suite.errors import CaseError
from suite.record import Status
from suite.scheduling import ByModel
from suite.spec import Target

# As `xcrun devicectl list devices -j FILE` writes it (Xcode 15 and 16), cut to what coremltools reads.
LISTING = {
    "info": {"outcome": "success", "version": "397.21", "jsonVersion": 2},
    "result": {
        "devices": [
            {
                "identifier": "7D8B5C52-0E5C-5B0C-9E6A-0D3C7B0D5A11",
                "connectionProperties": {"tunnelState": "connected", "transportType": "wired"},
                "deviceProperties": {
                    "name": "Test phone",
                    "osVersionNumber": "18.1",
                    "osBuildUpdate": "22B83",
                    "developerModeStatus": "enabled",
                },
                "hardwareProperties": {
                    "deviceType": "iPhone",
                    "marketingName": "iPhone 15 Pro",
                    "productType": "iPhone16,1",
                    "udid": "00008120-001A2B3C4D5E6F70",
                },
            },
            {
                "identifier": "1C2D3E4F-0E5C-5B0C-9E6A-0D3C7B0D5A22",
                "connectionProperties": {"tunnelState": "disconnected"},
                "deviceProperties": {
                    "name": "Other phone",
                    "osVersionNumber": "17.6",
                    "osBuildUpdate": "21G80",
                    "developerModeStatus": "enabled",
                },
                "hardwareProperties": {"deviceType": "iPhone", "udid": "00008110-000000000000AAAA"},
            },
            {
                "identifier": "9A9B9C9D-0E5C-5B0C-9E6A-0D3C7B0D5A33",
                "connectionProperties": {"tunnelState": "connected"},
                "deviceProperties": {"name": "A watch", "osVersionNumber": "11.1", "osBuildUpdate": "22R585"},
                "hardwareProperties": {"deviceType": "appleWatch", "udid": "00008301-AAAA"},
            },
        ]
    },
}
# Answers `xcrun devicectl list devices -j FILE`; coremltools also looks for `devicectl` itself.
TOOL = """#!/bin/sh
[ "$1 $2 $3 $4" = "devicectl list devices -j" ] || { echo "unknown: $*" >&2; exit 64; }
cat "$(dirname "$0")/listing.json" > "$5"
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder first on PATH with stand-ins for Xcode's programs."""
    for name in ("xcrun", "devicectl"):
        (tmp_path / name).write_text(TOOL)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "listing.json").write_text(json.dumps(LISTING))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def config(expression: str, *, required: bool = False) -> Any:
    option = SimpleNamespace(markexpr=expression, keyword="", require_device=required)
    return SimpleNamespace(option=option, args=[])


def test_a_connected_phone_is_a_target(tools: Path) -> None:
    run = config("ios")
    assert iphones.targets(run) == (Target("ios:00008120-001A2B3C4D5E6F70", "coreml"),)
    assert iphones.missing(run) == ""


def test_a_record_says_which_phone_it_was(tools: Path) -> None:
    found = environment("00008120-001A2B3C4D5E6F70")
    assert found["device"] == {
        "udid": "00008120-001A2B3C4D5E6F70",
        "name": "Test phone",
        "model": "iPhone 15 Pro / iPhone16,1",
        "ios": "18.1 (22B83)",
    }
    other = environment("00008110-000000000000AAAA")
    assert other["device"]["model"] is None  # the listing does not say it
    assert other["fingerprint"] != found["fingerprint"]
    with pytest.raises(CaseError, match="is not there any more"):
        environment("another")


def test_two_workers_do_not_share_an_iphone() -> None:
    scope = partial(ByModel._split_scope, object())  # type: ignore[arg-type]
    one, other, here = (
        scope(f"tests/validate/test_ios.py::test_ios[{model}/mlprogram_float16/{place}]")
        for model, place in (("a", "ios:1/coreml"), ("b", "ios:1/coreml"), ("a", "host/coreml"))
    )
    assert one == other == "ios:1"
    assert here == "a"


def test_a_phone_that_is_listed_and_not_connected_is_named_with_the_remedy(tools: Path) -> None:
    listing = json.loads((tools / "listing.json").read_text())
    del listing["result"]["devices"][0]
    (tools / "listing.json").write_text(json.dumps(listing))
    found, why = iphones.connected()
    assert found == []
    assert "Other phone is disconnected" in why
    assert "unlock it" in why
    listing["result"]["devices"] = []
    (tools / "listing.json").write_text(json.dumps(listing))
    assert "lists none. Plug one in" in iphones.connected()[1]


def test_without_xcode_the_case_is_skipped_with_the_remedy_or_fails_when_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for required, status in ((False, Status.SKIPPED), (True, Status.FAILED)):
        run = config("ios", required=required)
        (target,) = iphones.targets(run)
        with pytest.raises(CaseError, match=r"needs a Mac with Xcode .* python -m suite bundle") as caught:
            iphones.check(target, run)
        assert "needs a Mac" in iphones.missing(run)
        assert caught.value.status is status


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [("", False), ("not ios", False), ("not (ios or benchmark)", False), ("ios and parity", True)],
)
def test_nothing_is_asked_of_xcode_unless_iphones_are_meant(expression: str, wanted: bool) -> None:
    assert iphones.asked(config(expression)) is wanted


# --- the compute plan ---------------------------------------------------------------------


class MLNeuralEngineComputeDevice:
    """Named as coremltools names it."""


class MLCPUComputeDevice:
    """Named as coremltools names it."""


def test_operators_are_counted_by_the_device_that_they_prefer() -> None:
    operations = [
        SimpleNamespace(operator_name=name) for name in ("const", "ios17.conv", "ios17.conv", "cast")
    ]
    devices = {"ios17.conv": MLNeuralEngineComputeDevice(), "cast": MLCPUComputeDevice()}

    def usage(operation: Any) -> Any:
        device = devices.get(operation.operator_name)
        return SimpleNamespace(preferred_compute_device=device) if device else None

    block = SimpleNamespace(operations=operations)
    program = SimpleNamespace(functions={"main": SimpleNamespace(block=block)})
    plan = SimpleNamespace(
        model_structure=SimpleNamespace(program=program, neural_network=None),
        get_compute_device_usage_for_mlprogram_operation=usage,
    )
    assert placed(plan) == {"NeuralEngine": {"conv": 2}, "CPU": {"cast": 1}}
