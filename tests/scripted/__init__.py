"""A server with vLLM's replies and no model: it stands in for vLLM in tests of orchestration.

Processes that inherit `environment` get it wherever the pipeline starts a server. Production code
knows nothing of it: `on_path/sitecustomize.py`, which Python runs at every start, puts the packages
of `stand_ins/` before the real ones, in the processes of servers alone.

Variables for a test to set:
- SCRIPTED_LOG: a file that gets a JSON line per request, see `engine.note`;
- SCRIPTED_PAUSE_S: seconds that each token of an answer takes;
- SCRIPTED_DELAY_S: how long each request takes;
- SCRIPTED_HOLD: a file with a number; while it exists, every server begins as many answers and
  no more, and keeps further requests waiting.
"""

import json
from pathlib import Path
from typing import Any

ON_PATH = Path("tests/scripted/on_path")


def environment(checkout: Path, **variables: str) -> dict[str, str]:
    """The variables that make every server of a checkout a scripted one; more for these.

    Apptainer hands a variable with its prefix on, without it, to what runs in the container.
    """
    told = {"PYTHONPATH": str(checkout / ON_PATH), **variables}
    return told | {f"APPTAINERENV_{name}": value for name, value in told.items()}


def requests(log: Path) -> list[dict[str, Any]]:
    """What servers were asked for, in the order of their replies, as SCRIPTED_LOG holds it."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
