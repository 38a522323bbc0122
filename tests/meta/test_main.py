"""The command line: exit statuses that CI can rely on, and one message for each mistake."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from suite import commands, gates
from suite.__main__ import main
from suite.commands import gate
from suite.gates import Gate
from suite.record import Record
from suite.store import Store
from tests.meta import records

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[list[Record]], str]:
    def write(given: list[Record]) -> str:
        store = Store(tmp_path / "reports" / "latest")
        for record in given:
            store.append(record)
        return str(store.run_dir)

    return write


def test_a_good_run_passes_the_gate(
    run: Callable[[list[Record]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", run([records.passed()])]) == 0
    assert capsys.readouterr().out == "passed: this release may ship (1 case: 1 passed)\n"


def test_a_bad_run_fails_it_and_says_why(
    run: Callable[[list[Record]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", run(records.run())]) == 1
    out = capsys.readouterr().out
    assert out.startswith("FAILED: this release may not ship (24 cases: 20 passed, 1 failed,")
    assert "4 cases held back" in out
    assert "resnet50/int8/host/litert-xnnpack: The parity check ended as failed" in out
    assert "2 warnings:" in out


def test_explain_says_what_each_gate_is_for_and_how_to_go_on(
    run: Callable[[list[Record]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", run(records.run()), "--explain"]) == 1
    out = capsys.readouterr().out
    assert "parity: The artifact answers differently from the original" in out
    assert 'see it again: pytest "tests/validate/test_parity.py::test_parity[squeezenet/dynamic_int8/' in out
    assert "run pytest again" in out


def test_every_gate_is_explained() -> None:
    assert set(gate._WHY) == set(Gate)


def test_the_newest_run_is_the_default(
    run: Callable[[list[Record]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    run([records.passed()])
    assert main(["gate"]) == 0
    assert main(["report"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "passed: reports/latest/index.html"
    assert Path("reports/latest/summary.md").exists()


def test_report_is_written_whatever_the_verdict(
    run: Callable[[list[Record]], str], capsys: pytest.CaptureFixture[str]
) -> None:
    directory = run(records.run())
    assert main(["report", f"{directory}/results.jsonl"]) == 0
    assert capsys.readouterr().out == f"FAILED: {directory}/index.html\n"


def test_thresholds_of_this_directory_or_of_a_given_file(
    run: Callable[[list[Record]], str], tmp_path: Path
) -> None:
    run([records.passed()])
    strict = "[tool.pocketproof.thresholds.float32]\nmin_sqnr_db = 500\n"
    Path("strict.toml").write_text(strict)
    assert main(["gate"]) == 0
    assert main(["gate", "--config", "strict.toml"]) == 1
    Path("pyproject.toml").write_text(strict)
    assert main(["gate"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gate"], "no results there; run pytest first"),
        (["report", "nowhere"], "nowhere/results.jsonl: no results there"),
        (["gate", "bad"], "bad/results.jsonl: line 1 does not fit"),
        (["gate", "good", "--config", "absent.toml"], "absent.toml: cannot read the thresholds"),
        (["gate", "good", "--config", "wrong.toml"], "did you mean 'int8'"),
    ],
)
def test_a_mistake_is_one_message_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "results.jsonl").write_text("nonsense\n")
    Store(tmp_path / "good").append(records.passed())
    (tmp_path / "wrong.toml").write_text("[tool.pocketproof.thresholds.int9]\n")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["gait"], ["gate", "--unknown"]])
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as error:
        main(arguments)
    assert error.value.code == 2
    assert "usage: python -m suite" in capsys.readouterr().err


def test_an_interrupt_is_status_130(
    run: Callable[[list[Record]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gates, "judge_file", interrupt)
    assert main(["gate", run([records.passed()])]) == 130


@pytest.mark.parametrize("name", commands.names())
def test_every_command_documents_its_exit_statuses(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    assert "Exit status: 0" in capsys.readouterr().out


def test_a_command_is_one_module() -> None:
    found = [commands.load(name) for name in commands.names()]
    assert {"gate", "report", "import"} <= set(commands.names())
    for command in found:
        command.add_arguments(argparse.ArgumentParser())
        assert command.HELP


def test_a_command_loads_no_other_and_help_loads_all() -> None:
    code = (
        "import sys; from suite import __main__\ntry: __main__.main(sys.argv[1:])\nexcept SystemExit: pass\n"
    )
    code += "print(*(name for name in sys.modules if name.startswith('suite.commands.')))"
    loaded = [
        subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()[-1]
        for arguments in (["gate", "--help"], ["--help"])
    ]
    assert set(loaded[0].split()) == {"suite.commands.gate", "suite.commands._results"}
    assert {"suite.commands.gate", "suite.commands.compare", "suite.commands.import_"} <= set(
        loaded[1].split()
    )


def test_it_runs_as_a_module_without_what_converts_or_runs_models(
    run: Callable[[list[Record]], str], tmp_path: Path
) -> None:
    blocked = ("tensorflow", "keras", "coremltools", "ai_edge_litert", "PIL", "sklearn", "pytest")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked!r}));"
        "from suite.__main__ import main; status = [main([c]) for c in ('gate', 'report')];"
        "sys.exit(repr(status) if any(status) else 0)"
    )
    run([records.passed()])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(
        [sys.executable, "-m", "suite", "gate"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
