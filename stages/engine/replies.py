"""What an engine's reply must be to count as an answer; anything else is a failed request.

Answers are keyed by this module too: it imports nothing else of the engines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.methods.base import HALF, Completion, FinishReason, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tokenizers import Tokenizer

SHOWN = 120  # characters of a bad reply that a message repeats
CONTEXT = 32  # tokens of the prompt that can change how the next ones decode; fewer do
ROUNDING = 1e-3  # a probability may come out that much above 1
TokenId = Annotated[int, Field(ge=0, lt=2**31)]


class BadReplyError(Exception):
    """A reply that is no answer; the message says why in one line."""


class Part(BaseModel):
    """A part of a reply: the fields that are used, of exactly these types."""

    model_config = ConfigDict(strict=True)


class CachedTokens(Part):
    """How many tokens of a prompt were in the prefix cache; an engine without one says null."""

    cached_tokens: int | None = None


class Usage(Part):
    """What a request took."""

    prompt_tokens_details: CachedTokens | None = None


class Choice(Part):
    """How a completion ended; `stop_reason`: a stop string, or the id of a stop token."""

    finish_reason: FinishReason
    stop_reason: str | int | None


class Alternative(Part):
    """One of the likeliest tokens at a position."""

    logprob: float


class Position(Part):
    """The token that was drawn at a position, and the likeliest, in no order."""

    top_logprobs: list[Alternative] = Field(min_length=2)


class Logprobs(Part):
    """Log probabilities, position by position."""

    content: list[Position]


class TokensChoice(Choice):
    """A completion as token ids, with their text."""

    token_ids: list[TokenId] = Field(min_length=1)
    text: str
    logprobs: Logprobs | None = None


class Message(Part):
    """What was written in a chat."""

    content: str = Field(min_length=1)


class TextChoice(Choice):
    """A completion of a chat."""

    message: Message


class Speculation(Part):
    """How many drafted tokens were accepted, step by step; None if no step had any."""

    per_step_accepted: list[int] | None = None


class Metrics(Part):
    """What the engine counted for this request."""

    speculative_decoding: Speculation | None = None


class TokensReply(Part):
    """The reply of the endpoint that takes and returns token ids."""

    choices: list[TokensChoice] = Field(min_length=1)
    usage: Usage
    metrics: Metrics | None = None

    @property
    def accepted(self) -> tuple[int, ...]:
        """Return the drafted tokens that each step accepted."""
        drafted = self.metrics and self.metrics.speculative_decoding
        return tuple((drafted and drafted.per_step_accepted) or ())


class TextReply(Part):
    """The reply of the endpoint for chats."""

    choices: list[TextChoice] = Field(min_length=1)
    usage: Usage


Reply = TypeVar("Reply", bound=Part)


def tokens_completion(content: bytes, request: Request) -> Completion:
    """Return the completion in a reply of token ids; BadReplyError if it is none."""
    reply = parsed(content, TokensReply)
    choice = reply.choices[0]
    if len(choice.token_ids) > request.max_tokens:
        raise BadReplyError(f"{len(choice.token_ids)} tokens, {request.max_tokens} were asked for")
    found = completion(choice, reply.usage, choice.token_ids, choice.text, request)
    found = replace(found, accepted=reply.accepted) if reply.accepted else found
    return replace(found, likeliest=likeliest(choice)) if request.logprobs else found


def likeliest(choice: TokensChoice) -> tuple[tuple[float, ...], ...]:
    """Return the log probabilities at each position, in descending order.

    Raises BadReplyError if they are missing.
    """
    positions = choice.logprobs.content if choice.logprobs else []
    if len(positions) != len(choice.token_ids):
        raise BadReplyError(
            f"log probabilities of {len(positions)} tokens, {len(choice.token_ids)} were written: "
            "this method needs those of each token"
        )
    return tuple(
        tuple(sorted((one.logprob for one in position.top_logprobs), reverse=True))
        for position in positions
    )


def text_completion(
    content: bytes, request: Request, encode: Callable[[str], list[int]]
) -> Completion:
    """Return the completion in a reply of text, its ids by `encode`; BadReplyError if none."""
    reply = parsed(content, TextReply)
    text = reply.choices[0].message.content
    return completion(reply.choices[0], reply.usage, encode(text), text, request)


def parsed(content: bytes, kind: type[Reply]) -> Reply:
    """Return a reply's content as what it should be."""
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "reply"
        raise BadReplyError(f"{where}: {first['msg']}, not {shown(first['input'])}") from error


def completion(
    choice: Choice, usage: Usage, token_ids: list[int], text: str, request: Request
) -> Completion:
    """Return a completion whose end is one that was asked for."""
    # A stop token (an int) or none at all: the model ended the text itself.
    stop = choice.stop_reason if isinstance(choice.stop_reason, str) else None
    if stop is not None and (
        choice.finish_reason != "stop" or stop not in request.stop or not text.endswith(stop)
    ):
        raise BadReplyError(f"stopped at {stop!r}, but its text ends with {shown(text[-20:])}")
    details = usage.prompt_tokens_details
    cached = (details and details.cached_tokens) or 0
    routed = request.route is not None and choice.stop_reason == request.route.mark
    ids = token_ids[:-1] if routed else token_ids  # less the mark
    return Completion(ids, text, choice.finish_reason, stop, cached, routed=routed)


@dataclass(frozen=True)
class Written:
    """What token ids say, behind those of `lead`, whose text takes `skip` characters."""

    ids: list[int]
    tokenizer: Tokenizer
    lead: Sequence[int] = ()
    skip: int = 0

    def first(self, n: int) -> str:
        """Return the text of the first `n` ids, special tokens included."""
        return decode([*self.lead, *self.ids[:n]], self.tokenizer)[self.skip :]


def settled(given: Completion, prompt_ids: Sequence[int], tokenizer: Tokenizer) -> Completion:
    """Return a completion with its ids cut to its text: the last one completes the stop string.

    With drafted tokens an engine may return ids from behind the stop string. Its text may begin
    with the whole prompt, where the prompt ends inside a character: that part is taken away.
    Raises BadReplyError if ids and text cannot be made to agree.
    """
    text, written = given.text, Written(given.token_ids, tokenizer)
    if (n := needed(written, text, given.stop)) is None:
        text, written = in_context(given, prompt_ids, tokenizer)
        if (n := needed(written, text, given.stop)) is None:
            ids_say = shown(written.first(len(given.token_ids)))
            raise BadReplyError(f"its ids say {ids_say}, its text is {shown(text)}")
    return replace(given, token_ids=given.token_ids[:n], text=text, likeliest=given.likeliest[:n])


def needed(written: Written, text: str, stop: str | None) -> int | None:
    """Return how many of the ids a text takes; None if they do not say that."""
    n = len(written.ids)
    decoded = written.first(n)
    last = written.ids[-1:]
    if stop is None:
        # The end of a character may be missing in a text, and so may a stop token.
        if decoded.startswith(text) and not decoded[len(text) :].strip(HALF):
            return n
        return n if not written.tokenizer.decode(last) and written.first(n - 1) == text else None
    if not decoded.startswith(text):
        return None
    # Where the last token reaches into the text, nothing is decoded again.
    if len(decode(last, written.tokenizer)) > len(decoded) - len(text):
        return n
    while n > 1 and written.first(n - 1).startswith(text):
        n -= 1
    return n


def in_context(
    given: Completion, prompt_ids: Sequence[int], tokenizer: Tokenizer
) -> tuple[str, Written]:
    """Return the completion's own part of its text, and what its ids add to the prompt.

    By themselves, ids may lack a leading blank, or the first half of a character.
    """
    lead = prompt_ids[-CONTEXT:]
    before, text = decode(lead, tokenizer), given.text
    if before.endswith(HALF):
        text = text.removeprefix(decode(prompt_ids, tokenizer).rstrip(HALF))
    return text, Written(given.token_ids, tokenizer, lead, len(before.rstrip(HALF)))


def decode(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return the text of token ids, special tokens included."""
    return tokenizer.decode(list(ids), skip_special_tokens=False)


def margins_in(content: bytes, n_tokens: int) -> list[float | None]:
    """Return the margins of a prompt of `n_tokens` tokens from the server's reply.

    Raises BadReplyError, which names the position, if one cannot be worked out.
    """
    reply = loaded(content)
    positions = reply.get("prompt_logprobs") if isinstance(reply, dict) else None
    if not isinstance(positions, list):
        raise BadReplyError(f"no prompt_logprobs in {shown(content)}")
    if len(positions) != n_tokens:
        raise BadReplyError(
            f"prompt_logprobs of {len(positions)} tokens, the prompt has {n_tokens}"
        )
    if positions[0] is not None:
        raise BadReplyError(f"position 0: {shown(positions[0])}, though nothing predicts it")
    return [None, *(margin_at(at, positions[at]) for at in range(1, n_tokens))]


def margin_at(at: int, position: Any) -> float:
    """Return the margin at a position of the prompt; BadReplyError names the position."""
    try:
        value = margin(position)
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadReplyError(f"position {at}: no two likeliest in {shown(position)}") from error
    if not 0 <= value <= 1 + ROUNDING:  # not a number, or ranks that are no order
        raise BadReplyError(f"position {at}: a margin of {value} from {shown(position)}")
    return value


def margin(position: dict[str, dict[str, Any]]) -> float:
    """Return p(top-1) - p(top-2) from one entry of `prompt_logprobs`."""
    by_rank = {entry["rank"]: entry["logprob"] for entry in position.values()}
    return exp(by_rank[1]) - exp(by_rank[2])


def loaded(content: bytes) -> Any:
    """Return JSON; BadReplyError if it is none."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(content)  # knows NaN, whose position can then be named
    except ValueError as error:
        raise BadReplyError(f"not JSON: {shown(content)}") from error


def shown(value: Any) -> str:
    """Return a value as a message repeats it: on one line, shortened."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
