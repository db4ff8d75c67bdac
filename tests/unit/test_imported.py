"""Traces of other tools, as this pipeline's own."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages.config.families import Family, whole
from stages.config.schema import Model
from stages.generation.imported import table
from stages.generation.traces import SCHEMA
from stages.runtime.errors import UserError
from tests.conftest import TOKENIZER, encode

pytestmark = pytest.mark.unit
SMALL = Model(model="demo_pair/small")
DEMO = Family.model_validate(whole("demo"))
QUESTION = "What is 1 + 1?"
TEXT = "<think>\nWe add. Thus it is 2.</think>\n\n2<|im_end|>"
CHAT = [{"role": "user", "content": QUESTION}]


def of(folder: Path, *rows: dict[str, Any], family: Family = DEMO) -> pl.DataFrame:
    """The traces of a JSONL file with these rows."""
    path = folder / "given.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return table(path, SMALL, family)


def decoded(ids: list[int]) -> str:
    return str(TOKENIZER.decode(ids, skip_special_tokens=False))


def test_a_problem_is_asked_in_the_familys_words_and_the_text_split_at_its_end(
    tmp_path: Path,
) -> None:
    (row,) = of(tmp_path, {"problem": QUESTION, "text": TEXT}).iter_rows(named=True)
    words = DEMO.prompts["plain"]["math"].replace("{problem}", QUESTION)
    assert words in decoded(row["prompt_ids"])
    assert row["token_ids"] == encode(TEXT)
    assert decoded(row["token_ids"][: row["reasoning_tokens"]]).endswith("2.</think>")
    assert (row["finished"], row["n_tokens"]) == (True, len(encode(TEXT)))


@pytest.mark.parametrize(
    "row",
    [
        {"messages": CHAT, "text": TEXT},
        {"messages": [*CHAT, {"role": "assistant", "content": TEXT}]},
        {"prompt": f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n",
         "text": TEXT},
    ],
)  # fmt: skip
def test_messages_and_prompts_are_asked_as_they_are(tmp_path: Path, row: dict[str, Any]) -> None:
    (found,) = of(tmp_path, row).iter_rows(named=True)
    assert decoded(found["prompt_ids"]) == (
        f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    )
    assert found["text"] == TEXT


@pytest.mark.parametrize(
    "row",
    [
        {"problem": QUESTION, "generation": TEXT, "expected_answer": "2"},  # NeMo-Skills
        {"doc_id": 0, "doc": {"problem": QUESTION}, "resps": [[TEXT]]},  # lm-evaluation-harness
        {"doc": {"query": QUESTION}, "model_response": {"text": [TEXT], "input": "x"}},  # lighteval
        {"doc": {"question": QUESTION}, "predictions": [TEXT]},
    ],
)
def test_outputs_of_other_tools_are_traces_too(tmp_path: Path, row: dict[str, Any]) -> None:
    same = of(tmp_path, {"problem": QUESTION, "text": TEXT})
    assert of(tmp_path, row).equals(same)


def test_parquet_of_another_tool_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "details.parquet"
    row = {"doc": {"query": QUESTION}, "model_response": {"text": [TEXT, TEXT]}}
    pl.DataFrame([row]).write_parquet(path)
    found = table(path, SMALL, DEMO)
    assert found.select("problem_id", "repeat").rows() == [(0, 0), (0, 1)]


def test_the_pipelines_own_traces_stay_as_they_are(tmp_path: Path) -> None:
    own = of(tmp_path, {"problem": QUESTION, "text": TEXT})
    own.write_parquet(tmp_path / "own.parquet")
    assert table(tmp_path / "own.parquet", SMALL, DEMO).equals(own)
    assert own.schema == SCHEMA


def test_samples_of_one_problem_are_its_repeats(tmp_path: Path) -> None:
    rows = [{"problem": problem, "text": TEXT} for problem in ("A?", "B?", "A?")]
    assert of(tmp_path, *rows).select("problem_id", "repeat").rows() == [(0, 0), (1, 0), (0, 1)]


def test_an_opening_tag_that_a_server_left_out_is_assumed(tmp_path: Path) -> None:
    without = TEXT.removeprefix("<think>\n")
    assert of(tmp_path, {"problem": QUESTION, "text": without})["text"].item() == TEXT


def test_an_opening_tag_that_the_prompt_has_is_not_there_twice(tmp_path: Path) -> None:
    row = {"prompt": f"{QUESTION}<think>\n", "text": TEXT}
    assert of(tmp_path, row)["text"].item() == TEXT.removeprefix("<think>\n")


def test_a_model_without_tags_gets_none(tmp_path: Path) -> None:
    family = Family.model_validate(whole({"base": "untagged", "think_start": "[REASON]"}))
    text = "We add. Final answer: 2"
    (row,) = of(tmp_path, {"problem": QUESTION, "text": text}, family=family).iter_rows(named=True)
    assert row["text"] == text
    assert decoded(row["token_ids"][: row["reasoning_tokens"]]).endswith("Final answer:")


def test_a_trace_without_an_end_is_reasoning_all_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = {"problem": "Why?", "text": "<think>\nWe add"}
    rows = of(tmp_path, cut, {"problem": QUESTION, "text": TEXT})
    assert rows["reasoning_tokens"][0] == rows["n_tokens"][0]
    assert rows["finished"].to_list() == [False, True]
    assert "1 of 2 traces do not end their reasoning" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": TEXT}], r"given\.jsonl, line 1: each row needs .*; it has: text"),
        ([{"problem": QUESTION}], r"line 1: each row needs .*; it has: problem"),
        ([{"problem": QUESTION, "text": TEXT}, {"problem": 7, "text": TEXT}], "line 2: each row"),
        ([{"messages": ["Hi"], "text": TEXT}], "line 1: messages are not a list of maps"),
        ([], "holds no trace"),
        ([{"problem": QUESTION, "text": "We add"}], "none of 1 traces ends its reasoning"),
        ([{"problem": QUESTION, "text": "\ud800"}], "is not a text of whole Unicode characters"),
    ],
)
def test_what_is_no_trace_is_named_with_its_row(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        of(tmp_path, *rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("traces.csv", "x", "not a trace file; give one that ends in .parquet or .jsonl"),
        ("traces.parquet", "x", "not a Parquet file"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        table(tmp_path / name, SMALL, DEMO)
    with pytest.raises(UserError, match="no such file"):
        table(tmp_path / "none.jsonl", SMALL, DEMO)
