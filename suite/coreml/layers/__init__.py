"""Layers of a neural network in terms of the operators of ML programs, by family.

Each maker takes a layer's parameters and answers a function of the layer's
inputs. All tensors are float32, places and truth values too. A new layer is
one maker in the file of its family.
"""

from suite.coreml.layers import (
    activation,
    convolution,
    elementwise,
    norm,
    places,
    pooling,
    products,
    recurrent,
    reduction,
    resize,
    shape,
)
from suite.coreml.layers.registry import kinds, make

__all__ = [
    "activation",
    "convolution",
    "elementwise",
    "kinds",
    "make",
    "norm",
    "places",
    "pooling",
    "products",
    "recurrent",
    "reduction",
    "resize",
    "shape",
]
