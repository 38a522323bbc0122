"""A SavedModel as a reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from suite.cache import sha256_tree
from suite.errors import CaseError
from suite.record import Stage, Status
from suite.runtimes.base import TensorInfo
from suite.runtimes.original import BATCH, brief, check_finite, fixed_shape
from suite.spec import Array


class SavedOriginal:
    """A TensorFlow SavedModel folder, by its serving signature."""

    def __init__(self, path: Path) -> None:
        import tensorflow as tf

        self._path = path
        try:
            self._loaded = tf.saved_model.load(str(path))
        except Exception as error:
            raise CaseError(
                f"cannot load the SavedModel {path.name}: {brief(error)}. Export it again", stage=Stage.BUILD
            ) from error
        signatures = self._loaded.signatures
        name = "serving_default" if "serving_default" in signatures else next(iter(signatures), None)
        if name is None:
            raise CaseError(
                f"the SavedModel {path.name} has no signature: export it with model.export(folder)",
                stage=Stage.BUILD,
            )
        self._function = signatures[name]
        self.inputs = tuple(
            TensorInfo(name=key, shape=fixed_shape(key, tensor.shape, None), dtype=tensor.dtype.name)
            for key, tensor in self._function.structured_input_signature[1].items()
        )
        self.outputs = tuple(
            TensorInfo(
                name=key,
                shape=tuple(-1 if s is None else int(s) for s in tensor.shape),
                dtype=tensor.dtype.name,
            )
            for key, tensor in self._function.structured_outputs.items()
        )
        self._any_batch = all(
            tensor.shape[0] is None for tensor in self._function.structured_input_signature[1].values()
        )
        variables = {id(variable): variable for variable in self._function.variables}
        self.parameters = sum(int(np.prod(variable.shape)) for variable in variables.values())
        if not any(variable.dtype.is_floating for variable in variables.values()):  # frozen
            self.parameters += _constants(self._function)
        self.rescales = False
        for variable in variables.values():
            check_finite(variable.name, variable.numpy())

    def move(self, seed: int) -> None:
        """Its weights are part of a graph."""
        raise CaseError(
            f"the SavedModel {self._path.name} cannot be given other weights: write a fixture that builds it",
            stage=Stage.BUILD,
            status=Status.SKIPPED,
        )

    def content(self) -> str:
        """Hash of the folder's files."""
        return sha256_tree(self._path)

    def modules(self) -> set[str]:
        """None: the graph holds all that is computed."""
        return set()

    def predict(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Answers in batches, or one by one where the signature's batch is fixed."""
        import tensorflow as tf

        count, step = len(next(iter(arrays.values()))), BATCH if self._any_batch else 1
        parts = [
            self._function(
                **{name: tf.constant(array[start : start + step]) for name, array in arrays.items()}
            )
            for start in range(0, count, step)
        ]
        return {
            info.name: np.concatenate([part[info.name].numpy() for part in parts]) for info in self.outputs
        }

    def signature(self) -> Any:
        """The signature at batch one."""
        import tensorflow as tf

        names = [info.name for info in self.inputs]
        specs = [tf.TensorSpec((1, *info.shape[1:]), info.dtype, name=info.name) for info in self.inputs]

        def serve(*tensors: Any) -> Any:
            return dict(self._function(**dict(zip(names, tensors, strict=True))))

        return tf.function(serve, input_signature=specs)


def _constants(function: Any) -> int:
    """Floats that a frozen graph holds: in nodes of its own, in functions that it calls, and beside them."""
    import tensorflow as tf

    graph = function.graph.as_graph_def()
    nodes = chain(graph.node, *(called.node_def for called in graph.library.function))
    stored = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
    held: list[tuple[Any, Iterable[int]]] = [
        *((tensor.dtype, (size.size for size in tensor.tensor_shape.dim)) for tensor in stored),
        *((tensor.dtype, tensor.shape) for tensor in function.captured_inputs),
    ]
    return sum(math.prod(shape) for dtype, shape in held if tf.dtypes.as_dtype(dtype).is_floating)
