"""The drawings: words, tooltips, the colours of the page, and contrast."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from suite import report
from suite.report import plots
from suite.report.marks import marks
from suite.spec import VARIANTS
from tests.meta import records
from tests.meta.pages import arrange


def test_plots_have_words_tooltips_and_colours_of_the_page() -> None:
    size, latency = plots.plots(arrange(records.run()))
    assert "Most accurate: digits_cnn float" in size.alt
    assert "Fastest: digits_cnn dynamic_int8" in latency.alt
    for plot in (size, latency):
        assert plot.svg.count("<title>") >= 20
        assert "var(--series-1)" in plot.svg
        assert not re.search(r'(?:fill|stroke)="(?:#|black|white|rgb)', plot.svg)


def test_engines_share_the_point_of_their_artifact_and_the_name_of_their_model() -> None:
    run = [
        records.passed(model, variant, target)
        for model in ("squeezenet", "resnet50")
        for variant in ("float32", "int8")
        for target in (records.TARGET, "host/tflite-runtime", "host/litert-builtin")
    ]
    size = plots.plots(arrange(run))[0]
    assert "for 4 artifacts" in size.alt
    assert size.svg.count("<title>") == 4
    assert [size.svg.count(f">{name}<") for name in ("squeezenet", "resnet50")] == [1, 1]
    assert "Of several engines the first is shown" in size.caption


def test_a_plot_draws_the_marks_of_its_variants() -> None:
    view = arrange([records.passed(variant=variant) for variant in records.SPEED])
    channels = plots._by_variant(replace(view, variants=tuple(VARIANTS)))
    ranges = [channels[name]["scale"]["range"] for name in ("color", "shape")]
    assert [(plots.SERIES.index(colour) + 1, path) for colour, path in zip(*ranges, strict=True)] == [
        (mark.series, mark.path) for mark in marks(tuple(VARIANTS)).values()
    ]
    drawn = {path for plot in plots.plots(view) for path in re.findall(r' d="(M[^"]*Z)"', plot.svg)}
    assert len(drawn) >= len(records.SPEED)


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
