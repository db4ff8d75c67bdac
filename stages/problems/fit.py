"""Check that a pair's models, tokenizers and draft heads fit together."""

import json
from collections.abc import Mapping

from tokenizers import Tokenizer

from stages.config.schema import Model
from stages.engine import models
from stages.runtime.errors import UserError
from stages.tracking.files import Row


def check_models(name: str, engines: Mapping[str, Model]) -> None:
    """Raise UserError unless every model is there and all have the large model's tokenizer."""
    vocabularies = {}
    for role, served in engines.items():
        where = f"pairs.{name}.engines.{role}"
        models.check_folders(where, served)
        if served.draft:
            check_draft(where, served)
        file = models.model_file(served, "tokenizer.json")
        if not file.is_file():
            raise UserError(f"{where}: no tokenizer in {served.model} (no {file.name})")
        # The configs' vocab_size would not do: padding differs between models of one tokenizer.
        vocabularies[role] = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
        if vocabularies[role] != vocabularies.get("large", vocabularies[role]):
            raise UserError(
                f"pairs.{name}: the tokenizers of 'large' and '{role}' differ; "
                "a relay hands over token ids and needs one vocabulary"
            )


def check_draft(where: str, served: Model) -> None:
    """Raise UserError unless the draft head has the model's hidden size and vocabulary size."""
    files = [models.find(*part, "config.json") for part in served.parts]
    target, draft = (json.loads(file.read_text(encoding="utf-8")) for file in files)
    for size, have in draft_sizes(draft).items():
        if have != target[size]:
            raise UserError(
                f"{where}: the draft head {served.draft} has {size} {have}, "
                f"the model {served.model} has {target[size]}: they do not belong together"
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
