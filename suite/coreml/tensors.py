"""A model that takes and answers tensors alone, in the place of one that takes pictures and answers labels.

coremltools' app on an iPhone hands a model arrays and takes arrays back, no
pictures and no dictionaries. What is computed between stays as it is: an ML
program has its scale and bias among its operations; those of a neural network
become its first layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.coreml.images import Picture, picture
from suite.coreml.saved import proto
from suite.errors import Unsupported
from suite.record import Stage

_FLOAT32 = 65568  # ArrayFeatureType.FLOAT32
_NETWORKS = ("neuralNetworkClassifier", "neuralNetworkRegressor")


def tensors_only(spec: Any) -> Any:
    """A Model message of the same computation; image inputs are (1, channels, height, width) float32.

    Scores keep the name that a classifier's dictionary has. Raises Unsupported
    for pictures of free sizes, and for models that are neither programs nor networks.
    """
    made = type(spec).FromString(spec.SerializeToString())
    kind = made.WhichOneof("Type")
    pictures = {one.name: picture(one) for one in made.description.input if one.type.HasField("imageType")}
    for feature in made.description.input:
        if feature.name in pictures:
            _as_array(feature, pictures[feature.name])
    if kind == "mlProgram":
        _without_classify(made)
    elif kind == "neuralNetwork" or kind in _NETWORKS:
        _plain_network(made, kind, pictures)
    else:
        raise Unsupported(f"a {kind} is neither an ML program nor a neural network", stage=Stage.LOAD)
    return made


def _as_array(feature: Any, kind: Picture) -> None:
    height, width, channels = kind.shape
    if min(height, width) < 1:
        raise Unsupported(f"the picture {feature.name} is of a free size", stage=Stage.LOAD)
    array = proto("FeatureTypes_pb2").ArrayFeatureType(dataType=_FLOAT32)
    array.shape.extend((1, channels, height, width))
    feature.type.multiArrayType.CopyFrom(array)


def _without_classify(spec: Any) -> None:
    """The scores, in the place of a label and a dictionary."""
    for function in spec.mlProgram.functions.values():
        for block in function.block_specializations.values():
            classify = next((one for one in block.operations if one.type == "classify"), None)
            if classify is None:
                continue
            scores = classify.inputs["probabilities"].arguments[0].name
            label, name = (one.name for one in classify.outputs)
            block.operations.remove(classify)
            for one in block.operations:
                for value in [*one.outputs, *(a for given in one.inputs.values() for a in given.arguments)]:
                    if value.name == scores:
                        value.name = name
            kept = [name if output == scores else output for output in block.outputs if output != label]
            block.outputs[:] = list(dict.fromkeys(kept))
    _scores_alone(spec)


def _scores_alone(spec: Any) -> None:
    description = spec.description
    if not description.predictedFeatureName:
        return
    (scores,) = [one for one in description.output if one.name != description.predictedFeatureName]
    scores.type.multiArrayType.CopyFrom(proto("FeatureTypes_pb2").ArrayFeatureType(dataType=_FLOAT32))
    kept = type(scores).FromString(scores.SerializeToString())
    del description.output[:]
    description.output.add().CopyFrom(kept)
    description.predictedFeatureName = description.predictedProbabilitiesName = ""


def _plain_network(spec: Any, kind: str, pictures: Mapping[str, Picture]) -> None:
    """The layers of a classifier as a network of their own, after what its preprocessing does."""
    names = proto("NeuralNetwork_pb2")
    network = getattr(spec, kind)
    made = names.NeuralNetwork(arrayInputShapeMapping=names.EXACT_ARRAY_MAPPING)
    for message in network.preprocessing:
        name = message.featureName or next(iter(pictures), "")
        if message.WhichOneof("preprocessor") != "scaler" or name not in pictures:
            raise Unsupported(
                f"the preprocessing of {name or 'no input'} is no scale and bias", stage=Stage.LOAD
            )
        made.layers.add().CopyFrom(_scaling(name, message.scaler, pictures[name]))
    moved = {one.input[0]: one.output[0] for one in made.layers}
    for layer in network.layers:
        copy = made.layers.add()
        copy.CopyFrom(layer)
        copy.input[:] = [moved.get(name, name) for name in layer.input]
    if kind in _NETWORKS and spec.description.predictedFeatureName:
        scores = getattr(network, "labelProbabilityLayerName", "") or made.layers[-1].output[0]
        name = spec.description.predictedProbabilitiesName or scores
        if name != scores:
            last = made.layers.add(name=name, input=[scores], output=[name])
            last.activation.linear.alpha = 1.0
        _scores_alone(spec)
    spec.neuralNetwork.CopyFrom(made)


def _scaling(name: str, scaler: Any, kind: Picture) -> Any:
    """A picture's scale and bias as a layer, in the order of its colours."""
    biases = [scaler.redBias, scaler.greenBias, scaler.blueBias]
    if kind.channels == 1:
        biases = [scaler.grayBias]
    elif kind.space == "BGR":
        biases.reverse()
    layer = proto("NeuralNetwork_pb2").NeuralNetworkLayer(name=f"{name}__scaled__")
    layer.input.append(name)
    layer.output.append(f"{name}__scaled__")
    layer.scale.shapeScale.append(1)
    layer.scale.scale.floatValue.append(scaler.channelScale)
    layer.scale.hasBias = True
    layer.scale.shapeBias.extend((len(biases), 1, 1))
    layer.scale.bias.floatValue.extend(biases)
    return layer
