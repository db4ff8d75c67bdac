"""One scripted model: what it writes to token ids, what it counts and refuses."""

import asyncio
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter
from tokenizers import Tokenizer

from tests.scripted.writer import Writer, margin

Json = dict[str, Any]
DEFAULTS: Json = {
    "max_tokens": 16,
    "stop": [],
    "include_stop_str_in_output": False,
    "skip_special_tokens": True,
    "temperature": 1.0,
    "seed": None,
    "prompt_logprobs": None,
    "logprobs": None,
    "detokenize": True,
}
REASONS = ("stop", "length", "abort", "error", "repetition")
BLOCK = 32  # tokens that the prefix cache keeps together
ROUTED_AT = 12  # which token of a request the other model is to write


class RefusedError(Exception):
    """A request that the server answers with an error."""

    def __init__(self, status: int, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": status}}


def bad(message: str, param: str | None = None) -> RefusedError:
    """What is wrong with a request."""
    return RefusedError(400, "BadRequestError", message, param)


@dataclass(frozen=True)
class Text:
    """What was written; `stop`: the stop string that ended it, or a stop token's id."""

    token_ids: list[int]
    text: str
    finish_reason: str
    stop: str | int | None


def cut(ids: Sequence[int], pieces: Sequence[str], sampling: Json, end: int) -> Text:
    """`ids`, one piece of text each, up to `max_tokens`, a stop string or the token `end`.

    The token that completes a stop string is kept, the text behind it is not.
    """
    ids, pieces = ids[: sampling["max_tokens"]], pieces[: sampling["max_tokens"]]
    text = "".join(pieces)
    found = [(text.find(stop) + len(stop), stop) for stop in sampling["stop"] if stop in text]
    if found:
        place, stop = min(found, key=lambda one: one[0])
        n = 1 + sum(total < place for total in accumulate(map(len, pieces)))
        kept = place if sampling["include_stop_str_in_output"] else place - len(stop)
        return Text(list(ids[:n]), text[:kept], "stop", stop)
    if ids[-1] != end:
        return Text(list(ids), text, "length", None)
    shown = sampling["include_stop_str_in_output"] and not sampling["skip_special_tokens"]
    return Text(list(ids), text if shown else "".join(pieces[:-1]), "stop", None)


class Cache:
    """The prefix cache: whole blocks, apart by salt."""

    def __init__(self) -> None:
        self.blocks: set[int] = set()

    def cached(self, salt: str | None, ids: Sequence[int]) -> int:
        """How many of the tokens were seen at the head of a request; the last one never is."""
        have = 0
        for n, block in blocks(salt, ids[:-1]):
            if block not in self.blocks:
                break
            have = n
        return have

    def keep(self, salt: str | None, ids: Sequence[int]) -> None:
        """Remember them."""
        self.blocks.update(block for _, block in blocks(salt, ids))


def blocks(salt: str | None, ids: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(tokens so far, what stands for them) for every whole block."""
    chain = hash(salt)
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        chain = hash((chain, *ids[start : start + BLOCK]))
        yield start + BLOCK, chain


@dataclass
class Counts:
    """What /metrics shows, as the real server names it."""

    drafts_tokens: int | None
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        finished = self._counter("request_success", "finished_reason")
        self.ends = {reason: finished.labels("0", "model", reason) for reason in REASONS}
        self.prompt = self._counter("prompt_tokens").labels("0", "model")
        self.written = self._counter("generation_tokens").labels("0", "model")
        if self.drafts_tokens:
            self.drafts = self._counter("spec_decode_num_drafts").labels("0", "model")
            self.accepted = self._counter("spec_decode_num_accepted_tokens").labels("0", "model")

    def _counter(self, name: str, *labels: str) -> Counter:
        """A counter under the real server's name, with its labels."""
        labels = ("engine", "model_name", *labels)
        return Counter(f"vllm:{name}", name, labels, registry=self.registry)

    def add(self, n_prompt: int, text: Text) -> None:
        """One more reply. Of the tokens that are drafted at a time, all but one are accepted."""
        n = len(text.token_ids)
        self.ends[text.finish_reason].inc()
        self.prompt.inc(n_prompt)
        self.written.inc(n)
        if self.drafts_tokens:
            drafts = math.ceil(n / self.drafts_tokens)
            self.drafts.inc(drafts)
            self.accepted.inc(n - drafts)


@dataclass
class Engine:
    """One model. `drafts_tokens`: how many tokens its draft head proposes, if it has one."""

    model: str
    name: str
    max_model_len: int
    drafts_tokens: int | None

    def __post_init__(self) -> None:
        folder = Path(self.model)
        check_weights(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())
        self.end: int = config["eos_token_id"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.writer = Writer(self.model, slips=1 / (3 + config["num_hidden_layers"]))
        self.cache, self.counts = Cache(), Counts(self.drafts_tokens)
        self.answers: dict[str | None, int] = {}  # by salt, numbered
        self.core = start_core()

    @cached_property
    def pieces(self) -> list[str]:
        """Each token's text."""
        ids = range(self.tokenizer.get_vocab_size())
        return [self.tokenizer.decode([i], skip_special_tokens=False) for i in ids]

    async def write(self, ids: Sequence[int], sampling: Json, salt: str | None) -> tuple[Text, int]:
        """The continuation of `ids`, and how many of these were in the cache."""
        self.check(ids, sampling)
        note(self, ids, sampling, salt)
        answer = self.answers.setdefault(salt, len(self.answers) + 1)
        while not may_begin(answer):  # noqa: ASYNC110 - no event tells of a file
            await asyncio.sleep(0.05)
        await asyncio.sleep(float(os.environ.get("SCRIPTED_DELAY_S", "0")))
        chat = self.tokenizer.decode(list(ids), skip_special_tokens=False)
        seed = sampling["seed"] if sampling["temperature"] else None
        rest = self.writer.continuation(chat, seed)
        written = [*self.tokenizer.encode(rest, add_special_tokens=False).ids, self.end]
        room = {"max_tokens": min(sampling["max_tokens"], self.max_model_len - len(ids))}
        text = cut(written, [self.pieces[i] for i in written], sampling | room, self.end)
        text = self.routed(text, sampling)
        text = self.as_the_core_leaves_it(text)
        cached = 0 if sampling["prompt_logprobs"] else self.cache.cached(salt, ids)
        self.cache.keep(salt, [*ids, *text.token_ids])
        self.counts.add(len(ids), text)
        return text, cached

    def routed(self, text: Text, sampling: Json) -> Text:
        """A text, or its first tokens and the mark of its route: each ROUTED_AT-th is left out."""
        route = (sampling.get("extra_args") or {}).get("route")
        if not route or len(text.token_ids) < ROUTED_AT:
            return text
        ids = text.token_ids[: ROUTED_AT - 1]
        return Text(
            [*ids, route["mark"]], "".join(self.pieces[i] for i in ids), "stop", route["mark"]
        )

    def check(self, ids: Sequence[int], sampling: Json) -> None:
        """Raise RefusedError for what the real server refuses."""
        if not ids:
            raise bad("token_ids: at least 1 item after validation", "token_ids")
        if sampling["max_tokens"] < 1:
            message = f"max_tokens must be at least 1, got {sampling['max_tokens']}."
            raise bad(message, "max_tokens")
        if len(ids) >= self.max_model_len:
            raise bad(
                f"The decoder prompt (length {len(ids)}) is longer than the maximum model length "
                f"of {self.max_model_len}."
            )
        if unknown := [i for i in ids if i >= len(self.pieces)]:
            raise bad(f"Token id {unknown[0]} is out of vocabulary")

    def as_the_core_leaves_it(self, text: Text) -> Text:
        """A text whole, or its beginning where SIGTERM has ended the core meanwhile.

        Raises RefusedError if the core has died in another way.
        """
        code = self.core.poll()
        if code is None:
            return text
        if code != -signal.SIGTERM:
            raise RefusedError(500, "InternalServerError", "EngineCore encountered an issue.")
        begun = text.token_ids[: len(text.token_ids) // 2]
        return Text(begun, "".join(self.pieces[i] for i in begun), "abort", None)

    def logprobs(self, ids: Sequence[int], n: int, with_text: bool) -> list[Json | None]:
        """Per token the `n` likeliest and itself, for a reader that is less sure of results."""
        sentences = "".join(self.pieces[i] for i in ids).split(".")
        place, at, entries = 0, 0, list[Json | None]([None])
        for token in ids[1:]:
            piece = self.pieces[token]
            sure = (1 + margin(sentences[at], place)) / 2
            others = [i for i in range(n + 1) if i != token][: n - 1]
            entries.append(
                {
                    str(i): {
                        "logprob": math.log(sure if i == token else (1 - sure) / len(others)),
                        "rank": rank,
                        "decoded_token": self.pieces[i] if with_text else None,
                    }
                    for rank, i in enumerate([token, *others], 1)
                }
            )
            place, at = place + 1, at + piece.count(".")
        return entries

    def written_logprobs(self, ids: Sequence[int], text: Text, n: int) -> Json:
        """Log probabilities of the tokens that were written, as the server has them with text."""
        entries = self.logprobs([*ids, *text.token_ids], n, with_text=True)[len(ids) :]
        return {"content": [as_content(entry) for entry in entries if entry]}


def as_content(entry: Json) -> Json:
    """A position's log probabilities in the form of the chat endpoint."""
    tokens = [
        {
            "token": one["decoded_token"],
            "logprob": one["logprob"],
            "bytes": list(one["decoded_token"].encode()),
        }
        for one in entry.values()
    ]
    return {**tokens[0], "top_logprobs": tokens}


def start_core() -> subprocess.Popen[bytes]:
    """A child as vLLM's EngineCore is one: it ends with the server, and leaves a socket's file."""
    with tempfile.NamedTemporaryFile(prefix="socket-", delete=False):
        wait = [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()", "EngineCore"]
        return subprocess.Popen(wait, stdin=subprocess.PIPE)


def check_weights(file: Path) -> None:
    """Raise ValueError where a file of weights has no header."""
    with file.open("rb") as weights:
        json.loads(weights.read(int.from_bytes(weights.read(8), "little")))


def may_begin(n: int) -> bool:
    """Whether the n-th answer (from 1) may be begun."""
    hold = Path(os.environ.get("SCRIPTED_HOLD", "nothing"))
    return not hold.exists() or n <= int(hold.read_text())


def note(engine: Engine, ids: Sequence[int], sampling: Json, salt: str | None) -> None:
    """A line about a request, in the file SCRIPTED_LOG; `salt` is another for every answer."""
    if log := os.environ.get("SCRIPTED_LOG"):
        line = {
            "model": engine.model,
            "drafts": bool(engine.drafts_tokens),
            "prompt_tokens": len(ids),
            "max_tokens": sampling["max_tokens"],
            "seed": sampling["seed"],
            "salt": salt,
            "margins": bool(sampling["prompt_logprobs"]),
            "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "server": os.getpid(),
        }
        with Path(log).open("a") as file:
            file.write(json.dumps(line) + "\n")
