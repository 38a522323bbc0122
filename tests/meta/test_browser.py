"""The report in a real browser: it fits, opens, sorts, filters and draws."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from suite import history
from suite.report import html
from suite.report.marks import COLOURS
from suite.spec import VARIANTS
from tests.meta import records
from tests.meta.pages import build


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run")
    here = {**records.ENVIRONMENT, "fingerprint": "aaaa"}
    run = [replace(record, environment=here) for record in records.run()]
    run[0] = replace(run[0], sustained=records.sustained())
    for day in (1, 2):
        then = [replace(record, recorded_at=f"2026-01-0{day}T00:00:00Z") for record in run]
        history.append(directory / history.FILE, f"run{day}", then)
    build(directory, run)
    return directory


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
<script>onload = async () => {{
  const frame = document.querySelector("iframe").contentWindow, page = frame.document;
  const of = selector => page.querySelector(selector);
  const all = selector => [...page.querySelectorAll(selector)];
  const type = (selector, value) => {{
    of(selector).value = value;
    of(selector).dispatchEvent(new frame.Event("input"));
  }};
  const tick = () => new Promise(done => {{
    const channel = new MessageChannel();
    channel.port1.onmessage = done;
    channel.port2.postMessage(0);
  }});
  const until = async holds => {{ while (!holds()) await tick(); }};  // no time-out: the browser has one
  document.getElementById("probe").textContent = JSON.stringify(await (async () => {{ {code} }})());
}};</script>"""
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_without_scrolling_sideways(built: Path, tmp_path: Path, width: int) -> None:
    code = """return [
      page.documentElement.scrollWidth - page.documentElement.clientWidth,
      all("details[open]").length,
      all(".plot svg, #explore svg").map(svg => svg.getBoundingClientRect().width > 100)]"""
    assert probe(built, tmp_path, code, width) == [0, 0, [True, True, True]]


@needs_browser
def test_a_link_to_a_case_opens_it_and_draws_it(built: Path, tmp_path: Path) -> None:
    code = """return [all("details[open]").map(one => one.dataset.case),
      all("details[open] .drawn h4").map(one => one.textContent),
      all("details[open] .drawn svg").every(svg => svg.getAttribute("aria-label").length > 10)]"""
    opened, titles, told = probe(built, tmp_path, code, 1000, "#case-4")
    assert opened == ["case-4"]
    assert titles == ["Latency distribution", "Threads", "Behind a camera", "p50 over runs"] + [
        f"{name} over runs" for name in ("Top-1", "SQNR", "Size", "Processed fps")
    ]
    assert told


@needs_browser
def test_minutes_on_end_are_drawn_with_the_warmth_beside(built: Path, tmp_path: Path) -> None:
    code = """return all("details[open] .drawn figure").map(one =>
      [one.querySelector("h4").textContent, one.querySelector("svg").getAttribute("aria-label")])"""
    drawn = dict(probe(built, tmp_path, code, 1000, "#case-1"))
    assert drawn["Sustained throughput"].endswith("over 3 min, from 100 to 81 a second")
    assert drawn["Temperature meanwhile"].endswith("from 40 to 57 °C")
    assert "Clock meanwhile" not in drawn  # this machine tells none


@needs_browser
def test_a_click_on_a_heading_sorts_and_another_turns_it_round(built: Path, tmp_path: Path) -> None:
    code = """const heads = all(".overview.sortable")[0].querySelectorAll("thead th");
      const rows = all(".overview.sortable")[0].tBodies[0].rows;
      const sizes = () => [...rows].map(row => row.cells[2].dataset.sort);
      const seen = [];
      for (let turn = 0; turn < 2; turn += 1) {
        heads[2].querySelector("button").click();
        seen.push([heads[2].getAttribute("aria-sort"), sizes()]);
      }
      return seen"""
    (up, rising), (down, falling) = probe(built, tmp_path, code)
    assert (up, down) == ("ascending", "descending")
    sizes = [int(size) for size in rising if size]
    assert sizes == sorted(sizes)
    assert len(sizes) > 20
    assert rising[len(sizes) :] == [""] * (len(rising) - len(sizes))  # what was not measured stands last
    assert [int(size) for size in falling if size] == sizes[::-1]
    assert falling[len(sizes) :] == rising[len(sizes) :]


@needs_browser
def test_filters_hold_for_tables_cases_and_plots(built: Path, tmp_path: Path) -> None:
    code = """const seen = () => [of("#filter-shown").textContent,
        all("details[data-case]:not([hidden])").length,
        all(".matrix tbody tr:not([hidden])").length, all("#explore .point").length];
      const found = [seen()];
      type("#filter-text", "squeezenet INT8"); found.push(seen());
      type("#filter-text", "nothing like it"); found.push(seen());
      type("#filter-text", ""); type("#filter-status", "crashed"); found.push(seen());
      return found"""
    everything, some, none, crashed = probe(built, tmp_path, code)
    assert everything[:3] == ["24 of 24 cases shown", 24, 6]
    assert some == ["2 of 24 cases shown", 2, 1, 2]
    assert none == ["0 of 24 cases shown", 0, 0, 0]
    assert crashed[:3] == ["1 of 24 cases shown", 1, 1]


@needs_browser
def test_behind_a_camera_a_model_has_one_row_of_the_variants_that_pass(built: Path, tmp_path: Path) -> None:
    code = """const rows = () => all("#cameras tbody tr:not([hidden])").map(row =>
        [...row.cells[0].children].map(one => one.textContent));
      const found = [rows()];
      of("#every-variant").checked = true; of("#every-variant").dispatchEvent(new frame.Event("input"));
      found.push(rows().length);
      of("#every-variant").checked = false; type("#filter-variant", "float16"); found.push(rows());
      return found"""
    one, every, narrow = probe(built, tmp_path, code)
    assert len(one) == len({model for model, _ in one}) == 6
    assert every > 18
    assert {variant for _, variant in narrow} == {"float16"}
    assert len(narrow) == 5  # that of one model never ran


@needs_browser
def test_colours_can_be_chosen_and_a_point_opens_its_case(built: Path, tmp_path: Path) -> None:
    code = """const paper = () => frame.getComputedStyle(page.body).backgroundColor, seen = [paper()];
      of("#theme").click(); seen.push(paper()); of("#theme").click(); seen.push(paper());
      const point = of("#explore .point");
      point.dispatchEvent(new frame.KeyboardEvent("keydown", {key: "Enter"}));
      return [seen, all("details[open]").length, point.getAttribute("aria-label").length > 10]"""
    (first, second, third), opened, told = probe(built, tmp_path, code)
    assert first == third != second
    assert (opened, told) == (1, True)


@needs_browser
def test_points_are_told_apart_by_shape_and_the_legend_says_which_is_which(tmp_path: Path) -> None:
    good = records.passed()
    run = [replace(good, case_id=f"squeezenet/{variant}/{records.TARGET}") for variant in VARIANTS]
    build(tmp_path / "variants", run)
    code = """const look = path => [path.getAttribute("d"), frame.getComputedStyle(path).fill];
      const box = path => path.getBoundingClientRect();
      const sized = path => Math.max(box(path).width, box(path).height) > 6;
      return {points: all("#explore .point").map(look), legend: all(".legend path").map(look),
        names: all(".legend li").map(item => item.textContent.trim()),
        seen: all("#explore .point, .legend path").every(sized),
        sideways: page.documentElement.scrollWidth - page.documentElement.clientWidth}"""
    found = probe(tmp_path / "variants", tmp_path, code)
    assert found["names"] == list(VARIANTS)
    assert found["points"] == found["legend"]
    assert len({path for path, _ in found["points"]}) == len(VARIANTS)
    assert len({fill for _, fill in found["points"]}) == COLOURS
    assert found["seen"]
    assert found["sideways"] == 0  # eleven columns scroll within their table
    sideways = "return page.documentElement.scrollWidth - page.documentElement.clientWidth"
    assert probe(tmp_path / "variants", tmp_path, sideways, width=390) == 0  # where they stand under another


@needs_browser
def test_packed_details_of_very_many_cases_unpack_when_they_are_opened(tmp_path: Path) -> None:
    build(tmp_path / "many", records.many(html.MANY + 10))
    code = """const before = all(".packed").length;
      of('details[data-case="case-205"] summary').click();
      await until(() => all(".packed").length < before);
      return [of("#case-205").textContent.includes("max scaled diff"), all(".packed").length]"""
    assert probe(tmp_path / "many", tmp_path, code) == [True, html.MANY + 9]


def probe(built: Path, tmp_path: Path, code: str, width: int = 1000, fragment: str = "") -> Any:
    """What a script on a page around the report sees of it, and does to it."""
    page = built / "probe.html"
    page.write_text(PROBE.format(width=width, fragment=fragment, code=code))
    command = [
        str(CHROMIUM),
        *FLAGS,
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        page.as_uri(),
    ]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True).stdout
    found = re.search(r'<pre id="probe">(.*?)</pre>', dom)
    assert found is not None, dom[:500]
    return json.loads(unescape(found[1]))
