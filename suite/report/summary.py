"""summary.md: the verdict and what failed, short enough for a pull request's comment."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from suite.report import words
from suite.report.view import View

if TYPE_CHECKING:
    from markupsafe import Markup

MAX_LENGTH = 60_000  # characters; GitHub refuses a comment of more than 65,536
MAX_CASES = (20, 10, 5, 2)  # failing cases told in full: fewer where these are too many
MAX_FINDINGS = 10  # of a case
MAX_ROWS = 40
MAX_MESSAGE = 600  # characters
_MORE = "**Cut here, for a comment holds no more: index.html has the rest.**\n"
_OPEN, _CLOSE = "<details>", "</details>"
_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")


def render(view: View) -> str:
    """The summary as GitHub-flavoured Markdown, of MAX_LENGTH characters at most."""
    from jinja2 import Environment, PackageLoader  # not while pytest collects

    environment = Environment(
        loader=PackageLoader("suite.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(md=_text, code=_code)
    template = environment.get_template("summary.md.j2")
    bounds = {"max_rows": MAX_ROWS, "max_findings": MAX_FINDINGS}
    for max_cases in MAX_CASES:
        text = template.render(view=view, words=words, max_cases=max_cases, **bounds)
        if len(text) <= MAX_LENGTH:
            return text
    return _cut(text)


def _cut(text: str) -> str:
    """As many whole lines as there is room for, and a word on the rest."""
    room = MAX_LENGTH - len(f"\n{_CLOSE}\n\n{_MORE}")
    kept = text[:room].rpartition("\n")[0]
    folded = kept.count(_OPEN) > kept.count(_CLOSE)
    return f"{kept}\n{_CLOSE if folded else ''}\n\n{_MORE}"


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
