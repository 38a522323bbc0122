"""The pytest plugin: options, markers, fixtures, hooks. Everything it does is done elsewhere."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from suite import environment, gates, invocation, iphones, localise, phones, run
from suite.benchmark import thread_counts, timed
from suite.cache import default_cache
from suite.errors import CheckFailed, PocketproofError, StagedError, UsageError
from suite.lab import Lab
from suite.matrix import PROFILES, Case
from suite.record import Artifact, Check, Stage, Status
from suite.recorder import Recorder
from suite.spec import Budget, Tolerance

_RUN = pytest.StashKey[run.Run]()
_RECORDER = pytest.StashKey[Recorder]()
_MARKERS = {
    "conversion": "converts a model and looks at the artifact",
    "parity": "holds an artifact's outputs to the original's",
    "accuracy": "measures accuracy against the original on the same samples",
    "contract": "holds what an artifact tells an app, from photo to label, to the fixture",
    "benchmark": "measures latency, throughput, CPU and memory; runs alone, after the others",
    "host_parity": "holds a phone's outputs to this machine's, by the same artifact",
    "android": "runs on phones over adb",
    "realtime": "runs behind a camera of 30 fps, in its callback and in a thread beside it; runs alone",
    "ios": "runs on iPhones that are plugged into this Mac",
}
_TIMED = ("benchmark", "realtime")  # marks of what an engine without a latency of its own cannot show
_STAGE_OF = {
    Check.CONVERSION: Stage.CONVERT,
    Check.PARITY: Stage.COMPARE,
    Check.ACCURACY: Stage.COMPARE,
    Check.CONTRACT: Stage.COMPARE,
    Check.BENCHMARK: Stage.MEASURE,
    Check.HOST_PARITY: Stage.COMPARE,
    Check.REALTIME: Stage.MEASURE,
}
_ALONE = (Check.BENCHMARK, Check.REALTIME)  # what neighbours would disturb
_ON_CAMERA_TARGET = ("test_realtime", "test_sustained")
_CAMERA = "host/litert-xnnpack"  # the target that runs behind a camera on this machine
_CAMERA_VARIANTS = ("float32", "int8")  # in the default profile: the slowest of a model and the quickest


# --- options ------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options; README documents them."""
    group = parser.getgroup("pocketproof", "Pocketproof: proving models on their way to a phone")
    add = group.addoption
    add("--models", metavar="GLOB[,GLOB]", help="models by name; default: those of the profile")
    add(
        "--variants",
        metavar="LIST",
        help="variants by name, separated by commas; default: those of the profile",
    )
    add("--profile", default="default", help=f"how much to do: {', '.join(PROFILES)} (default: %(default)s)")
    add(
        "--model-file",
        metavar="PATH",
        help="validate a .keras or .h5 file or a SavedModel folder, without a fixture",
    )
    add(
        "--artifact",
        metavar="PATH",
        action="append",
        default=[],
        help="hold this .tflite or .mlpackage to its model instead of converting; repeatable",
    )
    add(
        "--deployment-target",
        default="",
        metavar="iOS15|iOS16|...",
        help="the oldest iOS that Core ML artifacts must run on (default: what each variant needs)",
    )
    add("--dataset", metavar="FILE.npz|imagenet:DIR", help="samples in place of the fixture's own")
    add("--input-range", metavar="LO,HI", help="value range of a model without a fixture")
    add("--fixtures-dir", metavar="DIR", help="model fixtures from this folder instead of the bundled ones")
    add(
        "--weights",
        default="offline",
        metavar="offline|imagenet[:DIR]",
        help="weights of the bundled models: made here, or the published ones (default: %(default)s)",
    )
    add(
        "--report-dir",
        metavar="DIR",
        help="write this run's results here (default: a new folder in reports/)",
    )
    add(
        "--baseline",
        metavar="FILE",
        help="hold this run to an earlier one of the same machine: a file or folder of reports/baselines",
    )
    phones.add_options(add)
    add(
        "--localise",
        action="store_true",
        help="say of each parity check where its difference comes in, by cause and by layer; "
        "of failed ones that is said anyway",
    )
    add(
        "--seek",
        metavar="N",
        type=int,
        default=0,
        help="look for the inputs that a quantised artifact disagrees on most, "
        "among N real photos with small changes (default: only count disagreements)",
    )
    add(
        "--sustained",
        metavar="MINUTES",
        type=float,
        default=0.0,
        help="also run each artifact back to back for so long: throughput over time, and temperatures",
    )
    add("--continue-run", metavar="DIR", help="add to the results of a run that has begun in this folder")
    invocation.restart_unless_clear(
        name
        for option in group.options
        for name in option.names()
        if re.search("PATH|DIR|FILE", option.attrs().get("metavar") or "")
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and find out what is asked for, so that a wrong name ends the run at once."""
    for name, text in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    try:
        config.stash[_RUN] = run.Run.from_config(config, phones.made_of(config), iphones.targets(config))
    except PocketproofError as error:
        raise pytest.UsageError(str(error)) from None
    if not config.option.benchmark_json:
        config.option.benchmark_json = run.BenchmarkFile(config.stash[_RUN])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the run's results are."""
    node.workerinput["pocketproof_run"] = str(node.config.stash[_RUN].open())
    node.workerinput["pocketproof_phones"] = node.config.stash[_RUN].phones.plain()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a model's tests on one worker, so that it is built once, and a phone's, which has one user."""
    from suite.scheduling import by_model

    return by_model(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what was not asked for: tests of phones, minutes on end, and cameras in the smoke profile."""
    left_out = {
        iphones.TESTS: not iphones.asked(config),
        phones.TESTS: not config.stash[_RUN].phones.phones,
        "test_realtime.py": config.option.profile == "smoke",
        "test_sustained.py": not config.option.sustained,
    }
    ours = collection_path.parent.name == "validate"
    return True if ours and left_out.get(collection_path.name) else None


# --- collection -----------------------------------------------------------------


def _sees(case: Case, test: str, config: pytest.Config) -> bool:
    """Whether a camera is put before the case: each takes seconds in which nothing else may run.

    Phones have one too; minutes on end are this machine's alone.
    """
    few = config.option.profile == "default" and not config.option.variants
    placed = str(case.target) == _CAMERA or (case.target.on_android and test == "test_realtime")
    return placed and (not few or case.variant.name in _CAMERA_VARIANTS)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests that ask for a `case` by the run's cases, and for `threads` by those of its place."""
    if "case" not in metafunc.fixturenames:
        return
    of_phones = metafunc.definition.get_closest_marker("android") is not None
    of_camera = metafunc.function.__name__ in _ON_CAMERA_TARGET
    cases = [
        case
        for case in metafunc.config.stash[_RUN].cases
        if (case.target.on_android or not of_phones)
        and (not of_camera or _sees(case, metafunc.function.__name__, metafunc.config))
    ]
    if not of_phones and metafunc.definition.get_closest_marker("host_parity") is not None:
        cases = [case for case in cases if case.variant.format == "coreml" and timed(case.target)]
    if metafunc.definition.get_closest_marker("ios") is not None:
        cases = [case for case in cases if case.target.on_ios]
    if metafunc.definition.get_closest_marker("contract") is not None:  # the file's, wherever it runs
        cases = [case for case in cases if case.target.place == "host"]
    if any(metafunc.definition.get_closest_marker(mark) for mark in _TIMED):
        cases = [case for case in cases if timed(case.target)]
    if "threads" not in metafunc.fixturenames:
        made = [pytest.param(case, id=case.id, marks=_marks(case)) for case in cases]
        metafunc.parametrize("case", made, scope="function")
        return
    made = [
        pytest.param(case, count, id=f"{case.id}-threads={count}", marks=_marks(case))
        for case in cases
        for count in thread_counts(case.target)
    ]
    metafunc.parametrize(("case", "threads"), made, scope="function")


def _marks(case: Case) -> list[pytest.MarkDecorator]:
    if case.target.on_ios:
        return [pytest.mark.ios]
    return [pytest.mark.android] if case.target.on_android else []


def _in_order(cases: Sequence[Case], config: pytest.Config) -> Sequence[Case]:
    """As they are; among xdist's workers the longest model first, so that none is left for last."""
    if not run.is_worker(config):
        return cases
    return sorted(cases, key=lambda case: -case.spec.gmacs)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order by model, plan the run, mark what is known to fail, and keep benchmarks for when all is quiet."""
    empty = [
        item
        for item in items
        if item.name.endswith("[NOTSET]") and "case" in getattr(item, "fixturenames", ())
    ]
    if empty:  # a check that no case of this run takes
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]
    proofs = [(item, case, check) for item in items for case, check in [_proof(item)] if case and check]
    if not proofs:
        return
    current = config.stash[_RUN]
    order = {case.id: place for place, case in enumerate(_in_order(current.cases, config))}
    checks = list(Check)
    places = {
        # A phone's benchmark needs no quiet machine: it stays with the phone's other tests.
        item: (
            check in _ALONE and not case.target.on_android,
            order[case.id],
            checks.index(check),
        )
        for item, case, check in proofs
    }
    items.sort(key=lambda item: places.get(item, (False, -1, 0)))
    for item, case, check in proofs:
        if (known := case.expected_failure(check)) is not None:
            owner = f" (owner: {known.owner})" if known.owner else ""
            item.add_marker(pytest.mark.xfail(reason=known.reason + owner, raises=StagedError, strict=True))
    if not config.option.collectonly:
        current.plan([(case, check) for _, case, check in proofs])
    if run.is_worker(config):
        kept = [item for item in items if not places.get(item, (False,))[0]]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def _asks_for_a_case(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "case" in item.fixturenames


def _proof(item: pytest.Item) -> tuple[Case | None, Check | None]:
    """The case and check of a test of the product; (None, None) for other tests."""
    case = (
        item.callspec.params.get("case")
        if isinstance(item, pytest.Function) and hasattr(item, "callspec")
        else None
    )
    check = next((check for check in Check if item.get_closest_marker(check)), None)
    return (case, check) if isinstance(case, Case) else (None, None)


# --- fixtures ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Iterator[Lab]:
    """Makes everything that cases are proven with; one a process."""
    current = pytestconfig.stash[_RUN]
    made = Lab(
        default_cache(),
        current.thresholds,
        weights=pytestconfig.option.weights,
        dataset=current.dataset,
        bounds=current.bounds,
        threads=max(1, environment.cores() // current.worker_count),
        deployment_target=pytestconfig.option.deployment_target,
        phones=current.phones,
    )
    yield made
    made.close()


@pytest.fixture
def recorder(request: pytest.FixtureRequest, case: Case) -> Recorder:
    """Keeps what a test sees of its case."""
    _, check = _proof(request.node)
    if check is None:
        raise UsageError(
            f"{request.node.name} records a case but carries none of the marks {', '.join(Check)}"
        )
    made = Recorder(case, check, options=request.config.stash[_RUN].options)
    request.node.stash[_RECORDER] = made
    return made


@pytest.fixture
def artifact(
    request: pytest.FixtureRequest, case: Case, lab: Lab, recorder: Recorder
) -> tuple[Path, Artifact]:
    """The converted (or given) file of the case, and what is known of it."""
    if case.target.on_ios:
        iphones.check(case.target, request.config)
    path, facts = lab.artifact(case)
    recorder.place, notes = lab.surroundings(case)
    recorder.notes = (*lab.subject(case.spec).feeds.notes, *notes)
    return path, facts


@pytest.fixture
def located(
    request: pytest.FixtureRequest,
    case: Case,
    lab: Lab,
    artifact: tuple[Path, Artifact],
    recorder: Recorder,
) -> AbstractContextManager[None]:
    """Within it, a failure is told with where the difference comes in."""
    return localise.located(lab, case, artifact, recorder, always=request.config.option.localise)


@pytest.fixture
def limits(case: Case, lab: Lab) -> tuple[Tolerance, Budget]:
    """The case's tolerance and budget."""
    return lab.limits(case)


def enforce(findings: list[gates.Finding], stage: Stage) -> None:
    """Raise CheckFailed with every finding; what is inconclusive is left to the gate."""
    if failed := [finding.message for finding in findings if not finding.inconclusive]:
        raise CheckFailed("\n".join(failed), stage=stage)


# --- results ------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test's end into a record, and an error that a user can understand into its message alone."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, StagedError) and error.status in (Status.CRASHED, Status.SKIPPED):
        _reclassify(report, item, error)
    if isinstance(error, PocketproofError) and report.outcome == "failed":
        report.longrepr = f"{error}\nReproduce: pytest {item.nodeid!r} {item.config.stash[_RUN].options}"
    over = call.when == "call" or (call.when == "setup" and report.outcome != "passed")
    if over and (recorder := _recorder_of(item)) is not None:
        status, stage, message = _ending(report, error, recorder.check)
        record = recorder.finish(status, stage, message, call.duration)
        current = item.config.stash[_RUN]
        try:
            current.store.append(record)
        except PocketproofError as full:
            pytest.exit(str(full), returncode=pytest.ExitCode.TESTS_FAILED)
        current.benchmarked |= recorder.check is Check.BENCHMARK and "scaling" in recorder.sections
        report.user_properties.append(("said", recorder.said))
    return report


def _recorder_of(item: pytest.Item) -> Recorder | None:
    case, check = _proof(item)
    if case is None or check is None:
        return None
    return item.stash.get(_RECORDER, Recorder(case, check))


def _reclassify(report: pytest.TestReport, item: pytest.Item, error: StagedError) -> None:
    """A crash is never an expected failure; what cannot apply is a skip with its reason."""
    if hasattr(report, "wasxfail"):
        del report.wasxfail
    if error.status is Status.CRASHED:
        report.outcome = "failed"
    else:
        path, line, _ = item.location
        report.outcome, report.longrepr = "skipped", (path, (line or 0) + 1, f"Skipped: {error}")


def _ending(
    report: pytest.TestReport, error: BaseException | None, check: Check
) -> tuple[Status, Stage, str]:
    """Status, stage and message of a finished test."""
    stage = error.stage if isinstance(error, StagedError) else _STAGE_OF[check]
    if hasattr(report, "wasxfail"):
        return Status.EXPECTED_FAILURE, stage, f"{report.wasxfail}\n{error}"
    if report.outcome == "passed":
        return Status.PASSED, stage, ""
    if report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return Status.SKIPPED, stage, reason.removeprefix("Skipped: ")
    if error is None:  # a strict expected failure that passed
        return (
            Status.FAILED,
            stage,
            f"expected to fail, and passed: take it out of expected_failures. {report.longrepr}",
        )
    if isinstance(error, StagedError):
        return error.status, stage, str(error)
    return Status.ERROR, stage, f"{type(error).__name__}: {error}"


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember which tests workers timed, whose samples pytest-benchmark does not see."""
    if report.when == "call" and run.Run.in_progress is not None:
        run.current().note_benchmark(report.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport, config: pytest.Config) -> Any:
    """Say in the progress line what was measured."""
    said = dict(report.user_properties).get("said") if report.when == "call" else None
    if said and report.outcome == "passed":
        return "passed", ".", (f"PASSED {said}", {"green": True})
    return None


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: Any, sched: Any) -> None:
    """When a whole xdist worker dies, its test's record dies with it: write it here."""
    if report is not None and (found := re.search(r"::test_(\w+)\[(.+?)(?:-threads=\d+)?\]$", crashitem)):
        run.current().record_crash(found[2], found[1], str(report.longrepr))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is under test."""
    return config.stash[_RUN].header()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Run the benchmarks alone where the rest ran in parallel; then report and gate."""
    current = session.config.stash[_RUN]
    if run.is_worker(session.config):
        return
    if not current.begun:
        current.abandon()
        return
    interrupted = session.exitstatus in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    if run.is_parallel(session.config):
        current.phones.sweep()
    if run.is_parallel(session.config) and not interrupted:
        status = current.run_benchmarks_alone()
        current.add_phones_to_benchmark_file()
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = status
    if current.continues:
        return
    try:
        passed = current.conclude().passed
    except PocketproofError as error:
        current.complaint, passed = str(error), False
    if session.exitstatus == pytest.ExitCode.OK and not passed and not current.waits_for_a_phone:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The gate's verdict, and where the report is."""
    current = config.stash[_RUN]
    if current.verdict is None and not current.complaint:
        return
    terminalreporter.section("Pocketproof")
    for line, good in current.closing_words():
        terminalreporter.write_line(line, green=good is True, red=good is False)
