"""Whether two models can be a pair: what can be told from their files, before an engine starts.

The stages check some of it again where it matters. Here every check has a line with its verdict,
and what to do if it fails.
"""

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from stages.config.schema import Model, Pair
from stages.config.settings import Settings
from stages.engine import models
from stages.engine.hub import one_line
from stages.engine.identity import WEIGHTS
from stages.problems import fit, prompts
from stages.runtime.errors import UserError
from stages.tracking.files import Row

Verdict = Literal["ok", "look", "wrong"]
OF_CHATS = ("template_args", "think_start", "think_end", "template_opens")
QUESTION = "What is 1 + 1?"
POINTER = b"version https://git-lfs"
REGISTRY = "model_executor/models/registry.py"  # in vLLM: the architectures that it knows


@dataclass(frozen=True)
class Finding:
    """What a check found. `look`: it may be right, and a user should know it."""

    verdict: Verdict
    text: str

    def __str__(self) -> str:
        return f"{self.verdict:<5}  {self.text}"


def findings(pair: Pair) -> list[Finding]:
    """Return a line for each check of a pair; if files are missing, for those alone."""
    if broken := findings_of_files(pair):
        return broken
    checks = (architectures, tokenizers, chats, tags, vocabularies, drafters, contexts)
    found = [Finding("ok", f"files: {', '.join(pair.engines)} are complete")]
    for check in checks:
        found += check(pair)
        if check is tokenizers and found[-1].verdict == "wrong":
            break  # what follows is about the ids of one tokenizer
    return found


def judged(good: str, check: Callable[[], object]) -> Finding:
    """Return `good`, or the one line of the UserError that `check` raises."""
    try:
        check()
    except UserError as error:
        return Finding("wrong", str(error))
    return Finding("ok", good)


# Files.


def findings_of_files(pair: Pair) -> list[Finding]:
    """Return a line for each model or drafter that is not complete."""
    return [
        Finding("wrong", f"{role}: {text}")
        for role, served in pair.engines.items()
        for text in broken_files(served)
    ]


def broken_files(served: Model) -> Iterator[str]:
    """Yield what is wrong with the files of an engine's model and drafter, each at most once.

    Weights on the hub are not looked at: vLLM fetches them.
    """
    has_head = served.drafter is not None and served.drafter.method == "eagle3"
    for i, (name, revision) in enumerate(served.parts):
        needed = ("config.json",) if i and has_head else ("config.json", "tokenizer.json")
        try:
            paths = [models.find(name, revision, file) for file in needed]
            weights = [] if revision else weights_in(Path(name))
            problems = [found for path in [*paths, *weights] if (found := problem(path))]
        except UserError as error:
            problems = [str(error)]
        yield from problems[:1]


def weights_in(folder: Path) -> list[Path]:
    """Return the files of a model's weights: those of its index, if it has one."""
    for index in sorted(folder.glob("*.index.json")):
        if found := problem(index):
            raise UserError(found)
        table = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {})
        return [folder / name for name in sorted(set(table.values()))]
    found_here = [file for file in folder.glob("*") if file.suffix in WEIGHTS]
    if folder.is_dir() and not found_here:
        raise UserError(f"{folder}: no weights in it ({', '.join(WEIGHTS)}): fetch them too")
    return sorted(found_here)


def problem(file: Path) -> str | None:
    """Return what is wrong with a file of a model; None if nothing is."""
    if not file.is_file():
        return f"{file}: no such file: give a model's folder, or a name on the hub"
    with file.open("rb") as content:
        beginning = content.read(len(POINTER))
    if beginning == POINTER:
        return f"{file}: a pointer of Git LFS, not the file: run `git lfs pull` in its folder"
    if not beginning:
        return f"{file}: an empty file: fetch it again"
    try:
        if file.suffix == ".json":
            content_of(file)
        elif file.suffix == ".safetensors":
            with safe_open(file, framework="np"):
                pass
    except (UserError, SafetensorError) as error:
        return str(error) if isinstance(error, UserError) else f"{file}: broken ({error})"
    return None


def content_of(file: Path) -> Row:
    """Return the map in a JSON file; UserError if there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON ({one_line(error)}): fetch it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: not a map of keys to values: fetch it again")
    return content


def config_of(name: str, revision: str | None) -> Row:
    """Return a model's config.json, with the keys of its text model where it has several."""
    config = content_of(models.find(name, revision, "config.json"))
    text = config.get("text_config")
    return {**config, **(text if isinstance(text, dict) else {})}


# What vLLM can serve.


def architectures(pair: Pair) -> Iterator[Finding]:
    """Yield whether vLLM knows the models' architectures."""
    known = known_architectures()
    for role, served in pair.engines.items():
        names = content_of(models.model_file(served, "config.json")).get("architectures") or []
        if not names:
            yield Finding(
                "wrong", f"{role}: config.json of {served.model} names no architecture: not a model"
            )
        elif not known:
            yield Finding("look", f"{role}: {names[0]}: no vLLM here that could be asked for it")
        elif set(names) & known:
            yield Finding("ok", f"{role}: vLLM serves {names[0]}")
        else:
            yield Finding(
                "wrong",
                f"{role}: this vLLM does not serve {', '.join(map(str, names))} ({served.model}): "
                "choose another model, or a newer vLLM",
            )


@cache
def known_architectures() -> frozenset[str]:
    """Return the architectures in vLLM's registry; none where it is not installed.

    Read from its source: importing it takes long, and fails without the device it was built for.
    """
    package = find_spec("vllm")
    for place in (package and package.submodule_search_locations) or []:
        file = Path(place) / REGISTRY
        if file.is_file():
            tree = ast.parse(file.read_text(encoding="utf-8"))
            tables = [node for node in ast.walk(tree) if isinstance(node, ast.Dict)]
            keys = [key for table in tables for key in table.keys if isinstance(key, ast.Constant)]
            return frozenset(str(key.value) for key in keys)
    return frozenset()


# Tokens.


def tokenizers(pair: Pair) -> Iterator[Finding]:
    """Yield whether all models make the same ids of a text, in transformers too."""
    yield judged(
        f"tokenizers: the same ids of all {len(fit.PROBES)} probe texts, in transformers too",
        lambda: fit.check_models(pair.engines),
    )


def chats(pair: Pair) -> Iterator[Finding]:
    """Yield whether the chat template renders a question, with thinking on."""
    large, family = pair.engines["large"], pair.family
    known = {name: getattr(family, name) for name in OF_CHATS}
    settings = Settings.model_construct(tokenizer=large, **known)
    try:
        (ids,) = prompts.render([QUESTION], settings)
    except UserError as error:
        yield Finding("wrong", str(error))
        return
    text = models.tokenizer(large).decode(ids, skip_special_tokens=False)
    if QUESTION not in text:
        yield Finding("wrong", f"{large.model}: its chat template leaves out the message")
    elif family.think_end in text:
        yield Finding(
            "wrong",
            f"{large.model}: a prompt of its chat template holds {family.think_end!r}, thinking is "
            f"off: change template_args of the family, now {json.dumps(family.template_args)}",
        )
    else:
        opens = "opens" if text.rstrip().endswith(family.think_start) else "does not open"
        yield Finding("ok", f"chat template: renders a question and {opens} the reasoning")


def tags(pair: Pair) -> Iterator[Finding]:
    """Yield whether the end of the reasoning can be written, and is written back as it is."""
    large, tag = pair.engines["large"], pair.family.think_end
    tokenizer = models.tokenizer(large)
    ids = tokenizer.encode(f"It is 2{tag}\n\nSo", add_special_tokens=False).ids
    if tag not in streamed(ids, tokenizer):
        yield Finding(
            "wrong",
            f"{large.model}: its tokenizer does not give {tag!r} back as it is: choose another "
            "think_end for the family",
        )
        return
    asked = all(tag in one for one in pair.family.prompts["plain"].values())
    template = str(models.loaded_tokenizer(large).chat_template)
    if len(tokenizer.encode(tag, add_special_tokens=False).ids) == 1 or tag in template:
        yield Finding("ok", f"end of the reasoning: {tag!r} is known to the model")
    elif asked:
        yield Finding("ok", f"end of the reasoning: {tag!r} is what the family's prompts ask for")
    else:
        yield Finding(
            "wrong",
            f"{large.model}: nothing makes it write {tag!r}: it is no token, the chat template "
            "does not name it, and no prompt asks for it. Without it no answer is scored: choose a "
            "family whose think_end the model writes, or whose prompts ask for it",
        )


def streamed(ids: list[int], tokenizer: Tokenizer) -> str:
    """Return the text of token ids, token by token as a server writes it."""
    stream = DecodeStream(skip_special_tokens=False)
    return "".join(stream.step(tokenizer, token) or "" for token in ids)


def vocabularies(pair: Pair) -> Iterator[Finding]:
    """Yield whether every model has all ids of the tokenizer."""
    largest = max(models.tokenizer(pair.engines["large"]).get_vocab().values())
    for role, served in pair.engines.items():
        size = config_of(served.model, served.revision).get("vocab_size")
        if not isinstance(size, int):
            yield Finding("look", f"{role}: config.json of {served.model} says no vocab_size")
        elif size <= largest:
            yield Finding(
                "wrong",
                f"{role}: the tokenizer has ids up to {largest}, {served.model} knows {size}: "
                "choose models of one tokenizer",
            )
        else:
            yield Finding("ok", f"{role}: vocabulary {size}, {size - largest - 1} ids are padding")


# Sizes.


def drafters(pair: Pair) -> Iterator[Finding]:
    """Yield whether drafters have positions as far as an answer reaches."""
    for role, served in pair.engines.items():
        if drafter := served.drafter:
            check = partial(fit.check_reach, role, drafter, pair.max_model_len)
            yield judged(f"{role}: {drafter.shown} reaches as far as an answer", check)


def contexts(pair: Pair) -> Iterator[Finding]:
    """Yield whether the models' contexts hold a prompt and the budget."""
    if pair.max_model_len <= pair.budget:
        yield Finding(
            "wrong",
            f"max_model_len {pair.max_model_len} leaves no room for a prompt beside the budget "
            f"{pair.budget}: raise it or lower the budget",
        )
    for role, served in pair.engines.items():
        reach = fit.context_of(config_of(served.model, served.revision))
        if reach is not None and reach < pair.max_model_len:
            yield Finding(
                "wrong",
                f"{role}: {served.model} has a context of {reach} tokens, max_model_len is "
                f"{pair.max_model_len}: lower budget and max_model_len",
            )
        else:
            yield Finding("ok", f"{role}: context of {reach or 'unknown'} tokens")
