"""index.html: one file, no script, nothing fetched."""

from __future__ import annotations

from importlib.resources import files

from suite.report import words
from suite.report.plots import plots
from suite.report.view import View


def render(view: View) -> str:
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
    style = Markup(files("suite.report").joinpath("templates/style.css").read_text(encoding="utf-8"))
    drawn = [(plot, Markup(plot.svg)) for plot in plots(view)]
    template = environment.get_template("index.html.j2")
    return template.render(view=view, words=words, style=style, plots=drawn)
