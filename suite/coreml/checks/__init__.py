"""Static checks: what can be read from a saved Core ML model before anything runs.

Each is a function of a `Subject` that answers what was found, or raises Wrong.
A damaged file fails the check that meets the damage. One of them needs samples:
whether activations fit into float16 is seen only where they are computed. And
some need the float32 conversion: each number is held to what it is there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from suite.converters.contract import Told
from suite.converters.interface import Interface
from suite.coreml.checks import activations, constants, features, photo, precision, storage
from suite.coreml.checks.subject import Subject, Wrong
from suite.errors import CaseError
from suite.record import Stage, StaticCheck, Status
from suite.spec import Array, Resize

Check = Callable[[Subject], str]

CHECKS: Mapping[str, Check] = {
    "weights file": storage.weights_file,
    "specification version": storage.specification_version,
    "inputs": features.inputs,
    "outputs": features.outputs,
    "batch": features.batch,
    "image": photo.image,
    "labels": features.labels,
    "compression": precision.compression,
    "size": storage.size,
    "precision": precision.precision,
    "float16 range": precision.float16_range,
}


ACTIVATIONS = "activations"


def check(
    path: Path,
    variant: str,
    interface: Interface,
    converted: bool = True,
    samples: Mapping[str, Array] | None = None,
    reference: Path | None = None,
) -> dict[str, StaticCheck]:
    """Every check by name; where the package cannot be opened, only that one.

    `samples`: (n, ...) by input name, as the original takes them; without
    them the check of activations is not among the answers. `reference`: the
    float32 ML program of the same model, to which all numbers are held.
    """
    subject = Subject(path, variant, interface, converted, samples)
    found = {"package": _outcome(storage.package, subject)}
    if found["package"].status is Status.PASSED:
        found |= {name: _outcome(one, subject) for name, one in CHECKS.items()}
        if samples is not None:
            found[ACTIVATIONS] = _outcome(activations.activations, subject)
        if reference is not None:
            found |= _numbers(subject, reference)
    return found


def _numbers(subject: Subject, reference: Path) -> dict[str, StaticCheck]:
    try:
        return constants.check(subject, reference)
    except Exception as error:  # a hostile file leads a reader anywhere
        return {"graph": _strange(error)}


def told(path: Path, variant: str, interface: Interface) -> Told:
    """What the file says to an app of photos and labels; CaseError where it cannot be read."""
    subject = Subject(path, variant, interface, converted=False)
    try:
        labels, read = features.names(subject) or None, photo.told(subject)
    except CaseError:
        raise
    except Exception as error:  # a hostile file leads a reader anywhere
        raise CaseError(
            f"the file is put together as no converter does it ({type(error).__name__}: {error})",
            stage=Stage.LOAD,
        ) from error
    if read is None:
        return Told(labels=labels, described=False, by_metadata=False)
    colours, (scale, bias), words = read
    return Told(
        mean=tuple(-offset / factor for factor, offset in zip(scale, bias, strict=True)),
        std=tuple(1 / factor for factor in scale),
        channels=colours if colours in ("RGB", "BGR") else "grey",
        resize=next((str(one) for one in Resize if one.replace("_", " ") in words), ""),
        labels=labels,
        by_metadata=False,
        float16=variant not in ("mlprogram_float32", "neuralnetwork"),
    )


def _outcome(one: Check, subject: Subject) -> StaticCheck:
    try:
        return StaticCheck(status=Status.PASSED, message=one(subject))
    except (Wrong, CaseError) as error:
        return StaticCheck(status=Status.FAILED, message=str(error))
    except Exception as error:  # a hostile file leads a reader anywhere
        return _strange(error)


def _strange(error: Exception) -> StaticCheck:
    return StaticCheck(
        status=Status.FAILED,
        message=f"the file is put together as no converter does it ({type(error).__name__}: {error})",
    )
