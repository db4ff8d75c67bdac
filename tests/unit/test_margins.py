"""The way of margins into the table."""

import asyncio
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from stages.config.params import load
from stages.engine.client import RequestFailedError, RequestRefusedError
from stages.engine.models import tokenizer
from stages.generation import margins
from stages.generation.margins import (
    ROW_GROUP,
    SCHEMA,
    Kept,
    Margins,
    key,
    profile,
    read_ids,
    tables,
    write,
)
from stages.generation.store import Store
from stages.perf.harness import alone, peak_memory
from stages.runtime.errors import UserError
from stages.tracking.files import Row
from stages.tracking.notes import read_provenance

pytestmark = pytest.mark.unit
TOKENIZER = tokenizer(load(Path("params.yaml")).pair("demo").engines["large"])


class Scripted:
    """Answers at once, with the token ids for margins; counts who waits for an answer."""

    def __init__(self) -> None:
        self.waiting = self.most = 0

    async def margins(self, token_ids: list[int]) -> Margins:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await asyncio.sleep(0.001 * (token_ids[0] % 3))  # later ones may be first
        self.waiting -= 1
        return [None, *map(float, token_ids[1:])]


def traces(n: int, n_tokens: int = 3) -> list[Row]:
    return [
        {
            "problem_id": i,
            "repeat": 0,
            "prompt_ids": [i % 100, 7],
            "token_ids": [5] * n_tokens,
            "reasoning_tokens": n_tokens - 1,
        }
        for i in range(n)
    ]


def written(folder: Path, n: int, n_tokens: int = 3) -> Path:
    """margins.parquet of `n` traces."""
    source, out = folder / "traces.parquet", folder / "margins.parquet"
    pl.DataFrame(traces(n, n_tokens)).write_parquet(source)
    parts = tables(source, Scripted(), 8, TOKENIZER)
    asyncio.run(write(out, parts, lambda: {"seed": 1}))
    return out


async def test_traces_keep_their_order_whoever_is_answered_first() -> None:
    found = [trace["problem_id"] async for trace, _ in profile(traces(20), Scripted(), 4)]
    assert found == list(range(20))


async def test_no_more_requests_are_under_way_than_allowed() -> None:
    reader = Scripted()
    assert len([_ async for _ in profile(traces(20), reader, 4)]) == 20
    assert reader.most == 4


def test_prompt_and_reasoning_are_read_and_the_answer_is_not(tmp_path: Path) -> None:
    table = pl.read_parquet(written(tmp_path, 1))
    assert table.schema == SCHEMA
    assert table["token_id"].to_list() == [0, 7, 5, 5]
    assert table["margin"].to_list() == [None, 7.0, 5.0, 5.0]
    assert table["stage"].to_list() == ["prompt", "prompt", "reasoning", "reasoning"]
    assert table["position"].to_list() == [0, 1, 2, 3]


def test_the_table_says_where_it_came_from(tmp_path: Path) -> None:
    assert read_provenance(written(tmp_path, 1))["seed"] == 1


def test_a_row_group_holds_whole_traces(tmp_path: Path) -> None:
    path = written(tmp_path, 5, n_tokens=ROW_GROUP // 2)
    assert pl.scan_parquet(path).select(pl.len()).collect().item() == 5 * (ROW_GROUP // 2 + 1)
    groups = pq.read_metadata(path)
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [
        2 * (ROW_GROUP // 2 + 1),
        2 * (ROW_GROUP // 2 + 1),
        ROW_GROUP // 2 + 1,
    ]


class Failing(Scripted):
    """Fails on some traces, by their number."""

    def __init__(self, *failing: int, error: type[RequestFailedError] = RequestFailedError) -> None:
        super().__init__()
        self.failing, self.error = failing, error
        self.read: list[int] = []

    async def margins(self, token_ids: list[int]) -> Margins:
        found = await super().margins(token_ids)
        self.read.append(token_ids[0])
        if token_ids[0] in self.failing:
            raise self.error("engine 'small': position 2: no two likeliest in None")
        return found


def test_a_trace_that_fails_is_named_and_no_table_is_left(tmp_path: Path) -> None:
    source = tmp_path / "traces.parquet"
    pl.DataFrame(traces(30)).write_parquet(source)
    reader = Failing(0, 3)
    with pytest.raises(UserError) as caught:
        asyncio.run(write(tmp_path / "m.parquet", tables(source, reader, 8, TOKENIZER), dict))
    assert str(caught.value) == (
        "margins: 2 of 30 traces failed: problem 0, repeat 0; problem 3, repeat 0 (the first: "
        "engine 'small': position 2: no two likeliest in None); run again to ask for these alone"
    )
    assert list(tmp_path.iterdir()) == [source]
    assert sorted(reader.read) == list(range(30)), "the others were read all the same"


def test_margins_that_were_read_are_kept_though_others_failed(tmp_path: Path) -> None:
    source = tmp_path / "traces.parquet"
    pl.DataFrame(traces(5)).write_parquet(source)
    with Store(tmp_path / "store") as store:
        parts = tables(source, Kept(store, Failing(1)), 8, TOKENIZER)
        with pytest.raises(UserError, match="1 of 5 traces failed"):
            asyncio.run(write(tmp_path / "m.parquet", parts, dict))
        lacking = [trace["problem_id"] for trace in traces(5) if key(read_ids(trace)) not in store]
    assert lacking == [1]


def test_an_engine_that_refuses_every_trace_is_not_asked_for_all(tmp_path: Path) -> None:
    source = tmp_path / "traces.parquet"
    pl.DataFrame(traces(90)).write_parquet(source)
    reader = Failing(*range(100), error=RequestRefusedError)
    with pytest.raises(UserError, match="margins: every request is refused, the first: engine"):
        asyncio.run(write(tmp_path / "m.parquet", tables(source, reader, 8, TOKENIZER), dict))
    assert len(reader.read) < 40


def peak(folder: Path, n: int) -> float:
    """GB of a process that writes margins of `n` traces of 1,000 tokens."""
    written(folder, n, n_tokens=1000)
    return peak_memory()


def test_memory_does_not_grow_with_the_number_of_traces(tmp_path: Path) -> None:
    few, many = (alone(peak, tmp_path, n) for n in (100, 1000))
    assert many < few + 0.05


def measured(folder: Path, reader: Scripted | None) -> pl.DataFrame:
    """margins.parquet of five traces, with the margins that the store in `folder` has."""
    source, out = folder / "traces.parquet", folder / "margins.parquet"
    pl.DataFrame(traces(5)).write_parquet(source)
    with Store(folder / "store") as store:
        parts = tables(source, Kept(store, reader), 2, TOKENIZER)
        asyncio.run(write(out, parts, dict))
    return pl.read_parquet(out)


def test_margins_that_the_store_has_are_read_from_there(tmp_path: Path) -> None:
    reader = Scripted()
    first = measured(tmp_path, reader)
    assert reader.most == 2
    assert measured(tmp_path, None).equals(first)


def test_margins_are_missing_until_each_trace_has_been_read(tmp_path: Path) -> None:
    source = tmp_path / "more.parquet"
    pl.DataFrame(traces(6)).write_parquet(source)
    measured(tmp_path, Scripted())
    store = Store(tmp_path / "store")
    assert not margins.missing(tmp_path / "traces.parquet", store)
    assert margins.missing(source, store)


def test_margins_are_kept_trace_by_trace(tmp_path: Path) -> None:
    class Ending(Scripted):
        async def margins(self, token_ids: list[int]) -> Margins:
            if token_ids[0] == 3:
                raise RequestFailedError("down")
            return await super().margins(token_ids)

    message = r"1 of 5 traces failed: problem 3, repeat 0 \(the first: down\); run again"
    with pytest.raises(UserError, match=message):
        measured(tmp_path, Ending())
    store = Store(tmp_path / "store")
    kept = [margins.key([i, 7, 5, 5]) in store for i in range(4)]
    assert kept == [True, True, True, False]


def test_margins_know_the_session_that_they_were_read_in(tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        store.begin_session({"git_commit": "abc"})
    measured(tmp_path, Scripted())
    found = margins.sessions(tmp_path / "traces.parquet", Store(tmp_path / "store"))
    assert list(found) == [{"git_commit": "abc"}] * 5


def test_without_an_engine_the_stores_margins_are_written(tmp_path: Path) -> None:
    before = measured(tmp_path, Scripted())
    out, infer = tmp_path / "again.parquet", load(Path("params.yaml")).infer
    with Store(tmp_path / "store") as store:
        work = margins.measure(
            tmp_path / "traces.parquet", out, store, None, infer, TOKENIZER, lambda: {"a": 1}
        )
        asyncio.run(work)
    assert pl.read_parquet(out).equals(before)
    assert read_provenance(out) == {"a": 1}


# Traces that are longer than the model can read at once.


class Counting:
    """The margin of a token is its position in the piece that was asked for."""

    async def margins(self, token_ids: list[int]) -> list[float | None]:
        return [None, *map(float, range(1, len(token_ids)))]


@pytest.mark.parametrize(
    ("n", "longest", "starts"),
    [(10, None, [0]), (10, 10, [0]), (11, 10, [0, 5]), (15, 10, [0, 5]), (16, 10, [0, 5, 10])],
)
def test_a_long_trace_is_read_in_pieces_that_overlap_by_half(
    n: int, longest: int | None, starts: list[int]
) -> None:
    found = margins.pieces(list(range(n)), longest)
    assert [piece[0] for piece in found] == starts
    assert found[-1][-1] == n - 1
    assert all(len(piece) <= (longest or n) for piece in found)


def test_each_token_of_a_long_trace_has_the_margin_of_the_piece_that_it_is_new_in(
    tmp_path: Path,
) -> None:
    with Store(tmp_path) as store:
        kept = Kept(store, Counting(), longest=6)
        found = asyncio.run(kept.margins(list(range(14))))
    assert found == [None, 1, 2, 3, 4, 5, 3, 4, 5, 3, 4, 5, 3, 4]
