"""What a run would do and take, before anything is started: a line per pair, method and benchmark.

Reads params.yaml, the assumptions of workflow/reference/plan.yaml, and what lies in results/ and
shards/ already. Engines that cannot fit are refused, one line each. `--commands` prints the
engines' command lines instead.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from stages.config.schema import Params
from stages.planning import estimates
from stages.planning.estimates import GIB, Assumptions
from stages.planning.jobs import Plan, Row

REFERENCE = Path("workflow/reference")
HEADER = ["stage", "method", "benchmark", "engines: cards", "answers", "k tokens", "time", "GPU-h"]
HEADER += ["MB", "done"]


def cells(row: Row) -> list[str]:
    """A row as it is printed."""
    engines = " + ".join(
        f"{role}: {','.join(cards)}" if cards else role for role, cards in row.cards.items()
    )
    return [
        *(row.stage, row.method, row.benchmark, engines),
        f"{row.answers}" if row.answers else "",
        f"{row.tokens / 1e3:.0f}" if row.tokens else "",
        duration(row.hours),
        f"{row.gpu_hours:.1f}" if row.gpu_hours else "",
        f"{row.disk_bytes / 1e6:.2f}" if row.disk_bytes else "",
        row.status if row.cards else "",
    ]


def duration(hours: float) -> str:
    """Hours in the unit that suits them."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.0f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"


def total(rows: Sequence[Row]) -> Row:
    """The sum of rows."""
    return Row(
        stage="total",
        method="",
        benchmark="",
        cards={},
        answers=sum(row.answers for row in rows),
        tokens=sum(row.tokens for row in rows),
        hours=sum(row.hours for row in rows),
        gpu_hours=sum(row.gpu_hours for row in rows),
        disk_bytes=sum(row.disk_bytes for row in rows),
        kept=sum(row.kept for row in rows),
        finished=False,
    )


def aligned(grid: Sequence[Sequence[str]]) -> list[str]:
    """Lines with the first four columns to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 4 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in grid
    ]


def text(plans: Sequence[Plan]) -> str:
    """All pairs as aligned columns, then what is assumed."""
    tables = [plan.rows() for plan in plans]
    grid = [HEADER]
    for rows in tables:
        grid += [*map(cells, rows), cells(total(rows))]
    lines = iter(aligned(grid))
    out = [next(lines)]
    for plan, rows in zip(plans, tables, strict=True):
        out.append(f"{plan.name}" + (f"  ({about})" if (about := plan.memory()) else ""))
        out += [next(lines) for _ in range(len(rows) + 1)]
        out.append(summary(plan, rows))
    if len(plans) > 1:
        rows = list(chain.from_iterable(tables))
        out.append(f"all pairs, to do: {to_do(rows)}")
    return "\n".join([*out, *assumptions(plans)])


def to_do(rows: Sequence[Row]) -> str:
    """Time and GPU-hours that are left of rows."""
    time = duration(sum(row.hours * row.left for row in rows))
    return (
        f"{time} one job after another, {sum(row.gpu_hours * row.left for row in rows):.0f} GPU-h"
    )


def summary(plan: Plan, rows: Sequence[Row]) -> str:
    """What is left of a pair's run, and its disk."""
    results = sum(row.disk_bytes for row in rows)
    models = plan.model_bytes()
    return (
        f"  to do: {to_do(rows)}; disk: {2 * results / 1e6:.0f} MB of results and DVC's copy of "
        f"them, {models / GIB:.1f} GiB of models"
    )


def assumptions(plans: Sequence[Plan]) -> list[str]:
    """Every assumption behind the plan, with its source; what pairs share once."""
    known, lines = plans[0].known, []
    for plan in plans:
        of, speed = plan.family.tokens, plan.family.speed
        lines.append(
            f"tokens an answer, {plan.pair.family}: large {listed(of.large)}; small "
            f"{listed(of.small)}; answer stage {of.answer_stage} ({of.source})"
        )
        lines.append(
            f"ms a token, one answer in flight: {listed(speed.ms_per_token)}; each further one "
            f"slows all by {100 * speed.slowdown:g} %; reading {speed.read_tokens_per_s:g} "
            f"tokens/s; start {speed.start_s:g} s ({speed.source})"
        )
        table = plan.family.speedups
        source = f"the paper's Table 3, {table}" if isinstance(table, str) else speed.source
        lines.append(
            f"speedup over large, at any number in flight: {listed(plan.speedups)} ({source})"
        )
    node, disk = known.node, known.disk
    if any(plan.memory() for plan in plans):
        lines.append(
            f"a node: {node.cards} cards of {node.card_gib:g} GiB, {node.overhead_gib:g} of it "
            f"neither weights nor KV cache ({node.source})"
        )
    lines.append(
        f"disk: answers {disk.answers:g}, traces {disk.traces:g}, margins {disk.margins:g}, "
        f"shards while they grow {disk.shards:g} ({disk.source})"
    )
    lines.append(
        "kept: answers in shards/, used only if params and code that shape them are the same; "
        "finished: the file is there, `dvc status` says whether it is up to date"
    )
    return ["assumed:", *(f"  {line}" for line in dict.fromkeys(lines))]


def listed(table: Mapping[str, float]) -> str:
    """Names and figures in one line."""
    return ", ".join(f"{name} {value:g}" for name, value in table.items())


def as_json(plans: Sequence[Plan]) -> str:
    """The same for programs: hours, bytes, tokens as they were reckoned."""
    pairs = {}
    for plan in plans:
        rows = plan.rows()
        pairs[plan.name] = {
            "rows": [{**asdict(row), "left": row.left} for row in rows],
            "total": asdict(total(rows)),
            "model_bytes": plan.model_bytes(),
        }
    return json.dumps({"pairs": pairs, "assumed": assumptions(plans)[1:]}, indent=2)


def planned(params: Params, pair: str, known: Assumptions) -> Plan:
    """The plan of one pair."""
    speedups = known.families[params.pair(pair).family].speedups
    if isinstance(speedups, str):
        speedups = estimates.printed_speedups(REFERENCE / "paper.yaml", speedups)
    return Plan(params, pair, known, speedups)
