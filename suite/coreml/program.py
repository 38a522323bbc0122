"""An ML program, from its protobuf to a plan: every operation known, every name defined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from suite.coreml import estimate, ops
from suite.coreml.ops.budget import MOST_LIVE_BYTES
from suite.coreml.ops.constexpr import unpack
from suite.coreml.ops.elementwise import HELD
from suite.coreml.plan import Block, Branch, Source, Step, check_room, check_shape, finish
from suite.coreml.saved import Declared, Saved, declared_type, held_values
from suite.errors import CaseError, Unsupported
from suite.record import Stage
from suite.spec import Array

MOST_OPERATIONS = 1 << 18
_DEEPEST = 16  # blocks within blocks
_BITS = {"uint1": 1, "uint2": 2, "uint3": 3, "uint4": 4, "int4": 4, "uint6": 6}
_CONTROL = ("cond", "while_loop")


class Program:
    """The main function of an ML program.

    `inputs` and `outputs`: name -> declared type. `block` is executed by
    `suite.coreml.plan.execute`. `constants` are values that it starts from.
    `packed` are the operations that these were unpacked by, by name.
    `labels` are the classes of a classifier, in the order of its scores.
    `takes` is what one pass needs in memory and work, by what is declared.
    """

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        self.constants: dict[str, Any] = {}
        self.packed: dict[str, Step] = {}
        self._read_before: dict[_Stored, Any] = {}  # while the program is read
        self._defined: dict[str, Declared | None] = {}
        self._names: dict[str, str] = {}  # of the outer block: name -> what it is called in the plan
        self._visible = self._names  # of the block that is read
        self._taken: set[str] = set()  # by the outer block, and by inner ones so far
        self._constant: set[str] = set()
        self._count = 0
        self.labels: tuple[Any, ...] = ()
        function = self._main()
        body = self._body(function)
        _refuse_unknown(body)
        self._check_constants(body)
        self._taken.update(output.name for one in body.operations for output in one.outputs)
        self.inputs = self._inputs(function)
        self.block = self._block(body, tuple(self.inputs), 0)
        finish(self.block, self.block.outputs)
        self.takes = estimate.check(self.block, self._defined, self.constants)
        self.outputs = {name: self._defined[name] for name in self.block.outputs}
        self._read_before.clear()

    def _main(self) -> Any:
        program = self._saved.spec.mlProgram
        name = self._saved.spec.description.defaultFunctionName or "main"
        if name not in program.functions:
            raise self._bad(f"it has no function {name!r} but {', '.join(program.functions) or 'none'}")
        return program.functions[name]

    def _body(self, function: Any) -> Any:
        bodies = function.block_specializations
        if function.opset not in bodies:
            raise self._bad(f"its function has no body for {function.opset[:40]!r}")
        return bodies[function.opset]

    def _check_constants(self, body: Any) -> None:
        """Halves and compressed weights are small in the file alone: add up what they unpack to."""
        total, seen = 0, set[_Stored]()
        for operation in _operations(body):
            if operation.type.startswith("constexpr_"):
                total += sum(4 * max(0, declared_type(one.type).elements) for one in operation.outputs)
            for value in held_values(operation):
                if (key := _stored(value)) is not None and key not in seen:
                    seen.add(key)
                    total += _copied_bytes(key[2])
            if total > MOST_LIVE_BYTES:
                raise self._bad(
                    f"its weights unpack to more than {MOST_LIVE_BYTES >> 30} GiB, from "
                    f"{_place(operation)} on: the file is damaged, or hostile"
                )

    def _inputs(self, function: Any) -> dict[str, Declared]:
        found: dict[str, Declared] = {}
        for one in function.inputs:
            declared = declared_type(one.type)
            if declared.dtype not in HELD:
                raise Unsupported(
                    f"the evaluator takes tensors, and the input {one.name} is a {declared.dtype}",
                    stage=Stage.LOAD,
                )
            check_room(declared, f"the input {one.name}")
            found[self._define(one.name, declared, "the function")] = declared
        return found

    def _block(self, message: Any, inputs: tuple[str, ...], depth: int) -> Block:
        if depth > _DEEPEST:
            raise self._bad(f"its blocks are nested deeper than {_DEEPEST}")
        block = Block(inputs=inputs, outputs=())
        for operation in message.operations:
            self._count += 1
            if self._count > MOST_OPERATIONS:
                raise self._bad(f"it has more than {MOST_OPERATIONS} operations")
            step = self._step(operation, depth)
            if step is not None:
                block.steps.append(step)
        for name in message.outputs:
            if name not in self._visible:
                raise self._bad(f"its block answers {name!r}, which nothing defines")
        block.outputs = tuple(self._visible[name] for name in message.outputs)
        return block

    def _step(self, operation: Any, depth: int) -> Step | Branch | None:
        place = _place(operation)
        outputs = tuple((one.name, self._declared(one, place)) for one in operation.outputs)
        if operation.type == "const":
            self._constant_value(operation, outputs, place)
            return None
        if operation.type in _CONTROL:
            return self._branch(operation, outputs, place, depth)
        known = ops.get(operation.type)
        assert known is not None  # checked for all operations before
        constants, sources = self._arguments(operation, place)
        unknown = (constants.keys() | sources.keys()) - known.known
        missing = known.required - constants.keys() - sources.keys()
        if unknown or missing:
            what = [f"the argument {name} is not known" for name in sorted(unknown)]
            what += [f"the argument {name} is missing" for name in sorted(missing)]
            raise CaseError(
                f"the operation {place} cannot be executed: {', '.join(what)}. "
                "It is damaged, or of a newer Core ML",
                stage=Stage.LOAD,
            )
        memo: dict[str, Any] | None = {} if known.packs and not set(known.packs) & sources.keys() else None
        outputs = self._define_all(outputs, place)
        step = Step(operation.type, place, known, constants, sources, outputs, memo)
        if operation.type == "classify":
            self.labels = tuple(np.asarray(constants.get("classes", ())).reshape(-1).tolist())
        if operation.type.startswith("constexpr_"):
            self._unpack(step)
            return None
        return step

    def _branch(
        self, operation: Any, outputs: tuple[tuple[str, Declared | None], ...], place: str, depth: int
    ) -> Branch:
        constants, sources = self._arguments(operation, place, fold=False)
        if len(operation.blocks) != 2 or constants:
            raise self._bad(f"the operation {place} has {len(operation.blocks)} blocks")
        pred, given = sources.get("pred", ""), sources.get("loop_vars", [])
        given = [given] if isinstance(given, str) else given
        if (operation.type == "cond") != bool(pred) or not isinstance(pred, str) or (pred and given):
            raise self._bad(f"the operation {place} lacks what decides it")
        blocks, around = [], self._visible
        for message in operation.blocks:  # what one block defines, the other does not see
            self._visible = dict(around)
            inputs = [(one.name, self._declared(one, place)) for one in message.inputs]
            names = tuple(name for name, _ in self._define_all(inputs, place))
            blocks.append(self._block(message, names, depth + 1))
        self._visible = around
        fits = [len(blocks[1].outputs) == len(outputs)]
        if operation.type == "cond":
            fits += [len(blocks[0].outputs) == len(outputs), not blocks[0].inputs, not blocks[1].inputs]
        else:
            fits += [len(block.inputs) == len(given) == len(outputs) for block in blocks]
            fits.append(len(blocks[0].outputs) == 1)
        if not all(fits):
            raise self._bad(f"the operation {place} and its blocks disagree in what they take and answer")
        outputs = self._define_all(outputs, place)
        return Branch(operation.type, place, pred, tuple(given), tuple(blocks), outputs)

    # --- names and types ------------------------------------------------------------

    def _declared(self, output: Any, place: str) -> Declared | None:
        kind = output.type.WhichOneof("type")
        if kind != "tensorType":
            return None
        tensor = output.type.tensorType
        declared = declared_type(output.type)
        if tensor.rank < 0 or any(
            one.HasField("unknown") and one.unknown.variadic for one in tensor.dimensions
        ):
            return None
        if tensor.rank != len(declared.shape):
            raise self._bad(f"{place} declares rank {tensor.rank} and {len(declared.shape)} sizes")
        check_room(declared, f"the operation {place}")
        return declared

    def _define(self, name: str, declared: Declared | None, place: str) -> str:
        """What a new value is called in the plan: its name, unless another block has one of that name."""
        if name in self._visible:
            raise self._bad(f"the name {name!r} is defined a second time, by {place}")
        inner = self._visible is not self._names
        own = f"{name} @{len(self._defined)}" if inner and name in self._taken else name
        self._taken.add(own)
        self._visible[name], self._defined[own] = own, declared
        return own

    def _define_all(
        self, values: Iterable[tuple[str, Declared | None]], place: str
    ) -> tuple[tuple[str, Declared | None], ...]:
        return tuple((self._define(name, declared, place), declared) for name, declared in values)

    def _arguments(
        self, operation: Any, place: str, *, fold: bool = True
    ) -> tuple[dict[str, Any], dict[str, Source]]:
        """Constants by argument, and names of values by argument."""
        constants: dict[str, Any] = {}
        sources: dict[str, Source] = {}
        # What iOS16's constexpr operations and some control flow hold are attributes.
        for name, value in operation.attributes.items():
            if operation.type.startswith("constexpr_") and name != "name":
                constants[name] = self._value(value, f"{place} {name}")
        for name, argument in operation.inputs.items():
            bindings = list(argument.arguments)
            names = [self._named(binding, f"{place} {name}") for binding in bindings]
            if fold and names and all(one in self._constant for one in names):
                values = [self.constants[one] for one in names]
                constants[name] = values if _several(operation.type, name, values) else values[0]
            else:
                sources[name] = names if _several(operation.type, name, names) else names[0]
        return constants, sources

    def _named(self, binding: Any, place: str) -> str:
        """The name of a value; one that is written in place gets one."""
        if binding.WhichOneof("binding") == "value":
            name = f"{place} #{len(self.constants)}"
            self._keep(name, self._value(binding.value, place))
            return name
        if binding.name not in self._visible:
            raise self._bad(
                f"{place} needs {binding.name[:80]!r} before anything defines it: the graph is cyclic or torn"
            )
        return self._visible[binding.name]

    def _keep(self, name: str, value: Any) -> None:
        self.constants[name] = value
        self._constant.add(name)

    # --- constants --------------------------------------------------------------------

    def _constant_value(
        self, operation: Any, outputs: tuple[tuple[str, Declared | None], ...], place: str
    ) -> None:
        if "val" not in operation.attributes or len(outputs) != 1:
            raise self._bad(f"the constant {place} has no value")
        [(name, declared)] = outputs
        message = operation.attributes["val"]
        value = self._value(message, place)
        if declared is not None:
            stated = declared_type(message.type)
            if stated != declared:
                raise self._bad(f"the constant {place} is declared {declared} and holds {stated}")
        self._keep(self._define(name, declared, place), value)

    def _value(self, message: Any, place: str) -> Any:
        """A constant as operators take it: an array, a string, or a list."""
        kind = message.type.WhichOneof("type")
        if kind in ("listType", "tupleType"):
            held = message.immediateValue
            values = held.list.values if kind == "listType" else held.tuple.values
            return [self._value(value, place) for value in values]
        if kind != "tensorType":
            raise Unsupported(f"the constant {place} is a {kind}", stage=Stage.LOAD)
        key = _stored(message)
        if key in self._read_before:
            return self._read_before[key]
        declared = declared_type(message.type)
        check_room(declared, f"the constant {place}")
        if -1 in declared.shape:
            raise self._bad(f"the constant {place} has a size that is free")
        try:
            array = self._saved.array(message)
        except (ValueError, TypeError, OverflowError) as error:
            raise self._bad(f"the constant {place} cannot be read ({error})") from error
        value = self._read(array, declared, place)
        if key is not None:
            self._read_before[key] = value
        return value

    def _read(self, array: Array, declared: Declared, place: str) -> Any:
        if declared.dtype == "string":
            words = [str(word) for word in array.reshape(-1)]
            if not declared.shape and len(words) != 1:
                raise self._bad(f"the constant {place} holds {len(words)} strings")
            return words if declared.shape else words[0]
        if declared.dtype in _BITS:
            try:
                flat = unpack(array.reshape(-1), _BITS[declared.dtype], declared.elements)
            except ops.OpError as error:
                raise self._bad(f"the constant {place} holds {error}") from error
            if declared.dtype == "int4":
                flat = ((flat.astype(np.int8) ^ 8) - 8).astype(np.int8)
            return flat.reshape(declared.shape)
        if declared.dtype not in HELD:
            raise Unsupported(f"the constant {place} is {declared.dtype}", stage=Stage.LOAD)
        return array.astype(HELD[declared.dtype], copy=False)

    def _unpack(self, step: Step) -> None:
        """Execute a constexpr now: its answer is a constant."""
        from suite.coreml.plan import execute

        if step.sources:
            raise self._bad(f"the operation {step.place} unpacks what is no constant")
        values: dict[str, Any] = {}
        execute(Block((), (), [step]), values)
        for name, _ in step.outputs:
            self._keep(name, values[name])
            self.packed[name] = step

    def _bad(self, what: str) -> CaseError:
        return CaseError(
            f"{self._saved.path.name} cannot be executed: {what}. Convert it again, or copy it anew",
            stage=Stage.LOAD,
        )


_Stored = tuple[str, int, Declared]  # file, offset in it, and what is said to be there


def _stored(value: Any) -> _Stored | None:
    """Where a constant lies in a weights file; None for one that is written in the program."""
    if value.WhichOneof("value") != "blobFileValue":
        return None
    return value.blobFileValue.fileName, value.blobFileValue.offset, declared_type(value.type)


def _copied_bytes(declared: Declared) -> int:
    """What a stored constant takes in memory; nothing where it is seen as it lies in the file."""
    each = 4 if declared.dtype == "float16" else 1 if declared.dtype in _BITS else 0
    return each * max(0, declared.elements)


def _several(kind: str, name: str, values: list[Any]) -> bool:
    """Whether an argument is a tuple of values, as of concat; all others are one."""
    return len(values) != 1 or name in _TUPLES.get(kind, ())


_TUPLES = {
    "concat": ("values",),
    "stack": ("values",),
    "einsum": ("values",),
    "reshape_like": ("ref_tensors", "begins", "ends", "end_masks"),
    "make_list": ("elem_shape",),
    "while_loop": ("loop_vars",),
}


def _place(operation: Any) -> str:
    named = ", ".join(one.name for one in operation.outputs)
    return f"{operation.type[:60]} ({named[:120] or 'no name'})"


def _refuse_unknown(block: Any) -> None:
    """Name every operation that is not known, before anything is computed."""
    unknown: dict[str, str] = {}
    for operation in _operations(block):
        if operation.type not in ("const", *_CONTROL) and ops.get(operation.type) is None:
            unknown.setdefault(operation.type, _place(operation))
    if unknown:
        raise Unsupported(
            f"the evaluator does not know the operation{'s' if len(unknown) > 1 else ''} "
            f"{'; '.join(list(unknown.values())[:5])}: nothing was executed. "
            "Add it to suite/coreml/ops, or run the model on a Mac",
            stage=Stage.LOAD,
        )


def _operations(block: Any, depth: int = 0) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        if depth <= _DEEPEST:
            for inner in operation.blocks:
                yield from _operations(inner, depth + 1)


def shape_fits(shape: tuple[int, ...], declared: Declared, name: str) -> None:
    """Raise where an input's shape is not the declared one."""
    check_shape(
        shape,
        declared,
        lambda what: CaseError(f"the input {name} {what}: give it as the model takes it", stage=Stage.RUN),
    )
