"""The end of a run: whatever other plugins cannot write then, the verdict comes."""

from __future__ import annotations

import pytest

from suite.record import Status
from tests.meta.product import SMALL, no_traceback

PLUGIN = """
import errno, os

def pytest_sessionfinish():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "cache.json")
"""


@pytest.mark.parametrize("processes", [(), ("-n", "1")], ids=["serial", "parallel"])
def test_a_file_that_another_plugin_cannot_write_does_not_take_the_verdict_away(product, processes):
    (product.folder / "writes_at_the_end.py").write_text(PLUGIN)
    options = (*SMALL, "--variants", "float32", "-m", "conversion", *processes)
    good = product.run(*options)
    assert good.status == 0, good.text
    run = product.run(*options, "-p", "writes_at_the_end", PYTHONPATH=str(product.folder))
    assert run.status == 1, run.text
    no_traceback(run.text)
    assert "cache.json: cannot write: No space left on device. Free some space" in run.text
    assert "verdict: may ship" in run.text, "of the models nothing else is known"
    assert [record.status for record in run.records.values()] == [Status.PASSED]


def test_the_same_without_any_case_is_pytests_own_affair(product):
    (product.folder / "writes_at_the_end.py").write_text(PLUGIN)
    run = product.run("tests/meta/test_words.py", "-p", "writes_at_the_end", PYTHONPATH=str(product.folder))
    assert run.status != 0
    assert "No space left on device" in run.text
    assert not run.report.exists()
