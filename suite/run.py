"""One run of the suite: what was asked for, where results go, how it ends."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from suite import alone, baseline, benchmark_file, folder, iphones, report
from suite.benchmark_file import Timed
from suite.data import open_dataset
from suite.devices.fleet import Fleet
from suite.discovery import BUNDLED, BrokenFixture, discover, from_model_file
from suite.environment import host
from suite.errors import PocketproofError, UsageError, unknown
from suite.gates import Verdict
from suite.matrix import Case, Request, cases
from suite.record import Check, CheckResult, Record, Stage, Status
from suite.recorder import now, planned
from suite.spec import DEPLOYMENT_TARGETS, Dataset, ModelSpec, Target
from suite.store import RESULTS, Store, results_file
from suite.thresholds import Thresholds

QUIET = (Check.BENCHMARK, Check.REALTIME)  # what neighbours would disturb
ALONE = f"({' or '.join(QUIET)}) and not android"  # marks of the tests that run when all is quiet
_SELECTING = (
    "models",
    "variants",
    "model_file",
    "artifact",
    "deployment_target",
    "dataset",
    "input_range",
    "fixtures_dir",
    "weights",
    "serial",
    "adb_host",
    "stand_in",
    "engines",
    "benchmark_model",
)


@dataclass(slots=True)
class Run:
    """State of this process's share of a run."""

    config: Any
    cases: list[Case]
    thresholds: Thresholds
    bounds: tuple[float, float] | None
    dataset: Dataset | None
    continues: bool  # adds to a run that another process began
    phones: Fleet
    baseline: Path | None = None  # the earlier run that this one is held to
    directory: Path | None = None
    earlier: tuple[int, int] | None = None  # results that lay there before
    benchmarked: bool = False
    verdict: Verdict | None = None
    stopped: str = ""  # why it could not go on, or has no verdict
    timed_on_phones: dict[Timed, str] = field(default_factory=dict)  # by workers: the tests' ids
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # for the end of the run

    in_progress: ClassVar[Run | None] = None

    @classmethod
    def from_config(cls, config: Any, phones: Fleet, on_ios: tuple[Target, ...] = ()) -> Run:
        """Read the options; UsageError for what cannot be."""
        options = config.option
        models = _models(options)
        request = Request(
            profile=options.profile,
            models=_names(options.models),
            variants=_names(options.variants),
            artifacts=tuple(Path(path) for path in options.artifact),
            phones=phones.targets(_names(options.engines)),
            iphones=on_ios,
        )
        _check_weights(options.weights)
        if not 0 <= options.sustained < math.inf:
            raise UsageError(f"--sustained {options.sustained:g}: give the minutes, such as 10")
        if options.deployment_target not in ("", *DEPLOYMENT_TARGETS):
            raise UsageError(unknown("deployment target", options.deployment_target, DEPLOYMENT_TARGETS))
        made = cls(
            config=config,
            cases=cases(models if options.weights == "offline" else _as_published(models), request),
            thresholds=_thresholds(config.rootpath),
            bounds=_bounds(options.input_range),
            dataset=open_dataset(options.dataset) if options.dataset else None,
            continues=bool(options.continue_run) or is_worker(config),
            phones=phones,
            baseline=_baseline(config),
            broken=[str(model) for model in models.values() if isinstance(model, BrokenFixture)],
        )
        if is_worker(config):
            made.directory = Path(config.workerinput["pocketproof_run"])
        elif options.continue_run:
            made.directory = Path(options.continue_run)
        cls.in_progress = made
        return made

    @property
    def begun(self) -> bool:
        """Whether cases were planned: a run of other tests alone leaves no results, or an earlier run's."""
        return self.directory is not None and _state(self.directory / RESULTS) not in (None, self.earlier)

    @property
    def options(self) -> str:
        """The options that decide which cases there are, as they are written on a command line."""
        given = {name: getattr(self.config.option, name) for name in _SELECTING}
        words = [f"--profile={self.config.option.profile}"]
        for name, value in given.items():
            option = "--" + name.replace("_", "-")
            words += [f"{option}={item}" for item in (value if isinstance(value, list) else [value]) if item]
        return shlex.join(words)

    def reproduced_by(self, nodeid: str) -> str:
        """The command line that runs one test of this run again."""
        minutes = self.config.option.sustained
        asked = f" --sustained={minutes:g}" if minutes and "::test_sustained[" in nodeid else ""
        return f"pytest {shlex.quote(nodeid)} {self.options}{asked}"

    @property
    def worker_count(self) -> int:
        """How many processes share this machine."""
        return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

    def open(self) -> Path:
        """The folder of this run's results, made when first asked for; UsageError where it cannot be."""
        if self.directory is None:
            self.directory = folder.make(self.config.option.report_dir, self._reports)
            self.earlier = _state(self.directory / RESULTS)
        return self.directory

    @property
    def _reports(self) -> Path:
        return Path(self.config.rootpath) / "reports"

    @property
    def store(self) -> Store:
        """Where records are appended."""
        return Store(self.open())

    def abandon(self) -> None:
        """Leave no empty folder behind when no case was examined."""
        if self.directory is not None and not self.continues:
            with contextlib.suppress(OSError):  # not empty: it was there before
                self.directory.rmdir()

    def plan(self, proofs: list[tuple[Case, Check]]) -> None:
        """Record every case that is about to be examined; one worker does it for all.

        From now on this is the latest run, however it ends: an older verdict is not that of the newest.
        """
        if os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0" or (
            self.continues and not is_worker(self.config)
        ):
            return
        named = bool(self.config.option.report_dir)
        folder.begin(self.open(), self._reports, named=named, held_to=self.baseline)
        by_case: dict[str, tuple[Case, list[Check]]] = {}
        for case, check in proofs:
            by_case.setdefault(case.id, (case, []))[1].append(check)
        for case, checks in by_case.values():
            self.store.append(planned(case, tuple(dict.fromkeys(checks))))

    def planned(self) -> set[tuple[str, Check]]:
        """What the process that began this run planned: cases' ids with checks."""
        return {(record.case_id, check) for record in self.store.load().records for check in record.planned}

    def stop(self, why: str) -> None:
        """Remember why this cannot go on; the first reason is that of all others."""
        self.stopped = self.stopped or why

    def record_crash(self, case_id: str, check: str, message: str) -> None:
        """Write the record of a test whose process died."""
        result = CheckResult(status=Status.CRASHED, stage=Stage.RUN, message=message)
        self.store.append(
            Record(
                case_id=case_id,
                stage=Stage.RUN,
                status=Status.CRASHED,
                message=message,
                checks={Check(check) if check in set(Check) else Check.CONVERSION: result},
                environment=host(),
                recorded_at=now(),
            )
        )

    def run_benchmarks_alone(self) -> int:
        """This machine's timed checks of a parallel run, in one process of their own, after all else."""
        here = (record for record in self.store.load().records if not _on_phone(record))
        if not any(check in record.planned for record in here for check in QUIET):
            return 0
        line = alone.command(self.config, ALONE, self.open())
        status = alone.attend(line, self.config.invocation_params.dir)
        return 0 if status == alone.NO_TESTS else status

    def note_benchmark(self, nodeid: str) -> None:
        """Of a parallel run: a worker has timed something on a phone."""
        measured = benchmark_file.timed(nodeid)
        if measured is not None and is_parallel(self.config):
            self.timed_on_phones[measured] = nodeid

    def add_phones_to_benchmark_file(self) -> None:
        """What workers timed on phones goes where pytest-benchmark wrote of this machine."""
        path = Path(str(self.config.option.benchmark_json))
        try:
            benchmark_file.add(path, self.config, self.store.load().records, self.timed_on_phones)
        except OSError as error:
            self.notes.append(f"{path}: cannot write: {error.strerror}; the samples are in {RESULTS}")

    def conclude(self) -> Verdict:
        """Merge the records, write the reports, and give the gate's verdict."""
        records = self.store.compact().records
        if not self.stopped:
            self._remember(records)
        self.verdict = report.build(self.open(), self.thresholds, self.baseline)
        return self.verdict

    def _remember(self, records: list[Record]) -> None:
        """Append to the history; one that cannot be written costs a line at the end, not the run."""
        try:
            folder.remember(self.open(), self._reports, records, named=bool(self.config.option.report_dir))
        except PocketproofError as error:
            self.notes.append(str(error))

    @property
    def waits_for_a_phone(self) -> bool:
        """Whether all that was asked for was skipped, because no phone was ready."""
        problems = [phone.problem for phone in self.phones.phones.values()]
        problems += [missing] if (missing := iphones.missing(self.config)) else []
        counts = self.verdict.counts if self.verdict is not None else {}
        return bool(problems) and all(problems) and counts.get("cases") == counts.get(Status.SKIPPED)

    def header(self) -> list[str]:
        """Lines for pytest's header."""
        models = len({case.spec.name for case in self.cases})
        machine = host()
        lines = [
            f"pocketproof: {len(self.cases)} cases of {models} models, profile {self.config.option.profile}, "
            f"weights {self.config.option.weights}",
            f"machine: {machine['cpu']}, {machine['cores']} cores; fingerprint {machine['fingerprint']}",
        ]
        lines += [f"phone: {phone}" for phone in self.phones.phones.values()]
        return lines + [f"broken fixture: {message}" for message in self.broken]

    def closing_words(self) -> list[tuple[str, bool | None]]:
        """Lines for the end of the run, each with whether it is good or bad."""
        verdict = self.verdict
        if verdict is None:
            return [(self.stopped, False), *((note, None) for note in self.notes)]
        word = "may ship" if verdict.passed else "MAY NOT SHIP"
        if verdict.inconclusive:
            word = "inconclusive, MAY NOT SHIP YET"
        if self.waits_for_a_phone:
            missing = [iphones.missing(self.config)]
            said = [(f"  {phone}", None) for phone in [*self.phones.phones.values(), *filter(None, missing)]]
            return [("nothing proven: no phone is ready", None), *said, self._place]
        counts = ", ".join(f"{count} {status}" for status, count in verdict.counts.items())
        lines: list[tuple[str, bool | None]] = [(f"verdict: {word} ({counts})", verdict.passed)]
        for finding in verdict.findings[:10]:
            where = f"{finding.case_id} {finding.gate}".strip()
            lines.append((f"  {where}: {finding.message.splitlines()[0]}", False))
        if len(verdict.findings) > 10:
            lines.append((f"  and {len(verdict.findings) - 10} more in the report", False))
        lines += [(why, False) for why in (self.stopped,) if why]
        lines += [(note, None) for note in self.notes]
        return [*lines, self._place]

    @property
    def _place(self) -> tuple[str, bool | None]:
        return f"report: {self.open() / report.INDEX}", None


@dataclass(frozen=True, slots=True)
class BenchmarkFile:
    """The path of a run's benchmark.json.

    The run's folder is made only when it is written; until a benchmark has run
    it is false, so that pytest-benchmark does not complain of having nothing to write.
    """

    run: Run

    def __bool__(self) -> bool:
        return self.run.benchmarked

    def __fspath__(self) -> str:
        return str(self.run.open() / folder.BENCHMARK_JSON)

    def __str__(self) -> str:
        return self.__fspath__()


def current() -> Run:
    """The run of this process."""
    if Run.in_progress is None:
        raise UsageError("no run is in progress")
    return Run.in_progress


def is_worker(config: Any) -> bool:
    """Whether this process is one of xdist's workers."""
    return hasattr(config, "workerinput")


def is_parallel(config: Any) -> bool:
    """Whether this process hands tests to xdist's workers."""
    return config.getoption("dist", "no") != "no" and not is_worker(config)


def _state(path: Path) -> tuple[int, int] | None:
    """Tells a file from one that took its place; None where there is none."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_ino, seen.st_mtime_ns


def _on_phone(record: Record) -> bool:
    return record.target.startswith("android:")


def _models(options: Any) -> dict[str, ModelSpec | BrokenFixture]:
    if options.model_file:
        if options.models:
            raise UsageError("--model-file and --models name the model twice: give one of them")
        spec = from_model_file(Path(options.model_file))
        return {spec.name: spec}
    return discover(Path(options.fixtures_dir) if options.fixtures_dir else BUNDLED)


def _as_published(models: dict[str, ModelSpec | BrokenFixture]) -> dict[str, ModelSpec | BrokenFixture]:
    """The models without what their fixtures state of the offline weights."""
    return {
        name: model if isinstance(model, BrokenFixture) else model.published()
        for name, model in models.items()
    }


def _baseline(config: Any) -> Path | None:
    """The path that stays when `reports/latest` is this run; UsageError where it leads to no other run."""
    given, report_dir = config.option.baseline, config.option.report_dir
    if not given:
        return None
    path = Path(given).resolve()
    if report_dir and results_file(path) == results_file(Path(report_dir).resolve()):
        raise UsageError(f"--baseline {given} is this run's own --report-dir: it would be held to itself")
    if not is_worker(config):
        baseline.load(path)
    return path


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def _bounds(text: str | None) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"--input-range {text!r} is not understood: give two numbers, such as 0,1 or -1,1"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"--input-range {text!r} is not finite: give two numbers, such as 0,1 or -1,1")
    if not low < high:
        raise UsageError(f"--input-range {text!r} is empty: the first number is the smaller one")
    return low, high


def _check_weights(weights: str) -> None:
    if weights not in ("offline", "imagenet") and not weights.startswith("imagenet:"):
        raise UsageError(f"--weights {weights!r} is not understood: give offline, imagenet or imagenet:DIR")


def _thresholds(root: Path) -> Thresholds:
    pyproject = root / "pyproject.toml"
    return Thresholds.load(pyproject if pyproject.exists() else None)
