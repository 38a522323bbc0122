"""Every operator is held to something, in the file of its family; what is not known has no function."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.coreml import ops

HERE = Path(__file__).parent
# Tested under names that are put together: `reduce_` and what is reduced.
PUT_TOGETHER = {"reduce_argmax", "reduce_argmin"}
HERE_ALONE = {"identity"}


def _untested(names: tuple[str, ...], text: str) -> set[str]:
    return {name for name in names if f'"{name}"' not in text}


def test_every_operator_that_is_known_is_tested() -> None:
    text = "".join(file.read_text() for file in HERE.glob("test_*.py") if file.name != Path(__file__).name)
    assert _untested(ops.names(), text) == PUT_TOGETHER | HERE_ALONE
    assert 'f"reduce_{name}"' in text  # that of PUT_TOGETHER
    assert _untested(("add", "no_such_operator"), text) == {"no_such_operator"}


def test_the_identity_is_the_same() -> None:
    found = ops.get("identity")
    assert found is not None
    value = object()
    assert found.run(value) is value


def test_what_is_not_known_has_no_function_and_no_name_is_given_twice() -> None:
    assert ops.get("tomorrow") is None
    with pytest.raises(ValueError, match="registered twice"):
        ops.registry.op("add")(lambda x, y: x)
