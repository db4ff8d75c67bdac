"""Answers of the large model as traces, and whether they end their reasoning."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from stages.generation import traces
from stages.generation.answering import Task
from stages.generation.answers import SCHEMA
from stages.generation.store import Store
from stages.runtime.errors import UserError
from tests.conftest import TOKENIZER, encode

pytestmark = pytest.mark.unit
ENDED, CUT = encode("It is 4.</think>\n\n4<|im_end|>"), encode("It is 4. Now it is")


def table(folder: Path, answers: Sequence[tuple[list[int], int | None]]) -> list[tuple[int, bool]]:
    """(tokens of the reasoning, finished) of traces with these tokens and starts of the answer."""
    todo = [Task([i], 0, problem=i) for i in range(len(answers))]
    with Store(folder) as store:
        for task, (ids, answer_start) in zip(todo, answers, strict=True):
            row = dict.fromkeys(SCHEMA) | {
                "token_ids": ids,
                "answer_start": answer_start,
                "finish_reason": "length" if answer_start is None else "stop",
            }
            store.append(task.key, row)
    frame = traces.table(todo, store, TOKENIZER, "</think>")
    return list(frame.select("reasoning_tokens", "finished").iter_rows())


def test_a_trace_is_reasoning_up_to_its_end_tag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n = len(encode("It is 4.</think>"))
    assert table(tmp_path, [(ENDED, n), (ENDED, n)]) == [(n, True), (n, True)]
    assert capsys.readouterr().err == ""


def test_traces_that_never_end_their_reasoning_are_counted_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n = len(encode("It is 4.</think>"))
    rows = table(tmp_path, [(ENDED, n), (CUT, None), (CUT, None)])
    assert rows == [(n, True), (len(CUT), False), (len(CUT), False)]
    assert capsys.readouterr().err == (
        "warning: 2 of 3 traces do not end their reasoning (</think>) within the budget\n"
    )


def test_a_model_that_never_ends_its_reasoning_is_refused(tmp_path: Path) -> None:
    message = r"none of 2 traces ends its reasoning \(</think>\)"
    with pytest.raises(UserError, match=message) as caught:
        table(tmp_path, [(CUT, None), (CUT, None)])
    assert "\n" not in str(caught.value)
