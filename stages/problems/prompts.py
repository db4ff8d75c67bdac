"""Prompts of a problem set, rendered to token ids by the pair's own chat template."""

from collections.abc import Iterable
from typing import Any, get_args

import polars as pl
from jinja2 import TemplateError

from stages.config.schema import Model
from stages.config.settings import Settings
from stages.engine import models
from stages.engine.hub import one_line
from stages.methods.base import PromptName
from stages.problems import fit, sources
from stages.problems.spelled_out import as_text, control_texts
from stages.runtime.errors import UserError
from stages.tracking.files import Row

SHOWN = 60  # characters of a prompt that a message repeats
SCHEMA = pl.Schema(
    {
        "problem_id": pl.Int64(),
        "prompt": pl.String(),
        "gold": pl.String(),
        "prompt_ids": pl.List(pl.Int32()),
        "steps_prompt_ids": pl.List(pl.Int32()),
    }
)


def problem_set(name: str, settings: Settings) -> tuple[pl.DataFrame, Row]:
    """Return a problem set with its prompts, and where its problems come from."""
    problems, origin = sources.load(name, settings.problem_set, settings.seed, settings.shuffle)
    if problems.is_empty():
        return SCHEMA.to_frame(), origin
    plain, steps = (
        asked(problems["problem"], settings.prompts[one]) for one in get_args(PromptName)
    )
    frame = problems.with_columns(
        pl.Series("prompt", plain),
        pl.Series("prompt_ids", render(plain, settings)),
        pl.Series("steps_prompt_ids", render(steps, settings)),
    )
    check_lengths(name, frame, settings)
    return frame.select(list(SCHEMA)).cast(SCHEMA), origin


def asked(problems: Iterable[str], words: str) -> list[str]:
    """Return the whole user message for each problem."""
    return [words.replace("{problem}", problem) for problem in problems]


def check_lengths(name: str, frame: pl.DataFrame, settings: Settings) -> None:
    """Raise UserError unless prompt and budget fit into the model's context."""
    longer = pl.max_horizontal(pl.col("prompt_ids", "steps_prompt_ids").list.len())
    lengths = frame.select("problem_id", n=longer)
    problem, longest = lengths.sort("n").row(-1)
    where = f"{name}, problem {problem}: {longest} tokens"
    if settings.budget < longest:
        raise UserError(f"budget {settings.budget} is smaller than the longest prompt ({where})")
    if longest + settings.budget > settings.max_model_len:
        raise UserError(
            f"prompt ({where}) and budget ({settings.budget}) exceed max_model_len "
            f"{settings.max_model_len}; lower the one or raise the other"
        )


def render(prompts: Iterable[str], settings: Settings) -> list[list[int]]:
    """Return the token ids of each chat as the model's template renders it, with thinking on.

    Control tokens that a prompt spells out are text. Raises UserError if transformers, and so the
    engine, reads a chat as other tokens, and if the template opens the reasoning otherwise than the
    family says.
    """
    served = settings.tokenizer
    loaded, tokenizer = chat_tokenizer(served), models.tokenizer(served)
    asked_for = list(prompts)
    texts = [chat(question(prompt), loaded, settings) for prompt in asked_for]
    check_opening(texts[0], settings)
    rendered = [one.ids for one in tokenizer.encode_batch(texts, add_special_tokens=False)]
    as_loaded = loaded(texts, add_special_tokens=False)["input_ids"]
    for prompt, ids, others in zip(asked_for, rendered, as_loaded, strict=True):
        if ids != others:
            raise UserError(f"{fit.otherwise(served)} in the prompt {shortened(prompt)!r}")
    names = control_texts(tokenizer, settings.think_start, settings.think_end)
    for i, prompt in enumerate(asked_for):
        if any(name in prompt for name in names):
            rendered[i] = as_text(
                prompt, names, tokenizer, lambda text: chat(question(text), loaded, settings)
            )
    return rendered


def shortened(prompt: str) -> str:
    """Return the beginning of a prompt."""
    return prompt if len(prompt) <= SHOWN else f"{prompt[:SHOWN]}..."


def check_opening(text: str, settings: Settings) -> None:
    """Raise UserError unless a rendered chat ends as the pair's family says."""
    opens = text.rstrip().endswith(settings.think_start)
    if settings.template_opens in (None, opens):
        return
    ending = "ends" if opens else "does not end"
    raise UserError(
        f"{settings.tokenizer.model}: a prompt of its chat template {ending} with "
        f"{settings.think_start!r}, the pair's family says template_opens: "
        f"{str(not opens).lower()}: correct it there, or choose another family"
    )


def question(prompt: str) -> list[Row]:
    """Return a chat with one message."""
    return [{"role": "user", "content": prompt}]


def chat(messages: list[Row], loaded: Any, settings: Settings) -> str:
    """Return the text of a chat as the template renders it."""
    try:
        text: str = loaded.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            **settings.template_args,
        )
    except TemplateError as error:
        where = settings.tokenizer.model
        raise UserError(f"{where}: its chat template fails ({one_line(error)})") from error
    return text


def chat_tokenizer(served: Model) -> Any:
    """Return the model's tokenizer with its chat template; UserError without one."""
    loaded = models.loaded_tokenizer(served)
    if not loaded.chat_template:
        raise UserError(f"{served.model} has no chat template")
    return loaded
