"""Spoils saved models at random, and opens and runs each: `python -m ...fuzzing KIND SEED COUNT`.

In a process of its own with little memory, so that a crash, a bomb or an
endless loop shows. Prints how the examples ended, as JSON.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from suite.coreml.evaluator import Evaluator
from suite.coreml.inspection import inspect
from suite.errors import PocketproofError
from tests.meta.coreml.writing import small, small_network

MEMORY_BYTES = 3 << 30
SECONDS = 60  # of the processor, for one example
NUMBERS = (0, 1, -1, 2, 3, 7, 255, 1 << 16, 1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 40, (1 << 63) - 1)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, float("inf"), float("nan"))
WORDS = ("", "x", "y", "c", "same", "valid", "custom", "../x", "/etc/passwd", "\0", "\u00e9" * 300)


def main(kind: str, seed: int, count: int) -> None:
    """Spoil `count` copies and say how each ended."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    draw = random.Random(seed)
    ends: Counter[str] = Counter()
    slowest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            path = SPOILT[kind](draw, Path(folder) / str(number))
            signal.setitimer(signal.ITIMER_PROF, SECONDS)  # ends the process, which the test sees
            start = time.process_time()
            ends[outcome(path)] += 1
            slowest = max(slowest, time.process_time() - start)
            signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps({"ends": ends, "slowest": slowest}))


def outcome(path: Path) -> str:
    """Refused with words, or answered; anything else raises."""
    try:
        inspect(path)  # as --artifact does before all else
        model = Evaluator.open(path)
        feed = {one.name: np.ones([abs(size) for size in one.shape], np.float32) for one in model.inputs}
        model.run(feed)
    except PocketproofError as error:
        message = str(error)
        assert message, "it is refused without a word"
        assert len(message) < 3000, "the message is as hostile as the file"
        return "refused"
    return "answered"


# --- how files are spoilt ---------------------------------------------------------------------


def edited_program(draw: random.Random, path: Path) -> Path:
    """Some fields of the program have other values."""
    package = small()
    for _ in range(draw.randint(1, 3)):
        edit(package.model, draw)
    return package.save(path.with_suffix(".mlpackage"))


def edited_network(draw: random.Random, path: Path) -> Path:
    """Some fields of the network have other values."""
    spec = small_network()
    for _ in range(draw.randint(1, 3)):
        edit(spec, draw)
    return _written(path, spec.SerializeToString())


def flipped_network(draw: random.Random, path: Path) -> Path:
    """Some bits are flipped."""
    data = bytearray(small_network().SerializeToString())
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return _written(path, bytes(data))


def cut_network(draw: random.Random, path: Path) -> Path:
    """The end is missing, or a piece in the middle."""
    data = small_network().SerializeToString()
    start = draw.randrange(len(data))
    stop = draw.choice([len(data), min(len(data), start + draw.randint(1, 64))])
    return _written(path, data[:start] + data[stop:])


def spoilt_weights(draw: random.Random, path: Path) -> Path:
    """The weights file is flipped, cut, doubled or of noise."""
    made = small().save(path.with_suffix(".mlpackage"))
    file = made / "Data/com.apple.CoreML/weights/weight.bin"
    data = bytearray(file.read_bytes())
    how = draw.choice(["flip", "cut", "noise", "header"])
    if how == "cut":
        data = data[: draw.randrange(len(data))]
    elif how == "noise":
        data = bytearray(draw.randbytes(draw.randint(0, 2 * len(data))))
    elif how == "header":
        place = 64 + draw.randrange(64)
        data[place : place + 8] = draw.randbytes(8)
    else:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    file.write_bytes(bytes(data))
    return made


def spoilt_manifest(draw: random.Random, path: Path) -> Path:
    """The manifest is other JSON, or none."""
    made = small().save(path.with_suffix(".mlpackage"))
    file = made / "Manifest.json"
    text = file.read_text()
    values = (
        "{}",
        "[]",
        "null",
        "1",
        '"x"',
        "",
        "{" * 2000,
        "[" * 200_000,
        text.replace("model.mlmodel", "\\u0000"),
        text.replace("model.mlmodel", "m" * 300),
        text.replace("1", "2"),
        text.replace("com", ".."),
    )
    place = draw.randrange(len(text))
    file.write_text(
        draw.choice([*values, text[:place], text[:place] + draw.choice('{}[]",:0') + text[place + 1 :]])
    )
    return made


SPOILT: dict[str, Callable[[random.Random, Path], Path]] = {
    one.__name__: one
    for one in (
        edited_program,
        edited_network,
        flipped_network,
        cut_network,
        spoilt_weights,
        spoilt_manifest,
    )
}


def _written(path: Path, data: bytes) -> Path:
    file = path.with_suffix(".mlmodel")
    file.write_bytes(data)
    return file


def edit(message: Any, draw: random.Random) -> None:
    """Give one field, anywhere within, another value; or remove, repeat or move it."""
    holder, field = draw.choice(list(fields(message)))
    if field.is_repeated and field.message_type is not None and field.message_type.GetOptions().map_entry:
        return holder.ClearField(field.name)
    how = draw.choice(["value", "value", "value", "clear", "repeat"])
    if how == "clear":
        return holder.ClearField(field.name)
    value = getattr(holder, field.name)
    if field.message_type is not None:
        if field.is_repeated and len(value):
            value.add().CopyFrom(draw.choice(list(value)))
        return None
    made = _drawn(field, draw)
    if not field.is_repeated:
        return setattr(holder, field.name, made)
    if how == "repeat" or not len(value):
        return value.extend([made] * draw.randint(1, 9))
    value[draw.randrange(len(value))] = made
    return None


def fields(message: Any) -> Iterator[tuple[Any, Any]]:
    """Every field that is set, of the message and of those within, with what holds it."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is None:
            continue
        if not field.is_repeated:
            yield from fields(value)
        elif field.message_type.GetOptions().map_entry:
            for one in value.values():
                if hasattr(one, "ListFields"):
                    yield from fields(one)
        else:
            for one in value:
                yield from fields(one)


def _drawn(field: Any, draw: random.Random) -> Any:
    kind = field.cpp_type
    if kind in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return draw.choice(REALS)
    if kind == field.CPPTYPE_BOOL:
        return draw.random() < 0.5
    if kind == field.CPPTYPE_ENUM:
        return draw.choice([*(one.number for one in field.enum_type.values), 999])
    if kind == field.CPPTYPE_STRING:
        word = draw.choice(WORDS)
        return word.encode() if field.type == field.TYPE_BYTES else word
    low, high = {
        field.CPPTYPE_INT32: (-(1 << 31), (1 << 31) - 1),
        field.CPPTYPE_UINT32: (0, (1 << 32) - 1),
        field.CPPTYPE_INT64: (-(1 << 63), (1 << 63) - 1),
        field.CPPTYPE_UINT64: (0, (1 << 64) - 1),
    }[kind]
    return draw.choice([number for number in NUMBERS if low <= number <= high])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
