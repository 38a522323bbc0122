"""index.html: complete, escaped, self-contained, in the order in which one reads."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from suite import report
from suite.errors import PocketproofError
from suite.record import Check, Status
from suite.report import summary, words
from tests.meta import records
from tests.meta.pages import EVIL, THRESHOLDS, arrange, build

VOID = {"meta", "br", "wbr", "input"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    build(directory, records.run())
    return directory


@pytest.fixture(scope="module")
def page(built: Path) -> str:
    return (built / report.INDEX).read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Collects what a page refers to, and complains of tags that do not match."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def test_build_writes_three_files_and_gives_the_verdict(tmp_path: Path) -> None:
    build(tmp_path, records.run())
    verdict = report.build(tmp_path / "results.jsonl", THRESHOLDS)
    assert not verdict.passed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "index.html",
        "junit.xml",
        "results.jsonl",
        "summary.md",
    ]


def test_the_page_is_well_formed_and_its_links_lead_somewhere(page: str) -> None:
    tags = parse(page)
    assert len(set(tags.ids)) == len(tags.ids)
    assert {link.removeprefix("#") for link in tags.links} <= set(tags.ids)


def test_the_page_needs_nothing_but_itself(page: str) -> None:
    tags = parse(page)
    assert tags.tags.isdisjoint({"link", "iframe", "img", "object"})
    assert page.count("<script") == 2  # the data, and what draws it
    assert "default-src 'none'" in page
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|\beval\b|new Function", page)
    assert all(link.startswith("#") for link in tags.links)
    assert "@import" not in page
    assert "url(" not in page
    assert set(re.findall(r"https?://[^\s\"<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_page_opens_with_the_verdict_then_what_failed_and_why(page: str) -> None:
    text = "".join(parse(page).text)
    order = [
        "This release may not ship",
        "What failed, and why",
        "SQNR in dB on real inputs: obtained 14.2, expected at least 20",
        'pytest "tests/validate/test_parity.py::test_parity[resnet50/int8/host/litert-xnnpack]"',
        "the worker was killed by SIGSEGV",
        "Expected failures",
        "per-channel ranges of the depthwise layers collapse",
        "Not to overlook",
        "Models by variants",
        "Trade-offs",
        "Cases",
        "Environment",
    ]
    places = [text.index(words_) for words_ in order]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "content",
    [
        records.artifact("squeezenet", "int8").sha256,
        "CONV_2D \N{MULTIPLICATION SIGN} 26, DEPTHWISE_CONV_2D \N{MULTIPLICATION SIGN} 13",
        "1.14.0",
        "LiteRT&#39;s accelerator tests",
        "Moved for this model: fire modules take int8 weights well",
        "95 % interval",
        "MAD",
        "gpu not measured: this runtime computes on the CPU",
        "AMD EPYC 7B13",
        "digits, held out",
    ],
)
def test_the_page_holds_the_details(page: str, content: str) -> None:
    assert content in page


def test_behind_a_camera_a_model_has_one_row_its_quickest_variant(page: str) -> None:
    (table,) = re.findall(r'<table class="overview sortable" id="cameras">.*?</table>', page, re.DOTALL)
    row = r'<tr data-case="[^"]*" data-rank="\d+"( hidden)?>.*?<a [^>]*>(.*?)</a><span [^>]*>(.*?)</span>'
    rows = re.findall(row, table)
    shown = {model: variant for hidden, model, variant in rows if not hidden}
    assert len(rows) > 18
    assert len([row for row in rows if not row[0]]) == len(shown) == len(records.PARAMETERS)
    assert shown["inception_v3"] == "int8"
    assert shown["squeezenet"] == "int8"  # float32 answers as many frames, but later
    told = summary.render(arrange(records.run())).split("### Real time")[1]
    assert len(re.findall(r"^\| \w+.*/", told, re.MULTILINE)) == len(records.PARAMETERS)


def test_a_verdict_on_real_time_that_is_in_doubt_is_marked(tmp_path: Path) -> None:
    slow = records.realtime(100.0)
    busy = tuple(replace(scheme, others_cpu_ns=scheme.wall_ns, cores=2) for scheme in slow.schemes)
    page = build(tmp_path, [replace(records.passed(), realtime=replace(slow, schemes=busy))])
    assert ">(contaminated)</span>" in page
    assert "This run is contaminated: other processes took 50 % of the machine in the callback" in page
    assert "with threads (contaminated)" in (tmp_path / report.SUMMARY).read_text()


@pytest.mark.parametrize(
    ("slower_alone", "words"), [(1.7, "Quickest with 2 threads."), (0.8, "with 1 thread.")]
)
def test_the_thread_count_that_is_quickest_is_named(slower_alone: float, words: str, tmp_path: Path) -> None:
    """More threads are not always faster."""
    sweep = (records.latency(10.0, 2), records.latency(10.0 * slower_alone, 1))
    assert words in build(tmp_path, [records.passed(latency=sweep[0], scaling=sweep)])


def test_a_good_run_says_so(tmp_path: Path) -> None:
    text = build(tmp_path, [records.passed()])
    assert "This release may ship" in text
    assert "What failed" not in text


def test_an_empty_run_says_that_nothing_is_proven(tmp_path: Path) -> None:
    text = build(tmp_path, [])
    assert "so nothing is proven" in text
    parse(text)


def test_a_case_that_a_gate_objects_to_is_not_shown_as_passed() -> None:
    record = replace(records.passed(), override={"min_sqnr_db": 500, "reason": "strict"})
    (case,) = arrange([record]).cases
    assert (record.status, case.status, case.glyph) == (Status.PASSED, Status.FAILED, "✗")


def test_every_status_has_a_sign_and_a_word_of_its_own() -> None:
    assert set(words.GLYPHS) == set(Status)
    assert len(set(words.GLYPHS.values())) == len(Status)


def test_what_records_say_is_never_markup(tmp_path: Path) -> None:
    record = records.passed(f"model{EVIL}".replace("/", "|"), "float32")
    record = records.with_check(record, Check.PARITY, Status.FAILED, EVIL, notes=(EVIL,))
    record = replace(record, environment={EVIL: EVIL}, reasons={"gpu": EVIL})
    page = build(tmp_path, [record])
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    parse(page)
    outside_code = re.sub(r"`[^`]*`", "", (tmp_path / report.SUMMARY).read_text())
    assert "<script" not in outside_code
    ET.parse(tmp_path / report.JUNIT)


def test_targets_are_told_apart_where_there_are_several() -> None:
    run = [records.passed(), records.passed(target="host/tflite-runtime")]
    assert arrange(run).several_targets
    assert "host/tflite-runtime" in summary.render(arrange(run)).split("### Models")[1]


def test_variants_stand_in_the_suites_order_and_unknown_ones_last() -> None:
    run = [records.passed(variant=variant) for variant in ("int8", "float32")]
    run.append(replace(run[0], case_id="squeezenet/int4/host/x"))
    assert arrange(run).variants == ("float32", "int8", "int4")


def test_each_environment_is_told_once() -> None:
    other = replace(records.passed("resnet50"), environment={"place": "elsewhere", "cores": None})
    environments = arrange([records.passed(), records.passed("digits_cnn"), other]).environments
    assert [(environment.name, environment.cases) for environment in environments] == [("A", 2), ("B", 1)]
    assert dict(environments[1].items)["cores"] == words.NOT_MEASURED


def test_a_full_disk_says_that_the_results_are_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, [records.passed()])

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_atomic", full)
    with pytest.raises(PocketproofError, match=r"the results are safe.*free some space"):
        report.build(tmp_path, THRESHOLDS)


def test_a_thousand_cases_in_one_page(tmp_path: Path) -> None:
    page = build(tmp_path, records.many(1000))
    assert len(page.encode()) < 5_000_000  # how long it takes: python -m tests.bench results


def test_importing_the_report_imports_nothing_slow() -> None:
    code = "import sys, suite.report; print(sorted({'jinja2', 'scipy', 'vl_convert'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
