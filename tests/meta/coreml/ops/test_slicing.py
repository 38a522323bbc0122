"""Slices, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.coreml.ops import OpError
from tests.meta.coreml.ops.asking import near, run, some, values

_INDEX = st.integers(-7, 7)


@some
@given(data=st.data(), rank=st.integers(1, 3))
def test_slice_by_index_and_its_update(data: st.DataObject, rank: int) -> None:
    x = values(1, *range(3, 3 + rank))
    draw = data.draw
    begin, end = (
        draw(st.lists(_INDEX, min_size=rank, max_size=rank)),
        draw(st.lists(_INDEX, min_size=rank, max_size=rank)),
    )
    stride = draw(st.lists(st.sampled_from([1, 2, -1, -2]), min_size=rank, max_size=rank))
    masks = [draw(st.lists(st.booleans(), min_size=rank, max_size=rank)) for _ in range(3)]
    index = tuple(
        begin[i] if masks[2][i] and not masks[0][i] else 0 if masks[2][i]
        else slice(None if masks[0][i] else begin[i], None if masks[1][i] else end[i], stride[i])
        for i in range(rank)
    )  # fmt: skip
    arguments = [np.array(one) for one in (begin, end, stride, *masks)]
    try:
        expected = x[index]
    except IndexError:
        with pytest.raises(OpError, match="element"):
            run("slice_by_index", x, *arguments)
        return
    near(run("slice_by_index", x, *arguments), expected)
    changed = x.copy()
    changed[index] = 9
    update = np.full(np.shape(expected), 9, np.float32)
    near(run("slice_update", x, update, *arguments), changed)


def test_slice_by_size() -> None:
    x = values(1, 4, 5)
    near(run("slice_by_size", x, np.array([1, -2]), np.array([2, -1])), x[1:3, 3:])
    with pytest.raises(OpError, match="elements"):
        run("slice_by_size", x, np.array([3, 0]), np.array([2, 1]))
