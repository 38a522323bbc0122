"""Weights as layers hold them: plain, halves, or quantised to a few bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.coreml.ops.registry import OpError, room
from suite.spec import Array


def weights(message: Any, shape: tuple[int, ...]) -> Array:
    """A WeightParams message as float32 of this shape; OpError where it holds another number of values."""
    count = int(np.prod(room(shape), dtype=np.int64))
    if message.floatValue:
        values = _floats(message)
    elif message.float16Value:
        if len(message.float16Value) % 2:
            raise OpError("an odd number of bytes of float16 weights")
        values = np.frombuffer(message.float16Value, np.float16).astype(np.float32)
    elif message.rawValue or message.int8RawValue:
        values = _quantised(message, shape, count)
    else:
        values = np.empty(0, np.float32)
    if values.size != count:
        raise OpError(f"{values.size} weights, {'x'.join(map(str, shape))} takes {count}")
    return values.reshape(shape)


def _floats(message: Any) -> Array:
    """`floatValue` from its wire format: some hundred times as fast as one number after the other."""
    data = message.SerializeToString()
    if data[0] != 0x0A:  # field 1, by length
        return np.array(list(message.floatValue), np.float32)
    size, shift, place = 0, 0, 1
    while True:
        byte = data[place]
        size |= (byte & 0x7F) << shift
        shift, place = shift + 7, place + 1
        if byte < 0x80:
            break
    return np.frombuffer(data, np.dtype("<f4"), size // 4, place).astype(np.float32, copy=False)


def _quantised(message: Any, shape: tuple[int, ...], count: int) -> Array:
    bits = int(message.quantization.numberOfBits)
    if message.int8RawValue or not 1 <= bits <= 8:
        raise OpError(f"weights of {bits} bits")
    raw = np.frombuffer(message.rawValue, np.uint8)
    if raw.size * 8 < bits * count:
        raise OpError(f"{raw.size} bytes for {count} weights of {bits} bits")
    planes = np.unpackbits(raw, count=bits * count).reshape(count, bits)  # from the most significant bit on
    places = (planes << np.arange(bits - 1, -1, -1, dtype=np.uint8)).sum(axis=1, dtype=np.uint8)
    table = message.quantization
    if table.WhichOneof("QuantizationType") == "lookupTableQuantization":
        entries = np.array(list(table.lookupTableQuantization.floatValue), np.float32)
        if entries.size != 1 << bits:
            raise OpError(f"a table of {entries.size} entries for {bits} bits")
        return np.asarray(entries[places])
    scale = np.array(list(table.linearQuantization.scale), np.float32)
    bias = np.array(list(table.linearQuantization.bias), np.float32)
    if scale.size not in (1, shape[0]) or bias.size not in (0, scale.size):
        raise OpError(f"{scale.size} scales and {bias.size} biases for weights of {shape}")
    answer = places.astype(np.float32).reshape(shape[0], -1) * scale[:, None]
    return np.asarray((answer + (bias[:, None] if bias.size else 0)).reshape(-1))


def vector(message: Any) -> Array:
    """All the weights of a message that does not say how many they are."""
    count = len(message.floatValue) or len(message.float16Value) // 2
    if not count:
        raise OpError("parameters that are not there")
    return weights(message, (count,))
