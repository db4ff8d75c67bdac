"""Replaying traces on the bundled tokenizer: counts, files and what a user sees."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
import yaml

from stages.analysis import trace_files
from stages.analysis.cue_sets import cue_set, words_in
from stages.analysis.replay import (
    Counts,
    Replayed,
    Speeds,
    count,
    in_words,
    predicted_speedup,
    read_speeds,
)
from stages.methods.base import Answer, Marks, Segment
from stages.methods.matching import CueSet
from stages.methods.offline import setting
from stages.runtime.errors import UserError
from tests.conftest import TOKENIZER, encode

pytestmark = pytest.mark.unit

RULES = setting(TOKENIZER, CueSet(("Thus", "Now,", "now", "So ")), min_tokens=5, marks=Marks())
THINK_END = Marks().think_end
TRACE = f"<think>\nWe add 3 and 4. Thus it is 7. Then we stop.{THINK_END}\n\n7<|im_end|>"


def answer(large: int, small: int) -> Answer:
    """L, S and L reason, S answers with one token."""
    return Answer(
        segments=[
            Segment("large", "reasoning", large, None, 0.0),
            Segment("small", "reasoning", small - 1, None, 0.0),
            Segment("large", "reasoning", 0, None, 0.0),
            Segment("small", "answer", 1, None, 0.0),
        ]
    )


def test_utilization_is_a_mean_over_problems_of_the_mean_over_repeats() -> None:
    counts = Counts()
    for problem, large, small in (("a", 80, 20), ("a", 60, 40), ("b", 30, 70)):
        counts.add(problem, answer(large, small))
    values = counts.values()
    assert (values["n_traces"], values["n_problems"]) == (3, 2)
    assert values["large_utilization"] == 50
    assert values["large_utilization_sd"] == pytest.approx(800**0.5)


def test_hand_offs_and_segments_of_the_reasoning_are_counted() -> None:
    counts = Counts()
    counts.add(1, answer(80, 20))
    values = counts.values()
    assert (values["handoffs"], values["handoffs_per_1000_tokens"]) == (3, 30)
    assert (values["large_segment_tokens"], values["small_segment_tokens"]) == (40, 19)
    assert values["answer_tokens"] == 1
    assert values["large_utilization_sd"] is None


def test_the_predicted_speedup_counts_both_models_and_the_hand_offs() -> None:
    values = cast("Replayed", {"large_tokens": 600, "small_tokens": 400, "handoffs": 20})
    # 1000 / 20 = 50 s alone; 600 / 20 + 400 / 100 + 20 * 0.3 = 40 s relayed.
    assert predicted_speedup(values, Speeds(20, 100, 300)) == 1.25


def test_speeds_belong_together_and_are_positive() -> None:
    assert read_speeds(None, None, None) is None
    with pytest.raises(UserError, match="give all three"):
        read_speeds(20, 100, None)
    with pytest.raises(UserError, match="above 0"):
        read_speeds(0, 100, 1)


def write(path: Path, *rows: Any) -> Path:
    """A JSONL file, a line per row."""
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return path


def test_lines_without_a_problem_are_problems_of_their_own(tmp_path: Path) -> None:
    rows = [{"text": TRACE}, {"text": TRACE}, *[{"problem_id": 7, "text": TRACE}] * 2]
    values = count(
        trace_files.read(write(tmp_path / "t.jsonl", *rows), TOKENIZER), TOKENIZER, RULES
    ).values()
    assert (values["n_traces"], values["n_problems"]) == (4, 3)


def problems(path: Path) -> list[str | int]:
    """The problems of the traces in a file."""
    return [trace.problem for trace in trace_files.read(path, TOKENIZER)]


def test_one_is_the_same_problem_whether_it_is_written_with_a_fraction(tmp_path: Path) -> None:
    lines = write(tmp_path / "t.jsonl", *({"problem_id": n, "text": "Thus"} for n in (1, 1.0, "1")))
    assert problems(lines) == ["1"] * 3
    pl.DataFrame({"problem_id": [1.0, None], "text": ["Thus"] * 2}).write_parquet(
        tmp_path / "t.parquet"
    )
    assert problems(tmp_path / "t.parquet") == ["1", 2]


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "Thus"}\r\n')
    assert problems(tmp_path / "t.jsonl") == [1]


@pytest.mark.parametrize("name", ["text", "answer_text"])
@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_text_and_token_ids_that_disagree_are_of_another_tokenizer(
    tmp_path: Path, name: str, kind: str
) -> None:
    path, ids = tmp_path / f"t.{kind}", encode(TRACE)
    rows = [{name: TRACE, "token_ids": ids}, {name: TRACE, "token_ids": ids[::-1]}]
    frame = pl.DataFrame(rows)
    frame.write_parquet(path) if kind == "parquet" else frame.write_ndjson(path)
    with pytest.raises(UserError, match=f"[wne] 2: '{name}' is not what its token_ids say"):
        list(trace_files.read(path, TOKENIZER))


@pytest.mark.parametrize("text", [TRACE, "7", f"  {TRACE}\n", "", None])
def test_text_may_be_a_part_of_the_trace(tmp_path: Path, text: str | None) -> None:
    pl.DataFrame(
        {"text": [text], "token_ids": [encode(TRACE)]}, schema_overrides={"text": pl.String}
    ).write_parquet(tmp_path / "t.parquet")
    assert len(list(trace_files.read(tmp_path / "t.parquet", TOKENIZER))) == 1


@pytest.mark.parametrize("column", ["text", "token_ids"])
def test_parquet_and_jsonl_give_the_same_values(tmp_path: Path, column: str) -> None:
    lines = write(tmp_path / "t.jsonl", *[{"problem_id": n % 9, "text": TRACE} for n in range(40)])
    given = TRACE if column == "text" else encode(TRACE)
    table = pl.DataFrame({"problem_id": [n % 9 for n in range(40)], column: [given] * 40})
    table.write_parquet(tmp_path / "t.parquet")
    counts = [
        count(trace_files.read(path, TOKENIZER), TOKENIZER, RULES)
        for path in (lines, tmp_path / "t.parquet")
    ]
    assert counts[0] == counts[1]


def test_cue_sets_have_their_own_matching(tmp_path: Path) -> None:
    reference = yaml.safe_load(Path("workflow/reference/cues.yaml").read_text())
    assert cue_set("qwen3") == CueSet(tuple(reference["published"]["qwen3"]), "substring")
    assert cue_set("all") == CueSet(tuple(reference["candidates"]), "boundary")
    csv = tmp_path / "cues.csv"
    pl.DataFrame({"cue": ["So ", "Oh"], "selected": [True, False]}).write_csv(csv)
    assert cue_set(str(csv)) == CueSet(("So ",), "boundary")


def test_a_cue_file_is_a_list_or_a_methods_cue_set(tmp_path: Path) -> None:
    file = tmp_path / "cues.yaml"
    file.write_text('["Thus", "So "]')
    assert cue_set(str(file)) == CueSet(("Thus", "So "), "boundary")
    file.write_text("cues: [Thus]\nmatching: substring\n")
    assert cue_set(str(file)) == CueSet(("Thus",), "substring")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("kind: {a", "not valid YAML"),
        ("cues: [Thus]", "neither a list of cues nor a method's cue set"),
        ("cues: [Thus]\nmatching: words", "matching is 'words', it must be boundary or substring"),
        ("cues: Thus\nmatching: boundary", "cues are 'Thus', not a list of texts"),
        ("[]", "no cues in it"),
        ("[1]", "the cue 1 is not a text of a word or more"),
        ("[' ']", "the cue ' ' is not a text of a word or more"),
        ('["\\ud800"]', "is not a text of a word or more"),
        ("[" * 5000, "nested too deeply"),
        ("[2026-99-99]", "not valid YAML"),
    ],
)
def test_a_bad_cue_file_is_one_line(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "cues.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        cue_set(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_before_cues_is_read_over(tmp_path: Path, mark: str) -> None:
    for name, content in (("c.yaml", "[Thus]\n"), ("c.csv", "cue,selected\nThus,true\n")):
        (tmp_path / name).write_text(mark + content, encoding="utf-8")
        assert cue_set(str(tmp_path / name)).cues == ("Thus",)


def test_whether_a_cue_is_selected_is_true_or_false(tmp_path: Path) -> None:
    (tmp_path / "cues.csv").write_text("cue,selected\nThus,yes\n")
    with pytest.raises(UserError, match=r"columns cue and selected \(true or false\)"):
        cue_set(str(tmp_path / "cues.csv"))


def test_a_method_without_cues_has_none_and_no_matching(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text("cues: []\nmatching: null\n")
    assert words_in(tmp_path / "small.yaml") == []


def test_an_unknown_cue_set_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="or one of all, qwen3, r1"):
        cue_set("llama")


@pytest.mark.parametrize("name", ["cues.csv", "cues.yaml"])
def test_a_missing_or_wrong_cue_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"{name}: no such file"):
        cue_set(str(tmp_path / name))
    (tmp_path / name).write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=f"{name}: n(ot|either) "):
        cue_set(str(tmp_path / name))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "t.jsonl: holds no trace"),
        (b"\n\n", "t.jsonl: holds no trace"),
        (b'{"text": "Thus"}\n\n{"answer": "7"}\n', "line 3: no key 'text'"),
        (b"[1]\n", "line 1: not a JSON object"),
        (b'{"text": "Thus"}\n{"text"\n', "line 2: not valid JSON"),
        (b"\xff\xfe\n", "line 1: not UTF-8 text"),
        (b'{"text": "Thus", "text": "So"}\n', "line 1: the key 'text' stands twice"),
        (b'{"text": ' + b"9" * 5000 + b"}\n", "line 1: a number of thousands of digits"),
        (b'{"text": ' + b"[" * 100_000, "line 1: nested too deeply"),
        (
            b'{"text": "Thus", "problem_id": 1.5}\n',
            r"line 1: problem_id 1\.5 is not a whole number",
        ),
        (b'{"text": "Thus", "problem_id": NaN}\n', "line 1: problem_id nan is not a whole number"),
        (b'{"text": "Thus", "problem_id": [1]}\n', r"line 1: problem_id \[1\] is not a whole"),
        (b'{"text": "Thus", "problem_id": true}\n', "line 1: problem_id True is not a whole"),
        (b'{"text": "Thus", "problem_id": "\\ud800"}\n', "line 1: problem_id .* is not a whole"),
        (b'{"text": "Thus", "problem_id": 9223372036854775808}\n', "line 1: .* 64 bits"),
        (b'{"token_ids": 5}\n', "line 1: token_ids 5 are not a list"),
        (b'{"token_ids": [5, 6.0]}\n', r"line 1: token 6\.0 is not a whole number"),
        (b'{"token_ids": [99999999999]}\n', "line 1: token 99999999999 is not in the tokenizer"),
        (b'{"text": 7}\n', "line 1: 'text' is not a text"),
        (b'{"text": "\\ud83d"}\n', "line 1: 'text' is not a text"),
        (b'{"text": ""}\n', "line 1: an empty trace"),
        (b'{"text": "<|im_end|>"}\n', "line 1: an empty trace"),
    ],
)
def test_a_bad_jsonl_file_is_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        count(trace_files.read(file, TOKENIZER), TOKENIZER, RULES)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"problem_id": [1]}, "t.parquet: no column 'token_ids' or 'text'"),
        ({"text": pl.Series([], dtype=pl.String)}, "t.parquet: holds no trace"),
        ({"text": ["Thus", None]}, "row 2: 'text' is not a text"),
        ({"token_ids": [[5], [5, 9999]]}, "row 2: token 9999 is not in the tokenizer"),
        ({"token_ids": [[5], None]}, "row 2: an empty trace"),
        ({"token_ids": [[5.0]]}, r"row 1: token 5\.0 is not a whole number"),
        ({"token_ids": [[5, None]]}, "row 1: token None is not a whole number"),
        ({"token_ids": [[-1]]}, "row 1: token -1 is not in the tokenizer"),
        ({"token_ids": [["a"]]}, "row 1: token 'a' is not a whole number"),
        ({"token_ids": [5]}, "row 1: token_ids 5 are not a list"),
        ({"text": [b"Thus"]}, "row 1: 'text' is not a text"),
        ({"text": ["Thus"], "problem_id": [1.5]}, r"row 1: problem_id 1\.5 is not a whole number"),
    ],
)
def test_a_bad_parquet_file_is_one_line(
    tmp_path: Path, table: dict[str, Any], message: str
) -> None:
    pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match=message) as caught:
        count(trace_files.read(tmp_path / "t.parquet", TOKENIZER), TOKENIZER, RULES)
    assert "\n" not in str(caught.value)


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("PAR")
    with pytest.raises(UserError, match=r"t\.parquet: not a Parquet file"):
        list(trace_files.read(tmp_path / "t.parquet", TOKENIZER))


def call(traces: Path, *more: str, tokenizer: str = "demo_pair/large", cues: str = "qwen3") -> Any:
    command = ["--traces", str(traces), "--tokenizer", tokenizer, "--cues", cues, *more]
    return subprocess.run(
        [sys.executable, "-m", "stages.replay", *command],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_prints_one_object(tmp_path: Path) -> None:
    traces = write(tmp_path / "t.jsonl", {"text": TRACE, "prompt": "Q"})
    rates = ("--large-tps", "20", "--small-tps", "100", "--handoff-ms", "30")
    result = call(traces, *rates, "--json")
    assert (result.returncode, result.stderr) == (0, "")
    values = json.loads(result.stdout)
    assert values["large_tokens"] + values["small_tokens"] == len(encode(TRACE))
    assert values["predicted_speedup"] > 0
    call(traces, *rates, "--out", str(tmp_path / "replay.json"))
    assert json.loads((tmp_path / "replay.json").read_text()) == values


def test_the_report_in_words() -> None:
    counts = Counts()
    counts.add(1, answer(80, 20))
    assert in_words({**counts.values(), "predicted_speedup": 1.25}).splitlines() == [
        "1 traces of 1 problems, 100 tokens",
        "large-model utilization  80.00 % (mean over problems; SD -)",
        "hand-offs                30.0 per 1,000 tokens",
        "segments, mean length    40.0 tokens by the large model, 19.0 by the small one",
        "answer stage             1 tokens, by the small model",
        "predicted speedup        1.25",
    ]


@pytest.mark.parametrize(
    ("traces", "tokenizer", "message"),
    [
        ("nowhere.jsonl", "demo_pair/large", "nowhere.jsonl: no such file"),
        ("params.yaml", "demo_pair/large", "give one that ends in .parquet or .jsonl"),
        ("nowhere.jsonl", "demo_pair", "demo_pair/tokenizer.json: no such file"),
        ("nowhere.jsonl", "params.yaml", "params.yaml: not a tokenizer.json"),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(traces: str, tokenizer: str, message: str) -> None:
    result = call(Path(traces), tokenizer=tokenizer)
    assert result.returncode == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
