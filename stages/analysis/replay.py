"""Values of a replay: what the relay would do on traces that a large model wrote alone.

The large model's utilization, hand-offs and segment lengths, and, from two speeds and the cost of
a hand-off, a predicted speedup: time of the large model alone / (time of both models for their
tokens + time of the hand-offs).
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NotRequired, TypedDict

from tokenizers import Tokenizer

from stages.analysis.trace_files import Trace
from stages.methods.base import Answer, Setting
from stages.methods.offline import replay
from stages.runtime.errors import UserError


@dataclass(frozen=True)
class Speeds:
    """Tokens per second of each model, and milliseconds per hand-off."""

    large_tps: float
    small_tps: float
    handoff_ms: float


class Replayed(TypedDict):
    """The values of all traces: utilization in percent, its mean and SD over problems.

    Segment lengths are in tokens, of the reasoning alone.
    """

    n_traces: int
    n_problems: int
    large_tokens: int
    small_tokens: int
    answer_tokens: int
    large_utilization: float
    large_utilization_sd: float | None
    handoffs: int
    handoffs_per_1000_tokens: float
    large_segment_tokens: float | None
    small_segment_tokens: float | None
    predicted_speedup: NotRequired[float]


@dataclass
class Counts:
    """Sums over replayed traces.

    By model: `tokens`, tokens of the `reasoning`, `segments` of the reasoning. `shares`: {problem:
    percentage of L's tokens in each trace}.
    """

    traces: int = 0
    switches: int = 0
    tokens: Counter[str] = field(default_factory=Counter)
    reasoning: Counter[str] = field(default_factory=Counter)
    segments: Counter[str] = field(default_factory=Counter)
    shares: defaultdict[str | int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, problem: str | int, answer: Answer) -> None:
        """Count one replayed trace of a problem."""
        self.traces += 1
        self.switches += answer.n_switches
        large, small = answer.tokens_by("large"), answer.tokens_by("small")
        self.tokens.update(large=large, small=small)
        self.shares[problem].append(100 * large / (large + small))
        for segment in answer.segments:
            if segment.stage == "reasoning":
                self.reasoning[segment.model] += segment.n_tokens
                self.segments[segment.model] += 1

    def values(self) -> Replayed:
        """Return the values of all traces."""
        by_problem = [statistics.fmean(shares) for shares in self.shares.values()]
        total = self.tokens.total()
        return {
            "n_traces": self.traces,
            "n_problems": len(by_problem),
            "large_tokens": self.tokens["large"],
            "small_tokens": self.tokens["small"],
            "answer_tokens": total - self.reasoning.total(),
            "large_utilization": statistics.fmean(by_problem),
            "large_utilization_sd": statistics.stdev(by_problem) if len(by_problem) > 1 else None,
            "handoffs": self.switches,
            "handoffs_per_1000_tokens": 1000 * self.switches / total,
            "large_segment_tokens": self._segment_tokens("large"),
            "small_segment_tokens": self._segment_tokens("small"),
        }

    def _segment_tokens(self, model: str) -> float | None:
        """Return the mean length of a model's segments in tokens; None without segments."""
        n = self.segments[model]
        return self.reasoning[model] / n if n else None


def count(traces: Iterable[Trace], tokenizer: Tokenizer, rules: Setting) -> Counts:
    """Replay `traces`, one after another; UserError names an empty one."""
    counts = Counts()
    for trace in traces:
        answer = replay(trace.ids, tokenizer, rules)
        if not any(segment.n_tokens for segment in answer.segments):
            raise UserError(f"{trace.where}: an empty trace; remove it")
        counts.add(trace.problem, answer)
    return counts


def predicted_speedup(values: Replayed, speeds: Speeds) -> float:
    """Return the speedup over the large model alone, writing as many tokens."""
    large, small = values["large_tokens"], values["small_tokens"]
    handoffs_s = values["handoffs"] * speeds.handoff_ms / 1000
    relay_s = large / speeds.large_tps + small / speeds.small_tps + handoffs_s
    return (large + small) / speeds.large_tps / relay_s


def read_tokenizer(path: Path) -> Tokenizer:
    """Return the tokenizer of a model folder or of a tokenizer.json."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such file; --tokenizer is a model's folder or tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{file}: not a tokenizer.json ({error})") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_speeds(
    large_tps: float | None, small_tps: float | None, handoff_ms: float | None
) -> Speeds | None:
    """Return the speeds, None if none is given; UserError if one or two are missing."""
    if large_tps is None and small_tps is None and handoff_ms is None:
        return None
    if large_tps is None or small_tps is None or handoff_ms is None:
        raise UserError("--large-tps, --small-tps and --handoff-ms belong together: give all three")
    if not (0 < large_tps < math.inf and 0 < small_tps < math.inf and 0 <= handoff_ms < math.inf):
        raise UserError("--large-tps and --small-tps must be above 0, --handoff-ms 0 or more")
    return Speeds(large_tps, small_tps, handoff_ms)


def in_words(values: Replayed) -> str:
    """Return the values as lines of text."""
    total = values["large_tokens"] + values["small_tokens"]
    lines = [
        f"{values['n_traces']} traces of {values['n_problems']} problems, {total} tokens",
        f"large-model utilization  {shown(values['large_utilization'], 2)} %"
        f" (mean over problems; SD {shown(values['large_utilization_sd'], 2)})",
        f"hand-offs                {shown(values['handoffs_per_1000_tokens'])} per 1,000 tokens",
        f"segments, mean length    {shown(values['large_segment_tokens'])} tokens by the large"
        f" model, {shown(values['small_segment_tokens'])} by the small one",
        f"answer stage             {values['answer_tokens']} tokens, by the small model",
    ]
    if "predicted_speedup" in values:
        lines.append(f"predicted speedup        {shown(values['predicted_speedup'], 2)}")
    return "\n".join(lines)


def shown(value: float | None, decimals: int = 1) -> str:
    """Return a value as printed, `-` for None."""
    return "-" if value is None else f"{value:.{decimals}f}"
