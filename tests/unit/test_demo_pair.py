"""The bundled pair's task: disjoint splits, and cues that do what they promise."""

import json
import re
from pathlib import Path
from random import Random

import pytest
import torch
import yaml
from tokenizers import Tokenizer

from demo_pair import drills, router, task, train
from stages.engine import router_file
from stages.methods.matching import occurrences

pytestmark = pytest.mark.unit

EVALUATED = [name for name in task.SPLITS if not name.startswith("train")]


def test_no_two_splits_share_a_bucket_except_the_two_for_training() -> None:
    buckets = [set(task.SPLITS[name].buckets) for name in EVALUATED]
    buckets.append(set(task.SPLITS["train"].buckets))
    assert sum(map(len, buckets)) == len(set().union(*buckets))


@pytest.mark.parametrize("name", EVALUATED)
def test_training_never_draws_an_evaluation_problem(name: str) -> None:
    random, train = Random(0), task.SPLITS["train"]
    evaluated = {(p.start, p.steps) for p in task.problems(name, 500, seed=20260)}
    drawn = [task.draw(random, train) for _ in range(5000)]
    assert not evaluated & {(p.start, p.steps) for p in drawn}


def test_problems_are_different_and_repeat_with_the_seed() -> None:
    first = list(task.problems("chains_long", 200, seed=1))
    assert first == list(task.problems("chains_long", 200, seed=1))
    assert len({(p.start, p.steps) for p in first}) == 200


@pytest.mark.parametrize("name", task.SPLITS)
def test_the_answer_is_right_and_in_the_box(name: str) -> None:
    for problem in task.problems(name, 50, seed=3):
        value = problem.start
        for operator, operand in problem.steps:
            value = eval(f"{value} {operator} {operand}") % 100
        text = task.completion(Random(0), problem)
        assert f"\\boxed{{{problem.answer}}}" in text
        if problem.options:
            assert problem.options["ABCD".index(problem.answer)] == value
        else:
            assert int(problem.answer) == value


def test_hard_sentences_hold_a_result_that_was_not_in_the_text() -> None:
    hard = re.compile("|".join(rf"\b{re.escape(cue)} " for cue in task.HARD_CUES))
    new, all_ = 0, 0
    for problem in task.problems("chains_calibration", 100, seed=5):
        text = task.completion(Random(problem.start), problem)
        for match in hard.finditer(text):
            sentence = text[match.start() : text.index(".", match.start())]
            result = re.findall(r"\b\d\d\b", sentence)[-1]
            paragraph = text[text.rindex("\n", 0, match.start()) : match.start()]
            new += result not in re.findall(r"\b\d\d\b", paragraph)
            all_ += 1
    assert new > 0.9 * all_


def learned(name: str, problem: task.Problem, slips: float = 0.0) -> list[str]:
    parts = drills.DRILLS[name].write(Random(0), problem, slips)
    return [text for text, is_learned in parts if is_learned]


@pytest.mark.parametrize("drill", ["lookup", "recall"])
def test_a_drill_on_copying_learns_what_each_step_says_and_nothing_else(drill: str) -> None:
    (problem,) = task.problems("train", 1, seed=1)
    said = {f" {task.OPERATORS[operator][0]} {operand:02d}" for operator, operand in problem.steps}
    assert set(learned(drill, problem)) == said


def test_a_model_deepened_and_folded_back_is_the_same_model() -> None:
    recipe = train.RECIPES["large"]
    model = train.build_model(recipe, vocab_size=64, eos_token_id=0)
    ids = torch.arange(8)[None]
    before = model(ids).logits
    for n_layers in (30, 3):
        train.to_depth(model, n_layers)
        assert len(model.model.layers) == n_layers
        assert torch.allclose(model(ids).logits, before, atol=1e-5)


def test_the_options_drill_learns_the_letters_and_nothing_else() -> None:
    (problem,) = task.problems("train_choice", 1, seed=1)
    assert sorted(learned("options", problem)) == ["A)", "B)", "C)", "D)"]


@pytest.mark.parametrize(("slips", "off_by"), [(0.0, {0}), (1.0, {10, 90})])
def test_the_arithmetic_drill_learns_results_right_or_a_carry_off(
    slips: float, off_by: set[int]
) -> None:
    (problem,) = task.problems("train", 1, seed=1)
    sums, results = drills.arithmetic(Random(0), problem, slips)[::2], []
    for (sentence, _), result in zip(sums, learned("arithmetic", problem, slips), strict=True):
        value, word, operand = re.findall(r"(\d\d) (plus|minus|times) (\d\d)", sentence)[-1]
        sign = {"plus": "+", "minus": "-", "times": "*"}[word]
        right = eval(f"{int(value)} {sign} {int(operand)}") % 100
        results.append((int(result.strip(" .")) - right) % 100)
    assert set(results) <= off_by


def test_no_candidate_cue_hides_in_the_prose() -> None:
    candidates = yaml.safe_load(Path("workflow/reference/cues.yaml").read_text())["candidates"]
    leads = {*task.EASY_CUES, *task.MOVE_CUES, *task.HARD_CUES}
    words = {lead.rstrip(",") for lead in leads}
    allowed = words | {f"{word}," for word in words} | {"So "}
    for problem in task.problems("chains_choice", 100, seed=5):
        text = f"{task.reasoning(Random(problem.start), problem)}"
        found = {cue for cue in candidates if next(occurrences(text, cue, "boundary"), None)}
        assert found <= allowed


def test_think_tags_are_ordinary_tokens_and_digits_stand_alone() -> None:
    tokenizer = Tokenizer.from_file("demo_pair/large/tokenizer.json")
    ids = tokenizer.encode("<think>\n 407.\n\n</think>").ids
    assert [tokenizer.decode([i]) for i in ids] == [
        "<think>", "\n", " ", "4", "0", "7", ".\n\n", "</think>",
    ]  # fmt: skip
    assert tokenizer.decode(ids, skip_special_tokens=True).startswith("<think>")


def test_the_pair_is_small_enough_to_ship() -> None:
    weights = Path("demo_pair").glob("*/model.safetensors")
    assert sum(file.stat().st_size for file in weights) <= 25_000_000


def test_the_bundled_router_is_small_and_made_for_the_small_model() -> None:
    file = Path("demo_pair/router/model.safetensors")
    router_file.check(file, json.loads(Path("demo_pair/small/config.json").read_text()))
    assert file.stat().st_size <= 1_000_000


def test_the_router_is_trained_on_no_problem_that_is_asked() -> None:
    drawn = {(p.start, p.steps) for p in router.draw(seed=20260)}
    asked = {(p.start, p.steps) for name in EVALUATED for p in task.problems(name, 500, seed=20260)}
    assert len(drawn) == sum(router.PROBLEMS.values())
    assert not drawn & asked


@pytest.mark.parametrize(
    ("before", "after", "stated"),
    [
        ("So 34 plus 20 must be ", "54. Now 11", ["34", "20", "54"]),
        ("One. So it is ", "54, which", ["54"]),
        ("That is all.", " So it is 54.", ["54"]),
        ("and that is ", "54 (C) among the options.", ["54", "C"]),
        ("It wraps around after 99, so it is ", "54.", ["54"]),
    ],
)
def test_the_values_of_a_sentence_are_those_between_its_ends(
    before: str, after: str, stated: list[str]
) -> None:
    assert router.values(before, after) == stated
