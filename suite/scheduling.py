"""How tests are shared out among xdist's workers: a model's tests stay together, and a phone's."""

from __future__ import annotations

import re
from typing import Any

from xdist.scheduler import LoadScopeScheduling


class ByModel(LoadScopeScheduling):  # type: ignore[misc]
    """One scope a phone or iPhone, so that it has one user, and one a model, which is built in one process.

    Other tests are on their own. xdist's own `--dist loadgroup` would do, but
    some versions of pytest ignore it.
    """

    def _split_scope(self, nodeid: str) -> str:
        found = re.search(r"\[[^/\]]+/[^/\]]+/((?:android|ios):[^/\]]+)/", nodeid) or re.search(
            r"\[([^/\]]+)/", nodeid
        )
        return found[1] if found else nodeid


def by_model(config: Any, log: Any) -> ByModel | None:
    """The scheduler for `-n`; None leaves the choice to a user who named a `--dist`."""
    if config.getvalue("dist") != "load":
        return None
    config.option.loadscopereorder = (
        False  # its order is by number of tests, which says nothing of their length
    )
    return ByModel(config, log)
