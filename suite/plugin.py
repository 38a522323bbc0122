"""The pytest plugin: options, markers, fixtures, hooks. Everything it does is done elsewhere."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from suite import (
    alone,
    collection,
    conclusion,
    endings,
    environment,
    invocation,
    iphones,
    localise,
    options,
    phones,
    run,
)
from suite.cache import default_cache
from suite.errors import PocketproofError, StagedError, UsageError
from suite.lab import Lab
from suite.matrix import Case
from suite.record import Artifact, Check, Status
from suite.recorder import Recorder
from suite.spec import Budget, Tolerance

_RUN = pytest.StashKey[run.Run]()
_RECORDER = pytest.StashKey[Recorder]()
_STOPPED = "pocketproof_stopped"  # in what a worker hands its controller
_LEFT = "pocketproof_left"  # there too: what is left on phones
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


# --- options ------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suite's options, and start anew where pytest has misread their values."""
    group = parser.getgroup("pocketproof", "Pocketproof: proving models on their way to a phone")
    options.add_options(group.addoption)
    invocation.restart_unless_clear(
        name
        for option in group.options
        for name in option.names()
        if re.search("PATH|DIR|FILE", option.attrs().get("metavar") or "")
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and find out what is asked for, so that a wrong name ends the run at once."""
    if config.option.continue_run:
        alone.listen()
        # Which failed last was asked when the run was planned; and pytest's cache is cleared but once.
        config.option.lf = config.option.failedfirst = config.option.cacheclear = False
    for name, text in _MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {text}")
    try:
        config.stash[_RUN] = run.Run.from_config(config, phones.made_of(config), iphones.targets(config))
    except PocketproofError as error:
        raise pytest.UsageError(str(error)) from None
    if not config.option.benchmark_json:
        config.option.benchmark_json = run.BenchmarkFile(config.stash[_RUN])
    if not run.is_worker(config):
        config.pluginmanager.register(conclusion.Conclusion(config.stash[_RUN]), "pocketproof-conclusion")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the run's results are."""
    current = node.config.stash[_RUN]
    try:
        node.workerinput["pocketproof_run"] = str(current.open())
    except PocketproofError as error:
        raise pytest.UsageError(str(error)) from None
    node.workerinput["pocketproof_phones"] = current.phones.plain()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Learn from an xdist worker why the run could not go on, and what it could not remove from phones."""
    told, current = getattr(node, "workeroutput", {}), node.config.stash[_RUN]
    if why := told.get(_STOPPED):
        current.stop(why)
    current.phones.left |= told.get(_LEFT, {})


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep a model's tests on one worker, so that it is built once, and a phone's, which has one user."""
    from suite.scheduling import by_model

    return by_model(config, log)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what was not asked for: tests of phones, and minutes on end."""
    left_out = {
        iphones.TESTS: not iphones.asked(config),
        phones.TESTS: not config.stash[_RUN].phones.phones,
        "test_sustained.py": not config.option.sustained,
    }
    ours = collection_path.parent.name == "validate"
    return True if ours and left_out.get(collection_path.name) else None


# --- collection -----------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize tests that ask for a `case`."""
    if "case" in metafunc.fixturenames:
        current = metafunc.config.stash[_RUN]
        collection.parametrize(metafunc, current.cases, current.thresholds)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order by model, and mark what is known to fail."""
    _leave_out(config, items, collection.without_a_case(items))
    proofs = collection.proofs(items)
    collection.order(items, proofs, collection.in_order(config.stash[_RUN].cases, config))
    for proof in proofs:
        collection.mark_known_failure(proof)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    """Plan what was selected in the end, and keep what needs quiet for when all is quiet."""
    config, current = session.config, session.config.stash[_RUN]
    proofs = collection.proofs(session.items)
    if not proofs or config.option.collectonly:
        return
    try:
        current.plan([(proof.case, proof.check) for proof in proofs])
        if run.is_worker(config):
            left = [proof.item for proof in proofs if proof.alone]
        elif current.continues:  # no more than was planned, whatever is selected here
            planned = current.planned()
            left = [proof.item for proof in proofs if (proof.case.id, proof.check) not in planned]
        else:
            left = []
    except PocketproofError as error:
        _stop(session, error)
    _leave_out(config, session.items, left)


def _leave_out(config: pytest.Config, items: list[pytest.Item], left: Sequence[pytest.Item]) -> None:
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


# --- fixtures ---------------------------------------------------------------------


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, pytestconfig: pytest.Config) -> Iterator[Lab]:
    """Makes everything that cases are proven with; one a process."""
    current = pytestconfig.stash[_RUN]
    proofs = collection.proofs(request.session.items)
    its_own = not run.is_worker(pytestconfig)  # and not shared out among processes one by one
    made = Lab(
        default_cache(),
        current.thresholds,
        weights=pytestconfig.option.weights,
        dataset=current.dataset,
        bounds=current.bounds,
        threads=max(1, environment.cores() // current.worker_count),
        deployment_target=pytestconfig.option.deployment_target,
        phones=current.phones,
        order=collection.in_turn(proofs) if its_own else (),
    )
    made.pool.expect(collection.workers(proofs), collection.fresh_workers(proofs) if its_own else {})
    made.pool.stock(1)  # the first artifact's; the others beside its pass
    yield made
    made.close()
    getattr(pytestconfig, "workeroutput", {})[_LEFT] = current.phones.left


@pytest.fixture
def recorder(request: pytest.FixtureRequest, case: Case) -> Recorder:
    """Keeps what a test sees of its case."""
    proof = collection.proof(request.node)
    if proof is None:
        raise UsageError(
            f"{request.node.name} records a case but carries none of the marks {', '.join(Check)}"
        )
    made = Recorder(case, proof.check, options=request.config.stash[_RUN].options)
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
    """Within it, a failure is told with where the difference comes in; what holds, once a case, on demand."""
    always = request.config.option.localise and recorder.check is Check.PARITY
    return localise.located(lab, case, artifact, recorder, always=always)


@pytest.fixture
def limits(case: Case, lab: Lab) -> tuple[Tolerance, Budget]:
    """The case's tolerance and budget."""
    return lab.limits(case)


# --- results ------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a test's end into a record, and an error that a user can understand into its message alone."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, StagedError) and error.status in (Status.CRASHED, Status.SKIPPED):
        endings.reclassify(report, item, error)
    if isinstance(error, PocketproofError) and report.outcome == "failed":
        report.longrepr = f"{error}\nReproduce: {item.config.stash[_RUN].reproduced_by(item.nodeid)}"
    over = call.when == "call" or (call.when == "setup" and report.outcome != "passed")
    if over and (recorder := _recorder_of(item)) is not None:
        current = item.config.stash[_RUN]
        if error is None:
            endings.leave_open(report, item, recorder, current.thresholds)
        status, stage, message = endings.ending(report, error, recorder.check)
        record = recorder.finish(status, stage, message, call.duration)
        try:
            current.store.append(record)
        except PocketproofError as full:
            _stop(item.session, full)
        current.benchmarked |= recorder.check is Check.BENCHMARK and "scaling" in recorder.sections
        report.user_properties.append(("said", recorder.said))
    return report


def _stop(session: pytest.Session, error: PocketproofError) -> NoReturn:
    """End the run: its results cannot be written."""
    config: Any = session.config
    current = config.stash[_RUN]
    current.stop(str(error))
    current.benchmarked = False  # there is no room for pytest-benchmark's file either
    if run.is_worker(config):
        session.shouldstop = str(error)  # or xdist takes the tests that are left for lost in a crash
        config.workeroutput[_STOPPED] = str(error)
    elif isinstance(error, UsageError):
        raise pytest.UsageError(str(error))
    pytest.exit(str(error), returncode=pytest.ExitCode.TESTS_FAILED)


def _recorder_of(item: pytest.Item) -> Recorder | None:
    proof = collection.proof(item)
    return None if proof is None else item.stash.get(_RECORDER, Recorder(proof.case, proof.check))


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
        current = run.current()
        try:
            current.record_crash(found[2], found[1], str(report.longrepr))
        except PocketproofError as error:
            current.stop(str(error))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What is under test."""
    return config.stash[_RUN].header()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The gate's verdict, and where the report is."""
    current = config.stash[_RUN]
    if current.verdict is None and not current.stopped:
        return
    terminalreporter.section("Pocketproof")
    for line, good in current.closing_words():
        terminalreporter.write_line(line, green=good is True, red=good is False)
