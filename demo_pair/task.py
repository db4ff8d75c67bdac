"""The bundled pair's synthetic reasoning task: chains of arithmetic on a two-digit counter.

A problem is a start value and a few steps (add, subtract, multiply, all modulo 100). Its reasoning
is written in sentences. After *easy* cues (So, Thus, Now, ...) the text only repeats what it
contains already; after *hard* cues (Wait, Hmm, ...) it gives new results. Problems are assigned to
splits by a hash of their statement, so that no two splits share a problem.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

EASY_CUES = ("So,", "So", "Thus,", "Thus", "Therefore,", "Hence,")
MOVE_CUES = ("Now,", "Now", "Next,", "Then,")
HARD_CUES = ("Wait,", "Hmm,", "Alternatively,", "But", "However,", "Maybe")

ORDINALS = ("one", "two", "three", "four")
OPERATORS = {"+": ("add", "plus"), "-": ("subtract", "minus"), "*": ("multiply by", "times")}
LETTERS = "ABCD"

FREE_ANSWER_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."
CHOICE_PROMPT = (
    "Please reason step by step, and put the letter of the right option within \\boxed{}."
)

Step = tuple[str, int]


@dataclass(frozen=True)
class Problem:
    """One chain: `start` and `steps` of (operator, operand); `options` only for multiple choice."""

    start: int
    steps: tuple[Step, ...]
    options: tuple[int, ...] = ()

    @property
    def values(self) -> list[int]:
        """Return the counter after each step."""
        values = [self.start]
        for operator, operand in self.steps:
            values.append(apply(values[-1], operator, operand))
        return values[1:]

    @property
    def answer(self) -> str:
        """Return the content of the box: two digits, or the option's letter."""
        return self.box(self.values[-1])

    def box(self, result: int) -> str:
        """Return `result` as written into the box; with options, the letter of its quarter."""
        return LETTERS[result // 25] if self.options else f"{result:02d}"

    @property
    def question(self) -> str:
        """Return the question without the instruction on how to answer."""
        steps = " ".join(
            f"Step {ORDINALS[i]}: {OPERATORS[operator][0]} {operand:02d}."
            for i, (operator, operand) in enumerate(self.steps)
        )
        options = ", ".join(
            f"{value:02d} ({letter})" for value, letter in zip(self.options, LETTERS, strict=False)
        )
        return (
            f"A counter shows two digits and wraps around after 99. It starts at {self.start:02d}. "
            f"{steps} What does the counter show after the last step?"
            + (f" Options: {options}." if options else "")
        )

    @property
    def prompt(self) -> str:
        """Return the whole user message: question and instruction."""
        return f"{self.question}\n{CHOICE_PROMPT if self.options else FREE_ANSWER_PROMPT}"


def apply(value: int, operator: str, operand: int) -> int:
    """Return the counter after one step."""
    return {"+": value + operand, "-": value - operand, "*": value * operand}[operator] % 100


def slip(random: Random, result: int, slips: float) -> int:
    """Return `result`, or, with probability `slips`, a wrong one: ten more or less."""
    if slips and random.random() < slips:
        return (result + random.choice((-10, 10))) % 100
    return result


def bucket(problem: Problem) -> int:
    """Return a number from 0 to 9 by the problem's chain alone, without its options."""
    chain = f"{problem.start} {problem.steps}"
    return hashlib.sha256(chain.encode()).digest()[0] % 10


@dataclass(frozen=True)
class Split:
    """A set of problems: its buckets, numbers of steps, and whether problems have options."""

    buckets: tuple[int, ...]
    n_steps: tuple[int, ...]
    choices: bool = False


SPLITS = {
    "train": Split(buckets=(4, 5, 6, 7, 8, 9), n_steps=(2, 3, 4)),
    "train_choice": Split(buckets=(4, 5, 6, 7, 8, 9), n_steps=(2, 3, 4), choices=True),
    "chains_short": Split(buckets=(0,), n_steps=(2,)),
    "chains_long": Split(buckets=(1,), n_steps=(4,)),
    "chains_choice": Split(buckets=(2,), n_steps=(3,), choices=True),
    "chains_calibration": Split(buckets=(3,), n_steps=(2, 3, 4)),
}


def draw_step(random: Random) -> Step:
    """Draw an operator, with an operand that changes the counter."""
    operator = random.choice("+-*")
    return operator, random.randint(2, 5) if operator == "*" else random.randint(2, 99)


def draw_options(random: Random, result: int) -> tuple[int, ...]:
    """Draw one value of each quarter of 0 to 99, in ascending order; in its quarter, the result."""
    quarters = (range(start, start + 25) for start in (0, 25, 50, 75))
    return tuple(result if result in quarter else random.choice(quarter) for quarter in quarters)


def draw(random: Random, split: Split, n_steps: int | None = None) -> Problem:
    """Draw a problem of `split`, again until it is in one of the split's buckets."""
    while True:
        count = n_steps or random.choice(split.n_steps)
        problem = Problem(random.randrange(100), tuple(draw_step(random) for _ in range(count)))
        if bucket(problem) in split.buckets:
            break
    if not split.choices:
        return problem
    return Problem(problem.start, problem.steps, draw_options(random, problem.values[-1]))


def problems(name: str, n: int, seed: int) -> Iterator[Problem]:
    """Yield `n` different problems of the split `name`; the same seed gives the same problems."""
    random = Random(f"{seed}/{name}")
    seen: set[tuple[int, tuple[Step, ...]]] = set()
    while len(seen) < n:
        problem = draw(random, SPLITS[name])
        chain = (problem.start, problem.steps)
        if chain not in seen:
            seen.add(chain)
            yield problem


def sum_(value: int, operator: str, operand: int, result: int) -> str:
    """Return one calculation: the only part of a trace that takes skill."""
    return f"{value:02d} {OPERATORS[operator][1]} {operand:02d} must be {result:02d}."


def hard_sentence(random: Random, value: int, operator: str, operand: int, result: int) -> str:
    """Return a sentence with a new result, mostly after a hard cue."""
    fact = sum_(value, operator, operand, result)
    if random.random() < 0.25:
        return f"We wrap around after 99, keep the last two digits alone, and {fact}"
    lead = random.choice(
        (
            "since the counter wraps around after 99 and keeps no more than two digits",
            "worked out with care and with every carry in its place",
        )
    )
    return f"{random.choice(HARD_CUES)} {lead}, {fact}"


def lead_in(random: Random) -> str:
    """Return a sentence before a result, so that a hard cue does not begin L's segment."""
    return random.choice(
        (
            "These two numbers have to be put together digit by digit.",
            "It is in such a step that a carry is lost most easily.",
        )
    )


def second_look(random: Random, value: int, operator: str, operand: int, slips: float = 0.0) -> str:
    """Return a hard cue with the result of a similar calculation: new, not a repetition."""
    _, word = OPERATORS[operator]
    near = operand + 1 if operator == "*" else (operand + random.choice((1, 10, 20))) % 100
    result = slip(random, apply(value, operator, near), slips)
    return (
        f"{random.choice(HARD_CUES)} {value:02d} {word} {near:02d} would be {result:02d}, "
        f"and that fits."
    )


def easy_sentence(random: Random, ordinal: str, result: int) -> str:
    """Return a sentence that repeats the last result."""
    return (
        f"{random.choice(EASY_CUES)} after step {ordinal} the running value of the counter is "
        f"{result:02d}, which we write down as the outcome of this step and carry along unchanged "
        "to whatever the problem asks for in the rest of the chain."
    )


def move_sentence(random: Random, ordinal: str, operator: str, operand: int, value: int) -> str:
    """Return a sentence with the next step, copied from the prompt."""
    return (
        f"{random.choice(MOVE_CUES)} step {ordinal} says to {OPERATORS[operator][0]} "
        f"{operand:02d}, and the value in front of us is {value:02d}, two numbers that were read "
        "off above and that we only copy down here, before a single digit is worked out."
    )


def reasoning(random: Random, problem: Problem, slips: float = 0.0) -> tuple[str, int]:
    """Return (the text between the think tags, its result); `slips`: see `slip`."""
    count = ORDINALS[len(problem.steps) - 1]
    opening = random.choice(("Okay, the counter starts", "Alright, we begin with the counter"))
    paragraphs = [f"{opening} at {problem.start:02d} and there are {count} steps."]
    value = problem.start
    for i, (operator, operand) in enumerate(problem.steps):
        result = slip(random, apply(value, operator, operand), slips)
        sentences = []
        if i:
            settled = f"That settles step {ORDINALS[i - 1]} of the chain"
            sentences.append(f"{settled} and leaves one step less to be done.")
        sentences.append(move_sentence(random, ORDINALS[i], operator, operand, value))
        if random.random() < 0.7:
            sentences.append(lead_in(random))
        sentences.append(hard_sentence(random, value, operator, operand, result))
        if random.random() < 0.3:
            sentences.append(second_look(random, value, operator, operand, slips))
        sentences.append(easy_sentence(random, ORDINALS[i], result))
        paragraphs.append(" ".join(sentences))
        value = result
    closing = f"All {count} steps are done by this point. {conclusion(random, problem, value)}"
    return "\n\n".join([*paragraphs, closing]), value


def option(problem: Problem, result: int) -> str:
    """Return the option that the box names, as the problem lists it."""
    letter = problem.box(result)
    return f"{problem.options[LETTERS.index(letter)]:02d} ({letter}) among the options"


def conclusion(random: Random, problem: Problem, result: int) -> str:
    """Return the reasoning's last sentence: the result, and its letter if there are options."""
    tail = f", and that is {option(problem, result)}" if problem.options else ""
    return (
        f"{random.choice(EASY_CUES)} with every step of the problem behind us, the counter shows "
        f"{result:02d} at the end of the chain{tail}."
    )


def final_answer(problem: Problem, result: int) -> str:
    """Return the answer stage, which follows the reasoning."""
    tail = f", which is {option(problem, result)}" if problem.options else ""
    return (
        f"**Final answer**\n\nThe counter starts at {problem.start:02d} and shows {result:02d} "
        f"after the last of the {ORDINALS[len(problem.steps) - 1]} steps{tail}.\n\n"
        f"\\boxed{{{problem.box(result)}}}"
    )


def completion(random: Random, problem: Problem, slips: float = 0.0) -> str:
    """Return the assistant's message: reasoning between think tags, then the answer stage."""
    text, result = reasoning(random, problem, slips)
    return f"<think>\n{text}\n</think>\n\n{final_answer(problem, result)}"
