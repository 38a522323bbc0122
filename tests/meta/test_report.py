"""The report: complete, escaped, self-contained, readable; in words, in XML and in a browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from suite import report
from suite.errors import PocketproofError
from suite.gates import Finding, Gate, judge
from suite.record import Check, Record, Status, encode
from suite.report import junit, plots, summary, words
from suite.report.view import View, view
from suite.thresholds import Thresholds
from tests.meta import records

THRESHOLDS = Thresholds()
EVIL = '<script>alert("x")</script>'
VOID = {"meta", "br", "wbr"}


def arrange(run: list[Record]) -> View:
    return view(run, judge(run, THRESHOLDS), THRESHOLDS)


def build(directory: Path, run: Iterable[Record]) -> str:
    directory.mkdir(exist_ok=True)
    (directory / "results.jsonl").write_bytes(b"".join(encode(record) + b"\n" for record in run))
    report.build(directory, THRESHOLDS)
    return (directory / report.INDEX).read_text(encoding="utf-8")


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


# --- index.html --------------------------------------------------------------


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
    assert tags.tags.isdisjoint({"script", "link", "iframe", "img", "object"})
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
    assert "<script" not in page
    assert parse(page).tags.isdisjoint({"script"})
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


# --- commands ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "command"),
    [
        (Check.PARITY, 'pytest "tests/validate/test_parity.py::test_parity[a/int8/host/x]"'),
        (Check.BENCHMARK, 'pytest tests/validate/test_benchmark.py -k "a/int8/host/x"'),
        (None, "pytest --models a --variants int8"),
    ],
)
def test_the_command_that_shows_a_finding_again(check: Check | None, command: str) -> None:
    finding = Finding(gate=Gate.STATUS, message="", case_id="a/int8/host/x", check=check)
    assert words.command(finding) == command
    assert words.command(replace(finding, case_id="")) is None


@pytest.mark.parametrize("check", list(Check))
def test_the_tests_that_commands_name_exist(check: Check) -> None:
    named = re.search(r"tests/validate/\w+\.py", words.proof(check, "a/int8/host/x"))
    assert named is not None
    file = Path(__file__).parents[2] / named[0]
    assert f"def test_{check}(" in file.read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.size(392_000), "392 kB"),
        (words.size(95_700_000), "95.7 MB"),
        (words.size(12), "12 B"),
        (words.ms(0.2104), "0.210 ms"),
        (words.ms(1234.5), "1234 ms"),
        (words.percent(0.98765), "98.8 %"),
        (words.points(-0.0123), "-1.23"),
        (words.plain(0.99999), "0.99999"),
        (words.plain(1e-4), "0.0001"),
        (words.significant(0.0), "0"),
    ],
)
def test_numbers_as_one_reads_them(text: str, expected: str) -> None:
    assert text == expected


# --- summary.md --------------------------------------------------------------


def test_the_summary_opens_with_the_verdict_and_the_failures() -> None:
    text = summary.render(arrange(records.run()))
    assert text.startswith("## ✗ This release may not ship")
    assert (
        text.index("SQNR in dB on real inputs")
        < text.index("### Expected failures")
        < text.index("| model |")
    )
    assert "| mobilenet\\_v1 | ✓ 112.0 dB · 93.1 % · 17.1 MB ·" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {6}
    assert "\n\n\n" not in text


def test_the_summary_of_a_thousand_failures_fits_a_comment() -> None:
    message = "so far off " * 300
    run = [records.with_check(record, Check.PARITY, Status.FAILED, message) for record in records.many(1000)]
    text = summary.render(arrange(run))
    assert len(text) < 65_000  # GitHub takes 65,536 characters
    assert "and 980 more cases" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a|b", r"a\|b"),
        ("**x**\n# y", r"\*\*x\*\* \# y"),
        ("<b>", "&lt;b&gt;"),
        ("[a](b)", r"\[a\](b)"),
    ],
)
def test_text_is_not_markdown(text: str, expected: str) -> None:
    assert summary._text(text) == expected


def test_code_holds_backticks() -> None:
    assert summary._code("a `b` c") == "`` a `b` c ``"


# --- junit.xml ---------------------------------------------------------------


def test_junit_has_a_case_for_each_check_and_says_how_it_ended() -> None:
    run = records.run()
    root = ET.fromstring(junit.render(run, judge(run, THRESHOLDS)))
    (suite,) = root
    assert suite.attrib["tests"] == str(len(run) * len(Check))
    named = {case.attrib["name"]: case for case in suite}

    def outcome(name: str) -> list[str]:
        return [element.tag for element in named[f"{name}/host/litert-xnnpack]"]]

    assert outcome("test_parity[resnet50/float32") == []
    assert outcome("test_parity[resnet50/int8") == ["failure"]
    assert outcome("test_parity[squeezenet/dynamic_int8") == ["failure"]  # the gate's word, not the check's
    assert outcome("test_accuracy[squeezenet/dynamic_int8") == []
    assert outcome("test_accuracy[mobilenet_v1/int8") == ["skipped"]
    assert outcome("test_benchmark[digits_cnn/int8") == ["skipped"]
    assert outcome("test_benchmark[densenet121/dynamic_int8") == ["error"]
    assert outcome("test_conversion[inception_v3/float16") == ["failure"]
    assert [suite.attrib[name] for name in ("failures", "errors", "skipped")] == ["6", "4", "2"]
    message = named["test_parity[squeezenet/dynamic_int8/host/litert-xnnpack]"][0].attrib["message"]
    assert "obtained 29, expected at least 32" in message


def test_junit_holds_findings_on_the_run_and_on_what_is_missing() -> None:
    root = ET.fromstring(junit.render([], judge([], THRESHOLDS)))
    assert root.attrib["failures"] == "1"
    record = replace(records.passed(), checks={}, parity=None)
    root = ET.fromstring(junit.render([record], judge([record], THRESHOLDS)))
    assert root.attrib["errors"] == "4"


def test_junit_takes_any_character() -> None:
    record = records.with_check(records.passed(), Check.PARITY, Status.FAILED, "\x00 \x1b[31m \ud800 ]]> é")
    root = ET.fromstring(junit.render([record], judge([record], THRESHOLDS)))
    assert "]]> é" in root.find(".//failure").attrib["message"]  # type: ignore[union-attr]


# --- plots -------------------------------------------------------------------


def test_plots_have_words_tooltips_and_colours_of_the_page() -> None:
    size, latency = plots.plots(arrange(records.run()))
    assert "Most accurate: digits_cnn float" in size.alt
    assert "Fastest: digits_cnn dynamic_int8" in latency.alt
    for plot in (size, latency):
        assert plot.svg.count("<title>") >= 20
        assert "var(--series-1)" in plot.svg
        assert not re.search(r'(?:fill|stroke)="(?:#|black|white|rgb)', plot.svg)


def test_a_run_without_numbers_has_no_plots() -> None:
    assert plots.plots(arrange([replace(records.passed(), accuracy=None, latency=None, scaling=())])) == []


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.09, 230, [0.1, 1, 10, 100]),
        (0.04, 0.6, [0.05, 0.1, 0.2, 0.5]),
        (0.075, 0.13, [0.08, 0.09, 0.1]),
        (100.0, 100.0, [100.0]),
    ],
)
def test_marks_of_a_logarithmic_axis_are_round_and_enough(
    low: float, high: float, ticks: list[float]
) -> None:
    assert plots._log_ticks(low, high) == ticks


def test_a_plot_of_too_many_rows_says_what_it_leaves_out() -> None:
    _, latency = plots.plots(arrange(list(records.many(500))))
    assert "40 slowest of 100" in latency.caption


# --- colours -----------------------------------------------------------------

STYLE = (Path(report.__file__).parent / "templates" / "style.css").read_text()


def palette(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{([^}]*)\}", STYLE)
    block = blocks[("light", "dark").index(scheme)]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    channels = [int(colour[index : index + 2], 16) / 255 for index in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper", "ratio"),
    [
        *((ink, "paper", 4.5) for ink in ("ink", "muted", "link", "good", "bad", "warn")),
        *((ink, "bad-paper", 4.5) for ink in ("ink", "muted", "bad")),
        *((ink, "warn-paper", 4.5) for ink in ("ink", "muted", "warn")),
        ("good", "good-paper", 4.5),
        ("ink", "raised", 4.5),
        *((f"series-{index}", "paper", 3.0) for index in range(1, 7)),
    ],
)
def test_contrast_is_that_of_wcag_aa(scheme: str, ink: str, paper: str, ratio: float) -> None:
    colours = palette(scheme)
    light, dark = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= ratio


# --- bars --------------------------------------------------------------------


def test_a_thousand_cases_in_one_page(tmp_path: Path) -> None:
    start = time.process_time()
    page = build(tmp_path, records.many(1000))
    # The bar is 5 s and 5 MB on a quiet machine; processor time leaves out the neighbours.
    assert time.process_time() - start < 8
    assert len(page.encode()) < 5_000_000


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=2000",
)
PROBE = """<pre id="probe"></pre>
<iframe src="index.html{fragment}" style="width:{width}px;height:900px"></iframe>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument;
  const of = selector => page.querySelector(selector);
  document.getElementById("probe").textContent = JSON.stringify({{
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    opened: page.querySelectorAll("details[open]").length,
    plots: [...page.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect().width > 100),
  }});
}};</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_it_without_scrolling_sideways(built: Path, tmp_path: Path, width: int) -> None:
    result = probe(built, tmp_path, width)
    assert result == '{"overflow":0,"opened":0,"plots":[true,true]}'


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_a_link_to_a_case_opens_it(built: Path, tmp_path: Path) -> None:
    assert '"opened":1' in probe(built, tmp_path, 390, "#case-4")


def probe(built: Path, tmp_path: Path, width: int, fragment: str = "") -> str:
    """What a script on a page around the report sees of it."""
    page = built / "probe.html"
    page.write_text(PROBE.format(width=width, fragment=fragment))
    command = [
        str(CHROMIUM),
        *FLAGS,
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom)
    assert found is not None, dom[:500]
    return found[1]


def test_importing_the_report_imports_nothing_slow() -> None:
    code = "import sys, suite.report; print(sorted({'jinja2', 'scipy', 'vl_convert'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
