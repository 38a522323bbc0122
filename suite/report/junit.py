"""junit.xml: a test case for each case and check, as CI servers read it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence

from suite.gates import Finding, Verdict
from suite.record import Check, CheckResult, Record, Stage, Status

# XML 1.0 has no way to write these, not even escaped.
_UNWRITABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ELEMENT: Mapping[Status, str] = {
    Status.FAILED: "failure",
    Status.UNSUPPORTED: "failure",
    Status.CRASHED: "error",
    Status.ERROR: "error",
    Status.SKIPPED: "skipped",
    Status.EXPECTED_FAILURE: "skipped",
}


def render(records: Sequence[Record], verdict: Verdict) -> str:
    """The document as text. A passed check that a gate objects to is a failure here too."""
    findings: dict[tuple[str, Check | None], list[Finding]] = {}
    for finding in verdict.findings:
        findings.setdefault((finding.case_id, finding.check), []).append(finding)
    suite = ET.Element("testsuite", name="pocketproof")
    for record in records:
        for check, result in _results(record).items():
            _add_check(suite, record, check, result, findings.pop((record.case_id, check), []))
    for (case_id, _), rest in findings.items():
        _add_rest(suite, case_id, rest)
    _count(suite)
    root = ET.Element("testsuites", suite.attrib)
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _results(record: Record) -> dict[Check, CheckResult]:
    results = dict(record.checks)
    for check in record.planned:
        results.setdefault(check, CheckResult(status=Status.ERROR, stage=Stage.PLAN, message="no result"))
    return results


def _add_check(
    suite: ET.Element, record: Record, check: Check, result: CheckResult, findings: Sequence[Finding]
) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"tests.validate.test_{check}",
        name=_clean(f"test_{check}[{record.case_id}]"),
        time=f"{result.seconds:.3f}",
    )
    element = _ELEMENT.get(result.status) or ("failure" if findings else None)
    if element is None:
        return
    messages = [finding.message for finding in findings] or [result.message or result.status]
    kind = str(result.status) if result.status in _ELEMENT else str(findings[0].gate)
    _explain(case, element, kind, messages)


def _add_rest(suite: ET.Element, case_id: str, findings: Sequence[Finding]) -> None:
    """Findings that belong to no check."""
    name = _clean(case_id or "run")
    case = ET.SubElement(suite, "testcase", classname="pocketproof.gate", name=name, time="0.000")
    _explain(case, "failure", str(findings[0].gate), [finding.message for finding in findings])


def _explain(case: ET.Element, element: str, kind: str, messages: Iterable[str]) -> None:
    text = _clean("\n".join(messages))
    ET.SubElement(case, element, type=kind, message=text.split("\n", 1)[0]).text = text


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for attribute, element in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{element}"))))
    suite.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")


def _clean(text: str) -> str:
    return _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", text)
