"""Train the bundled pair: `python -m demo_pair.train large` and `... small`.

Fixed seeds, a batch is a function of (seed, step), and checkpoints hold all state: a run that was
stopped goes on where it was. Uses a GPU where there is one; about an hour of two cores otherwise.

The large model is trained shallow and deepened late: every block is followed by copies of itself
whose output projections are zero, so the deepened model starts as the same function (block
expansion, LLaMA Pro, arXiv 2401.02415) and is then trained on as a whole.
"""

import argparse
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from demo_pair import task, tokenizer

HERE = Path(__file__).parent
SEED = 20260
IGNORED = -100
Row = tuple[list[int], list[int]]  # ids, labels
FACTS_PER_ROW = 3
WARMUP = 10  # steps of each phase
CHECKPOINT_EVERY = 50


@dataclass(frozen=True)
class Phase:
    """Some optimizer steps at one depth; the learning rate goes linearly from first to last.

    `drills`: the share of batches that each drill gets; the rest is whole problems. `slips`: the
    share of results with a carry gone wrong (task.slip).
    """

    steps: int
    n_layers: int
    drills: dict[str, float]
    lr: tuple[float, float]
    slips: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """One model's shape and course of training; a batch has `tokens` tokens."""

    hidden: int
    heads: int
    tokens: int
    phases: tuple[Phase, ...]


RECIPES = {
    "large": Recipe(
        hidden=128,
        heads=4,
        tokens=6144,
        phases=(
            Phase(steps=600, n_layers=6, drills={"arithmetic": 1.0}, lr=(4e-3, 4e-3)),
            Phase(steps=450, n_layers=6, drills={"arithmetic": 0.3}, lr=(4e-3, 2e-3)),
            Phase(
                steps=250,
                n_layers=6,
                drills={"arithmetic": 0.1, "reading": 0.5},
                lr=(3e-3, 1.75e-3),
            ),
            Phase(steps=150, n_layers=6, drills={"lookup": 0.7}, lr=(2e-3, 1e-3)),
            Phase(
                steps=150,
                n_layers=6,
                drills={"arithmetic": 0.3, "lookup": 0.15, "options": 0.2},
                lr=(2e-3, 1e-3),
            ),
            Phase(
                steps=150,
                n_layers=6,
                drills={"arithmetic": 0.15, "lookup": 0.2, "options": 0.45},
                lr=(2e-3, 5e-4),
            ),
            Phase(steps=20, n_layers=24, drills={"arithmetic": 0.2}, lr=(1e-3, 1e-4)),
            Phase(
                steps=30,
                n_layers=24,
                drills={"arithmetic": 0.15, "lookup": 0.15, "options": 0.4},
                lr=(1e-3, 1e-4),
            ),
            Phase(
                steps=50,
                n_layers=24,
                drills={"arithmetic": 0.2, "options": 0.55},
                lr=(3e-3, 1e-4),
            ),
        ),
    ),
    # Weak by its upbringing: as small as it is, it learns the arithmetic too, if only taught well.
    "small": Recipe(
        hidden=96,
        heads=3,
        tokens=6144,
        phases=(
            Phase(
                steps=400,
                n_layers=2,
                drills={"arithmetic": 0.5, "reading": 0.5},
                lr=(4e-3, 4e-3),
                slips=0.2,
            ),
            Phase(
                steps=750,
                n_layers=2,
                drills={"arithmetic": 0.2, "reading": 0.2},
                lr=(4e-3, 1.075e-3),
                slips=0.2,
            ),
            Phase(
                steps=300,
                n_layers=2,
                drills={"arithmetic": 0.6, "reading": 0.1},
                lr=(2e-3, 1e-4),
            ),
            Phase(
                steps=200,
                n_layers=2,
                drills={"arithmetic": 0.7, "reading": 0.1},
                lr=(2e-3, 1e-4),
            ),
            Phase(
                steps=250,
                n_layers=2,
                drills={"arithmetic": 0.6, "reading": 0.1},
                lr=(2e-3, 1e-4),
            ),
            Phase(
                steps=100,
                n_layers=2,
                drills={"arithmetic": 0.2, "options": 0.4},
                lr=(1e-3, 1e-4),
            ),
            Phase(
                steps=100,
                n_layers=2,
                drills={"arithmetic": 0.2, "options": 0.5},
                lr=(3e-3, 1e-4),
            ),
        ),
    ),
}


def build_model(recipe: Recipe, vocab_size: int, eos_token_id: int) -> Qwen3ForCausalLM:
    """A Qwen3 model at the depth of the first phase, weights drawn from the seed."""
    torch.manual_seed(SEED)
    return Qwen3ForCausalLM(
        Qwen3Config(
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


def deepen(model: Qwen3ForCausalLM, n_layers: int) -> None:
    """Follow each block with copies that add nothing yet, up to `n_layers` blocks in all."""
    old = model.model.layers
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
    for i, layer in enumerate(layers):
        layer.self_attn.layer_idx = i
    model.model.layers = nn.ModuleList(layers)
    model.config.num_hidden_layers = n_layers
    model.config.layer_types = ["full_attention"] * n_layers


class Batches:
    """Token ids and labels for a step; the same step always gives the same batch."""

    def __init__(self, name: str, recipe: Recipe, tok: PreTrainedTokenizerFast) -> None:
        self.name, self.recipe, self.tok = name, recipe, tok

    def at(self, step: int, phase: Phase) -> tuple[Tensor, Tensor, str]:
        """(ids, labels, kind): two [rows, length] tensors, and what they are."""
        random = Random(f"{SEED}/{self.name}/{step}")
        draw, kind, rows = random.random(), "text", self._text
        for drill, share in phase.drills.items():
            draw -= share
            if draw < 0:
                kind, rows = drill, getattr(self, f"_{drill}")
                break
        return *self._pad(list(rows(random, phase.slips))), kind

    def _pad(self, rows: list[Row]) -> tuple[Tensor, Tensor]:
        """As many rows as the batch has room for, in one block."""
        length = -(-max(len(ids) for ids, _ in rows) // 64) * 64  # 64s: fast attention kernels
        rows = rows[: max(1, self.recipe.tokens // length)]
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        labels = torch.full((len(rows), length), IGNORED)
        for i, (row, label) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            labels[i, : len(label)] = torch.tensor(label)
        return ids, labels

    def _encode(self, parts: task.Parts) -> Row:
        """(ids, labels) of texts that are to be learned or not."""
        ids: list[int] = []
        labels: list[int] = []
        for text, learned in parts:
            piece = self.tok.encode(text)
            ids += piece
            labels += piece if learned else [IGNORED] * len(piece)
        return ids, labels

    def _arithmetic(self, random: Random, slips: float) -> Iterator[Row]:
        for _ in range(self.recipe.tokens // 64):
            drill = task.arithmetic_drill(random, FACTS_PER_ROW, slips)
            ids, labels = self._encode(drill)
            yield ids[:64], labels[:64]

    def _lookup(self, random: Random, slips: float) -> Iterator[Row]:
        for _ in range(self.recipe.tokens // 128):
            problem = self._problem(random, random.choice((3, 4)))
            yield self._encode([(self._chat(problem), False), *task.lookup_drill(random, problem)])

    def _options(self, random: Random, slips: float) -> Iterator[Row]:
        for _ in range(self.recipe.tokens // 192):
            problem = task.draw(random, task.SPLITS["train_choice"], random.choice((1, 2, 3, 4)))
            drill = task.options_drill(random, problem)
            yield self._encode([(self._chat(problem), False), *drill])

    def _reading(self, random: Random, slips: float) -> Iterator[Row]:
        n_steps = random.choice((2, 3, 4))
        for _ in range(self.recipe.tokens // 192):
            problem = self._problem(random, n_steps)
            yield self._encode([(self._chat(problem), False), *task.reading_drill(random, problem)])

    def _text(self, random: Random, slips: float) -> Iterator[Row]:
        n_steps = random.choice((1, 2, 3, 4))  # one length a batch: little padding
        for _ in range(self.recipe.tokens // 128):
            problem = self._problem(random, n_steps)
            text = task.completion(random, problem, slips)
            yield self._encode([(self._chat(problem), False), (text + self.tok.eos_token, True)])

    def _problem(self, random: Random, n_steps: int) -> task.Problem:
        split = random.choice(("train", "train", "train_choice"))
        return task.draw(random, task.SPLITS[split], n_steps)

    def _chat(self, problem: task.Problem) -> str:
        chat = [{"role": "user", "content": problem.prompt}]
        text = self.tok.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        assert isinstance(text, str)
        return text


def optimizers(model: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for embeddings and norms."""
    matrices, rest = [], []
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
    """One update; returns (loss, share of labelled tokens that the argmax gets right)."""
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


def load_tokenizer() -> PreTrainedTokenizerFast:
    """The shipped tokenizer, or a new one: a change of the task's texts keeps the token ids."""
    if (HERE / "large" / "tokenizer.json").exists():
        tok = PreTrainedTokenizerFast.from_pretrained(HERE / "large")
        assert isinstance(tok, PreTrainedTokenizerFast)
        return tok
    return tokenizer.build(SEED)


class Run:
    """A model under training: restored from its checkpoint if there is one."""

    def __init__(self, name: str) -> None:
        self.name, self.recipe = name, RECIPES[name]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tok = load_tokenizer()
        self.batches = Batches(name, self.recipe, self.tok)
        self.checkpoint = HERE / "checkpoints" / f"{name}.pt"
        self.model = build_model(self.recipe, len(self.tok), self.tok.eos_token_id)
        self.step, optimizer_states = 0, None
        if self.checkpoint.exists():
            state = torch.load(self.checkpoint, weights_only=True)
            self.step, optimizer_states = state["step"], state["optimizers"]
            deepen(self.model, state["n_layers"])
            self.model.load_state_dict(state["model"])
        self.model.to(self.device)
        self.opts = optimizers(self.model)
        for opt, saved in zip(self.opts, optimizer_states or (), strict=False):
            opt.load_state_dict(saved)

    def save(self) -> None:
        """Atomic: an interruption leaves the previous checkpoint whole."""
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
        """The steps of `phase` that are still to be done; it begins at step `first`."""
        if phase.n_layers != self.model.config.num_hidden_layers:
            deepen(self.model, phase.n_layers)
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
    run.model.to(torch.bfloat16).save_pretrained(out)
    run.tok.save_pretrained(out)
    print(f"{name}: {run.model.num_parameters():,} parameters, {run.step} steps, in {out}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(RECIPES))
    parser.add_argument("--out", type=Path, help="folder for the model (default: beside this file)")
    args = parser.parse_args()
    train(args.model, args.out or HERE / args.model)


if __name__ == "__main__":
    main()
