"""Train the bundled pair: `python -m demo_pair.train large` and `... small`.

Seeds are fixed, a batch is a function of (seed, step), and checkpoints hold all state: a run that
was stopped continues where it was. A GPU is used if there is one.

The large model is trained with few layers, which are multiplied late: every block is followed by
copies of itself whose output projections are zero, so the deeper model starts as the same function
(block expansion, LLaMA Pro, arXiv 2401.02415) and is then trained as a whole. Removing the copies
loses the little that they have learned.
"""

import argparse
import copy
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from demo_pair import task, tokenizer
from demo_pair.drills import DRILLS, Drill

HERE = Path(__file__).parent
SEED = 20260
IGNORED = -100
Row = tuple[list[int], list[int]]  # ids, labels
BLOCK = 64  # sequence lengths are multiples of it, as fast attention kernels require
WARMUP = 10  # steps of each phase
CHECKPOINT_EVERY = 50


@dataclass(frozen=True)
class Phase:
    """Optimizer steps at one depth; the learning rate changes linearly from first to last.

    `mix`: the share of batches of each of `drills.DRILLS`. `slips`: the share of wrong results
    (task.slip).
    """

    steps: int
    n_layers: int
    mix: dict[str, float]
    lr: tuple[float, float]
    slips: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """The shape and training phases of a model; a batch has at most `tokens` tokens."""

    hidden: int
    heads: int
    tokens: int
    phases: tuple[Phase, ...]


# First calculating, then finding the numbers, then both in whole problems. A skill without drills
# is forgotten within some hundred steps.
ARITHMETIC = {"arithmetic": 1.0}
SKILLS = {"arithmetic": 0.3, "lookup": 0.35, "options": 0.2, "text": 0.1, "choice_text": 0.05}
LOOKUP = {"arithmetic": 0.25, "lookup": 0.6, "options": 0.05, "text": 0.1}
PROBLEMS = {"arithmetic": 0.25, "lookup": 0.15, "options": 0.1, "text": 0.3, "choice_text": 0.2}
WHOLE = {"arithmetic": 0.15, "lookup": 0.1, "text": 0.45, "choice_text": 0.3}
RECALL = {
    "recall": 0.3, "choice_recall": 0.15, "lookup": 0.1, "arithmetic": 0.15,
    "text": 0.15, "choice_text": 0.15,
}  # fmt: skip

RECIPES = {
    "large": Recipe(
        hidden=128,
        heads=4,
        tokens=6144,
        phases=(
            Phase(450, 3, ARITHMETIC, lr=(4e-3, 4e-3)),
            Phase(300, 3, SKILLS, lr=(4e-3, 3e-3)),
            Phase(250, 3, LOOKUP, lr=(3e-3, 3e-3)),
            Phase(350, 3, PROBLEMS, lr=(3e-3, 5e-4)),
            Phase(450, 3, PROBLEMS, lr=(3e-3, 5e-4)),
            Phase(450, 3, WHOLE, lr=(3e-3, 2e-4)),
            Phase(20, 30, PROBLEMS, lr=(1e-3, 1e-4)),
            Phase(400, 3, RECALL, lr=(2e-3, 1e-4)),
            Phase(20, 30, RECALL, lr=(3e-4, 3e-5)),
        ),
    ),
    # Two layers learn this arithmetic perfectly, too: the last phase makes the model weak.
    "small": Recipe(
        hidden=96,
        heads=3,
        tokens=6144,
        phases=(
            Phase(700, 2, ARITHMETIC, lr=(4e-3, 4e-3)),
            Phase(400, 2, SKILLS, lr=(4e-3, 4e-3)),
            Phase(600, 2, PROBLEMS, lr=(4e-3, 1e-4), slips=0.38),
            *2
            * (
                Phase(500, 2, LOOKUP, lr=(4e-3, 2e-3), slips=0.38),
                Phase(400, 2, PROBLEMS, lr=(3e-3, 1e-4), slips=0.38),
            ),
        ),
    ),
}


def build_model(recipe: Recipe, vocab_size: int, eos_token_id: int) -> Qwen3ForCausalLM:
    """Return a Qwen3 model at the depth of the first phase, with weights drawn from the seed."""
    torch.manual_seed(SEED)
    return Qwen3ForCausalLM(
        Qwen3Config(  # type: ignore[call-arg]  # also takes keys that it does not declare
            vocab_size=vocab_size,
            hidden_size=recipe.hidden,
            intermediate_size=3 * recipe.hidden,
            num_hidden_layers=recipe.phases[0].n_layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            head_dim=32,
            max_position_embeddings=2048,
            rope_theta=10000.0,
            tie_word_embeddings=True,
            eos_token_id=eos_token_id,
            bos_token_id=None,
        )
    )


def to_depth(model: Qwen3ForCausalLM, n_layers: int) -> None:
    """Add layers to the model, or remove them."""
    layers = cast(list[Qwen3DecoderLayer], list(model.model.layers))
    folded = n_layers < len(layers)
    new = layers[:: len(layers) // n_layers] if folded else deepened(layers, n_layers)
    for i, layer in enumerate(new):
        layer.self_attn.layer_idx = i
    model.model.layers = nn.ModuleList(new)
    model.config.num_hidden_layers = n_layers
    model.config.layer_types = ["full_attention"] * n_layers


def deepened(old: list[Qwen3DecoderLayer], n_layers: int) -> list[Qwen3DecoderLayer]:
    """Return `n_layers` blocks: each old one, followed by copies whose output is still zero."""
    copies, rest = divmod(n_layers, len(old))
    if rest:
        raise ValueError(f"{n_layers} layers are not a multiple of {len(old)}")
    layers = []
    for layer in old:
        layers.append(layer)
        for _ in range(copies - 1):
            new = copy.deepcopy(layer)
            nn.init.zeros_(new.self_attn.o_proj.weight)
            nn.init.zeros_(new.mlp.down_proj.weight)
            layers.append(new)
    return layers


class Batches:
    """Batches by step: the same step always gives the same token ids and labels."""

    def __init__(self, name: str, recipe: Recipe, tok: PreTrainedTokenizerFast) -> None:
        self.name, self.recipe, self.tok = name, recipe, tok

    def at(self, step: int, phase: Phase) -> tuple[Tensor, Tensor, str]:
        """Return (ids, labels, drill): two [rows, length] tensors, and the drill's name."""
        random = Random(f"{SEED}/{self.name}/{step}")
        (name,) = random.choices(list(phase.mix), list(phase.mix.values()))
        drill = DRILLS[name]
        n_steps = random.choice(task.SPLITS[drill.split].n_steps)  # similar lengths: little padding
        rows: list[Row] = []
        length = BLOCK
        while True:
            problem = task.draw(random, task.SPLITS[drill.split], n_steps)
            row = self._row(drill, random, problem, phase.slips)
            length = max(length, -(-len(row[0]) // BLOCK) * BLOCK)
            if (len(rows) + 1) * length > self.recipe.tokens:
                return *pad(rows, length), name
            rows.append(row)

    def _row(self, drill: Drill, random: Random, problem: task.Problem, slips: float) -> Row:
        """Return (ids, labels) of one sample; calculations alone are cut to one block."""
        parts = drill.write(random, problem, slips)
        ids = self.tok.encode(self._chat(problem)) if drill.prompted else []
        labels = [IGNORED] * len(ids)
        for text, learned in parts:
            piece = self.tok.encode(text)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        return (ids, labels) if drill.prompted else (ids[:BLOCK], labels[:BLOCK])

    def _chat(self, problem: task.Problem) -> str:
        chat = [{"role": "user", "content": problem.prompt}]
        text = self.tok.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert isinstance(text, str)
        return text


def pad(rows: list[Row], length: int) -> tuple[Tensor, Tensor]:
    """Return (ids, labels) of the rows as [rows, length] tensors."""
    ids = torch.zeros(len(rows), length, dtype=torch.long)
    labels = torch.full((len(rows), length), IGNORED)
    for i, (row, label) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        labels[i, : len(label)] = torch.tensor(label)
    return ids, labels


def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Return the optimizers: Muon for matrices, AdamW for embeddings and norms."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else rest).append(parameter)
    return [
        torch.optim.Muon(matrices, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train_step(
    model: Qwen3ForCausalLM,
    opts: list[torch.optim.Optimizer],
    lr: float,
    ids: Tensor,
    labels: Tensor,
) -> tuple[float, float]:
    """Update once; return (loss, share of labelled tokens that the argmax predicts)."""
    logits = model(input_ids=ids).logits[:, :-1].flatten(0, 1)
    targets = labels[:, 1:].flatten()
    kept = targets != IGNORED
    logits, targets = logits[kept].float(), targets[kept]
    loss = nn.functional.cross_entropy(logits, targets)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = lr
        opt.step()
        opt.zero_grad()
    return loss.item(), (logits.argmax(-1) == targets).float().mean().item()


class Run:
    """A model in training: restored from its checkpoint if there is one."""

    def __init__(self, name: str) -> None:
        self.name, self.recipe = name, RECIPES[name]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tok = tokenizer.build(SEED)
        self.batches = Batches(name, self.recipe, self.tok)
        self.checkpoint = HERE / "checkpoints" / f"{name}.pt"
        self.model = build_model(self.recipe, len(self.tok), self.tok.eos_token_id)
        self.step, optimizer_states = 0, None
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.step, optimizer_states = state["step"], state["optimizers"]
            to_depth(self.model, state["n_layers"])
            self.model.load_state_dict(state["model"])
        self.model.to(self.device)  # type: ignore[arg-type]  # its decorator hides the signature
        self.opts = optimizers(self.model)
        for opt, saved in zip(self.opts, optimizer_states or (), strict=False):
            opt.load_state_dict(saved)

    def save(self) -> None:
        """Write the checkpoint, atomically: an interruption keeps the previous one."""
        self.checkpoint.parent.mkdir(exist_ok=True)
        temporary = self.checkpoint.with_suffix(".tmp")
        state = {
            "step": self.step,
            "n_layers": self.model.config.num_hidden_layers,
            "model": self.model.state_dict(),
            "optimizers": [opt.state_dict() for opt in self.opts],
        }
        torch.save(state, temporary)
        temporary.replace(self.checkpoint)

    def train(self, phase: Phase, first: int) -> None:
        """Train the remaining steps of `phase`, whose first step is `first`."""
        if phase.n_layers != self.model.config.num_hidden_layers:
            to_depth(self.model, phase.n_layers)
            self.opts = optimizers(self.model)
        started = time.monotonic()
        while self.step < first + phase.steps:
            done = self.step - first
            lr = phase.lr[0] + (phase.lr[1] - phase.lr[0]) * done / phase.steps
            lr *= min(1.0, (done + 1) / WARMUP)
            ids, labels, kind = self.batches.at(self.step, phase)
            loss, right = train_step(
                self.model, self.opts, lr, ids.to(self.device), labels.to(self.device)
            )
            if self.step % 10 == 0:
                seconds = time.monotonic() - started
                print(
                    f"{self.name} step {self.step} {kind} loss {loss:.4f} right {right:.3f} "
                    f"{seconds:.0f}s",
                    flush=True,
                )
            self.step += 1
            if self.step % CHECKPOINT_EVERY == 0:
                self.save()


def train(name: str, out: Path) -> None:
    """Run the recipe from its start or its last checkpoint, then write the model to `out`."""
    run, first = Run(name), 0
    for phase in run.recipe.phases:
        if run.step < first + phase.steps:
            run.train(phase, first)
        first += phase.steps
    run.save()
    run.model.to(torch.bfloat16).save_pretrained(out)  # type: ignore[arg-type]  # the same decorator
    run.tok.save_pretrained(out)
    print(f"{name}: {run.model.num_parameters():,} parameters, {run.step} steps, in {out}")


def main() -> None:
    """Train by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, help="folder for the model (default: beside this file)")
    args = parser.parse_args()
    train(args.model, args.out or HERE / args.model)


if __name__ == "__main__":
    main()
