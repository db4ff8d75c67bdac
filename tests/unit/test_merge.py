"""A method's answers in parts: together they are all of them, once."""

from pathlib import Path

import polars as pl
import pytest

from stages.generation.answers import check_complete
from stages.runtime.errors import UserError

pytestmark = pytest.mark.unit
PROBLEMS = pl.DataFrame({"problem_id": range(10)})


@pytest.mark.parametrize("shards", [1, 3, 8])
def test_parts_of_a_problem_set_have_every_problem_once(shards: int) -> None:
    parts = [PROBLEMS.gather_every(shards, part) for part in range(shards)]
    together = pl.concat(parts).with_columns(repeat=0)
    check_complete(together, PROBLEMS, 1, Path("x.parquet"))


def test_a_part_that_is_missing_or_there_twice_is_refused() -> None:
    parts = [PROBLEMS.gather_every(3, part).with_columns(repeat=0) for part in range(3)]
    for wrong in (parts[:2], [*parts, parts[0]]):
        with pytest.raises(UserError, match=r"x\.parquet: .* for 10 problems x repeats"):
            check_complete(pl.concat(wrong), PROBLEMS, 1, Path("x.parquet"))
