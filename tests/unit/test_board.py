"""What a run shows: a line per stage with its place among all, and nothing of the tools' own."""

import io
import json
import re
import sys
from pathlib import Path

import pytest

from stages.config.params import load
from stages.runtime import progress, run
from stages.runtime.board import CLEAR, LINE_EVERY_S, Board
from stages.runtime.progress import LISTENED_TO, MARK, Progress, tell

pytestmark = pytest.mark.unit

NOISE = [
    "> snakemake --cores all --nolock", "Assuming unrestricted shared filesystem usage.",
    "Select jobs to execute...", "Updating lock file 'dvc.lock'", "Use `dvc push` to send", "",
]  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(**what: object) -> str:
    return f"{MARK}{json.dumps(what)}\n"


def answers(job: str, done: int, total: int, tokens: int = 0, begun: float = 0.0) -> str:
    """What a job tells ten seconds after it began."""
    now = begun + 10
    return event(job=job, done=done, total=total, tokens=tokens, begun=begun, now=now)


def shown(*lines: str, out: io.StringIO | None = None, failed: bool = False) -> str:
    board = Board(39, out or io.StringIO())
    for line in lines:
        board.read(line)
    board.end(failed)
    return board.out.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_stage_is_one_line_with_its_place_answers_time_and_speed() -> None:
    lines = ["Stage 'recipes' didn't change, skipping\n", "Running stage 'infer@demo-large':\n"]
    lines += [answers("large", 0, 120), answers("large", 120, 120, tokens=2096)]
    assert shown(*lines) == "2/39 infer demo large: 120 answers, 0 s, 210 tokens/s\n"


def test_the_answers_of_jobs_side_by_side_are_added() -> None:
    lines = ["Running stage 'together@demo':\n", answers("large", 30, 40, tokens=100)]
    lines += [answers("draft", 0, 20), answers("draft", 20, 20, tokens=300, begun=6.0)]
    assert shown(*lines) == "1/39 together demo: 50 of 60 answers, 0 s, 25 tokens/s\n"


def test_a_stage_of_a_pair_is_called_after_the_pair() -> None:
    assert shown("Running stage 'cues@demo':\n") == "1/39 cues demo: 0 s\n"


def test_what_the_tools_print_is_not_shown() -> None:
    assert shown("Running stage 'tables':\n", *NOISE) == "1/39 tables: 0 s\n"


def test_errors_and_warnings_of_stages_are_shown_as_they_are() -> None:
    found = shown("Running stage 'tables':\n", "warning: slow\n", "error: no disk\n", failed=True)
    assert found == "warning: slow\nerror: no disk\n1/39 tables: failed after 0 s\n"


def test_a_log_says_when_engines_are_ready() -> None:
    lines = ["Running stage 'traces@demo':\n", event(starting="large")]
    assert shown(*lines, event(ready="large", seconds=34.2)).splitlines() == [
        "1/39 traces demo: engines large ready in 34 s",
        "1/39 traces demo: 0 s",
    ]


def test_a_terminal_shows_engines_that_start_and_a_bar_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out = Terminal()
    begun = ["Running stage 'infer@demo-large':\n", event(starting="large, small")]
    parts = shown(*begun, answers("infer", 60, 120, tokens=50), out=out).split(CLEAR)
    assert parts[2] == "1/39 infer demo large: starting large, small, 0 s"
    assert parts[3] == (
        "1/39 infer demo large: [==========          ] 60 of 120 answers, 0 s, 5 tokens/s"
    )
    assert "".join(parts).count("\n") == 1


def test_a_long_stage_gets_a_line_now_and_then_in_a_log() -> None:
    board = Board(39, io.StringIO())
    board.read("Running stage 'infer@demo-large':\n")
    board.refresh()
    assert board.out.getvalue() == ""  # type: ignore[attr-defined]
    board.shown -= LINE_EVERY_S + 1
    board.refresh()
    assert board.out.getvalue() == "1/39 infer demo large: 0 s\n"  # type: ignore[attr-defined]


def test_jobs_tell_only_who_listens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(LISTENED_TO, raising=False)
    tell(starting="large")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(LISTENED_TO, "1")
    monkeypatch.setattr(progress, "TELL_EVERY_S", 0.0)
    with Progress("infer", 2) as under_way:
        under_way.step(7)
    lines = re.findall(rf"{MARK}(.*)", capsys.readouterr().err)
    told = [json.loads(line) for line in lines]
    assert [(one["done"], one["total"]) for one in told] == [(0, 2), (1, 2), (1, 2)]


def test_the_stages_of_a_run_are_counted_as_dvc_goes_through_them() -> None:
    params = load(Path("params.yaml"))
    answers = len(params.methods) + len(params.ablation.methods)
    # recipes, tables, report; and of the pair: prepare, traces, margins, cues, cue_set, together,
    # ablation, score, summary, latency, speed, answer_stage, replay, figures, excerpts
    assert run.n_stages(params) == 3 + 15 + answers


def test_a_failure_that_no_stage_explained_shows_the_logs_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "LOG", tmp_path / "run.log")
    run.LOG.write_text("".join(f"line {i}\n" for i in range(100)))
    lines = list(run.failure(Board(3, io.StringIO()), "5 s"))
    assert lines[0] == "line 85"
    assert lines[-1].startswith("stopped after 5 s")


def test_a_run_that_fails_ends_with_dvcs_exit_code_and_keeps_all_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["Running stage 'traces@demo':", "some noise", "error: no room on the disk"]
    program = f"import sys; print({chr(10).join(said)!r}); sys.exit(3)"
    monkeypatch.setattr(run, "COMMAND", (sys.executable, "-c", program))
    monkeypatch.setattr(run, "LOG", tmp_path / "run.log")
    monkeypatch.setattr("sys.argv", ["relaygen run"])
    with pytest.raises(SystemExit, match="3"):
        run.main()
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "error: no room on the disk",
        f"1/{run.n_stages(load(Path('params.yaml')))} traces demo: failed after 0 s",
    ]
    assert printed.err.startswith("stopped after")
    assert run.LOG.read_text().splitlines() == said
