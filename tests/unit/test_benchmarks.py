"""Problem sets from the bundled task, the hub and local files: one form, mistakes in one line."""

import json
import logging
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import httpx2
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from datasets import Dataset, DatasetDict
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from pydantic import TypeAdapter

from stages.analysis.grading import is_correct
from stages.config.families import Scoring
from stages.config.schema import Benchmark, Columns, DemoPair, File, Hub
from stages.engine.hub import UnavailableError
from stages.problems.sources import Problem, checksum, lettered, load
from stages.runtime.errors import UserError
from tests.conftest import answered, raising

pytestmark = pytest.mark.unit

ROWS: list[dict[str, Any]] = [
    {"problem": "1 + 1?", "answer": 2},
    {"problem": "1 + 2?", "answer": "3"},
]
CHOICES: list[dict[str, Any]] = [
    {"problem": "Colour of grass?", "answer": "B", "choices": ["red", "green", "blue"]}
]
REVISION = "0123456789abcdef" * 2 + "01234567"


def write(folder: Path, rows: list[dict[str, Any]]) -> str:
    """The rows as a JSONL file."""
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(path: str, scoring: Scoring = "math", seed: int = 1, **settings: Any) -> pl.DataFrame:
    """The problem set of a local file."""
    return load("own", File(source="file", path=path, scoring=scoring, **settings), seed)[0]


# The bundled task.


def test_the_bundled_task_gives_the_same_problems_for_the_same_seed() -> None:
    benchmark = DemoPair(source="demo_pair", n_problems=5, scoring="math")
    first, again, other = (load("chains_long", benchmark, seed)[0] for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


def test_an_unknown_set_of_the_bundled_task_lists_the_known_ones() -> None:
    benchmark = DemoPair(source="demo_pair", n_problems=5, scoring="math")
    with pytest.raises(UserError, match=r"no problem set 'chains', it has: .*chains_long"):
        load("chains", benchmark, 1)


# Local files.


LETTERS = {"problem": "q", "answer": "key", "choices": "options"}
WRONG = {"problem": "q", "answer": "right", "wrong": ["w1", "w2"]}


@pytest.mark.parametrize(
    ("columns", "row", "same"),
    [
        ({"problem": "q", "answer": "a"}, {"q": "1 + 1?", "a": 2}, ROWS[0]),
        (
            LETTERS,
            {"q": "Colour of grass?", "key": "B", "options": ["red", "green", "blue"]},
            CHOICES[0],
        ),
        (
            WRONG,
            {"q": "Colour of grass?", "right": "green", "w1": "red", "w2": "blue"},
            {"problem": "Colour of grass?", "answer": "A", "choices": ["green", "red", "blue"]},
        ),
    ],
)
def test_columns_may_have_other_names(
    tmp_path: Path, columns: dict[str, Any], row: dict[str, Any], same: dict[str, Any]
) -> None:
    scoring: Scoring = "choice" if "choices" in same else "math"
    own = [{**row, "problem_id": 7, "other": [1]}]
    usual = read(write(tmp_path, [{**same, "problem_id": 7}]), scoring)
    found = read(write(tmp_path, own), scoring, columns=Columns.model_validate(columns))
    assert found.equals(usual)


def test_a_column_that_a_row_lacks_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, [{"q": "1 + 1?"}])
    with pytest.raises(UserError, match=r"own\.jsonl, row 1 has no column 'a', it has: q"):
        read(path, columns=Columns(problem="q", answer="a"))


def in_docs(language: str) -> list[str]:
    """The code blocks in a language of the page on own benchmarks."""
    return re.findall(
        rf"```{language}\n(.*?)```", Path("docs/benchmarks.md").read_text(), re.DOTALL
    )


def test_the_documented_benchmarks_are_valid() -> None:
    blocks = [item for block in in_docs("yaml") for item in yaml.safe_load(block).items()]
    lines = {name: line for name, line in blocks if "source" in line}
    assert list(lines) == ["mine", "amc23"]
    for line in lines.values():
        TypeAdapter(Benchmark).validate_python(line)


def test_the_documented_example_is_the_file_that_it_names() -> None:
    assert in_docs("json") == [Path("data/example.jsonl").read_text()]


def test_the_documented_example_loads() -> None:
    frame = read("data/example.jsonl")
    assert frame["problem_id"].to_list() == [0, 1]
    assert frame["gold"].to_list() == ["55", "(x-3)(x+3)"]


def test_a_parquet_file_gives_the_same_as_its_jsonl_twin(tmp_path: Path) -> None:
    rows = [{"problem": "1 + 1?", "answer": 2}, {"problem": "1 + 2?", "answer": 3}]
    pl.DataFrame(rows).write_parquet(tmp_path / "own.parquet")
    assert read(str(tmp_path / "own.parquet")).equals(read(write(tmp_path, rows)))


def test_whole_numbers_stored_with_a_fraction_are_whole_again(tmp_path: Path) -> None:
    assert read(write(tmp_path, [{"problem": "Q", "answer": 27.0}]))["gold"].to_list() == ["27"]


def test_ids_are_the_files_own_or_count_from_zero(tmp_path: Path) -> None:
    own = [{**row, "problem_id": number} for row, number in zip(ROWS, (7, 3), strict=True)]
    assert read(write(tmp_path, own))["problem_id"].to_list() == [7, 3]
    assert read(write(tmp_path, ROWS))["problem_id"].to_list() == [0, 1]


def test_n_problems_takes_the_first_ones(tmp_path: Path) -> None:
    assert read(write(tmp_path, ROWS), n_problems=1)["problem"].to_list() == ["1 + 1?"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, {"problem": "Q"}], r"own\.jsonl, row 3: there is no answer"),
        ([*ROWS, {"problem": "Q", "answer": None}], r"own\.jsonl, row 3: there is no answer"),
        ([{"problem": " ", "answer": "1"}], r"own\.jsonl, row 1: the problem is empty"),
        ([{**row, "problem_id": 7} for row in ROWS], r"row 2: problem_id 7 again"),
        ([{**ROWS[0], "problem_id": "a"}], r"row 1: problem_id 'a' is not a whole number"),
        ([{"question": "Q", "answer": 1}], r"own\.jsonl has no column 'problem', it has: question"),
        ([], r"own\.jsonl is empty"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_row(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(write(tmp_path, rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "D"}, "row 1: answer 'D' is not the letter of a choice, A to C"),
        ({"answer": "green"}, "row 1: answer 'green' is not the letter of a choice"),
        ({"choices": ["red"]}, "row 1: choices must be 2 to 26 texts"),
        ({"choices": "red, green"}, "row 1: choices must be 2 to 26 texts"),
        ({"choices": ["red", None]}, "row 1: choices must be 2 to 26 texts"),
    ],
)
def test_a_mistake_in_choices_is_named_with_its_row(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path, [CHOICES[0] | change]), scoring="choice")


def test_choices_are_needed_where_answers_are_letters(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no column 'choices', it has: problem, answer"):
        read(write(tmp_path, ROWS), scoring="choice")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("own.jsonl", None, r"own\.jsonl: no such file"),
        ("own.csv", "", r"own\.csv: a local benchmark is a \.jsonl or a \.parquet file"),
        ("own.jsonl", '{"problem": 1}\n{"prob', r"own\.jsonl, row 2: not valid JSON \(.*column"),
        ("own.jsonl", "[1]", r"own\.jsonl, row 1: not a JSON object"),
        ("own.parquet", "text", r"own\.parquet: not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_bytes('{"problem": "é", "answer": 1}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"own\.jsonl, row 1: not UTF-8 text"):
        read(str(tmp_path / "own.jsonl"))


def raw(folder: Path, *lines: str | bytes) -> str:
    """The lines as a JSONL file, as they are."""
    path = folder / "own.jsonl"
    path.write_bytes(b"".join(x if isinstance(x, bytes) else x.encode() for x in lines))
    return str(path)


def gold(path: str, **settings: Any) -> list[str]:
    """The gold answers of a local file."""
    answers: list[str] = read(path, **settings)["gold"].to_list()
    return answers


LINE = '{"problem": "Q", "answer": %s}\n'


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("7", "7"),
        ('"033"', "033"),
        ("27.0", "27"),
        ("0.50", "0.5"),
        ("0.00001", "0.00001"),
        ("1e-5", "0.00001"),
        ("1E3", "1000"),
        ("-0.0", "0"),
        ("0", "0"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("12345678901234567890", "12345678901234567890"),
        ('" x "', "x"),
    ],
)
def test_an_answer_is_the_text_or_the_number_that_is_written(
    tmp_path: Path, written: str, text: str
) -> None:
    assert gold(raw(tmp_path, LINE % written)) == [text]


def test_a_tiny_number_is_graded_by_its_value(tmp_path: Path) -> None:
    (answer,) = gold(raw(tmp_path, LINE % "0.00001"))
    assert is_correct("10^{-5}", answer, "math")
    assert not is_correct("10^{-6}", answer, "math")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("NaN", "NaN is not a finite number"),
        ("Infinity", "Infinity is not a finite number"),
        ("1e999", r"1\.0E\+999 is beyond the numbers that can be read"),
        ("1e-999", "1.0E-999 is beyond the numbers"),
        ("9" * 2000, r"1\.0E\+2000 is beyond the numbers"),
        ('["7"]', r"\['7'\] is neither text nor a number"),
        ('[{"role": "user", "content": "Q"}]', "is neither text nor a number"),
        ('{"value": 7}', "is neither text nor a number"),
        ("true", "True is neither text nor a number"),
        ('"\\ud800"', r"half a character \(a lone surrogate\)"),
    ],
)
@pytest.mark.parametrize("column", ["problem", "answer"])
def test_a_cell_that_is_no_text_is_named_with_row_and_column(
    tmp_path: Path, column: str, cell: str, message: str
) -> None:
    other = {"problem": "answer", "answer": "problem"}[column]
    line = f'{{"{other}": "Q", "{column}": {cell}}}\n'
    with pytest.raises(UserError, match=f"row 2, column '{column}': .*{message}") as caught:
        read(raw(tmp_path, LINE % "7", line))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINE % ("9" * 5000), "row 2: a number of thousands of digits"),
        ("[" * 100_000, "row 2: nested too deeply"),
        ('{"problem": ' + "[" * 100_000, "row 2: nested too deeply"),
        ('{"problem": "Q", "answer": 1, "answer": 2}', "row 2: the key 'answer' stands twice"),
        (LINE % "033", "row 2: not valid JSON"),
        ('{"problem": "Q", "ans', "row 2: not valid JSON"),
        (LINE.strip() % "7" + LINE % "7", "row 2: not valid JSON"),
        ((LINE % "7").encode("utf-16"), "row 2: not UTF-8 text"),
        ("7\n", "row 2: not a JSON object"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(
    tmp_path: Path, line: str | bytes, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(raw(tmp_path, LINE % "7", line))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n \n"])
def test_a_byte_order_mark_and_line_ends_of_windows_are_read_over(tmp_path: Path, end: str) -> None:
    path = raw(tmp_path, b"\xef\xbb\xbf", LINE.strip() % "1", end, LINE.strip() % "2")
    assert gold(path) == ["1", "2"]


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["1.0"], r"row 1: problem_id 1\.0 is not a whole number"),
        (["1", "1.0"], r"row 2: problem_id 1\.0 is not a whole number"),
        (["true"], "row 1: problem_id True is not a whole number"),
        (["1", "null"], "row 2: no problem_id, but there is such a column"),
        ([str(2**63)], f"row 1: problem_id {2**63} does not fit into 64 bits"),
        (["3", "4", "3"], "row 3: problem_id 3 again"),
    ],
)
def test_an_id_is_a_whole_number_of_64_bits_and_there_once(
    tmp_path: Path, ids: list[str], message: str
) -> None:
    lines = [f'{{"problem": "Q", "answer": 1, "problem_id": {one}}}\n' for one in ids]
    with pytest.raises(UserError, match=message):
        read(raw(tmp_path, *lines))


def test_an_id_is_given_for_all_or_for_none(tmp_path: Path) -> None:
    line = '{"problem": "Q", "answer": 1, "problem_id": 0}\n'
    with pytest.raises(UserError, match="row 1: no problem_id"):
        read(raw(tmp_path, LINE % "7", line))


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([0.00001]), "0.00001"),
        (pa.array([0.1], pa.float32()), "0.1"),
        (pa.array([2.0]), "2"),
        (pa.array([Decimal("1.50")]), "1.5"),
        (pa.array(["x"]).dictionary_encode(), "x"),
        (pa.array(["x"], pa.large_string()), "x"),
        (pa.array([2**64 - 1], pa.uint64()), str(2**64 - 1)),
    ],
)
def test_a_parquet_cell_is_the_text_or_the_number_in_it(
    tmp_path: Path, column: pa.Array, text: str
) -> None:
    path = tmp_path / "own.parquet"
    pq.write_table(pa.table({"problem": ["Q"], "answer": column}), path)
    assert gold(str(path)) == [text]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([float("nan")]),
        pa.array([float("inf")]),
        pa.array([b"7"]),
        pa.array([["7"]]),
        pa.array([True]),
        pa.array([{"value": 7}]),
        pa.array([date(2026, 1, 1)]),
    ],
    ids=lambda column: str(column.type),
)
def test_a_parquet_cell_that_is_no_text_is_named_with_row_and_column(
    tmp_path: Path, column: pa.Array
) -> None:
    path = tmp_path / "own.parquet"
    pq.write_table(pa.table({"problem": ["Q"], "answer": column}), path)
    with pytest.raises(UserError, match=r"own\.parquet, row 1, column 'answer': .* (neither|not)"):
        read(str(path))


@pytest.mark.parametrize("content", [b"", b"PAR1", b'{"problem": "Q", "answer": 7}\n'])
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.parquet").write_bytes(content)
    with pytest.raises(UserError, match=r"own\.parquet: not a Parquet file") as caught:
        read(str(tmp_path / "own.parquet"))
    assert "\n" not in str(caught.value)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.parquet"
    pl.DataFrame({"problem": ["Q"] * 99, "answer": [1] * 99}).write_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes(40) + content[60:])
    with pytest.raises(UserError, match=r"own\.parquet: not a Parquet file"):
        read(str(path))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ('["a", " a"]', "row 1: choices A and B are the same: 'a'"),
        ('["a", "b", "a "]', "row 1: choices A and C are the same: 'a'"),
        ('["1", 1.0]', "row 1: choices A and B are the same: '1'"),
        ('[["a"], ["b"]]', r"row 1, column 'choices': \['a'\] is neither text nor a number"),
        ("[NaN, 1]", "row 1, column 'choices': NaN is not a finite number"),
        ('{"A": "x", "B": "y"}', "row 1: choices must be 2 to 26 texts"),
    ],
)
def test_options_are_texts_or_numbers_and_no_two_are_the_same(
    tmp_path: Path, choices: str, message: str
) -> None:
    line = f'{{"problem": "Q", "answer": "A", "choices": {choices}}}\n'
    with pytest.raises(UserError, match=message):
        read(raw(tmp_path, line), scoring="choice")


def test_options_are_kept_as_they_are_given(tmp_path: Path) -> None:
    rows = [{"problem": "Q", "answer": "A", "choices": ["[A] x", "[a] X", 1e-5]}]
    frame = load("own", choice_file(write(tmp_path, rows)), 1, shuffle=False)[0]
    assert frame["problem"].to_list() == ["Q\n\nA) [A] x\nB) [a] X\nC) 0.00001"]


def choice_file(path: str) -> File:
    """A local file of multiple-choice problems."""
    return File(source="file", path=path, scoring="choice")


def test_a_line_separator_inside_a_text_does_not_end_the_row(tmp_path: Path) -> None:
    text = '{"problem": "one\u2028two", "answer": 1}\n'
    (tmp_path / "own.jsonl").write_text(text, encoding="utf-8")
    assert read(str(tmp_path / "own.jsonl"))["problem"].to_list() == ["one\u2028two"]


def test_fewer_problems_than_asked_for_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"own\.jsonl has 2 problems, n_problems is 3"):
        read(write(tmp_path, ROWS), n_problems=3)


# Multiple choice.

FOUR = Problem(5, "Which?", "A", ("right", "wrong 1", "wrong 2", "wrong 3"))


def test_options_are_lettered_below_the_problem() -> None:
    text = "Which?\n\nA) right\nB) wrong 1\nC) wrong 2\nD) wrong 3"
    assert lettered(FOUR, shuffle=False, seed=1) == (text, "A")


def test_shuffled_the_gold_letter_goes_with_the_right_option() -> None:
    for seed in range(20):
        text, gold = lettered(FOUR, shuffle=True, seed=seed)
        assert f"\n{gold}) right" in text


def test_the_order_is_the_seeds_and_the_problems() -> None:
    orders = [lettered(FOUR, shuffle=True, seed=seed) for seed in (1, 1)]
    assert orders[0] == orders[1]
    golds = {lettered(FOUR, shuffle=True, seed=seed)[1] for seed in range(40)}
    assert golds == set("ABCD")


def test_two_problems_are_not_shuffled_alike() -> None:
    others = (Problem(i, FOUR.text, FOUR.answer, FOUR.choices) for i in range(40))
    assert {lettered(other, shuffle=True, seed=1)[1] for other in others} == set("ABCD")


# The checksum.


def test_the_checksum_is_of_all_problems_whatever_the_seed_and_how_many_are_taken(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, CHOICES * 3)
    file = File(source="file", path=path, scoring="choice")
    few = file.model_copy(update={"n_problems": 1})
    assert load("own", file, seed=1)[1]["sha256"] == load("own", few, seed=2)[1]["sha256"]


@pytest.mark.parametrize(
    "other", [("Q", "2", ()), ("R", "1", ()), ("Q", "1", ("a", "b")), ("Q", "1", ("b", "a"))]
)
def test_the_checksum_changes_with_problem_answer_and_options(
    other: tuple[str, str, tuple[str, ...]],
) -> None:
    assert checksum([Problem(0, "Q", "1")]) != checksum([Problem(0, *other)])


def test_a_checksum_that_differs_is_an_error_that_gives_the_one_found(tmp_path: Path) -> None:
    path = write(tmp_path, ROWS)
    found = load("own", File(source="file", path=path, scoring="math"), 1)[1]["sha256"]
    with pytest.raises(UserError, match=f"has sha256 {found}, params.yaml says {'0' * 64}"):
        read(path, sha256="0" * 64)
    assert len(read(path, sha256=found)) == 2


def test_the_checksum_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        read(write(tmp_path, ROWS))
    assert "2 problems, sha256 " in caplog.text


# The hub.

AIME = Hub(
    source="hub",
    path="Owner/aime",
    revision=REVISION,
    split="train",
    columns=Columns(problem="question", answer="answer"),
    scoring="math",
)
GPQA = AIME.model_copy(
    update={
        "columns": Columns(problem="Question", answer="Right", wrong=["Wrong 1", "Wrong 2"]),
        "scoring": "choice",
    }
)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that has the revision, open to all."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(gated=False))


def hub_holds(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]]) -> None:
    """Loading gives these rows."""
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: Dataset.from_list(rows))


def test_a_data_set_is_loaded_at_its_revision(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load_dataset(*args: Any, **settings: Any) -> Dataset:
        asked.append((args, settings))
        return Dataset.from_list([{"question": "1 + 1?", "answer": 2, "url": ""}])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    frame, origin = load("aime", AIME, 1)
    assert frame.rows() == [(0, "1 + 1?", "2")]
    assert asked == [(("Owner/aime", None), {"split": "train", "revision": REVISION})]
    assert (origin["path"], origin["revision"]) == ("Owner/aime", REVISION)


def test_as_released_the_right_option_is_always_a(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"Question": "Which?", "Right": "yes", "Wrong 1": "no", "Wrong 2": "never"}
    hub_holds(monkeypatch, [row] * 3)
    frame, _ = load("gpqa", GPQA, 1, shuffle=False)
    assert frame["gold"].to_list() == ["A"] * 3
    assert frame["problem"][0] == "Which?\n\nA) yes\nB) no\nC) never"


def test_a_column_that_is_not_there_lists_those_that_are(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_holds(monkeypatch, [{"problem": "Q", "answer": "1"}])
    with pytest.raises(
        UserError, match="Owner/aime on the hub has no column 'question', it has: problem, answer"
    ):
        load("aime", AIME, 1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (answered(RevisionNotFoundError, 404), f"Owner/aime on the hub has no revision {REVISION}"),
        (answered(RepositoryNotFoundError, 404), "datasets/Owner/aime: no such data set"),
        (answered(HfHubHTTPError, 503), "datasets/Owner/aime: 503 Error at length"),
        (httpx2.ConnectError("no route"), r"the hub cannot be reached \(no route\)"),
        (TimeoutError(), r"the hub cannot be reached \(TimeoutError\)"),
    ],
)
def test_a_hub_that_does_not_give_the_data_set_is_one_line(
    online: None, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(HfApi, "dataset_info", raising(error))
    with pytest.raises(UserError, match=message) as caught:
        load("aime", AIME, 1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConnectionError("Couldn't reach"), r"the hub cannot be reached \(Couldn't reach\)"),
        (ValueError("Unknown split\nShould be one of"), "Unknown split Should be one of"),
        (datasets.exceptions.DatasetGenerationError("broken"), "on the hub: broken"),
        (datasets.exceptions.DatasetNotFoundError("no files"), "on the hub: no files"),
    ],
)
def test_a_failed_download_is_one_line(
    online: None, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    monkeypatch.setattr(datasets, "load_dataset", raising(error))
    with pytest.raises(UserError, match=message) as caught:
        load("aime", AIME, 1)
    assert "\n" not in str(caught.value)


def test_without_the_hub_the_ways_to_do_without_it_are_named(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HfApi, "dataset_info", raising(httpx2.ConnectError("no route")))
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE=1, or .* a local file \(source: file\)"):
        load("aime", AIME, 1)


def test_a_gated_data_set_is_unavailable_and_says_where_to_ask_and_what_to_set(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(gated="auto"))
    monkeypatch.setattr(HfApi, "auth_check", raising(answered(GatedRepoError, 403)))
    page = "https://huggingface.co/datasets/Owner/aime"
    with pytest.raises(UnavailableError, match=f"accept its terms at {page} and set HF_TOKEN"):
        load("aime", AIME, 1)


def test_with_access_a_gated_data_set_is_loaded(
    online: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HfApi, "dataset_info", lambda *_, **__: SimpleNamespace(gated="auto"))
    monkeypatch.setattr(HfApi, "auth_check", lambda *_, **__: None)
    hub_holds(monkeypatch, [{"question": "Q", "answer": "1"}])
    assert len(load("aime", AIME, 1)[0]) == 1


def test_offline_the_cache_is_read_and_the_hub_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(HfApi, "dataset_info", raising(AssertionError("asked the hub")))
    hub_holds(monkeypatch, [{"question": "Q", "answer": "1"}])
    assert len(load("aime", AIME, 1)[0]) == 1


def cached(revision: str, folder: Path) -> Dataset:
    """A data set as the cache holds it, in a folder named after its revision."""
    path = folder / revision
    DatasetDict(test=Dataset.from_list([{"question": "Q", "answer": "1"}])).save_to_disk(str(path))
    return DatasetDict.load_from_disk(str(path))["test"]


def test_another_revision_in_the_cache_is_refused(
    online: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = cached("f" * 40, tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: held)
    with pytest.raises(UserError, match=f"the cache holds another revision than {REVISION}"):
        load("aime", AIME, 1)


def test_the_wanted_revision_in_the_cache_is_taken(
    online: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = cached(REVISION, tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: held)
    assert len(load("aime", AIME, 1)[0]) == 1
