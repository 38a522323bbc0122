"""Does an app that does as the artifact tells come from a photo to the right label."""

from __future__ import annotations

from suite.gates.findings import Finding, Gate, bound, unproven
from suite.record.answers import Contract
from suite.spec import Budget

PIXEL_ROUNDING = 0.01  # of a pixel; float32 loses a hundredth of that
FLOAT16_ROUNDING = 0.25  # of a scale of 255 pixels, and of a bias of as many: half of a last place each


def check_contract(contract: Contract | None, budget: Budget) -> list[Finding]:
    """Findings on what an app is told around a model: the tensors it prepares, the names of the answers."""
    if contract is None:
        return [unproven(Gate.CONTRACT, "no way from photo to label was recorded")]
    found = [Finding(gate=Gate.CONTRACT, message=message) for message in contract.wrong]
    if contract.max_pixel_diff is not None:
        advice = (
            "An app that does as the artifact tells feeds other tensors: write mean, deviation, "
            "channel order and resize as the fixture states them."
        )
        what = "difference of prepared tensors in pixels"
        rounding = FLOAT16_ROUNDING if contract.float16 else PIXEL_ROUNDING
        found += bound(Gate.CONTRACT, what, contract.max_pixel_diff, rounding, lambda: advice)
    if contract.same_label is not None and not found:
        names = "The answers of an app have other names: compare the artifact's labels with the fixture's."
        what = "share of photos under the same label"
        found += bound(Gate.CONTRACT, what, contract.same_label, 1.0, lambda: names, is_maximum=False)
    left = f"Left open: {'; '.join(contract.gaps)}. Write them into the artifact."
    count, most = len(contract.gaps), budget.max_contract_gaps
    return found + bound(Gate.CONTRACT, "gaps in the contract", count, most, lambda: left)
