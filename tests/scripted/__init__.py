"""A server with vLLM's replies and no model: it stands in for vLLM in tests of orchestration.

Processes that inherit `environment()` get it wherever the pipeline starts a server. Production code
knows nothing of it: `on_path/sitecustomize.py`, which Python runs at every start, puts the packages
of `stand_ins/` before the real ones, in the processes of servers alone.

Variables for a test to set:
- SCRIPTED_LOG: a file that gets a JSON line per request, see `engine.note`;
- SCRIPTED_TOKENS_PER_S: how fast tokens are written, where a run has to last; as fast as can be
  without it.
"""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def environment() -> dict[str, str]:
    """The variables that make every server a scripted one."""
    return {"PYTHONPATH": str(HERE / "on_path")}


def requests(log: Path) -> list[dict[str, Any]]:
    """What servers were asked for, in the order of their replies, as SCRIPTED_LOG holds it."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
