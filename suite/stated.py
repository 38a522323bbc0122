"""What a fixture states of its variants: bounds of their own, and failures that are known.

A name that nothing bears would never be asked for, and what it states never hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from fnmatch import fnmatchcase
from typing import Any

from suite.errors import UsageError, unknown
from suite.record import Check, Status
from suite.spec import VARIANTS, Budget, ExpectedFailure, ModelSpec, Tolerance
from suite.thresholds import Thresholds

_ENDINGS = (Status.FAILED, Status.UNSUPPORTED)  # that a fixture can expect


def override(spec: ModelSpec, variant: str) -> dict[str, Any]:
    """The bounds that the fixture gives this variant, with its reasons; empty where it says nothing."""
    stated: dict[str, Any] = {}
    reasons = []
    for bounds in (spec.tolerances.get(variant), spec.budgets.get(variant)):
        if bounds is not None:
            values = _values(bounds)
            reasons.append(values.pop("reason", ""))
            stated.update(values)
    if stated:
        stated["reason"] = "; ".join(filter(None, reasons))
    return stated


def _values(bounds: Tolerance | Budget) -> dict[str, Any]:
    return {name: value for name, value in asdict(bounds).items() if value not in (None, "", ())}


def check(spec: ModelSpec) -> None:
    """Raise UsageError for a name that nothing bears, a bound that cannot be, and what has no reason."""
    _check_bounds(spec, "tolerances", Tolerance)
    _check_bounds(spec, "budgets", Budget)
    for known in spec.expected_failures:
        _check_failure(known)


def _check_bounds(spec: ModelSpec, what: str, kind: type[Tolerance] | type[Budget]) -> None:
    stated = getattr(spec, what)
    if not isinstance(stated, Mapping):
        raise UsageError(f"{what} is {stated!r}: give a dict by variant")
    for variant, bounds in stated.items():
        if variant not in VARIANTS:
            raise UsageError(f"{what}: {unknown('variant', variant, VARIANTS)}")
        if not isinstance(bounds, kind):
            raise UsageError(f"{what}[{variant!r}] is {bounds!r}: give a {kind.__name__}(...)")
        Thresholds().resolve(spec.name, variant, _values(bounds))


def _check_failure(known: Any) -> None:
    if not isinstance(known, ExpectedFailure):
        raise UsageError(f"expected_failures holds {known!r}: give an ExpectedFailure(...)")
    where = f"the expected failure of {known.variant}, {known.check}"
    if known.variant not in VARIANTS:
        raise UsageError(f"{where}: {unknown('variant', known.variant, VARIANTS)}")
    if not any(fnmatchcase(check, str(known.check)) for check in Check):
        raise UsageError(f"{where}: {unknown('check', str(known.check), Check)}")
    if known.status not in _ENDINGS:
        raise UsageError(f"{where}: {unknown('status', str(known.status), _ENDINGS)}")
