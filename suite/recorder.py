"""What one test saw of one case, until it is over and becomes a record."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from suite.environment import host
from suite.matrix import Case
from suite.record import Check, CheckResult, Record, Stage, Status
from suite.runtimes import ENGINES


@dataclass(slots=True)
class Recorder:
    """Collects the sections of a record; a section added is kept whatever happens afterwards."""

    case: Case
    check: Check
    sections: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    place: dict[str, Any] = field(default_factory=dict)  # what is known of a device beside this machine
    options: str = ""  # of the command line, without which this case would not be there
    said: str = ""  # a few words for the progress line

    def add(self, **sections: Any) -> None:
        """Keep measured sections, by the record's field names."""
        self.sections.update(sections)

    def without(self, **reasons: str) -> None:
        """Say why a section cannot be measured."""
        self.reasons.update(reasons)

    def finish(self, status: Status, stage: Stage, message: str, seconds: float) -> Record:
        """The record of this test."""
        engine = ENGINES.get(self.case.target.engine)
        result = CheckResult(status=status, stage=stage, message=message, seconds=seconds)
        return Record(
            case_id=self.case.id,
            stage=stage,
            status=status,
            message=message,
            checks={self.check: result},
            planned=(self.check,),
            engine=engine.called if engine else "",
            reasons={**(_untimed(engine.untimed) if engine else {}), **self.reasons},
            notes=(*self.case.spec.notes, *self.notes),
            override=self.case.override,
            environment={**host(), **self.place, "options": self.options},
            recorded_at=now(),
            **self.sections,
        )


def _untimed(why: str) -> dict[str, str]:
    """The reasons for what an engine cannot measure."""
    sections = ("latency", "throughput", "memory", "cpu", "gpu", "energy", "thermal")
    return dict.fromkeys(sections, why) if why else {}


def planned(case: Case, checks: tuple[Check, ...]) -> Record:
    """A case that is about to be examined; without results after it, it counts as failed."""
    return Record(
        case_id=case.id,
        stage=Stage.PLAN,
        status=Status.ERROR,
        message="planned, and nothing was recorded",
        planned=checks,
        recorded_at=now(),
    )


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")
