"""Train the bundled large model's Eagle-3 draft head: `python -m demo_pair.eagle3`.

The head (EAGLE-3, arXiv 2503.01840) reads the large model's hidden states of three layers and the
next token, and drafts the token after it; from the second draft on it reads its own states instead,
and is trained so ("training-time test"). It learns the large model's distribution, not the text.
Weights and config are what vLLM's `eagle3` method loads.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LlamaConfig, Qwen3ForCausalLM
from transformers.models.llama.modeling_llama import (
    LlamaMLP,
    LlamaRMSNorm,
    LlamaRotaryEmbedding,
    rotate_half,
)

from demo_pair import tokenizer
from demo_pair.train import HERE, RECIPES, SEED, Batches, Phase, optimizers

DRAFTS = 3  # steps of the training-time test, and tokens drafted at once when serving
DECAY = 0.8  # weight of a draft's loss against that of the draft before it
TEXT = Phase(steps=0, n_layers=0, mix={"text": 0.6, "choice_text": 0.4}, lr=(0, 0))
BATCHES = 80  # of the large model's states, kept in memory and used several times
STEPS = 480
LEARNING_RATE = (3e-3, 1e-4)
CHECKPOINT_EVERY = 40


def aux_layers(n_layers: int) -> tuple[int, int, int]:
    """Return after which layers vLLM takes the hidden states that the head reads."""
    return 2, n_layers // 2, n_layers - 3


class MidLayer(nn.Module):
    """One decoder layer over [embedding of the next token, hidden state]."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width = config.hidden_size
        assert config.head_dim
        self.n_heads, self.head_dim = config.num_attention_heads, config.head_dim
        self.input_layernorm = LlamaRMSNorm(width, config.rms_norm_eps)
        self.hidden_norm = LlamaRMSNorm(width, config.rms_norm_eps)
        self.post_attention_layernorm = LlamaRMSNorm(width, config.rms_norm_eps)
        self.self_attn = nn.ModuleDict(
            {
                name: nn.Linear(2 * width, width, bias=False)
                for name in ("q_proj", "k_proj", "v_proj")
            }
        )
        self.self_attn["o_proj"] = nn.Linear(width, width, bias=False)
        self.mlp = LlamaMLP(config)
        self.rope = LlamaRotaryEmbedding(config)

    def forward(self, embeds: Tensor, hidden: Tensor, cache: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Return the next hidden states [rows, length, width] from two such tensors.

        `cache`: keys and values of earlier drafts. Position t of draft k sees every t' <= t of the
        true states (draft 0), and of the drafts in between only its own: what an engine has in its
        cache at that point.
        """
        both = torch.cat([self.input_layernorm(embeds), self.hidden_norm(hidden)], dim=-1)
        heads = [self._heads(self.self_attn[f"{name}_proj"](both)) for name in "qkv"]
        positions = torch.arange(both.shape[1], device=both.device)[None] + len(cache)
        cos, sin = self.rope(both, positions)
        query, key = (x * cos[:, None] + rotate_half(x) * sin[:, None] for x in heads[:2])
        cache.append((key, heads[2]))
        mixed = self._attend(query, cache).transpose(1, 2).flatten(2)
        hidden = hidden + self.self_attn["o_proj"](mixed)
        mlp: Tensor = self.mlp(self.post_attention_layernorm(hidden))
        return hidden + mlp

    def _heads(self, x: Tensor) -> Tensor:
        """Reshape [rows, length, width] to [rows, heads, length, head_dim]."""
        heads: Tensor = x.unflatten(-1, (self.n_heads, self.head_dim))
        return heads.transpose(1, 2)

    def _attend(self, query: Tensor, cache: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Attend causally to the true states, and to the own position of each draft."""
        (keys, values), own = cache[0], cache[1:]
        length = query.shape[2]
        scores = query @ keys.transpose(-1, -2)
        later = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
        scores = scores.masked_fill(later, float("-inf"))
        lines = [(query * key).sum(-1, keepdim=True) for key, _ in own]
        weights = torch.cat([scores, *lines], dim=-1).div(self.head_dim**0.5).softmax(-1)
        mixed = weights[..., :length] @ values
        for i, (_, value) in enumerate(own):
            mixed = mixed + weights[..., length + i, None] * value
        return mixed


class Eagle3Head(nn.Module):
    """The draft head; its parameters have the names of the published heads."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.fc = nn.Linear(3 * width, width, bias=False)
        self.midlayer = MidLayer(config)
        self.norm = LlamaRMSNorm(width, config.rms_norm_eps)
        self.lm_head = nn.Linear(width, config.vocab_size, bias=False)

    def drafts(self, aux: Tensor, embeds: Tensor) -> list[Tensor]:
        """Return each draft's logits [rows, length, vocab]; draft k at t is of token t + k + 2.

        `aux` [rows, length, 3 widths]: the large model's states; `embeds` [rows, length, width]:
        the token at each position.
        """
        hidden, logits = self.fc(aux), []
        cache: list[tuple[Tensor, Tensor]] = []
        for _ in range(DRAFTS):
            embeds = embeds.roll(-1, dims=1)  # the last position has no target
            hidden = self.midlayer(embeds, hidden, cache)
            logits.append(self.lm_head(self.norm(hidden)))
        return logits


class States:
    """The large model's hidden states on batches of text: what the head learns from."""

    def __init__(self, large: Qwen3ForCausalLM) -> None:
        self.large = large
        self.batches: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []

    @torch.no_grad()
    def at(self, step: int, batches: Batches) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return (aux, embeds, probabilities, counts) of a step; computed once per batch."""
        index = step % BATCHES
        if index == len(self.batches):
            ids, labels, _ = batches.at(index, TEXT)
            states = self.large.model(input_ids=ids, output_hidden_states=True)
            aux = [states.hidden_states[i] for i in aux_layers(len(self.large.model.layers))]
            self.batches.append((torch.cat(aux, -1), ids, states.last_hidden_state, labels >= 0))
        aux_states, ids, last, counts = self.batches[index]
        probabilities = self.large.lm_head(last).softmax(-1)
        return aux_states, self.large.model.embed_tokens(ids), probabilities, counts


def train_step(
    head: Eagle3Head, opts: list[torch.optim.Optimizer], lr: float, batch: tuple[Tensor, ...]
) -> list[float]:
    """Update once; return, per draft, how often its argmax is the large model's (0 to 1)."""
    aux, embeds, probabilities, counts = batch
    loss, right = torch.zeros(()), []
    for k, logits in enumerate(head.drafts(aux, embeds)):
        length = logits.shape[1] - k - 2
        # The large model predicts token t + k + 2 at position t + k + 1.
        wanted = probabilities[:, k + 1 : k + 1 + length]
        kept = counts[:, k + 2 : k + 2 + length]
        drafted, wanted = logits[:, :length][kept], wanted[kept]
        loss = loss + DECAY**k * nn.functional.cross_entropy(drafted, wanted)
        right.append((drafted.argmax(-1) == wanted.argmax(-1)).float().mean().item())
    loss.backward()
    nn.utils.clip_grad_norm_(head.parameters(), 1.0)
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = lr
        opt.step()
        opt.zero_grad()
    return right


def head_config(large: Qwen3ForCausalLM) -> LlamaConfig:
    """Return the head's config, which follows from the large model's."""
    target = large.config
    return LlamaConfig(  # type: ignore[call-arg]  # also takes keys that it does not declare
        architectures=["LlamaForCausalLMEagle3"],
        hidden_size=target.hidden_size,
        intermediate_size=target.intermediate_size,
        num_hidden_layers=1,
        num_attention_heads=target.num_attention_heads,
        num_key_value_heads=target.num_attention_heads,
        head_dim=target.head_dim,
        vocab_size=target.vocab_size,
        draft_vocab_size=target.vocab_size,
        max_position_embeddings=target.max_position_embeddings,
        rms_norm_eps=target.rms_norm_eps,
        rope_theta=10000.0,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=target.eos_token_id,
    )


def train(large_folder: Path, out: Path) -> None:
    """Train from the start or the last checkpoint, then write the head to `out`."""
    large = Qwen3ForCausalLM.from_pretrained(large_folder, dtype=torch.float32).eval()
    torch.manual_seed(SEED)
    config = head_config(large)
    head = Eagle3Head(config)
    head.lm_head.weight.data.copy_(large.lm_head.weight.data)
    opts = optimizers(head)
    checkpoint = HERE / "checkpoints" / "eagle3.pt"
    first = restore(checkpoint, head, opts)
    states, batches = States(large), Batches("eagle3", RECIPES["large"], tokenizer.build(SEED))
    for i in range(min(first, BATCHES)):
        states.at(i, batches)
    started = time.monotonic()
    for step in range(first, STEPS):
        start, end = LEARNING_RATE
        lr = start + (end - start) * step / STEPS
        right = train_step(head, opts, lr, states.at(step, batches))
        if step % 10 == 0:
            shares = " ".join(f"{share:.3f}" for share in right)
            print(f"step {step} right {shares} {time.monotonic() - started:.0f}s", flush=True)
        if (step + 1) % CHECKPOINT_EVERY == 0:
            save(checkpoint, step + 1, head, opts)
    write(head, config, out)


def save(checkpoint: Path, step: int, head: Eagle3Head, opts: list[torch.optim.Optimizer]) -> None:
    """Write the checkpoint, atomically: an interruption keeps the previous one."""
    checkpoint.parent.mkdir(exist_ok=True)
    temporary = checkpoint.with_suffix(".tmp")
    state = {"step": step, "head": head.state_dict(), "opts": [opt.state_dict() for opt in opts]}
    torch.save(state, temporary)
    temporary.replace(checkpoint)


def restore(checkpoint: Path, head: Eagle3Head, opts: list[torch.optim.Optimizer]) -> int:
    """Load a checkpoint if there is one; return the step to continue with."""
    if not checkpoint.exists():
        return 0
    state: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    head.load_state_dict(state["head"])
    for opt, saved in zip(opts, state["opts"], strict=True):
        opt.load_state_dict(saved)
    return int(state["step"])


def write(head: Eagle3Head, config: LlamaConfig, out: Path) -> None:
    """Write the head as vLLM loads it: config.json and model.safetensors in bfloat16."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: w.to(torch.bfloat16).contiguous() for name, w in head.state_dict().items()}
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    settings = config.to_dict() | {"dtype": "bfloat16"}
    (out / "config.json").write_text(
        json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    print(f"{sum(w.numel() for w in weights.values()):,} parameters in {out}")


def main() -> None:
    """Train by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=Path, default=HERE / "large", help="the target model")
    parser.add_argument("--out", type=Path, default=HERE / "eagle3", help="folder for the head")
    args = parser.parse_args()
    train(args.large, args.out)


if __name__ == "__main__":
    main()
