"""Benchmarks and calibration set of a pair: one schema, prompts rendered to token ids.

Writes one Parquet file per problem set (problem_id, prompt, gold, prompt_ids, and steps_prompt_ids,
the other words that a method may ask in) and the pair's tokenizer. Everything that would make a
later stage fail for sure (models, tokenizers, lengths) is found here. A benchmark that this account
may not read is left out, and noted.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import polars as pl
import yaml
from tokenizers import Tokenizer

from stages.config.schema import Benchmark, Model, Pair, Params, Scoring
from stages.engine import models
from stages.engine.hub import UnavailableError, one_line
from stages.methods.base import PromptName
from stages.problems import sources
from stages.runtime.errors import UserError
from stages.tracking.files import Row

PROMPTS = Path("workflow/reference/prompts.yaml")

SCHEMA = pl.Schema(
    {
        "problem_id": pl.Int64(),
        "prompt": pl.String(),
        "gold": pl.String(),
        "prompt_ids": pl.List(pl.Int32()),
        "steps_prompt_ids": pl.List(pl.Int32()),
    }
)


def problem_set(
    name: str, benchmark: Benchmark, params: Params, pair: Pair
) -> tuple[pl.DataFrame, Row]:
    """A problem set with its prompts, and where its problems come from."""
    shuffle = not pair.as_released.options
    problems, origin = sources.load(name, benchmark, params.seed, shuffle)
    tokenizer = chat_tokenizer(pair.engines["large"])
    plain, steps = (
        asked(problems["problem"], template(pair, one, benchmark.scoring))
        for one in get_args(PromptName)
    )
    frame = problems.with_columns(
        pl.Series("prompt", plain),
        pl.Series("prompt_ids", render(plain, tokenizer)),
        pl.Series("steps_prompt_ids", render(steps, tokenizer)),
    )
    check_lengths(name, frame, pair)
    return frame.select(list(SCHEMA)).cast(SCHEMA), origin


def asked(problems: Iterable[str], words: str) -> list[str]:
    """The whole user message for each problem."""
    return [words.replace("{problem}", problem) for problem in problems]


def template(pair: Pair, name: PromptName, scoring: Scoring) -> str:
    r"""The words around a problem; as released, a math prompt's \b is a backspace character."""
    words: str = yaml.safe_load(PROMPTS.read_text())[pair.family][name][scoring]
    mangled = pair.as_released.prompt and scoring == "math"
    return words.replace(r"\b", "\b") if mangled else words


def check_models(name: str, pair: Pair) -> None:
    """Every model is there, and all tokenizers are the large model's."""
    vocabularies = {}
    for role, served in pair.engines.items():
        where = f"pairs.{name}.engines.{role}"
        models.check_folders(where, served)
        if served.draft:
            check_draft(where, served)
        file = models.model_file(served, "tokenizer.json")
        if not file.is_file():
            raise UserError(f"{where}: no tokenizer in {served.model} (no {file.name})")
        # Not the configs' vocab_size: padding makes it differ between models of one tokenizer.
        vocabularies[role] = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
        if vocabularies[role] != vocabularies.get("large", vocabularies[role]):
            raise UserError(
                f"pairs.{name}: the tokenizers of 'large' and '{role}' differ; "
                "a relay hands over token ids and needs one vocabulary"
            )


def check_draft(where: str, served: Model) -> None:
    """A draft head reads the model's hidden states and tokens: both sizes fit."""
    files = [models.find(*part, "config.json") for part in served.parts]
    target, draft = (json.loads(file.read_text()) for file in files)
    for size, have in draft_sizes(draft).items():
        if have != target[size]:
            raise UserError(
                f"{where}: the draft head {served.draft} has {size} {have}, "
                f"the model {served.model} has {target[size]}: they do not belong together"
            )


def draft_sizes(config: Row) -> dict[str, int | None]:
    """The sizes of the model that a draft head was made for.

    In the format of the library speculators they are those of its layer's own config, unless
    target_hidden_size, null as a rule, says otherwise. draft_vocab_size is another thing: the
    tokens that the head can write, a part of the model's.
    """
    layer = config.get("transformer_layer_config", config)
    return {
        "hidden_size": config.get("target_hidden_size") or layer.get("hidden_size"),
        "vocab_size": layer.get("vocab_size"),
    }


def check_lengths(name: str, frame: pl.DataFrame, pair: Pair) -> None:
    """Prompt and budget fit into the model's context."""
    longer = pl.max_horizontal(pl.col("prompt_ids", "steps_prompt_ids").list.len())
    lengths = frame.select("problem_id", n=longer)
    problem, longest = lengths.sort("n").row(-1)
    where = f"{name}, problem {problem}: {longest} tokens"
    if pair.budget < longest:
        raise UserError(f"budget {pair.budget} is smaller than the longest prompt ({where})")
    if longest + pair.budget > pair.max_model_len:
        raise UserError(
            f"prompt ({where}) and budget ({pair.budget}) exceed max_model_len "
            f"{pair.max_model_len}; lower the one or raise the other"
        )


def render(prompts: Iterable[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each chat as the model's own template renders it, thinking on."""
    return [
        tokenizer.encode(
            tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}],
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=True,
            ),
            add_special_tokens=False,
        )
        for prompt in prompts
    ]


def chat_tokenizer(served: Model) -> Any:
    """The model's tokenizer, with its chat template."""
    from transformers import AutoTokenizer  # seconds, for it imports torch

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            served.model,
            revision=served.revision or "main",
            local_files_only=served.revision is None,
        )
    except (OSError, ValueError) as error:  # incomplete or broken files, or the hub is gone
        raise UserError(f"{served.model}: cannot load its tokenizer ({one_line(error)})") from error
    if not tokenizer.chat_template:
        raise UserError(f"{served.model} has no chat template")
    return tokenizer


def problem_sets(
    params: Params, name: str
) -> tuple[dict[str, tuple[pl.DataFrame, Row]], dict[str, str]]:
    """Every problem set of a pair, and {benchmark: reason} of those that are left out."""
    pair = params.pair(name)
    needed = {one: f"the pair's {key}" for key, one in pair.single_benchmarks.items()}
    needed[pair.calibration_set] = "the calibration set"
    frames, left_out = {}, {}
    for benchmark, settings in pair.problem_sets.items():
        try:
            frames[benchmark] = problem_set(benchmark, settings, params, pair)
        except UnavailableError as error:
            if benchmark in needed:
                raise UserError(f"{benchmark} is {needed[benchmark]}, and {error}") from error
            left_out[benchmark] = str(error)
    return frames, left_out
