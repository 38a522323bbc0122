"""The report shows where a difference comes in, and what is answered otherwise."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from suite.disagreements.pictures import thumbnail
from suite.generated import photos
from suite.record import Record
from suite.record.disagreements import Disagreements, Flip, MarginBin, Search, Sought
from suite.record.lines import decode, encode
from suite.record.localisation import ChainStep, LayerError, Localisation
from suite.record.merging import merge
from suite.report import html, layers
from tests.meta import records
from tests.meta.pages import EVIL, arrange, build

PICTURE = thumbnail(photos(32, 32)[9])


def localisation(suspect: str | None = "conv7", count: int = 20) -> Localisation:
    errors = tuple(
        LayerError(
            layer=f"conv{place}",
            fused=(f"bn{place}",),
            operator="CONV_2D",
            own_db=4.2 if f"conv{place}" == suspect else 41.0,
            floor_db=40.0,
            sqnr_db=30.0 - place,
            message="it answers (3,), expected (4,)" if place == 9 else "",
        )
        for place in range(count)
    )
    step = ChainStep(
        cause="conversion",
        before="original",
        after="host/litert-reference",
        sqnr_db=3.1,
        max_abs_diff=0.4,
        on_path=True,
    )
    aside = replace(step, cause="runtime", sqnr_db=None, on_path=False, message="cannot load")
    return Localisation(
        cause="conversion",
        steps=(step, aside),
        engine="host/litert-builtin",
        layers=errors,
        suspect=suspect,
        margin_db=6.0,
        message=f"First layer at fault: {suspect}",
    )


def seen(picture: str = PICTURE, name: str = "three") -> Disagreements:
    flip = Flip(sample=17, margin=0.031, reference=name, actual="eight", truth="three", picture=picture)
    sought = Sought(
        sample=4, change="sample 4, 9 darker", strength=0.2, margin=0.1, reference="one", actual="seven",
        picture=picture,
    )  # fmt: skip
    return Disagreements(
        n=240,
        flipped=9,
        bins=(
            MarginBin(low=0.0, high=0.2, n=120, agreed=111),
            MarginBin(low=0.2, high=2.0, n=120, agreed=120),
        ),
        flips=(flip,),
        search=Search(tried=60, disagreed=5, found=(sought,)),
    )


def record(**changes: object) -> Record:
    return replace(records.passed(), **changes)  # type: ignore[arg-type]


def test_both_sections_survive_a_file_and_a_merge() -> None:
    one = record(localisation=localisation(), disagreements=seen())
    assert decode(encode(one)) == one
    merged = merge([one, records.passed()])
    assert (merged.localisation, merged.disagreements) == (one.localisation, one.disagreements)


def test_the_plot_marks_the_suspect_and_says_it_in_words() -> None:
    drawn = layers.plot(localisation())
    assert drawn is not None
    assert "Suspect: conv7" in drawn.alt
    assert ">conv7<" in drawn.svg
    assert "conv3 (CONV_2D): 41.0 dB alone, floor 40.0 dB" in drawn.svg
    assert "it answers (3,), expected (4,)" in drawn.svg
    assert not re.search(r'(?:fill|stroke)="(?:#|black|white|rgb)', drawn.svg)
    assert "var(--series-1)" in drawn.svg


def test_without_a_suspect_none_is_marked_and_without_layers_nothing_drawn() -> None:
    drawn = layers.plot(localisation(suspect=None))
    assert drawn is not None
    assert "No layer is suspect" in drawn.alt
    assert ">conv7<" not in drawn.svg
    assert layers.plot(replace(localisation(), layers=())) is None


def test_the_page_shows_the_chain_the_plot_and_the_pictures(tmp_path: Path) -> None:
    page = build(tmp_path, [record(localisation=localisation(), disagreements=seen())])
    for words in (
        "First layer at fault: conv7",
        "host/litert-reference",
        "runtime (aside)",
        "Line plot of SQNR over 20 tensors",
        "9 of 240 held-out samples are answered otherwise",
        "92.5 %",
        "original <strong>three</strong>, artifact <strong>eight</strong>",
        "sample 4, 9 darker",
    ):
        assert words in page, words
    assert page.count(f'<img src="{PICTURE}"') == 2
    assert "img-src data:" in page


def test_a_case_without_them_says_nothing_of_them(tmp_path: Path) -> None:
    page = build(tmp_path, [records.passed()])
    assert "Where the difference comes in" not in page
    assert "answered otherwise" not in page
    assert "localisation not measured" not in page


def test_what_a_record_says_is_escaped(tmp_path: Path) -> None:
    evil = replace(localisation(), message=EVIL, layers=tuple(
        replace(one, layer=EVIL + str(place)) for place, one in enumerate(localisation().layers)
    ), suspect=EVIL + "3")  # fmt: skip
    page = build(tmp_path, [record(localisation=evil, disagreements=seen(picture='"><script>', name=EVIL))])
    assert EVIL not in page
    assert '"><script>' not in page


def test_pictures_leave_the_page_small_those_at_fault_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "PICTURE_BYTES", 3 * len(PICTURE))
    good = record(disagreements=seen())
    bad = next(one for one in records.run() if one.status == "failed")
    view = arrange([good, replace(bad, disagreements=seen())])
    assert html._pictured(view.cases) == {view.failing[0].anchor}


def test_the_report_of_a_thousand_stays_under_five_megabytes(tmp_path: Path) -> None:
    run = [
        replace(one, disagreements=seen(), localisation=localisation(count=60)) for one in records.many(1000)
    ]
    assert len(build(tmp_path, run)) < 5_000_000
