"""Training data of the bundled pair: whole problems, and drills of one skill each.

Whole problems teach the words quickly and the skills slowly: few of their tokens need a skill. A
drill has its loss on these tokens alone.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from demo_pair import task
from demo_pair.tokenizer import END_OF_TURN

Parts = list[tuple[str, bool]]  # (text, whether it has a loss)
THINK = ("<think>\n", False)
FACTS_PER_ROW = 4
COPIED_STEP = re.compile("(?<= says to)( [^,]+)")


@dataclass(frozen=True)
class Drill:
    """`write(random, problem, slips)` makes a sample; `prompted`: the chat prompt precedes it."""

    write: Callable[[Random, task.Problem, float], Parts]
    split: str = "train"
    prompted: bool = True


def text(random: Random, problem: task.Problem, slips: float) -> Parts:
    """Return a whole answer; `slips`: see `task.slip`."""
    return [(task.completion(random, problem, slips) + END_OF_TURN, True)]


def arithmetic(random: Random, _problem: task.Problem, slips: float) -> Parts:
    """Return calculations, one after another, in the words of the traces."""
    parts: Parts = []
    for _ in range(FACTS_PER_ROW):
        operator, operand = task.draw_step(random)
        value = random.randrange(100)
        result = task.slip(random, task.apply(value, operator, operand), slips)
        fact = " " + task.sum_(value, operator, operand, result)
        head, _, _ = fact.rpartition(f" {result:02d}.")
        parts += [(head, False), (f" {result:02d}.", True)]
    return parts


def lookup(random: Random, problem: task.Problem, _slips: float) -> Parts:
    """Return every step of the problem once, in random order, copied from the prompt."""
    parts: Parts = [THINK]
    steps = list(enumerate(problem.steps))
    random.shuffle(steps)
    for i, (operator, operand) in steps:
        sentence = task.move_sentence(random, task.ORDINALS[i], operator, operand, problem.start)
        head, says, tail = sentence.partition(" says to")
        copied, _, _ = tail.partition(",")
        parts += [(head + says, False), (copied, True), (",\n\n", False)]
    return parts


def recall(random: Random, problem: task.Problem, slips: float) -> Parts:
    """Return a whole answer with the loss on its copied steps, far from the prompt."""
    pieces = COPIED_STEP.split(task.completion(random, problem, slips))
    return [(piece, i % 2 == 1) for i, piece in enumerate(pieces)]


def options(random: Random, problem: task.Problem, _slips: float) -> Parts:
    """Return sentences with every option's letter, in random order."""
    parts: Parts = [THINK]
    for result in random.sample(problem.options, len(problem.options)):
        letter = problem.box(result)
        sentence = task.conclusion(random, problem, result)
        head, _, tail = sentence.partition(f"{letter})")
        parts += [(head, False), (f"{letter})", True), (f"{tail}\n\n", False)]
    return parts


DRILLS = {
    "text": Drill(text),
    "choice_text": Drill(text, split="train_choice"),
    "arithmetic": Drill(arithmetic, prompted=False),
    "lookup": Drill(lookup),
    "recall": Drill(recall),
    "choice_recall": Drill(recall, split="train_choice"),
    "options": Drill(options, split="train_choice"),
}
