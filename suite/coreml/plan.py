"""A checked list of steps, and how it is executed: what both kinds of Core ML model are compiled to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from suite.coreml.halves import to_half
from suite.coreml.ops.budget import ELEMENT_WORK, STEP_WORK, Budget, TooMuch, budgeted
from suite.coreml.ops.elementwise import HELD
from suite.coreml.ops.registry import LARGEST_BYTES, Op, OpError
from suite.coreml.saved import Declared
from suite.errors import CaseError
from suite.record import Stage

MOST_ITERATIONS = 100_000  # of a loop
Values = dict[str, Any]
Source = str | list[str]
# What NumPy raises where sizes do not fit; an operator's own words are better, but none is never right.
_REFUSALS = (
    OpError,
    ValueError,
    IndexError,
    TypeError,
    OverflowError,
    ZeroDivisionError,
    KeyError,
    AttributeError,
)


@dataclass(slots=True)
class Step:
    """One operation: constants are at hand, sources are the names of values."""

    kind: str
    place: str  # for messages
    op: Op
    constants: Mapping[str, Any]
    sources: Mapping[str, Source]
    outputs: tuple[tuple[str, Declared | None], ...]  # None: not a tensor, or said by nothing
    memo: dict[str, Any] | None = None
    frees: tuple[str, ...] = ()
    overwrites: str = ""  # the value whose memory the answer may take


@dataclass(slots=True)
class Branch:
    """One of two blocks, chosen by a value; or a loop; or the end of a loop or of one of its turns.

    Of a network, blocks share all names with what is around them, and answer nothing.
    """

    kind: str  # "cond" or "while_loop"; of a network "branch", "loop", "loopBreak", "loopContinue"
    place: str
    pred: str
    given: tuple[str, ...]  # a loop's first values
    blocks: tuple[Block, ...]
    outputs: tuple[tuple[str, Declared | None], ...]
    frees: tuple[str, ...] = ()
    most: int = 0  # turns of a network's loop, where that does not take the number; 0: no bound


class _Break(Exception):
    """The loop around ends."""


class _Continue(Exception):
    """The turn of the loop around ends."""


@dataclass(slots=True)
class Block:
    """Steps in order, from named values to named values."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: list[Step | Branch] = field(default_factory=list)


def reads(step: Step | Branch) -> Iterable[str]:
    """Every name of a value that a step needs, those within its blocks too."""
    if isinstance(step, Step):
        for source in step.sources.values():
            yield from [source] if isinstance(source, str) else source
        return
    yield from ([step.pred] if step.pred else [])
    yield from step.given
    for block in step.blocks:
        yield from block.outputs
        for inner in block.steps:
            yield from reads(inner)


def outputs(block: Block) -> Iterator[tuple[str, Declared | None]]:
    """Every value that the steps make, those within their blocks too, with its declared type."""
    for step in block.steps:
        yield from step.outputs
        for inner in step.blocks if isinstance(step, Branch) else ():
            yield from outputs(inner)


def widened(block: Block) -> Block:
    """The same steps, with float32 for every float16: nothing is rounded."""
    return replace(block, steps=[_widened(step) for step in block.steps])


def _widened(step: Step | Branch) -> Step | Branch:
    wide = tuple(
        (name, replace(declared, dtype="float32") if declared and declared.dtype == "float16" else declared)
        for name, declared in step.outputs
    )
    if isinstance(step, Branch):
        return replace(step, outputs=wide, blocks=tuple(widened(inner) for inner in step.blocks))
    return replace(step, outputs=wide)


def finish(block: Block, keep: Iterable[str]) -> None:
    """Work out when each value is needed last, and which one may be overwritten. For the outer block."""
    last: dict[str, int] = {}
    fresh: dict[str, bool] = {}
    for number, step in enumerate(block.steps):
        shares = isinstance(step, Branch) or step.op.view
        for name in reads(step):
            last[name] = number
            if shares:
                fresh[name] = False
        for name, _ in step.outputs:
            last.setdefault(name, number)
            fresh[name] = not shares
    kept = {*keep, *block.inputs}
    for number, step in enumerate(block.steps):
        names = {*reads(step), *(name for name, _ in step.outputs)}
        step.frees = tuple(sorted(name for name in names if last.get(name) == number and name not in kept))
        if isinstance(step, Step) and step.op.inplace:
            first = step.sources.get("x")
            if isinstance(first, str) and first in step.frees and fresh.get(first):
                step.overwrites = first


def execute(
    block: Block, values: Values, *, keep_all: bool = False, seen: Callable[[str, Any], None] | None = None
) -> list[Any]:
    """Run a block; `values` holds its inputs and the values around it, and is added to.

    `seen` is called with every value; `keep_all` keeps each in memory of its own.
    Raises CaseError, which says where, also for what would take more memory or
    work than an inference is given.
    """
    with budgeted() as budget:
        try:
            return _execute(block, values, keep_all, seen, budget)
        except (_Break, _Continue):
            raise CaseError("the network ends a loop where there is none", stage=Stage.RUN) from None


def _execute(
    block: Block,
    values: Values,
    keep_all: bool,
    seen: Callable[[str, Any], None] | None,
    budget: Budget,
) -> list[Any]:
    for step in block.steps:
        try:
            budget.spend(STEP_WORK)
            if isinstance(step, Branch):
                answers = _branch(step, values, keep_all, seen, budget)
            else:
                answers = _answers(step, values, keep_all)
                if step.memo:
                    budget.hold(f"prepared for {step.place}", _bytes(step.memo))
        except _REFUSALS as error:
            raise failure(step, str(error)) from error
        except MemoryError:
            raise failure(step, "there is not enough memory") from None
        if len(answers) != len(step.outputs):
            raise failure(step, f"{len(answers)} values for {len(step.outputs)} names")
        for (name, declared), answer in zip(step.outputs, answers, strict=True):
            value = answer
            if declared is not None:
                value = _held(step, name, declared, answer)
            try:
                size = _bytes(value)
                budget.hold(name, size)
                budget.spend(size // 4 * ELEMENT_WORK)
            except TooMuch as error:
                raise failure(step, str(error)) from error
            values[name] = value
            if seen is not None:
                seen(name, value)
        if not keep_all:
            for name in step.frees:
                values.pop(name, None)
                budget.free(name)
    return [values[name] for name in block.outputs]


def _bytes(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list) else 0


def failure(step: Step | Branch, what: str) -> CaseError:
    """An error that names the operation."""
    return CaseError(f"the operation {step.place} cannot be executed: {what}", stage=Stage.RUN)


def _answers(step: Step, values: Values, keep_all: bool) -> tuple[Any, ...]:
    arguments = dict(step.constants)
    for name, source in step.sources.items():
        arguments[name] = values[source] if isinstance(source, str) else [values[one] for one in source]
    if step.memo is not None:
        arguments["memo"] = step.memo
    if step.op.half:
        arguments["half"] = any(declared and declared.dtype == "float16" for _, declared in step.outputs)
    if step.overwrites and not keep_all and _fits(values[step.overwrites], step):
        arguments["out"] = values[step.overwrites]
    answer = step.op.run(**arguments)
    return answer if isinstance(answer, tuple) else (answer,)


def _fits(value: Any, step: Step) -> bool:
    declared = step.outputs[0][1]
    return (
        isinstance(value, np.ndarray)
        and declared is not None
        and value.dtype == np.float32
        and declared.dtype in ("float16", "float32")
        and value.shape == declared.shape
    )


def _held(step: Step | Branch, name: str, declared: Declared, answer: Any) -> Any:
    """The answer, once it is what the program declares; float16 is rounded."""
    if declared.dtype not in HELD:  # a list, a dictionary, a string, packed numbers
        return answer
    value = np.asarray(answer)
    if value.dtype != HELD[declared.dtype]:
        raise failure(step, f"it answers {value.dtype} for {name}, the program declares {declared}")
    check_shape(value.shape, declared, lambda what: failure(step, f"{name} {what}"))
    if declared.dtype == "float16" and not (isinstance(step, Branch) or step.op.exact):
        return to_half(value)
    return value


def check_shape(shape: tuple[int, ...], declared: Declared, error: Callable[[str], CaseError]) -> None:
    """Raise where a shape is not the declared one, at the sizes that are not free."""
    fits = len(shape) == len(declared.shape) and all(
        want in (-1, have) for have, want in zip(shape, declared.shape, strict=True)
    )
    if not fits:
        raise error(f"is {_words(shape)}, the program declares {_words(declared.shape)}")


def _words(shape: tuple[int, ...]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape) or "a scalar"


def check_room(declared: Declared, place: str) -> None:
    """Refuse a declared tensor that no phone could hold, before anything is computed."""
    elements = 1
    for size in declared.shape:
        elements *= 1 if size < 0 else size
        if elements * 4 > LARGEST_BYTES:
            raise CaseError(
                f"{place} declares a tensor of {_words(declared.shape)}, "
                f"more than {LARGEST_BYTES} bytes: the file is damaged, or hostile",
                stage=Stage.LOAD,
            )


def _branch(
    step: Branch,
    values: Values,
    keep_all: bool,
    seen: Callable[[str, Any], None] | None,
    budget: Budget,
) -> tuple[Any, ...]:
    if step.kind == "cond":
        chosen = step.blocks[0 if bool(np.asarray(values[step.pred])) else 1]
        return tuple(_execute(chosen, values, keep_all, seen, budget))
    if step.kind == "loopBreak":
        raise _Break
    if step.kind == "loopContinue":
        raise _Continue
    if step.kind == "branch":
        _execute(step.blocks[0 if _holds(values[step.pred]) else 1], values, keep_all, seen, budget)
        return ()
    if step.kind == "loop":
        return _loop(step, values, keep_all, seen, budget)
    condition, body = step.blocks
    current: list[Any] = [values[name] for name in step.given]
    for _ in range(MOST_ITERATIONS):
        values.update(zip(condition.inputs, current, strict=True))
        [goes_on] = _execute(condition, values, keep_all, seen, budget)
        if not bool(np.asarray(goes_on)):
            return tuple(current)
        values.update(zip(body.inputs, current, strict=True))
        current = _execute(body, values, keep_all, seen, budget)
    raise OpError(f"the loop did not end within {MOST_ITERATIONS} iterations")


def _loop(
    step: Branch,
    values: Values,
    keep_all: bool,
    seen: Callable[[str, Any], None] | None,
    budget: Budget,
) -> tuple[Any, ...]:
    """A network's loop: as often as it says, and as long as its condition holds."""
    condition, body = step.blocks
    bounded = bool(step.given or step.most or not step.pred)
    most = int(np.reshape(values[step.given[0]], -1)[0]) if step.given else step.most
    for _ in range(min(most, MOST_ITERATIONS) if bounded else MOST_ITERATIONS):
        try:
            _execute(condition, values, keep_all, seen, budget)
            if step.pred and not _holds(values[step.pred]):
                return ()
            _execute(body, values, keep_all, seen, budget)
        except _Break:
            return ()
        except _Continue:
            continue
    if not bounded or most > MOST_ITERATIONS:
        raise OpError(f"the loop did not end within {MOST_ITERATIONS} iterations")
    return ()


def _holds(value: Any) -> bool:
    """Whether a truth value that is written as a number is true, as Core ML reads it."""
    return bool(np.all(np.abs(np.asarray(value)) > 1e-6))
