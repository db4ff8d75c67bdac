"""Check that a pair's models, tokenizers and drafters fit together."""

import json
from collections.abc import Mapping

from tokenizers import Tokenizer

from stages.config.schema import Drafter, Model
from stages.engine import models
from stages.runtime.errors import UserError
from stages.tracking.files import Row

# The parts of tokenizer.json that decide what it makes of a text, and of ids.
PARTS = ("added_tokens", "normalizer", "pre_tokenizer", "model", "post_processor", "decoder")
PROBES = (
    "Now, the sum of 12 and 345.6 is 357.6.\n\nSo  it's   x_1^2 = \\frac{7}{8}, isn't it?",
    " leading, trailing \n \t blanks \n",
    "def f(x):\n    return x**2 >= 1e-3 and not x != 10_000  # don't",
    "<think>\nWait - \u201cre\u0301sume\u0301\u201d, 你好。また, 한국, 😀🇰🇷\n</think>",
)


def check_models(engines: Mapping[str, Model], name: str = "") -> None:
    """Raise UserError unless every model is there and all have the large model's tokenizer.

    `name`: of the pair, for the message.
    """
    key = f"pairs.{name}.engines" if name else "engines"
    tokenizers: dict[str, Row] = {}
    for role in sorted(engines, key=lambda role: role != "large"):
        where, served = f"{key}.{role}", engines[role]
        models.check_folders(where, served)
        tokenizer = models.tokenizer(served)
        if served.drafter:
            check_drafter(where, served, served.drafter)
        # Not the configs' vocab_size: padding differs between models of one tokenizer.
        tokenizers[role] = json.loads(tokenizer.to_str())
        if differ := differences(tokenizers[role], tokenizers["large"]):
            raise UserError(
                f"{key}: the tokenizers of 'large' and '{role}' differ "
                f"({', '.join(differ)}); a relay hands over token ids and needs one tokenizer"
            )
        check_loaded(served, tokenizer)


def check_loaded(served: Model, tokenizer: Tokenizer) -> None:
    """Raise UserError if vLLM would read or write text otherwise than `tokenizer` does."""
    loaded = models.loaded_tokenizer(served)
    for probe in PROBES:
        ids = tokenizer.encode(probe, add_special_tokens=False).ids
        text = tokenizer.decode(ids, skip_special_tokens=False)
        written = loaded.backend_tokenizer.decode(ids, skip_special_tokens=False)
        if loaded.encode(probe, add_special_tokens=False) != ids or written != text:
            raise UserError(f"{otherwise(served)} in {probe!r}")


def otherwise(served: Model) -> str:
    """Return what is wrong with a tokenizer that transformers changes, and what to do."""
    return (
        f"{served.model}: transformers does not do what its tokenizer.json says; set "
        "tokenizer_class in its tokenizer_config.json to PreTrainedTokenizerFast (of a model on "
        "the hub: in a copy). The first difference is"
    )


def differences(one: Row, other: Row) -> list[str]:
    """Return the parts in which two contents of tokenizer.json differ."""
    return [part for part in PARTS if one[part] != other[part]]


def check_drafter(where: str, served: Model, drafter: Drafter) -> None:
    """Raise UserError unless an engine's drafter was made for its model.

    A head has the model's hidden size and vocabulary size. Of a whole model vLLM needs the same
    number of ids, padding included; and it drafts in vain unless its tokenizer is the same.
    """
    files = [models.find(*part, "config.json") for part in served.parts]
    target, draft = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    sizes = draft_sizes(draft)
    if drafter.method == "draft_model":
        sizes = {"vocab_size": sizes["vocab_size"]}
    for size, have in sizes.items():
        if have != target.get(size):
            raise UserError(
                f"{where}: {drafter.shown} has {size} {have}, "
                f"the model {served.model} has {target.get(size)}: they do not belong together"
            )
    if drafter.method == "draft_model":
        check_draft_tokenizer(where, served, drafter)


def check_draft_tokenizer(where: str, served: Model, drafter: Drafter) -> None:
    """Raise UserError unless a draft model has the tokenizer of the model that it drafts for."""
    drafting = Model(model=drafter.model, revision=drafter.revision)
    one, other = (json.loads(models.tokenizer(model).to_str()) for model in (drafting, served))
    if differ := differences(one, other):
        raise UserError(
            f"{where}: the tokenizers of {drafter.shown} and of {served.model} differ "
            f"({', '.join(differ)}): choose a draft model of the same tokenizer"
        )


def check_reach(where: str, drafter: Drafter, max_model_len: int) -> int | None:
    """Return the positions that a drafter was made for; None if its config does not say.

    Raises UserError if an answer reaches further: what it drafts there is not accepted.
    """
    file = models.find(drafter.model, drafter.revision, "config.json")
    config = json.loads(file.read_text(encoding="utf-8"))
    reach = context_of({**config, **config.get("transformer_layer_config", {})})
    if reach is not None and reach < max_model_len:
        raise UserError(
            f"{where}: {drafter.shown} was made for {reach} positions, max_model_len is "
            f"{max_model_len}: lower it, or leave out this engine"
        )
    return reach


def context_of(config: Row) -> int | None:
    """Return the tokens that a model can read, stretched as its config says; None: not known."""
    length = config.get("max_position_embeddings")
    if not isinstance(length, int):
        return None
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    original = scaling.get("original_max_position_embeddings")
    factor = scaling.get("factor") or 1
    return max(length, int((original or length) * factor))


def draft_sizes(config: Row) -> dict[str, int | None]:
    """Return the sizes of the model that a drafter was made for.

    In the format of the library speculators they are in the config of its layer, unless
    target_hidden_size (usually null) is given. draft_vocab_size is not among them: it is the number
    of tokens that the head can write, a subset of the model's.
    """
    layer = config.get("transformer_layer_config", config)
    return {
        "hidden_size": config.get("target_hidden_size") or layer.get("hidden_size"),
        "vocab_size": layer.get("vocab_size"),
    }
