"""What the expressions of `-m` and `-k` say of the tests that bear a word, before there are any tests."""

from __future__ import annotations

import itertools
import re
from collections.abc import Set
from typing import Any

# A name in pytest's grammar, with what it may ask of a mark's own arguments.
_NAME = re.compile(r"([\w:+\-./\[\]\\]+)(\s*\([^()]*=[^()]*\))?")
_OPERATORS = frozenset({"and", "or", "not"})
_MOST_NAMES = 10  # that are tried in every combination


def asked(option: Any, word: str, *, named: bool) -> bool:
    """Whether a run is for tests that bear `word`: `-m` or `-k` want them, or allow what is `named`."""
    said = [meant(expression or "", word) for expression in (option.markexpr, option.keyword)]
    return False not in said and (named or True in said)


def meant(expression: str, word: str) -> bool | None:
    """Whether tests are selected for bearing `word`, even within a name; False where none that bears it is.

    None where the word makes no difference, or where it is pytest's to say what is wrong.
    """
    names = {found[1] for found in _NAME.finditer(expression)} - _OPERATORS
    bearing = {name for name in names if re.search(rf"\b{word}\b", name)}
    if not bearing:
        return None
    others = sorted(names - {word})[:_MOST_NAMES]
    borne = [set(some) for count in range(len(others) + 1) for some in itertools.combinations(others, count)]
    try:
        if not any(_holds(expression, {*some, word}) for some in borne):
            return False
        wanted = any(
            _holds(expression, some | bearing) and not _holds(expression, some - bearing) for some in borne
        )
    except (SyntaxError, TypeError):
        return None
    return True if wanted else None


def _holds(expression: str, true: Set[str]) -> bool:
    """What it comes to where these names are true and no others."""

    def value(found: re.Match[str]) -> str:
        return found[1] if found[1] in _OPERATORS else str(found[1] in true)

    values = _NAME.sub(value, expression)
    return bool(eval(values, {"__builtins__": {}}))  # True, False, operators and parentheses alone
