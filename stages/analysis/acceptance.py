"""Acceptance along the answer: drafted tokens that the large model accepts, by where it drafts."""

import polars as pl

from stages.analysis.display import shown

FEWEST = 10  # drafts in a bin; the mean of fewer tells nothing
WIDEST, NARROWEST, BINS = 256, 32, 32  # tokens of a bin, and bins of a budget


def bin_width(budget: int) -> int:
    """Return the tokens of a bin: 32 for short budgets, 256 for those of the paper."""
    return min(WIDEST, max(NARROWEST, budget // BINS))


def along(latency: pl.DataFrame, width: int) -> pl.DataFrame:
    """Return a row per method that drafts and bin of `width` tokens of the answer.

    `position`: the bin's first token; `drafts`: how many began there; `acceptance_length`: mean
    tokens of a step, the large model's own included, with its 95 % interval over drafts. Bins with
    less than FEWEST drafts are left out.
    """
    step = pl.col("draft_accepted").cast(pl.Float64)
    half = 1.96 * step.std() / step.len().sqrt()
    return (
        latency.select("method", "draft_at", "draft_accepted")
        .explode("draft_at", "draft_accepted")
        .drop_nulls()
        .with_columns(position=pl.col("draft_at") // width * width)
        .group_by("method", "position", maintain_order=True)
        .agg(
            drafts=step.len(),
            acceptance_length=1 + step.mean(),
            ci_low=1 + step.mean() - half,
            ci_high=1 + step.mean() + half,
        )
        .filter(pl.col("drafts") >= FEWEST)
        .sort("method", "position")
    )


def ends(table: pl.DataFrame) -> str:
    """Return each method's acceptance length in its first bin and in its last one, in words."""
    said = [
        f"{shown(str(method))} {rows['acceptance_length'][0]:.2f} in the first bin, "
        f"{rows['acceptance_length'][-1]:.2f} from token {rows['position'][-1]} on"
        for (method,), rows in table.group_by("method", maintain_order=True)
    ]
    return f"{'; '.join(said)}." if said else "No method drafts."
