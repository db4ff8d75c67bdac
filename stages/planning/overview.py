"""The plan as printed: a line per job and benchmark, sums, and what is assumed; or as JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain

from stages.planning.jobs import all_roles
from stages.planning.pair import PlannedPair
from stages.planning.sizes import GIB, engine_room, engine_weights_gib, model_bytes
from stages.planning.work import PlannedWork, due_of, planned_work, total

HEADER = ["stage", "method", "benchmark", "engines: GPUs", "answers", "k tokens", "time", "GPU-h"]
HEADER += ["MB", "done"]


def text(pairs: Sequence[PlannedPair]) -> str:
    """Return the plan of all pairs as aligned columns, then what is assumed."""
    tables = [planned_work(pair) for pair in pairs]
    grid = [HEADER]
    for work in tables:
        grid += [*map(cells, work), cells(total(work))]
    lines = iter(aligned(grid))
    out = [next(lines)]
    for pair, work in zip(pairs, tables, strict=True):
        out.append(pair.name + (f"  ({about})" if (about := memory(pair)) else ""))
        out += [next(lines) for _ in range(len(work) + 1)]
        out += [f"  due: {in_words(due_of(pair))}", summary(pair, work)]
    if len(pairs) > 1:
        out.append(f"all pairs, to do: {to_do(list(chain.from_iterable(tables)))}")
    return "\n".join([*out, "assumed:", *(f"  {line}" for line in assumed(pairs))])


def in_words(stages: Sequence[str]) -> str:
    """Return the names of stages; those of methods together, as `infer (large, small)`."""
    found: dict[str, list[str]] = {}
    for name in stages:
        stage, _, about = name.partition("@")
        found.setdefault(stage, []).extend(filter(None, [about.partition("-")[2]]))
    parts = [f"{stage} ({', '.join(names)})" if names else stage for stage, names in found.items()]
    return ", ".join(parts) or "nothing"


def as_json(pairs: Sequence[PlannedPair]) -> str:
    """Return the same for programs; hours, bytes and tokens are not rounded."""
    content = {}
    for pair in pairs:
        work = planned_work(pair)
        content[pair.name] = {
            "rows": [{**asdict(one), "left": one.left} for one in work],
            "total": asdict(total(work)),
            "model_bytes": model_bytes(pair),
            "due": due_of(pair),
        }
    return json.dumps({"pairs": content, "assumed": assumed(pairs)}, indent=2)


def cells(work: PlannedWork) -> list[str]:
    """Return a line's cells."""
    engines = " + ".join(
        f"{role}: {','.join(ids)}" if ids else role for role, ids in work.gpus.items()
    )
    return [
        *(work.stage, work.method, work.benchmark, engines),
        f"{work.answers}" if work.answers else "",
        f"{work.tokens / 1e3:.0f}" if work.tokens else "",
        duration(work.hours),
        f"{work.gpu_hours:.1f}" if work.gpu_hours else "",
        f"{work.disk_bytes / 1e6:.2f}" if work.disk_bytes else "",
        work.status if work.gpus else "",
    ]


def duration(hours: float) -> str:
    """Return hours in a fitting unit."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"


def aligned(grid: Sequence[Sequence[str]]) -> list[str]:
    """Return lines: the first four columns aligned left, numbers right."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 4 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in grid
    ]


def memory(pair: PlannedPair) -> str:
    """Return the weights and KV cache of each engine on GPUs, in one line."""
    return "; ".join(filter(None, (engine_memory(pair, role) for role in all_roles(pair))))


def engine_memory(pair: PlannedPair, role: str) -> str:
    """Return how an engine fills its GPUs; empty for one on the CPU."""
    served, room = pair.settings.engines[role], engine_room(pair, role)
    if not served.gpus:
        return ""
    if room is None:
        return f"{role}: size of {served.model} not known, not checked"
    weights = engine_weights_gib(pair, role)
    return f"{role}: {weights:.1f} GiB of weights per GPU, KV cache for {room:,} tokens"


def summary(pair: PlannedPair, work: Sequence[PlannedWork]) -> str:
    """Return what is left of a pair's run, and the disk space that it takes."""
    results = sum(one.disk_bytes for one in work)
    return (
        f"  to do: {to_do(work)}; disk: {2 * results / 1e6:.0f} MB of results and DVC's copy of "
        f"them, {model_bytes(pair) / GIB:.1f} GiB of models"
    )


def to_do(work: Sequence[PlannedWork]) -> str:
    """Return the time and GPU-hours that are left."""
    hours = sum(one.hours * one.left for one in work)
    gpu_hours = sum(one.gpu_hours * one.left for one in work)
    return f"{duration(hours)} one job after another, {gpu_hours:.0f} GPU-h"


def assumed(pairs: Sequence[PlannedPair]) -> list[str]:
    """Return every assumption behind the plan with its source; what pairs share once."""
    known = pairs[0].known
    lines = list(chain.from_iterable(map(assumed_of, pairs)))
    if any(memory(pair) for pair in pairs):
        node = known.node
        lines.append(
            f"a node: {node.gpus} GPUs of {node.gpu_gib:g} GiB, {node.overhead_gib:g} of it "
            f"neither weights nor KV cache ({node.source})"
        )
    disk = known.disk
    lines.append(
        f"disk: answers {disk.answers:g}, traces {disk.traces:g}, margins {disk.margins:g}, "
        f"checkpoints {disk.checkpoints:g} ({disk.source})"
    )
    lines.append(
        "kept: answers in store/ that this run will use; finished: there and up to date; due: "
        "stages of dvc.yaml that are not there or out of date (`relaygen status` says why), and "
        "all that follow, which may turn out to have nothing to do"
    )
    return list(dict.fromkeys(lines))


def assumed_of(pair: PlannedPair) -> Iterator[str]:
    """Yield the assumptions about one pair."""
    tokens, speed, speedups = pair.family.tokens, pair.family.speed, pair.family.speedups
    if pair.measured.ms_per_token:
        yield known_of(pair)
    else:
        yield (
            f"nothing is measured on pair {pair.name} yet: `relaygen pair check {pair.name} "
            "--probe` measures its speeds in minutes, and a run its tokens and times"
        )
    yield (
        f"tokens an answer, {pair.settings.family.estimates}: large {listed(tokens.large)}; small "
        f"{listed(tokens.small)}; answer stage {tokens.answer_stage} ({tokens.source})"
    )
    yield (
        f"ms a token, one answer in flight: {listed(speed.ms_per_token)}; each further one "
        f"slows all by {100 * speed.slowdown:g} %; reading {speed.read_tokens_per_s:g} "
        f"tokens/s; start {speed.start_s:g} s ({speed.source})"
    )
    source = f"the paper's Table 3, {speedups}" if isinstance(speedups, str) else speed.source
    yield f"speedup over large, at any number in flight: {listed(pair.speedups)} ({source})"


def known_of(pair: PlannedPair) -> str:
    """Return what is measured of a pair, in one line."""
    found = pair.measured
    tokens = "tokens an answer; " if found.tokens else ""
    times = listed({name: round(ms, 1) for name, ms in found.ms_per_token.items()})
    slower = (
        ""
        if found.slowdown is None
        else f"; each further one slows all by {100 * found.slowdown:.1f} %"
    )
    return (
        f"measured on pair {pair.name}, taken before what is assumed below: {tokens}"
        f"ms a token, one answer in flight: {times}{slower} "
        f"({', '.join(found.sources)})"
    )


def listed(table: Mapping[str, float]) -> str:
    """Return names and numbers in one line."""
    return ", ".join(f"{name} {value:g}" for name, value in table.items())
