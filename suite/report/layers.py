"""Errors layer by layer, drawn."""

from __future__ import annotations

from typing import Any

from suite.record.localisation import LayerError, Localisation
from suite.report.plots import INK, MUTED, SERIES, Plot, Spec, draw

_SERIES_NAMES = ("this layer alone", "its floor", "all up to here")
_LOW = -20.0  # dB; what lies below is drawn there
_ABOVE = 25.0  # the highest floor; what lies higher, as of layers that only pass on, is drawn there
_HEIGHT = 220


def plot(found: Localisation) -> Plot | None:
    """SQNR by layer, in the order of execution; None where no layer was looked at."""
    if not found.layers:
        return None
    suspect = next((i for i, one in enumerate(found.layers) if one.layer == found.suspect), None)
    high = max(one.floor_db for one in found.layers) + _ABOVE
    values = [value for place, one in enumerate(found.layers) for value in _values(place, one, high)]
    layers: list[Spec] = [
        {"mark": {"type": "line", "strokeWidth": 1.4}},
        {
            "mark": {"type": "point", "filled": True, "size": 34, "opacity": 1},
            "transform": [{"filter": f"datum.what === '{_SERIES_NAMES[0]}'"}],
        },
    ]
    if suspect is not None:
        layers += _marked(suspect, found.layers[suspect].layer, len(found.layers))
    spec: Spec = {
        "data": {"values": values},
        "height": _HEIGHT,
        "layer": layers,
        "encoding": {
            "x": {
                "field": "place",
                "type": "quantitative",
                "title": f"{len(found.layers)} tensors, in the order of execution",
                "scale": {"domain": [-0.5, len(found.layers) - 0.5], "nice": False},
                "axis": {"labels": False, "ticks": False, "grid": False},
            },
            "y": {"field": "db", "type": "quantitative", "title": "SQNR, dB", "axis": {"tickCount": 6}},
            "color": {
                "field": "what",
                "type": "nominal",
                "scale": {"domain": list(_SERIES_NAMES), "range": [SERIES[0], MUTED, SERIES[1]]},
                "legend": {"title": None, "orient": "top"},
            },
            "strokeDash": {
                "field": "what",
                "type": "nominal",
                "scale": {"domain": list(_SERIES_NAMES), "range": [[1, 0], [2, 3], [6, 3]]},
                "legend": None,
            },
            "description": {"field": "label"},
        },
    }
    blame = f" Suspect: {found.suspect}." if found.suspect else " No layer is suspect."
    least = min(found.layers, key=lambda one: one.own_db)
    return Plot(
        title="SQNR by layer",
        alt=f"Line plot of SQNR over {len(found.layers)} tensors. "
        f"Lowest for a layer alone: {least.layer}, {least.own_db:.1f} dB.{blame}",
        caption="Each layer is fed with the artifact's own tensors: only what goes wrong in it shows. "
        f"A layer more than {found.margin_db:g} dB below its floor is suspect, the first one most.{blame}",
        svg=draw(spec),
    )


def _values(place: int, one: LayerError, high: float) -> list[dict[str, Any]]:
    numbers = (one.own_db, one.floor_db, one.sqnr_db)
    words = (
        one.message or f"{one.own_db:.1f} dB alone, floor {one.floor_db:.1f} dB, {one.sqnr_db:.1f} dB so far"
    )
    return [
        {
            "place": place,
            "what": what,
            "db": round(max(_LOW, min(high, number)), 2),
            "label": f"{one.layer} ({one.operator}): {words}",
        }
        for what, number in zip(_SERIES_NAMES, numbers, strict=True)
    ]


def _marked(place: int, name: str, count: int) -> list[Spec]:
    """The suspect, by a line and its name on the side where there is room."""
    left = place > count / 2
    data: Spec = {"values": [{"place": place, "name": name}]}
    plain: Spec = {"color": {"value": INK}, "strokeDash": {"value": [1, 0]}, "description": {"value": ""}}
    text = {"type": "text", "align": "right" if left else "left", "dx": -6 if left else 6, "fontSize": 12}
    return [
        {
            "data": data,
            "mark": {"type": "rule", "strokeWidth": 1},
            "encoding": {**plain, "y": {"value": 0}, "y2": {"value": _HEIGHT}},
        },
        {
            "data": data,
            "mark": {**text, "baseline": "top"},
            "encoding": {**plain, "y": {"value": 2}, "text": {"field": "name"}},
        },
    ]
