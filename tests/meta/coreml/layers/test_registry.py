"""Every kind of layer is held to TensorFlow somewhere; what is not known is refused by name."""

from __future__ import annotations

from suite.coreml import layers
from tests.meta.coreml.layers import test_numbers, test_places, test_recurrent, test_windows


def test_every_kind_that_is_known_is_tested() -> None:
    tested = [*test_windows.CASES, *test_numbers.CASES, *test_places.CASES, *test_recurrent.KINDS]
    assert len(set(tested)) == len(tested)
    assert set(layers.kinds()) == set(tested)


def test_a_kind_that_is_not_known_has_no_function() -> None:
    assert layers.make("tomorrow", None) is None
