"""R2R's router (arXiv 2505.21600): whether a token that S has sampled is to be L's.

The architecture is that of its authors' `HiddenStatesTokenLMHeadLogitsClassifier`, with their names
of weights. Dropout, which only training needs, is given to it there.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from stages.engine import router_file
from stages.engine.router_file import Sizes


class Block(nn.Module):
    """A residual block: layer norm, then an MLP; `after`: the width behind it."""

    def __init__(self, width: int, after: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, width * expansion),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(width * expansion, after),
            nn.Dropout(dropout),
        )
        self.dim_change = nn.Linear(width, after) if width != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.dim_change(x)
        change: Tensor = self.mlp(self.layer_norm(x))
        return residual + change


class Backbone(nn.Module):
    """A projection, the blocks, and the projection to one logit."""

    def __init__(self, sizes: Sizes, dropout: float) -> None:
        super().__init__()
        widths = zip(sizes.dims, (*sizes.dims[1:], sizes.dims[-1]), strict=True)
        self.input_projection = nn.Linear(sizes.dims[0], sizes.dims[0])
        self.blocks = nn.ModuleList(
            Block(width, after, sizes.expansion, dropout) for width, after in widths
        )
        last = sizes.dims[-1]
        self.output_layer = nn.Sequential(nn.LayerNorm(last), nn.Linear(last, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.input_projection(x)
        for block in self.blocks:
            x = block(x)
        logit: Tensor = self.output_layer(x)
        return logit


class Router(nn.Module):
    """The router; `threshold`: from which probability on a token is L's."""

    def __init__(self, sizes: Sizes, threshold: float, dropout: float = 0.0) -> None:
        super().__init__()
        self.sizes, self.threshold = sizes, threshold
        self.logits_projection = nn.Linear(sizes.logits, sizes.hidden)
        self.combined_projection = nn.Linear(3 * sizes.hidden, sizes.dims[0])
        self.backbone = Backbone(sizes, dropout)

    def forward(self, hidden: Tensor, embedding: Tensor, logits: Tensor) -> Tensor:
        """Return the logit of each token [n].

        `hidden` [n, width]: S's last hidden state, normed, that the token was sampled from.
        `embedding` [n, width]: the token's, as S reads it. `logits` [n, k]: S's k highest, as they
        come out of S, in descending order.
        """
        read = torch.cat([hidden, embedding, self.logits_projection(logits)], dim=-1)
        logit: Tensor = self.backbone(self.combined_projection(read))
        return logit.squeeze(-1)

    def probability(self, hidden: Tensor, embedding: Tensor, logits: Tensor) -> Tensor:
        """Return the probability [n] that a token is L's, from any floating type."""
        logit: Tensor = self(hidden.float(), embedding.float(), logits.float())
        return logit.sigmoid()


def load(file: Path) -> Router:
    """Return the router of a file, in float32 for inference; UserError if it is none."""
    router = Router(*router_file.read(file))
    router.load_state_dict({name: weight.float() for name, weight in load_file(file).items()})
    return router.eval().requires_grad_(False)
