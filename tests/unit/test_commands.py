"""What of a rule decides its result: an edit to that alone is one to what the rule makes."""

import re
from pathlib import Path

import pytest

from stages.tracking import commands
from stages.tracking.commands import command_of
from tests.unit.conftest import forget

pytestmark = pytest.mark.unit

RULES = """
def gaps(pair):
    return []


rule one:
    input:
        # Models that do not fit together are found first.
        "a.json",
        more=lambda w: gaps(w.pair),
    output:
        "b.parquet",
    log:
        "b.log",
    benchmark:
        "b.tsv"
    container:
        "engine.sif"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        recipe="one.yaml",
    message:
        "One"
    shell:
        "python -m stages.one --in {input[0]} --out {output}"


rule two:
    output:
        "c.csv",
    shell:
        "python -m stages.two # not a comment"
"""


@pytest.fixture
def rules(own_folder: Path) -> Path:
    commands.RULES.mkdir(parents=True)
    file = commands.RULES / "all.smk"
    file.write_text(RULES)
    return file


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('        "a.json",', '        "d.json",'),
        ("gaps(w.pair)", "gaps(w.set)"),
        ('"b.parquet"', 'directory("b")'),
        ('recipe="one.yaml"', 'recipe="two.yaml"'),
        ("--in {input[0]}", "--in {input}"),
        ("stages.one", "stages.two"),
    ],
)
def test_an_edit_to_what_decides_a_rules_result_is_one_to_its_command(
    rules: Path, old: str, new: str
) -> None:
    before = {name: command_of(name) for name in ("one", "two")}
    assert old in RULES
    rules.write_text(RULES.replace(old, new))
    forget()
    assert command_of("one") != before["one"]
    assert command_of("two") == before["two"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("threads: 1", "threads: 8"),
        ("mem_mb=2000", "mem_mb=8000"),
        ('"One"', '"The first"'),
        ('"b.log"', '"logs/b.log"'),
        ('"b.tsv"', '"logs/b.tsv"'),
        ('"engine.sif"', '"other.sif"'),
        ("# Models that do not fit together are found first.", "# Models first."),
        ("        # Models that do not fit together are found first.\n", ""),
        ('"b.parquet",', '"b.parquet",  # a table'),
        ("\n\nrule two", "\n\n# The second.\n\nrule two"),
        ('    log:\n        "b.log",\n', ""),
    ],
)
def test_how_a_rule_runs_and_comments_are_not_in_its_command(
    rules: Path, old: str, new: str
) -> None:
    before = command_of("one")
    assert old in RULES
    rules.write_text(RULES.replace(old, new))
    forget()
    assert command_of("one") == before != ""


def test_a_mark_of_a_comment_inside_a_text_is_none(rules: Path) -> None:
    before = command_of("two")
    rules.write_text(RULES.replace("# not a comment", "# no comment"))
    forget()
    assert command_of("two") != before


def test_rules_lie_in_several_files(rules: Path) -> None:
    both = command_of("one"), command_of("two")
    first, second = RULES.split("rule two:")
    rules.write_text(first)
    rules.with_name("more.smk").write_text(f"rule two:{second}")
    forget()
    assert (command_of("one"), command_of("two")) == both


def test_what_is_no_rule_has_no_command(rules: Path) -> None:
    assert command_of("three") == ""


@pytest.mark.parametrize("rule", sorted(commands.commands()))
def test_everything_that_enters_a_rules_command_is_quoted(rule: str) -> None:
    (line,) = re.findall(r'shell:\n"(.*)"', command_of(rule)) or [""]
    filled_in = re.findall(r"\{(.*?)\}", line)
    assert [one for one in filled_in if not one.endswith(":q")] == []


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("    return []", "    return [pair]", True),
        ("    return []", '    """Return none."""\n    return []  # none', False),
        ("def gaps", "def others(pair):\n    return 1\n\n\ndef gaps", False),
    ],
)
def test_an_edit_to_a_function_is_seen_by_the_rules_that_call_it(
    rules: Path, old: str, new: str, seen: bool
) -> None:
    before = command_of("one"), command_of("two")
    rules.write_text(rules.read_text().replace(old, new))
    forget()
    assert (command_of("one") != before[0]) == seen
    assert command_of("two") == before[1]
