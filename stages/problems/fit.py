"""Check that a pair's models, tokenizers and draft heads fit together."""

import json
from collections.abc import Mapping

from tokenizers import Tokenizer

from stages.config.schema import Model
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
        if served.draft:
            check_draft(where, served)
        tokenizer = models.tokenizer(served)
        # Not the configs' vocab_size: padding differs between models of one tokenizer.
        tokenizers[role] = json.loads(tokenizer.to_str())
        if differ := [
            part for part in PARTS if tokenizers[role][part] != tokenizers["large"][part]
        ]:
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


def check_draft(where: str, served: Model) -> None:
    """Raise UserError unless the draft head has the model's hidden size and vocabulary size."""
    files = [models.find(*part, "config.json") for part in served.parts]
    target, draft = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    for size, have in draft_sizes(draft).items():
        if have != target.get(size):
            raise UserError(
                f"{where}: the draft head {served.draft} has {size} {have}, "
                f"the model {served.model} has {target.get(size)}: they do not belong together"
            )


def draft_sizes(config: Row) -> dict[str, int | None]:
    """Return the sizes of the model that a draft head was made for.

    In the format of the library speculators they are in the config of its layer, unless
    target_hidden_size (usually null) is given. draft_vocab_size is not among them: it is the number
    of tokens that the head can write, a subset of the model's.
    """
    layer = config.get("transformer_layer_config", config)
    return {
        "hidden_size": config.get("target_hidden_size") or layer.get("hidden_size"),
        "vocab_size": layer.get("vocab_size"),
    }
