"""Helpers of the unit tests."""

from pathlib import Path

from stages.config.params import load
from stages.engine.spec import EngineSpec, specs


def engine_specs(*roles: str, pair: str = "demo") -> list[EngineSpec]:
    """Specs of a pair's engines with three requests in flight."""
    params = load(Path("params.yaml"))
    return specs(params.pair(pair), params.engines, roles, concurrency=3)
