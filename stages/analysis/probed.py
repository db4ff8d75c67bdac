"""What `relaygen pair check --probe` measured of a pair's engines, as it is kept."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.analysis.replay import Speeds, read_speeds
from stages.config.block import Block
from stages.runtime.errors import UserError


class Probe(Block):
    """The speeds of a pair; by role of an engine where there are several.

    `engines`: what was served (EngineSpec.shape). `tokens_per_s`: one answer at a time.
    `tokens_per_s_at_once`: of all answers together, `in_flight` of them. `handoff_ms`: what the
    answers of an exchange took beyond their tokens, per hand-off. `cached_percent`: of the
    exchange's prompt tokens that were in the prefix cache. `other_load`: cores that other work
    used. `machine`: where it was measured.
    """

    engines: dict[str, dict[str, Any]]
    tokens_per_s: dict[str, float]
    tokens_per_s_at_once: dict[str, float]
    in_flight: int
    handoff_ms: float
    cached_percent: float
    acceptance_length: dict[str, float]
    other_load: float
    machine: dict[str, Any]

    @property
    def slowdown(self) -> float:
        """Return by what share each further answer in flight slows the large model's."""
        slower = self.in_flight * self.tokens_per_s["large"] / self.tokens_per_s_at_once["large"]
        return max(0.0, (slower - 1) / (self.in_flight - 1))


def path_of(results: Path, pair: str) -> Path:
    """Return where a pair's probe is kept below `results`."""
    return results / pair / "probe.json"


def read(path: Path) -> Probe:
    """Return a probe; UserError if there is none."""
    try:
        return Probe.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; `relaygen pair check PAIR --probe`") from error
    except ValidationError as error:
        raise UserError(
            f"{path}: not the file that `relaygen pair check PAIR --probe` writes: run it again"
        ) from error


def speeds_given(
    path: Path | None, large_tps: float | None, small_tps: float | None, handoff_ms: float | None
) -> Speeds | None:
    """Return what a replay predicts a speedup from: a probe, or three values; None without either.

    Raises UserError if both are given, or one or two of the values.
    """
    speeds = read_speeds(large_tps, small_tps, handoff_ms)
    if path is None:
        return speeds
    if speeds:
        raise UserError("--speeds stands for --large-tps, --small-tps and --handoff-ms: give one")
    probe = read(path)
    alone = probe.tokens_per_s
    return Speeds(alone["large"], alone["small"], probe.handoff_ms)
