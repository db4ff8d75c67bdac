"""The relay on a trace that the large model wrote alone: its rules, without an engine.

The relay's own state machine runs; what it asks of an engine is answered from the trace.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from operator import itemgetter

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from stages.methods.base import Answer, Completion, FinishReason, Marks, Request, Setting
from stages.methods.matching import CueSet
from stages.methods.relay import Relay


class TraceEngine:
    """An engine whose completions are the next tokens of a trace, up to the first stop string.

    Text is detokenized token by token, as a server does: a character appears with its last byte.
    """

    def __init__(self, ids: Sequence[int], tokenizer: Tokenizer) -> None:
        stream = DecodeStream(skip_special_tokens=False)
        pieces = [stream.step(tokenizer, token) or "" for token in ids]
        special = {i for i, a in tokenizer.get_added_tokens_decoder().items() if a.special}
        self.ids = list(ids)
        self.text = "".join(pieces)
        self.ends = list(accumulate(map(len, pieces)))  # [tokens]: characters up to each one's end
        self.ended = self.ids[-1] in special if ids else False  # otherwise it was cut off
        self.found: dict[str, int] = {}  # {stop string: where it was last found}

    def complete(self, request: Request) -> Completion:
        """Continue after the request's tokens."""
        first = len(request.prompt_ids)
        begin = self.ends[first - 1] if first else 0
        stops = [(self._next(stop, begin) + len(stop), stop) for stop in request.stop]
        end, stop = min(stops, key=itemgetter(0), default=(len(self.text) + 1, ""))
        if end > len(self.text):
            reason: FinishReason = "stop" if self.ended else "length"
            return Completion(self.ids[first:], self.text[begin:], reason)
        last = bisect_left(self.ends, end)
        return Completion(self.ids[first : last + 1], self.text[begin:end], "stop", stop)

    def _next(self, stop: str, begin: int) -> int:
        """Return the first position of `stop` from `begin` on; the text's length if none."""
        if self.found.get(stop, -1) < begin:
            position = self.text.find(stop, begin)
            self.found[stop] = len(self.text) if position < 0 else position
        return self.found[stop]


def setting(tokenizer: Tokenizer, cues: CueSet, min_tokens: int, marks: Marks) -> Setting:
    """Return the relay's setting for all traces; `replay` sets the budget to the trace's length."""
    return Setting(
        prompt_ids=[],
        budget=0,
        decode=lambda ids: tokenizer.decode(list(ids), skip_special_tokens=False),
        encode=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
        marks=marks,
        cues=cues.cues,
        cue_matching=cues.matching,
        min_tokens=min_tokens,
    )


def replay(ids: Sequence[int], tokenizer: Tokenizer, rules: Setting) -> Answer:
    """Return the relay's answer on a trace's tokens.

    It holds all of them, except an end-of-text token inside the reasoning; the relay adds
    the tag to a reasoning that does not end.
    """
    engine = TraceEngine(ids, tokenizer)
    machine = Relay(replace(rules, budget=len(ids)), large="large", small="small")
    while (request := machine.next_request()) and len(request.prompt_ids) < len(ids):
        machine.feed(engine.complete(request), wall_s=0.0)
    return machine.answer
