"""summary.md: the verdict first, short enough for a comment, and never markup."""

from __future__ import annotations

import pytest

from suite.record import Check, Status
from suite.report import summary
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
    assert len(text) < 65_000  # GitHub takes 65,536 characters
    assert "and 980 more cases" in text


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
