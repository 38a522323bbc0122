"""Plots as Vega-Lite specifications, drawn to SVG without a browser or a network.

The drawing is static: it prints, opens from a file, needs no script and stays
small. Every mark carries its numbers as a tooltip. Colours are variables of
the page's style sheet, so that one drawing serves light and dark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suite.report import labels, words
from suite.report.marks import COLOURS, marks
from suite.report.view import Case, View
from suite.spec import TFLITE

Spec = dict[str, Any]

WIDTH = 440  # of a drawing; the page scales it
MAX_ROWS = 40  # of the latency plot; more could not be read
NAMED_WIDTH, NAMED_HEIGHT = 390, 290  # of a drawing with names in it, its axes apart
MAX_LABELS = 16
LABEL_ROOM = 3.0  # for names to the right of the largest, as a ratio of sizes
# Stand-ins that Vega takes for colours, and what the page has in their place.
INK, MUTED, _LINE = "#1000f1", "#1000f2", "#1000f3"
SERIES = tuple(f"#10000{index}" for index in range(1, COLOURS + 1))
_VARIABLES: Mapping[str, str] = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    _LINE: "var(--line)",
    **{colour: f"var(--series-{index})" for index, colour in enumerate(SERIES, 1)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A drawing, and what it says for those who cannot see it."""

    title: str
    alt: str
    caption: str
    svg: str


def plots(view: View) -> list[Plot]:
    """The plots that this run has numbers for."""
    made = (_accuracy_by_size(view), _latency_by_variant(view))
    return [plot for plot in made if plot is not None]


def _accuracy_by_size(view: View) -> Plot | None:
    cases: dict[tuple[str, str], Case] = {}
    for case in view.cases:  # several engines run one artifact: it is one point
        if case.record.accuracy and case.record.artifact:
            cases.setdefault((case.record.model, case.record.variant), case)
    if not cases:
        return None
    values = [_accuracy_point(case) for case in cases.values()]
    x = _log_x("size", "size, MB (logarithmic)", [value["size"] for value in values], room=LABEL_ROOM)
    y: Spec = {
        "field": "top1",
        "type": "quantitative",
        "title": "top-1 accuracy, %",
        "scale": {"domain": _around([value["top1"] for value in values])},
        "axis": {"tickCount": 5},
    }
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "color": _LINE, "strokeWidth": 1.5},
            "encoding": {
                "x": x,
                "y": y,
                "detail": {"field": "row"},
                "order": {"field": "size"},
                "description": {"value": ""},
            },
        },
        {
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 0.9},
            "encoding": {"x": x, "y": y, **_by_variant(view), "description": {"field": "label"}},
        },
        *_names(values, x["scale"]["domain"], y["scale"]["domain"]),
    ]
    spec: Spec = {
        "data": {"values": values},
        "width": NAMED_WIDTH,
        "height": NAMED_HEIGHT,
        "autosize": {"type": "pad"},  # names are placed in the pixels of the plot itself
        "layer": layers,
    }
    best = max(values, key=lambda value: value["top1"])
    smallest = min(values, key=lambda value: value["size"])
    engines = " Of several engines the first is shown." if view.several_targets else ""
    return Plot(
        title="Accuracy against size",
        alt=(
            f"Scatter plot of top-1 accuracy against file size for {len(values)} artifacts. "
            f"Most accurate: {best['label']}. Smallest: {smallest['label']}."
        ),
        caption=f"Up is more accurate, left is smaller. A line joins the variants of one model.{engines}",
        svg=draw(spec),
    )


def _accuracy_point(case: Case) -> dict[str, Any]:
    record = case.record
    assert record.accuracy is not None
    assert record.artifact is not None
    return {
        "row": record.model,
        "variant": record.variant,
        "size": record.artifact.size_bytes / 1e6,
        "top1": 100 * record.accuracy.top1,
        "label": f"{record.model} {record.variant}: {words.percent(record.accuracy.top1)}, "
        f"{words.size(record.artifact.size_bytes)}",
    }


def _names(values: Sequence[dict[str, Any]], x: Sequence[float], y: Sequence[float]) -> list[Spec]:
    """Layers with the name of each model beside its largest artifact; none where there are too many."""
    largest: dict[str, dict[str, Any]] = {}
    for value in values:
        if value["row"] not in largest or value["size"] > largest[value["row"]]["size"]:
            largest[value["row"]] = value
    if len(largest) > MAX_LABELS:
        return []

    def pixel(value: dict[str, Any]) -> tuple[float, float]:
        across = math.log(value["size"] / x[0]) / math.log(x[1] / x[0])
        return NAMED_WIDTH * across, NAMED_HEIGHT * (y[1] - value["top1"]) / (y[1] - y[0])

    named = [(name, *pixel(value)) for name, value in largest.items()]
    placed = labels.place(named, [pixel(value) for value in values], NAMED_WIDTH)
    here: Spec = {"type": "quantitative", "scale": None}
    lines = [
        {"px": label.point_x, "py": label.point_y, "x": label.near_edge, "y": label.y}
        for label in placed
        if label.far
    ]
    texts = [{"name": label.text, "x": label.x, "y": label.y} for label in placed]
    text = {"type": "text", "align": "left", "baseline": "middle", "fontSize": 11, "color": INK}
    at: Spec = {"x": {"field": "x", **here}, "y": {"field": "y", **here}, "description": {"value": ""}}
    return [
        {
            "data": {"values": lines},
            "mark": {"type": "rule", "color": MUTED, "strokeWidth": 0.75},
            "encoding": {
                "x": {"field": "px", **here},
                "y": {"field": "py", **here},
                "x2": {"field": "x"},
                "y2": {"field": "y"},
                "description": {"value": ""},
            },
        },
        {"data": {"values": texts}, "mark": text, "encoding": {**at, "text": {"field": "name"}}},
    ]


def _latency_by_variant(view: View) -> Plot | None:
    values = [_latency_point(case, view) for case in view.cases if case.p50_ms is not None]
    if not values:
        return None
    rows = _slowest_first(values)
    shown = [value for value in values if value["row"] in rows[:MAX_ROWS]]
    y = {"field": "row", "type": "nominal", "title": None, "sort": rows[:MAX_ROWS]}
    offset = {"field": "variant", "sort": list(view.variants)}
    edges = [value[name] for value in shown for name in ("p50", "p95")]
    spec: Spec = {
        "data": {"values": shown},
        "height": {"step": 10, "for": "offset"},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6},
                "encoding": {**_by_variant(view, "color"), "x2": {"field": "p95"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
                "encoding": _by_variant(view),
            },
        ],
        "encoding": {
            "x": _log_x("p50", "p50 to p95 latency, ms (logarithmic)", edges),
            "y": {**y, "axis": {"grid": True, "tickBand": "extent", "labelLimit": 220, "minExtent": 90}},
            "yOffset": offset,
            "description": {"field": "label"},
        },
    }
    left_out = len(rows) - MAX_ROWS
    more = f" The {MAX_ROWS} slowest of {len(rows)} are shown." if left_out > 0 else ""
    fastest = min(values, key=lambda value: value["p50"])
    slowest = max(values, key=lambda value: value["p50"])
    return Plot(
        title="Latency by variant",
        alt=(
            f"Dot plot of p50 latency by model and variant, {len(shown)} points. "
            f"Fastest: {fastest['label']}. Slowest: {slowest['label']}.{more}"
        ),
        caption=f"Left is faster. A mark is the median, its tail ends at p95; all cores.{more}",
        svg=draw(spec),
    )


def _latency_point(case: Case, view: View) -> dict[str, Any]:
    assert case.record.latency is not None
    summary = next(t.summary for t in case.timings if t.threads == case.record.latency.threads)
    return {
        "row": _row_name(case, view),
        "variant": case.record.variant,
        "p50": summary.p50_ms,
        "p95": summary.p50_ms if math.isnan(summary.p95_ms) else summary.p95_ms,
        "label": f"{_row_name(case, view)} {case.record.variant}: p50 {words.ms(summary.p50_ms)}, "
        f"p95 {words.ms(summary.p95_ms)}",
    }


def _slowest_first(values: Iterable[dict[str, Any]]) -> list[str]:
    slowest: dict[str, float] = {}
    for value in values:
        slowest[value["row"]] = max(slowest.get(value["row"], 0.0), value["p50"])
    return sorted(slowest, key=lambda row: -slowest[row])


# --- shared -----------------------------------------------------------------


def _row_name(case: Case, view: View) -> str:
    record = case.record
    return f"{record.model}, {record.target.removeprefix('host/')}" if view.several_targets else record.model


def _by_variant(view: View, *channels: str) -> Spec:
    """Colour and shape by variant, so that neither alone carries the meaning."""
    own = marks(view.variants)
    legend = {
        "title": None,
        "orient": "top",
        # Beside long names there is less room; those of Core ML's variants are long.
        "columns": 2 if view.several_targets or len(own) > len(TFLITE) else 4,
        "symbolSize": 70,
        "labelLimit": 200,
        "symbolOpacity": 1,
    }
    ranges: Mapping[str, list[str]] = {
        "color": [SERIES[mark.series - 1] for mark in own.values()],
        "shape": [mark.path for mark in own.values()],
    }
    return {
        channel: {
            "field": "variant",
            "type": "nominal",
            "legend": legend,
            "scale": {"domain": list(own), "range": ranges[channel]},
        }
        for channel in channels or ("color", "shape")
    }


def _around(percentages: Sequence[float]) -> list[float]:
    """A range that holds the values with room to spare, at least two points wide."""
    low, high = min(percentages), max(percentages)
    room = max(1.0, 0.12 * (high - low))
    return [low - room, high + room]


def _log_x(field: str, title: str, values: Sequence[float], room: float = 1.0) -> Spec:
    """A logarithmic axis over the values, marked at round values; `room` widens it to the right."""
    low, high = min(values) / 1.2, max(values) * 1.2 * room
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": {"type": "log", "nice": False, "domain": [low, high]},
        "axis": {"values": _log_ticks(low, high), "format": "~g"},
    }


def _log_ticks(low: float, high: float) -> list[float]:
    """Round values between `low` and `high`: powers of ten where these are enough, else finer."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [
            tick for power in powers for step in steps if low <= (tick := float(f"{step}e{power}")) <= high
        ]
        if len(ticks) >= 3:
            break
    return ticks


_CONFIG: Spec = {
    "background": None,
    "autosize": {"type": "fit-x", "contains": "padding"},
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",  # as wide as what text was measured with
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "gridColor": _LINE,
        "domainColor": _LINE,
        "tickColor": _LINE,
    },
    "legend": {"labelColor": INK, "labelFontSize": 12},
}
_MARK = re.compile(r'<path aria-label="([^"]*)"([^>]*?)/>')
_GEOMETRY = re.compile(r' (?:transform|d|x2|y2)="[^"]*"')
_DECIMALS = re.compile(r"(\.\d\d)\d+")  # a hundredth of a pixel is enough
_ROLES = re.compile(r' (?:aria-[a-z]+|role|pointer-events)="[^"]*"')


def draw(spec: Spec) -> str:
    """SVG for the page: tooltips in place of labels, variables in place of colours."""
    import vl_convert  # starts an engine of its own

    svg = vl_convert.vegalite_to_svg({"width": WIDTH, **spec, "config": _CONFIG}, allowed_base_urls=[])
    svg = _MARK.sub(
        lambda mark: f"<path{mark[2]}><title>{mark[1]}</title></path>" if mark[1] else mark[0], svg
    )
    svg = _ROLES.sub("", svg)
    svg = _GEOMETRY.sub(lambda match: _DECIMALS.sub(r"\1", match[0]), svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(f'"{colour}"', f'"{variable}"')
    return re.sub(r'^(<svg[^>]*?) width="[\d.]+" height="[\d.]+"', r"\1", svg)
