"""R2R's router by its description, one operation after the other: what others are compared to."""

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

Weights = dict[str, Tensor]


def by_hand(w: Weights, hidden: Tensor, embedding: Tensor, logits: Tensor) -> Tensor:
    """The probabilities [n] that tokens are the large model's; `w`: the weights by name."""

    def layer(name: str, x: Tensor) -> Tensor:
        return linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(name: str, x: Tensor) -> Tensor:
        return layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"])

    read = torch.cat([hidden, embedding, layer("logits_projection", logits)], -1)
    x = layer("backbone.input_projection", layer("combined_projection", read))
    for i in range(sum(name.endswith("layer_norm.weight") for name in w)):
        block = f"backbone.blocks.{i}"
        change = gelu(layer(f"{block}.mlp.0", norm(f"{block}.layer_norm", x)))
        kept = layer(f"{block}.dim_change", x) if f"{block}.dim_change.weight" in w else x
        x = kept + layer(f"{block}.mlp.3", change)
    logit = layer("backbone.output_layer.1", norm("backbone.output_layer.0", x))
    return torch.sigmoid(logit)[:, 0]
