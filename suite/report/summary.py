"""summary.md: the verdict and what failed, short enough for a pull request's comment."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from suite.report import words
from suite.report.view import View

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_CASES = 20  # failing cases told in full
MAX_ROWS = 40
MAX_MESSAGE = 600  # characters
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def render(view: View) -> str:
    """The summary as GitHub-flavoured Markdown."""
    from jinja2 import Environment, PackageLoader  # not while pytest collects

    environment = Environment(
        loader=PackageLoader("suite.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(md=_text, code=_code)
    template = environment.get_template("summary.md.j2")
    return template.render(view=view, words=words, max_cases=MAX_CASES, max_rows=MAX_ROWS)


def _text(value: object) -> Markup:
    """Plain text that Markdown and HTML leave as it is, on one line."""
    from markupsafe import Markup

    text = " ".join(str(value).split())
    if len(text) > MAX_MESSAGE:
        text = f"{text[:MAX_MESSAGE]} …"
    return Markup(_SPECIAL.sub(r"\\\1", html.escape(text, quote=False)))


def _code(value: object) -> Markup:
    """A code span, fenced by more backticks than the text holds."""
    from markupsafe import Markup

    text = " ".join(str(value).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return Markup(f"{fence}{pad}{text}{pad}{fence}")
