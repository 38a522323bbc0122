"""A plugin that plants runners in a run, for `-p tests.meta.devices.planted`: all else of the run is real.

The sessions on phones have, in their order, the runners of the file that
PLANTED names: a JSON list of shell scripts, or null for the true runner, as
have all that come after.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from suite.devices import fleet, session
from suite.devices.bundle import Bundle
from suite.devices.session import DeviceSession

_PATIENCE = 3.0  # seconds, for a runner that hangs
_waiting: list[str | None] = json.loads(Path(os.environ["PLANTED"]).read_text())


class Planted(DeviceSession):
    """A session with the next of the runners."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        script = _waiting.pop(0) if _waiting else None
        if script is not None:
            folder = Path(tempfile.mkdtemp(dir=Path(os.environ["PLANTED"]).parent))
            (folder / "planted.sh").write_text(script)
            runner = Bundle(
                files={"planted.sh": folder / "planted.sh"}, command=("/system/bin/sh", "./planted.sh")
            )
            named |= {"runner": runner, "run_seconds": _PATIENCE}
        super().__init__(*arguments, **named)


session._SILENCE = 0.0
fleet.DeviceSession = Planted  # type: ignore[misc]
