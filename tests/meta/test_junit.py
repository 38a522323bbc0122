"""junit.xml: a case for each check, and how it ended."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from suite.gates import judge
from suite.record import Check, Status
from suite.report import junit
from tests.meta import records
from tests.meta.pages import THRESHOLDS


def test_junit_has_a_case_for_each_check_and_says_how_it_ended() -> None:
    run = records.run()
    root = ET.fromstring(junit.render(run, judge(run, THRESHOLDS)))
    (suite,) = root
    assert suite.attrib["tests"] == str(len(run) * len(records.checks()))
    named = {case.attrib["name"]: case for case in suite}

    def outcome(name: str) -> list[str]:
        return [element.tag for element in named[f"{name}/host/litert-xnnpack]"]]

    assert outcome("test_parity[resnet50/float32") == []
    assert outcome("test_parity[resnet50/int8") == ["failure"]
    assert outcome("test_parity[squeezenet/dynamic_int8") == ["failure"]  # the gate's word, not the check's
    assert outcome("test_accuracy[squeezenet/dynamic_int8") == []
    assert outcome("test_accuracy[mobilenet_v1/int8") == ["skipped"]
    assert outcome("test_benchmark[digits_cnn/int8") == ["skipped"]
    assert outcome("test_benchmark[densenet121/dynamic_int8") == ["error"]
    assert outcome("test_conversion[inception_v3/float16") == ["failure"]
    each = len(records.checks())  # of the case that crashed, and of the one that its runtime does not take
    counts = [suite.attrib[name] for name in ("failures", "errors", "skipped")]
    assert counts == [str(2 + each), str(each), "2"]
    message = named["test_parity[squeezenet/dynamic_int8/host/litert-xnnpack]"][0].attrib["message"]
    assert "obtained 29, expected at least 32" in message


def test_junit_holds_findings_on_the_run_and_on_what_is_missing() -> None:
    root = ET.fromstring(junit.render([], judge([], THRESHOLDS)))
    assert root.attrib["failures"] == "1"
    record = replace(records.passed(), checks={}, parity=None)
    root = ET.fromstring(junit.render([record], judge([record], THRESHOLDS)))
    assert root.attrib["errors"] == str(len(records.checks()))


def test_junit_takes_any_character() -> None:
    record = records.with_check(records.passed(), Check.PARITY, Status.FAILED, "\x00 \x1b[31m \ud800 ]]> é")
    root = ET.fromstring(junit.render([record], judge([record], THRESHOLDS)))
    assert "]]> é" in root.find(".//failure").attrib["message"]  # type: ignore[union-attr]
