"""A neural network, the older kind of Core ML model: its layers as steps of the same plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from suite.coreml import layers, ops
from suite.coreml.images import picture
from suite.coreml.ops.registry import Op, OpError, integers
from suite.coreml.plan import Block, Branch, Step, check_room, finish
from suite.coreml.saved import Declared, Saved, proto
from suite.errors import CaseError, Unsupported
from suite.record import Stage
from suite.spec import Array

MOST_LAYERS = 1 << 16
_DEEPEST = 16  # networks within networks
_CONTROL = ("branch", "loop", "loopBreak", "loopContinue")
_WHAT_A_BAD_LAYER_RAISES = (OpError, ValueError, IndexError, KeyError, TypeError, OverflowError)


class Network:
    """The layers of a neural network; the same attributes as Program. Everything is float32."""

    def __init__(self, saved: Saved) -> None:
        self._saved = saved
        spec = saved.spec
        network = getattr(spec, spec.WhichOneof("Type"))
        self.constants: dict[str, Any] = {}
        self.labels = self._labels(network)
        self._check(network)
        self.inputs = {one.name: self._input(one) for one in spec.description.input}
        self._defined = set(self.inputs)
        steps: list[Step | Branch] = [self._scaled(one) for one in network.preprocessing]
        steps += [self._step(layer) for layer in network.layers]
        if self.labels:
            steps.append(self._classified(network))
        self.outputs: dict[str, Declared | None] = {}
        self.block = Block(tuple(self.inputs), self._answers(network), steps)
        finish(self.block, self.block.outputs)

    def _check(self, network: Any) -> None:
        """Refuse what is not known, before anything is computed."""
        every = list(islice(self._layers(network), MOST_LAYERS + 1))
        if len(every) > MOST_LAYERS:
            raise self._bad(f"it has more than {MOST_LAYERS} layers")
        known = {*layers.kinds(), *_CONTROL}
        unknown = [
            f"{layer.WhichOneof('layer') or 'no kind'} ({layer.name[:80]})"
            for layer in every
            if layer.WhichOneof("layer") not in known
        ]
        if unknown:
            raise Unsupported(
                f"the evaluator does not know the layer{'s' if len(unknown) > 1 else ''} "
                f"{'; '.join(unknown[:5])}: nothing was executed. "
                "Add it to the file of its family in suite/coreml/layers, or run the model on a Mac",
                stage=Stage.LOAD,
            )
        names = proto("NeuralNetwork_pb2")
        arrays = any(not one.type.HasField("imageType") for one in self._saved.spec.description.input)
        if arrays and network.arrayInputShapeMapping != names.EXACT_ARRAY_MAPPING:
            raise Unsupported(
                "the network takes its arrays by the five axes of Core ML 1, which the evaluator does not: "
                "convert it again with coremltools 4 or later",
                stage=Stage.LOAD,
            )
        pictures = any(one.type.HasField("imageType") for one in self._saved.spec.description.input)
        if pictures and network.imageInputShapeMapping != names.RANK4_IMAGE_MAPPING:
            raise Unsupported(
                "the network takes its pictures by the five axes of Core ML 1, which the evaluator does not: "
                "convert it again with coremltools 4 or later",
                stage=Stage.LOAD,
            )

    def _layers(self, network: Any, depth: int = 0) -> Iterator[Any]:
        """All of them, those of networks within loops and branches too."""
        if depth > _DEEPEST:
            raise self._bad(f"its networks are nested deeper than {_DEEPEST}")
        for layer in network.layers:
            yield layer
            for inner in _inner(layer):
                yield from self._layers(inner, depth + 1)

    def _labels(self, network: Any) -> tuple[Any, ...]:
        kind = (
            network.WhichOneof("ClassLabels") if "ClassLabels" in network.DESCRIPTOR.oneofs_by_name else None
        )
        return tuple(getattr(network, kind).vector) if kind else ()

    def _input(self, feature: Any) -> Declared:
        if feature.type.HasField("imageType"):
            kind = picture(feature)
            height, width, channels = kind.shape
            declared = Declared("float32", (1, channels, height, width))
        elif feature.type.HasField("multiArrayType"):
            array = feature.type.multiArrayType
            shape = tuple(integers(array.shape))
            if array.WhichOneof("ShapeFlexibility") is not None:
                shape = (-1,) * len(shape)
            declared = Declared("float32", shape)
        else:
            raise Unsupported(
                f"the evaluator takes arrays and pictures, the input {feature.name} is neither",
                stage=Stage.LOAD,
            )
        if any(size < -1 for size in declared.shape):
            raise self._bad(f"the input {feature.name} has the shape {declared.shape}")
        check_room(declared, f"the input {feature.name}")
        return declared

    def _scaled(self, message: Any) -> Step:
        """The scale and bias that a picture gets before the first layer."""
        name = message.featureName or next(iter(self.inputs), "")
        if message.WhichOneof("preprocessor") != "scaler" or name not in self.inputs:
            raise Unsupported(
                f"the preprocessing of {name or 'no input'} is no scale and bias", stage=Stage.LOAD
            )
        feature = next(one for one in self._saved.spec.description.input if one.name == name)
        p = message.scaler
        biases = [p.redBias, p.greenBias, p.blueBias]
        space = picture(feature).space if feature.type.HasField("imageType") else "RGB"
        if space.startswith("GRAY"):
            biases = [p.grayBias]
        elif space == "BGR":
            biases.reverse()
        scale, bias = np.float32(p.channelScale), np.array(biases, np.float32).reshape(-1, 1, 1)
        return self._made("scaler", f"scaler ({name})", lambda x: x * scale + bias, [name], [name])

    def _step(self, layer: Any, nested: bool = False) -> Step | Branch:
        """One layer; within a loop or a branch it may give a value anew."""
        kind = layer.WhichOneof("layer")
        place = f"{kind} ({layer.name[:120]})"
        for name in layer.input:
            if name not in self._defined:
                raise self._bad(
                    f"the layer {place} needs {name[:80]!r} before anything defines it: "
                    "the graph is cyclic or torn"
                )
        for name in layer.output:
            if name in self._defined and not nested:
                raise self._bad(f"the name {name[:80]!r} is defined a second time, by {place}")
        if kind in _CONTROL:
            return self._control(layer, kind, place)
        try:
            function = layers.make(kind, getattr(layer, kind))
        except _WHAT_A_BAD_LAYER_RAISES as error:
            raise self._bad(f"the layer {place} holds {error}") from error
        assert function is not None  # checked for all layers before
        self._defined.update(layer.output)
        return self._made(kind, place, function, list(layer.input), list(layer.output))

    def _control(self, layer: Any, kind: str, place: str) -> Branch:
        """Networks within share all names with the one around them."""
        blocks = tuple(
            Block((), (), [self._step(one, nested=True) for one in inner.layers]) for inner in _inner(layer)
        )
        given = tuple(layer.input)
        if len(given) > 1 or layer.output or (kind == "branch") > len(given):
            raise self._bad(f"the layer {place} takes {len(given)} values and answers {len(layer.output)}")
        if kind == "branch":
            return Branch(kind, place, given[0], (), blocks, ())
        if kind != "loop":
            return Branch(kind, place, "", (), (), ())
        pred = layer.loop.conditionVar if blocks[0].steps else ""
        if blocks[0].steps and pred not in self._defined:
            raise self._bad(f"nothing within the layer {place} answers {pred[:80]!r}, which decides it")
        return Branch(kind, place, pred, given, blocks, (), most=int(layer.loop.maxLoopIterations))

    def _made(
        self, kind: str, place: str, function: Callable[..., Any], inputs: list[str], outputs: list[str]
    ) -> Step:
        def run(values: list[Array]) -> Any:
            answer = function(*values)
            if isinstance(answer, tuple):
                return tuple(np.asarray(one).astype(np.float32, copy=False) for one in answer)
            return np.asarray(answer).astype(np.float32, copy=False)

        operation = Op(
            kind, run, frozenset(), frozenset(), exact=True, view=True, inplace=False, packs=(), half=False
        )
        return Step(kind, place, operation, {}, {"values": inputs}, tuple((name, None) for name in outputs))

    def _classified(self, network: Any) -> Step:
        """Label and scores by label, of the layer that the network names, or of the last."""
        description = self._saved.spec.description
        last = next((layer.output[0] for layer in reversed(network.layers) if layer.output), "")
        source = network.labelProbabilityLayerName or last
        if source not in self._defined:
            raise self._bad(f"nothing defines its scores {source[:80]!r}")
        outputs = (
            description.predictedFeatureName or "classLabel",
            description.predictedProbabilitiesName or source,
        )
        self._defined.update(outputs)
        operation = ops.get("classify")
        assert operation is not None
        constants = {"classes": list(self.labels)}
        return Step(
            "classify", f"classify ({source})", operation, constants, {"probabilities": source},
            tuple((name, None) for name in outputs),
        )  # fmt: skip

    def _answers(self, network: Any) -> tuple[str, ...]:
        """The names that the description promises."""
        description = self._saved.spec.description
        found = []
        for feature in description.output:
            name = feature.name
            if name not in self._defined:
                raise self._bad(f"nothing defines its output {name!r}")
            kind = feature.type.WhichOneof("Type")
            shape = tuple(integers(feature.type.multiArrayType.shape)) if kind == "multiArrayType" else ()
            self.outputs[name] = Declared("float32", shape) if shape else None
            found.append(name)
        return tuple(found)

    def _bad(self, what: str) -> CaseError:
        return CaseError(
            f"{self._saved.path.name} cannot be executed: {what}. Convert it again, or copy it anew",
            stage=Stage.LOAD,
        )


def _inner(layer: Any) -> list[Any]:
    """The networks within a layer: of a loop, what decides it, and its body."""
    kind = layer.WhichOneof("layer")
    if kind == "branch":
        return [layer.branch.ifBranch, layer.branch.elseBranch]
    return [layer.loop.conditionNetwork, layer.loop.bodyNetwork] if kind == "loop" else []
