"""What `-m` and `-k` mean, before pytest has any tests to select from."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from suite import selection


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("android", True),
        ("android and parity", True),
        ("parity or (android and not benchmark)", True),
        ("not (not android)", True),
        ("android(serial='x')", True),
        ("android:emulator-5554", True),
        ("not android", False),
        ("not (android or benchmark)", False),
        ("not benchmark and not android", False),
        ("(android) and ((benchmark or realtime) and not android)", False),
        ("parity", None),
        ("androids or not_android", None),
        ("not (android and benchmark)", None),  # other tests of phones are left
        ("not android:emulator-5554", None),  # other phones are left
        ("android or not android", None),
        ("", None),
        ("android and", None),
        ("android (", None),
        ("android 'x'", None),
    ],
)
def test_what_an_expression_says_of_a_word(expression: str, said: bool | None) -> None:
    assert selection.meant(expression, "android") is said


@pytest.mark.parametrize(
    ("marks", "keyword", "named", "wanted"),
    [
        ("", "", False, False),
        ("", "", True, True),
        ("android", "", False, True),
        ("", "digits_cnn and android", False, True),
        ("parity", "", True, True),
        ("not (android or benchmark)", "", True, False),
        ("android", "not android", False, False),
        ("android", "not android:emulator-5554", False, True),
    ],
)
def test_both_expressions_count_and_what_was_named(
    marks: str, keyword: str, named: bool, wanted: bool
) -> None:
    option = SimpleNamespace(markexpr=marks, keyword=keyword)
    assert selection.asked(option, "android", named=named) is wanted
