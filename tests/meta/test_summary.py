"""summary.md: the verdict first, short enough for a comment, and never markup."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suite.gates import Finding, Gate, judge
from suite.record import Check, Status
from suite.report import summary
from suite.report.view import View, view
from suite.spec import VARIANTS
from suite.thresholds import Thresholds
from tests.meta import records
from tests.meta.pages import arrange


def test_the_summary_opens_with_the_verdict_and_the_failures() -> None:
    text = summary.render(arrange(records.run()))
    assert text.startswith("## ✗ This release may not ship")
    assert (
        text.index("SQNR in dB on real inputs")
        < text.index("### Expected failures")
        < text.index("| model |")
    )
    assert "| mobilenet\\_v1 | ✓ 112.0 dB · 93.1 % · 17.1 MB ·" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}
    assert "\n\n\n" not in text


def test_the_summary_of_a_thousand_failures_fits_a_comment() -> None:
    message = "so far off " * 300
    run = [records.with_check(record, Check.PARITY, Status.FAILED, message) for record in records.many(1000)]
    text = summary.render(arrange(run))
    assert len(text) <= summary.MAX_LENGTH
    assert "and 980 more cases" in text


def failing(cases: int, findings: int, message: str) -> View:
    """A view of eleven variants a model, each case with many findings."""
    run = [replace(records.passed(f"model_{n // 11:03}"), case_id=case_id(n)) for n in range(cases)]
    found = tuple(
        Finding(gate=Gate.PARITY, message=message, case_id=record.case_id, check=Check.PARITY)
        for record in run
        for _ in range(findings)
    )
    verdict = judge(run, Thresholds())
    return view(run, replace(verdict, passed=False, findings=found), Thresholds())


def case_id(number: int) -> str:
    return f"model_{number // 11:03}/{list(VARIANTS)[number % 11]}/host/litert-xnnpack"


def test_the_summary_of_many_findings_a_case_fits_a_comment_with_its_table() -> None:
    """All that a case says is too much: fewer cases are told in full, and what all did still shows."""
    text = summary.render(failing(11 * 30, 12, "so <far> off " * 60))
    assert len(text) <= summary.MAX_LENGTH < 65_536
    assert "and 2 more findings; see index.html" in text
    assert "and 328 more cases" in text
    assert all(f"| {variant}".replace("_", "\\_") in text for variant in VARIANTS)
    assert text.partition("### Models")[2].partition("###")[0].count("| model\\_0") == 30
    assert summary._MORE not in text


def test_a_summary_that_is_too_long_all_the_same_is_cut_at_a_line_and_says_so() -> None:
    many = failing(11, 1, "off")
    general = tuple(Finding(gate=Gate.BASELINE, message="<" * 600) for _ in range(100))
    text = summary.render(replace(many, general=general))
    assert len(text) <= summary.MAX_LENGTH
    assert text.startswith("## ✗")
    assert text.endswith(f"&lt;\n\n\n{summary._MORE}")


def test_what_is_cut_within_a_fold_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MAX_LENGTH", 400)
    text = summary._cut("## Fine\n\n<details><summary>many warnings</summary>\n\n" + "- one of them\n" * 99)
    assert len(text) <= 400
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.index("</details>") < text.index(summary._MORE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("**x**\n# y", r"\*\*x\*\* \# y"),
        ("<b>", "&lt;b&gt;"),
        ("[a](b)", r"\[a\](b)"),
    ],
)
def test_text_is_not_markdown(text: str, expected: str) -> None:
    assert summary._text(text) == expected


def test_code_holds_backticks() -> None:
    assert summary._code("a `b` c") == "`` a `b` c ``"
