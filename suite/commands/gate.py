"""Judge recorded results: may this release ship?

Every number is held to its threshold anew, and absence is a failure. A check
that failed while it ran stays failed: after mending a model or moving a
threshold, run pytest again. What was held to a baseline then is held to it here.
Needs no converter and no runtime.

Exit status: 0 every gate holds; 1 a gate fails; 2 wrong usage, or results or
a baseline that cannot be read; 3 inconclusive: nothing is shown to be wrong,
but what was measured cannot carry the verdict (unstable, contaminated, or a
baseline of another machine), so the release may not ship yet.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from suite import gates
from suite.commands import _results
from suite.gates import Finding, Gate, Verdict, word
from suite.record import Status
from suite.store import load, no_collection

HELP = "judge recorded results; exit status 1 if a gate fails"
INCONCLUSIVE_STATUS = 3

_WHY: Mapping[Gate, str] = {
    Gate.STATUS: "A check did not end well. What a phone cannot load, run or answer alike cannot ship.",
    Gate.MISSING: "Something was planned and left no result. What was not seen cannot be vouched for.",
    Gate.PARITY: "The artifact answers differently from the original on the very same inputs, by more than "
    "its precision explains: users of the app would not get the model that was trained.",
    Gate.ACCURACY: "The artifact is right less often than the original on the very same samples.",
    Gate.SIZE: "The file is larger than its precision explains: a longer download, and often weights that "
    "were not narrowed at all.",
    Gate.STATIC: "The file says of itself what the model is not: iOS would refuse it, or an app would "
    "feed or read it wrongly.",
    Gate.CONTRACT: "An app that does what the artifact tells it prepares photos otherwise, or names answers "
    "otherwise, than the model was trained for.",
    Gate.LATENCY: "An inference takes longer than a user of the app is to wait.",
    Gate.MEMORY: "The process needs more memory than a phone leaves to an app, which would be killed.",
    Gate.BASELINE: "The release is worse than the one that was agreed on, or cannot be compared with it.",
    Gate.REALTIME: "Frames of the camera are not answered at the rate that was promised.",
    Gate.THRESHOLDS: "There is nothing to hold this case to, so nothing can be said of it.",
    Gate.NOTHING: "No check passed. An empty run must never open the gate.",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, the thresholds, and how much to say."""
    _results.add_arguments(parser)
    _results.add_baseline(parser)
    parser.add_argument("--explain", action="store_true", help="say why each gate is there, and how to go on")


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; returns 0 or 1."""
    with no_collection():
        thresholds = _results.thresholds(arguments)
        held_to = _results.baseline(arguments)
        if held_to is None:
            verdict = gates.judge_file(arguments.run, thresholds)
        else:
            from suite import baseline

            verdict = baseline.judge(load(arguments.run, lean=True), thresholds, held_to)
    for line in explain(verdict) if arguments.explain else lines(verdict):
        print(line)
    return 0 if verdict.passed else INCONCLUSIVE_STATUS if verdict.inconclusive else 1


def lines(verdict: Verdict) -> Iterator[str]:
    """The verdict and each finding, one a line."""
    yield headline(verdict)
    for finding in verdict.findings:
        yield f"  {finding.case_id or 'the run'}: {finding.message}"
    if verdict.warnings:
        yield f"{len(verdict.warnings)} warning{'s' if len(verdict.warnings) != 1 else ''}:"
        yield from (f"  {warning}" for warning in verdict.warnings)


def headline(verdict: Verdict) -> str:
    """The verdict with cases by status."""
    counts = ", ".join(
        f"{verdict.counts[status]} {word(status)}" for status in Status if status in verdict.counts
    )
    total = verdict.counts["cases"]
    cases = f"{total} case{'s' if total != 1 else ''}" + (f": {counts}" if counts else "")
    if verdict.passed:
        return f"passed: this release may ship ({cases})"
    failing = len({finding.case_id for finding in verdict.findings if finding.case_id})
    in_cases = f", {failing} case{'s' if failing != 1 else ''} held back" if failing else ""
    if verdict.inconclusive:
        return f"INCONCLUSIVE: this release may not ship yet ({cases}{in_cases})"
    return f"FAILED: this release may not ship ({cases}{in_cases})"


def explain(verdict: Verdict) -> Iterator[str]:
    """The verdict in plain words: each gate that fails, why it is there, and the way back."""
    yield headline(verdict)
    by_gate: dict[Gate, list[Finding]] = {}
    for finding in verdict.findings:
        by_gate.setdefault(finding.gate, []).append(finding)
    for gate, findings in by_gate.items():
        yield ""
        yield f"{gate}: {_WHY[gate]}"
        for finding in findings:
            yield from _explain_finding(finding)
    if verdict.findings:
        yield ""
        yield "Mend these, run pytest again, and ask the gate again. What cannot be mended now and may"
        yield "ship all the same is stated in the model's fixture: an expected failure or a threshold,"
        yield "with its reason."
    if verdict.warnings:
        yield ""
        yield "Not a reason to hold the release, but not to overlook:"
        yield from (f"  {warning}" for warning in verdict.warnings)


def _explain_finding(finding: Finding) -> Iterator[str]:
    from suite.report.words import command

    yield f"  {finding.case_id or 'the run'}"
    yield f"    {finding.message}"
    if again := command(finding):
        yield f"    see it again: {again}"
