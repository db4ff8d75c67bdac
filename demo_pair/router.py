"""Train the bundled pair's router for R2R: `python -m demo_pair.router`.

The recipe is that of its authors (arXiv 2505.21600 and their released code), at the size of this
pair. The large model answers training problems, and the small model reads the answers. Where it
samples another token, the large model continues that token, too, to the end of the sentence. (The
authors take the likeliest token. The small model's errors are in those that it samples: its
likeliest results are right.)
The token is divergent if the two sentences state other values: the authors ask a judging model
whether they mean the same. The router learns by binary cross-entropy, in which divergent tokens
weigh as much as all others together. Its threshold finds 95 % of the divergent tokens of problems
that it was not trained on, with as few others as that takes.
"""

import argparse
import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from demo_pair import task
from demo_pair.train import HERE, SEED
from stages.config.params import load
from stages.config.schema import Infer, Sampling
from stages.engine import server
from stages.engine.client import Client
from stages.engine.router import Router
from stages.engine.router_file import THRESHOLD, Sizes
from stages.engine.server import Engine
from stages.engine.spec import specs
from stages.methods.base import Request
from stages.runtime.progress import Progress

SIZES = Sizes(hidden=96, logits=100, dims=(48,) * 6, expansion=4)  # published: (1024,) * 6
PROBLEMS = {"train": 48, "train_choice": 16}
VALIDATED = 16  # of these
IN_FLIGHT = 32  # texts that the large model writes at once
ANSWER_TOKENS, SENTENCE_TOKENS = 1024, 80
EPOCHS, PATIENCE, BATCH = 16, 4, 512  # published: 50, 10, 1024
LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 1e-3, 5e-4, 0.1  # published: 5e-5, for a larger router
RECALL = 0.95
SAMPLED, GREEDY = Sampling(temperature=0.6, top_p=0.95, top_k=20), Sampling(temperature=0)
VALUE = re.compile(r"(?<!after )\d\d|\b[A-D]\b")  # "after 99" is how the counter works
SENTENCE_ENDS = (".", "!", "?", "\n\n")
SENTENCE_END = re.compile("|".join(map(re.escape, SENTENCE_ENDS)))
Ids = list[int]


@dataclass(frozen=True)
class Read:
    """An answer as the small model reads it.

    `ids` begin with the prompt, of `start` tokens. The others are one for each token of the answer:
    `choice` [n], a token that the small model samples in its place, and what the router reads of
    that, `hidden` and `embedding` [n, width] and `logits` [n, k].
    """

    ids: Ids
    start: int
    choice: Ids
    hidden: Tensor
    embedding: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Tokens:
    """What the router reads of tokens, and whether they are divergent (1) or not (0)."""

    hidden: Tensor
    embedding: Tensor
    logits: Tensor
    divergent: Tensor


class Small:
    """The small model, and the tokenizer of both."""

    def __init__(self) -> None:
        self.tokenizer = PreTrainedTokenizerFast.from_pretrained(HERE / "small")
        self.small = Qwen3ForCausalLM.from_pretrained(HERE / "small", dtype=torch.float32).eval()

    def prompt(self, problem: task.Problem) -> Ids:
        """Return the token ids of a problem's chat."""
        chat = [{"role": "user", "content": problem.prompt}]
        text = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return list(self.tokenizer.encode(text))

    @torch.inference_mode()
    def read(self, prompt: Ids, answer: Ids) -> Read:
        """Return how the small model reads an answer."""
        ids = torch.tensor([prompt + answer])
        out = self.small(ids, output_hidden_states=True)
        behind = slice(len(prompt) - 1, -1)  # each position predicts the next token
        logits = out.logits[0, behind]
        choice = torch.multinomial((logits / SAMPLED.temperature).softmax(-1), 1)[:, 0]
        return Read(
            ids=prompt + answer,
            start=len(prompt),
            choice=choice.tolist(),
            hidden=out.hidden_states[-1][0, behind],
            embedding=self.small.get_input_embeddings()(choice),
            logits=logits.topk(SIZES.logits).values,
        )

    def text(self, ids: Ids) -> str:
        """Return the text of token ids, special tokens included."""
        return str(self.tokenizer.decode(ids))


@dataclass(frozen=True)
class Large:
    """The large model, in an engine."""

    engine: Engine
    infer: Infer

    async def write(
        self, prompts: Sequence[Ids], tokens: int, how: Sampling, stop: tuple[str, ...] = ()
    ) -> list[Ids]:
        """Return what it writes behind each prompt, `tokens` tokens at most."""
        limit = asyncio.Semaphore(IN_FLIGHT)
        async with Client(self.engine, how, self.infer) as client:

            async def one(n: int, prompt: Ids) -> Ids:
                async with limit:
                    request = Request("large", prompt, tokens, stop)
                    written = await client.complete(request, seed=n, salt="router")
                    progress.step(len(written.token_ids))
                    return written.token_ids

            with Progress("large", len(prompts)) as progress:
                return await asyncio.gather(*(one(*row) for row in enumerate(prompts)))


def draw(seed: int) -> list[task.Problem]:
    """Return the problems to train on, those of all splits mixed."""
    found = [one for split, n in PROBLEMS.items() for one in task.problems(split, n, seed)]
    Random(f"{seed}/router").shuffle(found)
    return found


def others(read: Read) -> Iterator[int]:
    """Yield the positions where the small model would write another token."""
    for i, choice in enumerate(read.choice):
        if choice != read.ids[read.start + i]:
            yield read.start + i


def values(before: str, after: str) -> list[str]:
    """Return the values that the sentence between two texts states: numbers, and letters."""
    begun = [end.end() for end in SENTENCE_END.finditer(before)]
    start = before[begun[-1] if begun else 0 :]
    # A sentence that ends with the last text before is over: the next one counts.
    end = SENTENCE_END.search(after)
    return VALUE.findall(start + (after[: end.start()] if end else after))


async def divergent(small: Small, large: Large, reads: Sequence[Read]) -> list[Tensor]:
    """Return for each answer which of its tokens [n] are divergent, as 0 and 1."""
    found = [torch.zeros(len(read.choice)) for read in reads]
    places = [(n, at) for n, read in enumerate(reads) for at in others(read)]
    prompts = [[*reads[n].ids[:at], reads[n].choice[at - reads[n].start]] for n, at in places]
    texts = await large.write(prompts, SENTENCE_TOKENS, GREEDY, stop=SENTENCE_ENDS)
    for (n, at), prompt, text in zip(places, prompts, texts, strict=True):
        ids, start = reads[n].ids, reads[n].start
        before, choice = small.text(ids[start:at]), small.text(prompt[-1:])
        # A token that ends a sentence itself leaves nothing to be written behind it.
        other = choice if SENTENCE_END.search(choice) else choice + small.text(text)
        found[n][at - start] = values(before, other) != values(before, small.text(ids[at:]))
    return found


def tokens(reads: Sequence[Read], labels: Sequence[Tensor]) -> Tokens:
    """Return the tokens of answers together."""
    return Tokens(
        torch.cat([read.hidden for read in reads]),
        torch.cat([read.embedding for read in reads]),
        torch.cat([read.logits for read in reads]),
        torch.cat(list(labels)),
    )


def logits(router: Router, given: Tokens, rows: Tensor | None = None) -> Tensor:
    """Return the router's logits of tokens, or of some of them."""
    parts = (given.hidden, given.embedding, given.logits)
    out: Tensor = router(*(part if rows is None else part[rows] for part in parts))
    return out


def train(trained: Tokens, validated: Tokens) -> Router:
    """Return the router with the lowest loss on the tokens that it is not trained on."""
    torch.manual_seed(SEED)
    router = Router(SIZES, threshold=0.5, dropout=DROPOUT)
    optimizer = torch.optim.AdamW(router.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    n = trained.divergent.sum()
    loss_of = nn.BCEWithLogitsLoss(pos_weight=(len(trained.divergent) - n) / n)
    best, weights, since = float("inf"), router.state_dict(), 0
    for epoch in range(EPOCHS):
        router.train()
        for rows in torch.randperm(len(trained.divergent)).split(BATCH):
            optimizer.zero_grad()
            loss_of(logits(router, trained, rows), trained.divergent[rows]).backward()
            optimizer.step()
        router.eval()
        with torch.inference_mode():
            loss = float(loss_of(logits(router, validated), validated.divergent))
        print(f"epoch {epoch} loss {loss:.4f}", flush=True)
        since = 0 if loss < best else since + 1
        if loss < best:
            best, weights = loss, {k: v.clone() for k, v in router.state_dict().items()}
        if since == PATIENCE:
            break
    router.load_state_dict(weights)
    return router.eval()


@torch.inference_mode()
def threshold_of(router: Router, validated: Tokens) -> float:
    """Return the highest threshold that finds RECALL of the divergent tokens."""
    found = logits(router, validated).sigmoid()[validated.divergent > 0].sort().values
    return float(found[int((1 - RECALL) * len(found))])


@torch.inference_mode()
def report(router: Router, validated: Tokens) -> str:
    """Return in a line what the router does with tokens that it was not trained on."""
    left = logits(router, validated).sigmoid() >= router.threshold
    is_divergent = validated.divergent > 0
    return (
        f"threshold {router.threshold:.4f}: finds {left[is_divergent].float().mean():.1%} of "
        f"{int(is_divergent.sum())} divergent tokens, and leaves {left.float().mean():.1%} of "
        f"{len(left)} tokens to the large model"
    )


async def labelled(large: Large, small: Small) -> tuple[list[Read], list[Tensor]]:
    """Return the large model's answers as the small one reads them, and their divergent tokens."""
    torch.manual_seed(SEED)
    prompts = [small.prompt(problem) for problem in draw(SEED)]
    answers = await large.write(prompts, ANSWER_TOKENS, SAMPLED)
    reads = [small.read(*one) for one in zip(prompts, answers, strict=True)]
    return reads, await divergent(small, large, reads)


def main() -> None:
    """Train by the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "router/model.safetensors")
    args = parser.parse_args()
    started = time.monotonic()
    params = load(Path("params.yaml"))
    wanted = specs(params.pair("demo"), params.engines, ("large",), IN_FLIGHT)
    with (
        TemporaryDirectory() as logs,
        server.running(wanted, params.engines, Path(logs)) as engines,
    ):
        reads, labels = asyncio.run(labelled(Large(engines["large"], params.infer), Small()))
    validated = tokens(reads[:VALIDATED], labels[:VALIDATED])
    router = train(tokens(reads[VALIDATED:], labels[VALIDATED:]), validated)
    router.threshold = threshold_of(router, validated)
    args.out.parent.mkdir(exist_ok=True)
    save_file(router.state_dict(), args.out, {THRESHOLD: repr(router.threshold)})
    print(f"{report(router, validated)}; {time.monotonic() - started:.0f} s, in {args.out}")


if __name__ == "__main__":
    main()
