"""Models x variants x targets: the cases of a run, with ids that stay."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from suite import stated
from suite.discovery import BrokenFixture
from suite.errors import UsageError, unknown
from suite.spec import COREML, TFLITE, VARIANTS, ExpectedFailure, ModelSpec, Target, Variant


def _host(*engines: str) -> tuple[Target, ...]:
    return tuple(Target("host", engine) for engine in engines)


_LITERT = _host("litert-xnnpack")
_KERNELS = _host("litert-builtin", "litert-reference")
_OLD_APPS = _host("tflite-runtime")
_NOTEBOOKS = _host("tf-lite")
# Core ML itself where there is one; else the evaluator, which executes the saved file in NumPy.
_COREML = _host("coreml", "coreml-evaluator") if sys.platform == "darwin" else _host("coreml-evaluator")
_COMPUTE_UNITS = _host("coreml-cpu", "coreml-cpu-gpu", "coreml-cpu-ne")
_FIRST = {"tflite": _LITERT, "coreml": _COREML}
ARTIFACTS = tuple(dict.fromkeys(variant.suffix for variant in VARIANTS.values()))
_ARTIFACTS = "a .tflite or .mlmodel file or a .mlpackage folder"
_PRECISIONS = ("float32", "int8")
_SMALL = ("digits_cnn", "mobilenet_v2")


@dataclass(frozen=True, slots=True)
class Selection:
    """Some variants on some targets, of the models that match the patterns."""

    models: tuple[str, ...]
    variants: tuple[str, ...]
    targets: tuple[Target, ...]


# What a profile adds beyond which models belong to it (each fixture says that of itself).
# Other runtimes than LiteRT's default lack fast kernels for many ops, and reference
# kernels take seconds an inference on large nets: those targets are for small ones.
PROFILES: Mapping[str, tuple[Selection, ...]] = {
    "smoke": (Selection(("*",), _PRECISIONS, _LITERT),),
    "default": (
        Selection(("*",), ("float32", "float16", "dynamic_int8", "int8"), _LITERT),
        Selection(("digits_cnn",), _PRECISIONS, (*_KERNELS, *_OLD_APPS)),
        Selection(("squeezenet",), _PRECISIONS, _OLD_APPS),
        Selection(("*",), ("mlprogram_float32", "mlprogram_float16"), _COREML),
    ),
    "full": (
        Selection(("*",), TFLITE, _LITERT),
        Selection(("*",), _PRECISIONS, (*_OLD_APPS, *_NOTEBOOKS)),
        Selection(_SMALL, _PRECISIONS, _KERNELS),
        Selection(("*",), COREML, _COREML),
        *((Selection(("*",), COREML, _COMPUTE_UNITS),) if sys.platform == "darwin" else ()),
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """One model in one variant on one target."""

    spec: ModelSpec
    variant: Variant
    target: Target
    broken: str = ""  # why the fixture could not be read
    artifact: Path | None = None  # made elsewhere, in place of a conversion

    @property
    def id(self) -> str:
        """`model/variant/target`."""
        return f"{self.spec.name}/{self.variant.name}/{self.target}"

    @property
    def override(self) -> dict[str, Any]:
        """What the fixture itself allows this variant, with its reasons; empty where it says nothing."""
        return stated.override(self.spec, self.variant.name)

    def expected_failure(self, check: str) -> ExpectedFailure | None:
        """What the fixture says of this check, if it is known to fail."""
        return next(
            (
                failure
                for failure in self.spec.expected_failures
                if failure.variant == self.variant.name
                and fnmatchcase(check, str(failure.check))
                and fnmatchcase(str(self.target), failure.target)
            ),
            None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for."""

    profile: str = "default"
    models: tuple[str, ...] = ()  # patterns; empty: those of the profile
    variants: tuple[str, ...] = ()  # empty: those of the profile
    artifacts: tuple[Path, ...] = field(default=())
    iphones: tuple[Target, ...] = ()  # where every Core ML artifact runs besides
    phones: tuple[Target, ...] = ()  # where every TFLite artifact runs besides


def cases(models: Mapping[str, ModelSpec | BrokenFixture], request: Request) -> list[Case]:
    """The cases of a run, model by model; UsageError for a name that nothing matches."""
    selections = PROFILES.get(request.profile)
    if selections is None:
        raise UsageError(unknown("profile", request.profile, PROFILES))
    for name in request.variants:
        if name not in VARIANTS:
            raise UsageError(unknown("variant", name, VARIANTS))
    chosen = _choose_models(models, request)
    if request.artifacts:
        return _artifact_cases(chosen, request)
    found: dict[str, Case] = {}
    for spec, broken in chosen:
        for variant, target in _combinations(spec.name, selections, request.variants):
            case = Case(spec, VARIANTS[variant], target, broken)
            found[case.id] = case
        own = [case for case in found.values() if case.spec is spec]
        on_phones = [*_on_phones(own, request.phones), *_on_phones(own, request.iphones, "coreml")]
        found |= {case.id: case for case in on_phones}
    return list(found.values())


def _on_phones(own: Iterable[Case], phones: Sequence[Target], format: str = "tflite") -> Iterable[Case]:
    """The cases of one model on phones: each artifact of the format once on each target there."""
    artifacts = {(case.variant.name, case.artifact): case for case in own if case.variant.format == format}
    for case in artifacts.values():
        yield from (replace(case, target=target) for target in phones)


def _choose_models(
    models: Mapping[str, ModelSpec | BrokenFixture], request: Request
) -> list[tuple[ModelSpec, str]]:
    """Each model that is asked for, with why it is broken."""
    for pattern in request.models:
        if not any(fnmatchcase(name, pattern) for name in models):
            raise UsageError(unknown("model", pattern, models))
    chosen = []
    for name, model in models.items():
        if isinstance(model, BrokenFixture):
            spec, broken = ModelSpec(name=name, profiles=tuple(PROFILES)), str(model)
        else:
            spec, broken = model, ""
        wanted = (
            any(fnmatchcase(name, pattern) for pattern in request.models)
            if request.models
            else request.profile in spec.profiles
        )
        if wanted:
            chosen.append((spec, broken))
    if not chosen:
        raise UsageError(
            f"no model belongs to the profile {request.profile!r}: name one with --models, "
            f"or give a fixture profiles=({request.profile!r},)"
        )
    return chosen


def _combinations(
    model: str, selections: Sequence[Selection], variants: Sequence[str]
) -> Iterable[tuple[str, Target]]:
    """(variant, target) of one model; a variant asked for by name runs on the first target at least."""
    for selection in selections:
        if not any(fnmatchcase(model, pattern) for pattern in selection.models):
            continue
        for variant in selection.variants:
            if not variants or variant in variants:
                yield from ((variant, target) for target in selection.targets)
    for variant in variants:
        yield from ((variant, target) for target in _FIRST[VARIANTS[variant].format])


def _artifact_cases(chosen: list[tuple[ModelSpec, str]], request: Request) -> list[Case]:
    if len(chosen) != 1:
        raise UsageError(
            f"--artifact is held to one model, found {len(chosen)}: "
            "name it with --models NAME or --model-file PATH"
        )
    spec, broken = chosen[0]
    found: list[Case] = []
    for path in request.artifacts:
        if not path.exists():
            raise UsageError(f"no artifact at {path}: --artifact takes {_ARTIFACTS}")
        if path.suffix not in ARTIFACTS:
            raise UsageError(
                f"{path.name} is no artifact that can be run here: --artifact takes {_ARTIFACTS}"
            )
        variant = VARIANTS[request.variants[0] if len(request.variants) == 1 else variant_of(path)]
        targets = _FIRST[variant.format]
        found.extend(Case(spec, variant, target, broken, path.resolve()) for target in targets)
    found += [*_on_phones(found, request.phones), *_on_phones(found, request.iphones, "coreml")]
    twice = {case.id for case in found if sum(other.id == case.id for other in found) > 1}
    if twice:
        raise UsageError(f"two artifacts are both {' and '.join(sorted(twice))}: hold them in a run each")
    return found


def first_target(path: Path) -> Target:
    """Where an artifact of this kind of file runs, if nothing else is said."""
    return _FIRST["tflite" if path.suffix == ".tflite" else "coreml"][0]


def variant_of(path: Path) -> str:
    """The precision of an artifact, read from its tensors."""
    if path.suffix == ".tflite":
        from suite.converters.inspection import inspect

        return inspect(path).variant
    from suite.coreml import inspection

    return inspection.inspect(path).variant
