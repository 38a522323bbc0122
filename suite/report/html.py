"""index.html: one file that fetches nothing. Its script sorts, filters, draws; the numbers stand without."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files

from suite.history import Entry
from suite.report import layers, words
from suite.report.data import page_data
from suite.report.marks import marks
from suite.report.plots import plots
from suite.report.view import Case, View

MOST_LAYER_PLOTS = 40  # each takes a tenth of a second, and tens of kilobytes
PICTURE_BYTES = 1 << 20  # of all thumbnails together: the page stays small whatever the run
MANY = 200  # cases, above which their details are packed, and drawn for all at once by the script alone


def render(view: View, history: Sequence[Entry] = ()) -> str:
    """The whole page. Everything that came from a record is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # not while pytest collects
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("suite.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    # Both come from this package, not from a record: they are not escaped.
    style, script = (Markup(_read(name)) for name in ("style.css", "report.js"))
    drawn = [(plot, Markup(plot.svg)) for plot in plots(view) if len(view.cases) <= MANY]
    environment.globals["layer_plots"] = {
        case.anchor: (plot, Markup(plot.svg))
        for case in view.localised[:MOST_LAYER_PLOTS]
        if case.record.localisation and (plot := layers.plot(case.record.localisation))
    }
    environment.globals["pictured"] = _pictured(view.cases)
    template = environment.get_template("index.html.j2")
    card = environment.get_template("card.html.j2")
    packed = len(view.cases) > MANY
    cards = {case.anchor: card.render(case=case, words=words) for case in view.cases} if packed else {}
    return template.render(
        view=view,
        words=words,
        style=style + Markup(_themes(style)),
        script=script,
        data=Markup(page_data(view, history)),  # escaped for where it stands
        plots=drawn,
        marks=marks(view.variants),
        packed=_pack(cards),
    )


def _pictured(cases: Sequence[Case]) -> set[str]:
    """Anchors of the cases whose thumbnails there is room for: those at fault first."""
    found: set[str] = set()
    room = PICTURE_BYTES
    for case in sorted(cases, key=lambda case: not len(case.findings)):
        taken = sum(len(picture) for picture in _pictures(case))
        if taken and taken <= room:
            room -= taken
            found.add(case.anchor)
    return found


def _pictures(case: Case) -> list[str]:
    seen = case.record.disagreements
    if seen is None:
        return []
    shown = [flip.picture for flip in seen.flips]
    shown += [one.picture for one in seen.search.found] if seen.search is not None else []
    return [picture for picture in shown if picture]


def _pack(cards: Mapping[str, str]) -> str:
    """What the script unpacks when it is wanted; a browser would be slow to open thousands of tables."""
    return b64encode(gzip.compress(json.dumps(cards).encode(), mtime=0)).decode() if cards else ""


def _read(name: str) -> str:
    return files("suite.report").joinpath(f"templates/{name}").read_text(encoding="utf-8")


def _themes(style: str) -> str:
    """The two palettes once more, for a reader who chooses one against the system's."""
    light, dark, *_ = re.findall(r":root \{([^}]*)\}", style)
    chosen = ((name, block.strip()) for name, block in (("light", light), ("dark", dark)))
    rules = "".join(f':root[data-theme="{name}"] {{ {block} }}' for name, block in chosen)
    return f"\n@media screen {{ {rules} }}"
