"""What methods that share engines are asked for before each has its stage."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from stages import together
from stages.generation import asking, benchmarks

pytestmark = pytest.mark.unit


def asked(monkeypatch: pytest.MonkeyPatch, engines: str, *due: str) -> Sequence[object]:
    """The methods that are asked on some engines, by the stages of dvc.yaml that are due."""
    found: list[Sequence[object]] = []
    monkeypatch.setattr(together, "due", lambda _: {name: [] for name in due})
    monkeypatch.setattr(together, "wanted", lambda _, method: method)
    monkeypatch.setattr(asking, "ask", lambda wanted, *_: found.append(wanted))
    given = ["--pair", "demo", "--engines", engines, "--problems", "p", "--cue-sets", "c"]
    monkeypatch.setattr(sys, "argv", ["together", *given])
    together.main()
    return found[0]


def test_only_what_is_not_up_to_date_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    due = ("infer@demo-large", "infer@demo-eagle3", "ablation_infer@demo-substring", "score@demo")
    assert asked(monkeypatch, "large+small", *due) == ["large", "substring"]
    assert asked(monkeypatch, "eagle3+small", *due) == ["eagle3"]
    assert asked(monkeypatch, "draft", *due) == []


def test_a_run_without_anything_to_ask_starts_no_engine(tmp_path: Path) -> None:
    asking.ask([], tmp_path / "logs", "together")
    assert not (tmp_path / "logs").exists()


def test_a_job_among_several_names_its_part() -> None:
    assert benchmarks.label("together (demo, draft)", 1, 0) == "together (demo, draft)"
    assert benchmarks.label("infer (demo, large)", 8, 2) == "infer (demo, large), part 3 of 8"
