"""Layers that move, choose and place elements, against TensorFlow's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.meta.coreml.layers.asking import Answer, Case, Draw, Random, check, one, several
from tests.meta.coreml.ops.asking import Ask, some


def _x(random: Random) -> np.ndarray:
    return random.normal_values(random.size(1, 3), random.size(1, 4), random.size(1, 4))


def _transpose(random: Random, tf: Ask) -> Case:
    x, axes = _x(random), random.permutation(3).tolist()
    return one("add_transpose", x, tf("transpose", [x], {"perm": axes}), axes=axes)


def _permute(random: Random, tf: Ask) -> Case:
    x, axes = random.normal_values(1, 2, 3, 4), [0, *(1 + random.permutation(3)).tolist()]
    return one("add_permute", x, tf("transpose", [x], {"perm": axes}), dim=axes)


def _reshape(random: Random, tf: Ask) -> Case:
    x, shape = random.normal_values(2, 3, 4), random.one_of((4, 6), (2, -1), (24,), (1, 2, 12))
    return one("add_reshape_static", x, tf("reshape", [x, list(shape)]), output_shape=shape)


def _preserving(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 3, 4)
    return one("add_rank_preserving_reshape", x, tf("reshape", [x, [2, 4, 3]]), output_shape=(0, 4, -1))


def _reshape_by_values(random: Random, tf: Ask) -> Case:
    feed = {"x": random.normal_values(2, 6), "shape": np.float32([3, 4])}
    return several("add_reshape_dynamic", feed, tf("reshape", [feed["x"], [3, 4]]))


def _reshape_like(random: Random, tf: Ask) -> Case:
    feed = {"x": random.normal_values(2, 6), "like": random.normal_values(3, 4)}
    return several("add_reshape_like", feed, tf("reshape", [feed["x"], [3, 4]]))


def _expand(random: Random, tf: Ask) -> Case:
    x, axis = _x(random), random.size(0, 3)
    return one("add_expand_dims", x, tf("expand_dims", [x, axis]), axes=[axis])


def _squeeze(random: Random, tf: Ask) -> Case:
    x, everything = random.normal_values(2, 1, 3, 1), bool(random.integers(2))
    expected = tf("squeeze", [x], {} if everything else {"axis": [1]})
    return one("add_squeeze", x, expected, axes=[1], squeeze_all=everything)


def _flatten_to_2d(random: Random, tf: Ask) -> Case:
    x, axis = random.normal_values(2, 3, 4), random.size(1, 2)
    return one("add_flatten_to_2d", x, tf("reshape", [x, [int(np.prod(x.shape[:axis])), -1]]), axis=axis)


def _flatten(random: Random, tf: Ask) -> Case:
    x, mode = random.normal_values(1, 2, 3, 4), random.size(0, 1)
    moved = tf("transpose", [x], {"perm": [0, 2, 3, 1] if mode else [0, 1, 2, 3]})
    return one("add_flatten", x, tf("reshape", [moved, [1, -1, 1, 1]]), mode=mode)


def _concat(random: Random, tf: Ask) -> Case:
    axis = random.size(0, 2)
    shapes = [[2 if i != axis else random.size(1, 3) for i in range(3)] for _ in range(3)]
    feed = {name: random.normal_values(*shape) for name, shape in zip("abc", shapes, strict=True)}
    return several("add_concat_nd", feed, tf("concat", [list(feed.values())], {"axis": axis}), axis=axis)


def _concat_channels(random: Random, tf: Ask) -> Case:
    feed = {"a": random.normal_values(1, 2, 3, 3), "b": random.normal_values(1, 4, 3, 3)}
    return several("add_elementwise", feed, tf("concat", [list(feed.values())], {"axis": 1}), mode="CONCAT")


def _concat_steps(random: Random, tf: Ask) -> Case:
    feed = {"a": random.normal_values(2, 1, 3, 1, 1), "b": random.normal_values(4, 1, 3, 1, 1)}
    expected = tf("concat", [list(feed.values())], {"axis": 0})
    return several("add_elementwise", feed, expected, mode="SEQUENCE_CONCAT")


def _stack(random: Random, tf: Ask) -> Case:
    feed, axis = {"a": random.normal_values(2, 3), "b": random.normal_values(2, 3)}, random.size(0, 2)
    return several("add_stack", feed, tf("stack", [list(feed.values())], {"axis": axis}), axis=axis)


def _split(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 6)
    sizes = random.one_of([2, 4], [3, 3], [1, 5])
    given = {"split_sizes": sizes} if sizes[0] != sizes[1] else {"num_splits": 2}
    names = ["p", "q"]
    layer = ("add_split_nd", {"name": "layer", "input_name": "x", "output_names": names, "axis": 1, **given})
    return Case([layer], {"x": x}, dict(zip(names, tf("split", [x, sizes], {"axis": 1}), strict=True)))


def _split_channels(random: Random, tf: Ask) -> Case:
    x, names = random.normal_values(6, 2, 2), ["p", "q", "r"]
    layer = ("add_split", {"name": "layer", "input_name": "x", "output_names": names})
    return Case([layer], {"x": x}, dict(zip(names, tf("split", [x, 3], {"axis": 0}), strict=True)))


def _tile(random: Random, tf: Ask) -> Case:
    x, times = _x(random), [random.size(1, 3) for _ in range(3)]
    return one("add_tile", x, tf("tile", [x, times]), reps=times)


def _repeat(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 1, 3, 1, 1)
    return one("add_sequence_repeat", x, tf("tile", [x, [3, 1, 1, 1, 1]]), nrep=3)


def _broadcast(random: Random, tf: Ask) -> Case:
    x = random.normal_values(3, 1)
    return one("add_broadcast_to_static", x, tf("broadcast_to", [x, [2, 3, 4]]), output_shape=(2, 3, 4))


def _broadcast_like(random: Random, tf: Ask) -> Case:
    feed = {"x": random.normal_values(3, 1), "like": random.normal_values(2, 3, 4)}
    return several("add_broadcast_to_like", feed, tf("broadcast_to", [feed["x"], [2, 3, 4]]))


def _broadcast_by_values(random: Random, tf: Ask) -> Case:
    feed = {"x": random.normal_values(3, 1), "shape": np.float32([2, 3, 4])}
    return several("add_broadcast_to_dynamic", feed, tf("broadcast_to", [feed["x"], [2, 3, 4]]))


def _fill(random: Random, tf: Ask) -> Case:
    # A network takes something in: what is filled is added to it.
    x = random.normal_values(2, 3)
    layers = [
        ("add_fill_static", {"name": "fill", "output_name": "f", "output_shape": (2, 3), "value": 1.5}),
        ("add_add_broadcastable", {"name": "sum", "input_names": ["x", "f"], "output_name": "y"}),
    ]
    return Case(layers, {"x": x}, {"y": tf("math.add", [x, tf("fill", [[2, 3], np.float32(1.5)])])})


def _fill_like(random: Random, tf: Ask) -> Case:
    x = random.normal_values(2, 3)
    return one("add_fill_like", x, tf("fill", [[2, 3], np.float32(1.5)]), value=1.5)


def _fill_by_values(random: Random, tf: Ask) -> Case:
    return one("add_fill_dynamic", np.float32([2, 3]), tf("fill", [[2, 3], np.float32(1.5)]), value=1.5)


def _constant(random: Random, tf: Ask, method: str = "add_load_constant_nd") -> Case:
    x, held = random.normal_values(2, 3, 4), random.normal_values(2, 3, 4)
    layers = [
        (method, {"name": "held", "output_name": "c", "constant_value": held, "shape": (2, 3, 4)}),
        ("add_add_broadcastable", {"name": "sum", "input_names": ["x", "c"], "output_name": "y"}),
    ]
    return Case(layers, {"x": x}, {"y": tf("math.add", [x, held])})


def _range(random: Random, tf: Ask) -> Case:
    start, step = random.size(-3, 2), random.size(1, 3)
    x = random.normal_values(1)
    layers = [
        ("add_range_static", {"name": "range", "output_name": "r", "start": start, "end": 7, "step": step}),
        ("add_add_broadcastable", {"name": "sum", "input_names": ["x", "r"], "output_name": "y"}),
    ]
    return Case(layers, {"x": x}, {"y": x + tf("range", [float(start), 7.0, float(step)])})


def _range_by_values(random: Random, tf: Ask) -> Case:
    feed = {"end": np.float32([7]), "start": np.float32([2])}
    return several("add_range_dynamic", feed, tf("range", [2.0, 7.0, 2.0]), step=2)


def _slice_static(random: Random, tf: Ask) -> Case:
    x = random.normal_values(4, 5, 6)
    begin, end = [random.size(0, 1) for _ in range(3)], [random.size(2, 4) for _ in range(3)]
    strides, masks = [random.size(1, 2) for _ in range(3)], [bool(random.integers(2)) for _ in range(3)]
    options = {"begin_mask": sum(1 << i for i, mask in enumerate(masks) if mask)}
    expected = tf("strided_slice", [x, begin, end, strides], options)
    return one("add_slice_static", x, expected, begin_ids=begin, end_ids=end, strides=strides,
               begin_masks=masks, end_masks=[False] * 3)  # fmt: skip


def _slice_by_values(random: Random, tf: Ask) -> Case:
    feed = {"x": random.normal_values(4, 5), "begin": np.float32([random.size(0, 1), random.size(0, 1)])}
    expected = tf("strided_slice", [feed["x"], feed["begin"].astype(np.int32), [3, 4], [1, 2]])
    return several("add_slice_dynamic", feed, expected, end_ids=[3, 4], strides=[1, 2],
                   begin_masks=[False] * 2, end_masks=[False] * 2)  # fmt: skip


def _slice(random: Random, tf: Ask) -> Case:
    x, axis = random.normal_values(4, 5, 6), random.one_of("channel", "height", "width")
    place = ("channel", "height", "width").index(axis)
    index = [slice(None)] * 3
    index[place] = slice(1, 4, 2)
    begin, end = [0, 0, 0], [4, 5, 6]
    begin[place], end[place] = 1, 4
    strides = [2 if i == place else 1 for i in range(3)]
    expected = tf("strided_slice", [x, begin, end, strides])
    return one("add_slice", x, expected, axis=axis, start_index=1, end_index=4, stride=2)


def _slice_by_size(random: Random, tf: Ask) -> Case:
    feed = {"x": random.normal_values(3, 6), "begin": np.float32([random.size(0, 3)])}
    expected = tf("slice", [feed["x"], [0, int(feed["begin"][0])], [3, 3]])
    return several("add_slice_by_size", feed, expected, axis=1, size=3)


def _reverse(random: Random, tf: Ask) -> Case:
    x, turned = _x(random), [bool(random.integers(2)) for _ in range(3)]
    axes = [i for i, one in enumerate(turned) if one]
    return one("add_reverse", x, tf("reverse", [x, axes]) if axes else x, reverse_dim=turned)


def _reverse_steps(random: Random, tf: Ask) -> Case:
    feed = {"x": random.normal_values(2, 5, 3), "lengths": np.float32([random.size(1, 5), random.size(1, 5)])}
    options = {"seq_axis": 1, "batch_axis": 0}
    expected = tf("reverse_sequence", [feed["x"], feed["lengths"].astype(np.int32)], options)
    return several("add_reverse_sequence", feed, expected, batch_axis=0, seq_axis=1)


def _sliding_windows(random: Random, tf: Ask) -> Case:
    x, width, step = random.normal_values(2, 7), random.size(1, 4), random.size(1, 3)
    expected = tf("signal.frame", [x, width, step], {"axis": 1})
    return one("add_sliding_windows", x, expected, axis=1, window_size=width, step=step)


def _reorganize(random: Random, tf: Ask) -> Case:
    x = random.normal_values(1, 8, 4, 4)
    mode, function = random.one_of(("SPACE_TO_DEPTH", "space_to_depth"), ("DEPTH_TO_SPACE", "depth_to_space"))
    moved = tf(f"nn.{function}", [np.moveaxis(x, 1, -1).copy(), 2])
    return one("add_reorganize_data", x, np.moveaxis(moved, -1, 1), mode=mode, block_size=2)


def _band(random: Random, tf: Ask) -> Case:
    x, low, high = random.normal_values(2, 4, 5), random.size(-1, 3), random.size(-1, 3)
    return one(
        "add_matrix_band_part", x, tf("linalg.band_part", [x, low, high]), num_lower=low, num_upper=high
    )


def _triangle(method: str, random: Random, tf: Ask) -> Case:
    x, k = random.normal_values(2, 4, 5), random.size(-2, 2)
    expected = (np.tril if method == "lower" else np.triu)(x, k)
    return one(f"add_{method}_triangular", x, expected, k=k)


# --- gather, scatter, sort ----------------------------------------------------------------


def _gather(random: Random, tf: Ask) -> Case:
    places = random.integers(-4, 4, 3)
    feed = {"x": random.normal_values(3, 4), "places": places.astype(np.float32)}
    return several("add_gather", feed, tf("gather", [feed["x"], places % 4], {"axis": 1}), axis=1)


def _gather_nd(random: Random, tf: Ask) -> Case:
    places = random.integers(0, 3, (2, 2))
    feed = {"x": random.normal_values(3, 4, 2), "places": places.astype(np.float32)}
    return several("add_gather_nd", feed, tf("gather_nd", [feed["x"], places]))


def _gather_along(random: Random, tf: Ask) -> Case:
    places = random.integers(0, 4, (3, 2))
    feed = {"x": random.normal_values(3, 4), "places": places.astype(np.float32)}
    expected = tf("gather", [feed["x"], places], {"axis": 1, "batch_dims": 1})
    return several("add_gather_along_axis", feed, expected, axis=1)


def _scatter(random: Random, tf: Ask) -> Case:
    places = random.permutation(4)[:2]
    feed = {"x": random.normal_values(4, 3), "places": places.astype(np.float32)}
    feed["updates"] = random.normal_values(2, 3)
    mode, function = random.one_of(("UPDATE", "update"), ("ADD", "add"), ("SUB", "sub"), ("MAX", "max"))
    expected = tf(f"tensor_scatter_nd_{function}", [feed["x"], places[:, None], feed["updates"]])
    return several("add_scatter", feed, expected, axis=0, mode=mode)


def _scatter_nd(random: Random, tf: Ask) -> Case:
    places = np.stack([random.permutation(3)[:2], random.integers(0, 4, 2)], axis=1)
    feed = {"x": random.normal_values(3, 4), "places": places.astype(np.float32)}
    feed["updates"] = random.normal_values(2)
    mode, function = random.one_of(("UPDATE", "update"), ("ADD", "add"), ("MIN", "min"))
    expected = tf(f"tensor_scatter_nd_{function}", [feed["x"], places, feed["updates"]])
    return several("add_scatter_nd", feed, expected, mode=mode)


def _scatter_along(random: Random, tf: Ask) -> Case:
    places = np.stack([random.permutation(4)[:2] for _ in range(3)])
    feed = {"x": random.normal_values(3, 4), "places": places.astype(np.float32)}
    feed["updates"] = random.normal_values(3, 2)
    rows = np.repeat(np.arange(3), 2)
    flat = np.stack([rows, places.reshape(-1)], axis=1)
    expected = tf("tensor_scatter_nd_add", [feed["x"], flat, feed["updates"].reshape(-1)])
    return several("add_scatter_along_axis", feed, expected, axis=1, mode="ADD")


def _where(random: Random, tf: Ask) -> Case:
    chosen = random.integers(0, 2, (2, 1)).astype(np.float32)
    feed = {"chosen": chosen, "a": random.normal_values(2, 3), "b": random.normal_values(2, 3)}
    return several("add_where_broadcastable", feed, tf("where", [chosen != 0, feed["a"], feed["b"]]))


def _non_zero(random: Random, tf: Ask) -> Case:
    x = random.integers(0, 2, (3, 4)).astype(np.float32)
    x[0, 0] = 1
    return one("add_where_nonzero", x, tf("where", [x != 0]))


def _one_hot(random: Random, tf: Ask) -> Case:
    places = random.integers(0, 5, (2, 3))
    expected = tf("one_hot", [places, 5], {"on_value": 2.0, "off_value": -1.0})
    layer = ("add_one_hot", {"name": "layer", "input_names": ["x"], "output_name": "y", "axis": -1,
                             "one_hot_vector_size": 5, "on_value": 2.0, "off_value": -1.0})  # fmt: skip
    return Case([layer], {"x": places.astype(np.float32)}, {"y": expected})


def _top_k(random: Random, tf: Ask) -> Case:
    x, k = random.normal_values(3, 5), random.size(1, 4)
    layer = (
        "add_topk",
        {"name": "layer", "input_names": ["x"], "output_names": ["v", "i"], "k": k, "axis": 1},
    )
    return Case([layer], {"x": x}, dict(zip(["v", "i"], tf("math.top_k", [x, k]), strict=True)))


def _arg_sort(random: Random, tf: Ask) -> Case:
    x, down = random.normal_values(3, 5), bool(random.integers(2))
    direction = "DESCENDING" if down else "ASCENDING"
    expected = tf("argsort", [x], {"axis": 1, "direction": direction})
    return one("add_argsort", x, expected, axis=1, descending=down)


def _arg(name: str, random: Random, tf: Ask) -> Case:
    x, keep = random.normal_values(3, 5), bool(random.integers(2))
    expected = tf(f"math.{name}", [x], {"axis": 1})
    return one(f"add_{name}", x, expected[:, None] if keep else expected, axis=1, keepdims=keep)


def _cum_sum(random: Random, tf: Ask) -> Case:
    x, back, without = random.normal_values(3, 5), bool(random.integers(2)), bool(random.integers(2))
    expected = tf("math.cumsum", [x], {"axis": 1, "reverse": back, "exclusive": without})
    layer = ("add_cumsum", {"name": "layer", "input_names": ["x"], "output_name": "y", "axis": 1,
                            "reverse": back, "exclusive": without})  # fmt: skip
    return Case([layer], {"x": x}, {"y": expected})


def _copy(random: Random, tf: Ask) -> Case:
    x = _x(random)
    return one("add_copy", x, x)


def _get_shape(random: Random, tf: Ask) -> Case:
    x = _x(random)
    return one("add_get_shape", x, tf("shape", [x]))


CASES: dict[str, tuple[Draw, ...]] = {
    "transpose": (_transpose,),
    "permute": (_permute,),
    "reshapeStatic": (_reshape,),
    "rankPreservingReshape": (_preserving,),
    "reshapeDynamic": (_reshape_by_values,),
    "reshapeLike": (_reshape_like,),
    "expandDims": (_expand,),
    "squeeze": (_squeeze,),
    "flattenTo2D": (_flatten_to_2d,),
    "flatten": (_flatten,),
    "concatND": (_concat,),
    "concat": (_concat_channels, _concat_steps),
    "stack": (_stack,),
    "splitND": (_split,),
    "split": (_split_channels,),
    "tile": (_tile,),
    "sequenceRepeat": (_repeat,),
    "broadcastToStatic": (_broadcast,),
    "broadcastToLike": (_broadcast_like,),
    "broadcastToDynamic": (_broadcast_by_values,),
    "fillStatic": (_fill,),
    "fillLike": (_fill_like,),
    "fillDynamic": (_fill_by_values,),
    "loadConstantND": (_constant,),
    "loadConstant": (partial(_constant, method="add_load_constant"),),
    "rangeStatic": (_range,),
    "rangeDynamic": (_range_by_values,),
    "sliceStatic": (_slice_static,),
    "sliceDynamic": (_slice_by_values,),
    "slice": (_slice,),
    "sliceBySize": (_slice_by_size,),
    "reverse": (_reverse,),
    "reverseSeq": (_reverse_steps,),
    "slidingWindows": (_sliding_windows,),
    "reorganizeData": (_reorganize,),
    "matrixBandPart": (_band,),
    "lowerTriangular": (partial(_triangle, "lower"),),
    "upperTriangular": (partial(_triangle, "upper"),),
    "gather": (_gather,),
    "gatherND": (_gather_nd,),
    "gatherAlongAxis": (_gather_along,),
    "scatter": (_scatter,),
    "scatterND": (_scatter_nd,),
    "scatterAlongAxis": (_scatter_along,),
    "whereBroadcastable": (_where,),
    "whereNonZero": (_non_zero,),
    "oneHot": (_one_hot,),
    "topK": (_top_k,),
    "argSort": (_arg_sort,),
    "argMax": (partial(_arg, "argmax"),),
    "argMin": (partial(_arg, "argmin"),),
    "cumSum": (_cum_sum,),
    "copy": (_copy,),
    "getShape": (_get_shape,),
}


@pytest.mark.parametrize("kind", CASES)
@some
@given(seed=st.integers(0, 999))
def test_a_layer_answers_what_tensorflow_does(tf: Ask, answer: Answer, kind: str, seed: int) -> None:
    draws = CASES[kind]
    check(draws[seed % len(draws)](Random(seed), tf), answer)
