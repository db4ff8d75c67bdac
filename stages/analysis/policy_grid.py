"""Policies with a grid of thresholds on traces with the small model's margins, without engines."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import polars as pl
from tokenizers import Tokenizer

from stages.analysis.replay import Counts, Replayed, Speeds, shown
from stages.analysis.trace_files import Trace
from stages.analysis.tuning import PAPER, Candidate
from stages.analysis.walk import Margins, Walk, Walked
from stages.config.schema import Params
from stages.config.selection import filled
from stages.methods import of_kind, relay
from stages.methods.base import Setting
from stages.methods.matching import CueSet
from stages.methods.offline import setting
from stages.methods.policies import Policy
from stages.runtime.errors import UserError
from stages.tracking.files import Row
from stages.tracking.frames import SPEEDS, read_csv

NOT_KNOWN = (
    "These are the large model's texts, with the small model's margins on them. What the small "
    "model would write instead, and whether it would be right, they do not say: that takes "
    "relaygen tune."
)


@dataclass(frozen=True)
class Planned:
    """A policy with its thresholds, and the setting that it has on every trace."""

    candidate: Candidate
    policy: Policy
    rules: Setting


@dataclass
class Sums:
    """What a policy came to on the traces so far. `dropped`: tokens that S wrote for nothing."""

    counts: Counts = field(default_factory=Counts)
    dropped: int = 0


def lines_of(params: Params, name: str | None) -> dict[str, Row]:
    """Return the lines to replay: of a name, or all of the block `tune` beside the paper's relay.

    Raises UserError for a name that is no relay's.
    """
    if name is None:
        return {PAPER.name: PAPER.line, **params.tune.policies}
    relays = {
        key: method.model_dump(mode="json", exclude_none=True)
        for key, method in params.methods.items()
        if method.kind == "relay"
    }
    lines = {**relays, **params.tune.policies}
    if name not in lines:
        raise UserError(
            f"--policy {name}: no line of tune.policies or methods; choose one of "
            f"{', '.join(lines)}"
        )
    return {name: lines[name]}


def planned(
    one: Candidate, params: Params, pair: str, tokenizer: Tokenizer, cues: tuple[str, ...]
) -> Planned:
    """Return a candidate ready to be replayed. `cues`: the pair's."""
    method = filled(params, pair, of_kind(one.line))
    assert isinstance(method, relay.Method)
    check(one.name, method)
    own = CueSet(cues if method.cues == "pair" else ())
    rules = setting(tokenizer, own, 0, params.pair(pair).family.marks)
    return Planned(one, method, method.start(rules).setting)


def check(name: str, policy: Policy) -> None:
    """Raise UserError for a rule that the traces of L say nothing about."""
    rules = [key for key in ("loop", "answer_margin") if getattr(policy, key)]
    if rules:
        raise UserError(
            f"{name}: {rules[0]} goes by what the small model writes itself, which a trace of the "
            "large one does not say: leave it out here, or use relaygen tune"
        )


def with_margins(
    traces: Iterable[Trace], margins: pl.DataFrame, path: Path
) -> Iterator[tuple[Trace, Margins]]:
    """Yield each trace and the margins at its tokens; 1 where the small model did not read them.

    `margins`: rows of margins.parquet, in the traces' order. Raises UserError if they are of other
    traces.
    """
    read = margins.filter(pl.col("stage") != "prompt").group_by(
        "problem_id", "repeat", maintain_order=True
    )
    for trace, group in zip_longest(traces, read):
        rows = group and group[1]
        if trace is None or rows is None or rows["token_id"].to_list() != trace.ids[: len(rows)]:
            where = trace.where if trace else "behind the last trace"
            raise UserError(
                f"{path}: margins of other tokens, {where}: run the margins stage again"
            )
        sure = np.ones(len(trace.ids))
        sure[: len(rows)] = rows["margin"].fill_null(1.0).to_numpy()
        yield trace, sure


def walk_all(
    traces: Iterable[tuple[Trace, Margins]], tokenizer: Tokenizer, planned: Sequence[Planned]
) -> list[Sums]:
    """Return what each policy comes to; each trace is read once."""
    sums = [Sums() for _ in planned]
    for trace, margins in traces:
        ready: dict[tuple[object, ...], Walked] = {}
        for one, total in zip(planned, sums, strict=True):
            if (key := rules_key(one.rules)) not in ready:
                ready[key] = Walked(trace.ids, margins, tokenizer, one.rules)
            walk = Walk(ready[key], one.policy)
            total.counts.add(trace.problem, walk.answer())
            total.dropped += walk.dropped
    return sums


def rules_key(rules: Setting) -> tuple[object, ...]:
    """Return what tells one setting of a run from another."""
    return rules.cues, rules.cue_matching, rules.min_tokens, rules.answer_engine


def table(planned: Sequence[Planned], sums: Sequence[Sums], speeds: Speeds | None) -> pl.DataFrame:
    """Return a row per policy and threshold. `speeds`: None if none were measured."""
    rows = [
        grid_row(one.candidate, total, speeds) for one, total in zip(planned, sums, strict=True)
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def grid_row(candidate: Candidate, total: Sums, speeds: Speeds | None) -> Row:
    """Return the values of a policy with one threshold."""
    values = total.counts.values()
    return {
        "policy": candidate.name.split("@")[0],
        "quantile": candidate.quantile,
        "threshold": candidate.threshold,
        "n_traces": values["n_traces"],
        "large_utilization": values["large_utilization"],
        "large_utilization_sd": values["large_utilization_sd"],
        "mean_switches": values["handoffs"] / values["n_traces"],
        "mean_dropped": total.dropped / values["n_traces"],
        "predicted_speedup": speeds and speedup(values, total.dropped, speeds),
    }


def speedup(values: Replayed, dropped: int, speeds: Speeds) -> float:
    """Return the speedup over L alone for as many tokens; S writes `dropped` ones for nothing."""
    large, small = values["large_tokens"], values["small_tokens"]
    handoffs_s = values["handoffs"] * speeds.handoff_ms / 1000
    relay_s = large / speeds.large_tps + (small + dropped) / speeds.small_tps + handoffs_s
    return (large + small) / speeds.large_tps / relay_s


def speeds_in(path: Path) -> Speeds | None:
    """Return the speeds of a pair's speed.csv: both models alone, and the paper's relay's hand-off.

    None without the file, or if one of them was not measured.
    """
    if not path.is_file():
        return None
    rows = {row["method"]: row for row in read_csv(path, SPEEDS).iter_rows(named=True)}
    large, small = (rows.get(name, {}).get("tokens_per_s") for name in ("large", "small"))
    handoff = rows.get("relaygen", {}).get("handoff_ms")
    if large is None or small is None or handoff is None:
        return None
    return Speeds(large, small, handoff)


def in_words(grid: pl.DataFrame) -> str:
    """Return the grid as lines of text, and what it does not say."""
    lines = [f"{'policy':<16}{'threshold':>10}{'large %':>9}{'hand-offs':>11}{'speedup':>9}"]
    columns = ("policy", "threshold", "large_utilization", "mean_switches", "predicted_speedup")
    for name, threshold, share, switches, faster in grid.select(columns).iter_rows():
        at, times = shown(threshold, 3), shown(faster, 2)
        lines.append(f"{name:<16}{at:>10}{share:>9.1f}{switches:>11.1f}{times:>9}")
    return "\n".join([*lines, NOT_KNOWN])
