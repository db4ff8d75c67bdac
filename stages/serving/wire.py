"""Requests as clients send them, checked: what is not supported is refused by name."""

from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stages.serving.errors import ApiError

MOST_CHOICES = 16
MOST_STOPS = 16
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
# Values that change nothing: clients send them by default. Other values of these are refused.
NEUTRAL: dict[str, tuple[object, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "min_p": (0,),
    "parallel_tool_calls": (True, False),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
}


# Parameters of several types, of which pydantic would name one.
ALTERNATIVES = {
    "prompt": "a text, token ids, or a list of either is needed",
    "stop": "a text or a list of texts is needed, none of them empty",
}


class Part(BaseModel):
    """A part of a request: these fields, of exactly these types."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class StreamOptions(Part):
    """What a stream ends with."""

    include_usage: bool = False


class TextPart(Part):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(Part):
    """One message of a chat. `reasoning_content`: of an earlier answer, for the chat template."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]
    reasoning_content: str | None = None

    @model_validator(mode="before")
    @classmethod
    def without_nulls(cls, given: object) -> object:
        """Leave out keys that say nothing; `reasoning` is the newer name of `reasoning_content`."""
        if not isinstance(given, dict):
            return given
        kept = {key: value for key, value in given.items() if value is not None}
        if "reasoning" in kept:
            kept["reasoning_content"] = kept.pop("reasoning")
        return kept

    @property
    def text(self) -> str:
        """Return the content as one text."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class Request(Part):
    """What both kinds of requests have. `user` names the client's user and changes nothing."""

    model: str
    max_tokens: int | None = Field(None, ge=1)
    n: int = Field(1, ge=1, le=MOST_CHOICES)
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1, lt=2**31, description="0, -1: no limit")
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        """Return the strings at which the answer ends."""
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @model_validator(mode="after")
    def few_stops(self) -> "Request":
        """Every stop string is looked for at every token."""
        if len(self.stops) > MOST_STOPS:
            raise ValueError(f"stop: at most {MOST_STOPS} strings")
        return self


class ChatRequest(Request):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    chat_template_kwargs: dict[str, Any] = {}

    @property
    def limit(self) -> int | None:
        """Return the most tokens of an answer."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(Request):
    """POST /v1/completions. `prompt`: a text or token ids, or several of either."""

    prompt: str | list[TokenId] | list[str] | list[list[TokenId]]

    @model_validator(mode="after")
    def few_prompts(self) -> "CompletionRequest":
        """Each prompt is an answer or more."""
        if not 1 <= len(self.prompts) <= MOST_CHOICES:
            raise ValueError(f"prompt: one to {MOST_CHOICES} of them in a request")
        return self

    @property
    def limit(self) -> int | None:
        """Return the most tokens of an answer."""
        return self.max_tokens

    @property
    def prompts(self) -> list[str | list[int]]:
        """Return the prompts, one or several."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        ids = [part for part in self.prompt if isinstance(part, int)]
        return [ids] if ids else [part for part in self.prompt if not isinstance(part, int)]


Kind = TypeVar("Kind", bound=Request)


def parsed(kind: type[Kind], body: bytes) -> Kind:
    """Return a request; ApiError that names the first parameter at fault."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(f"the body is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ApiError("the body is not a JSON object")
    told = {key: value for key, value in content.items() if not says_nothing(key, value)}
    try:
        return kind.model_validate(told)
    except ValidationError as error:
        raise fault(dict(error.errors(include_url=False)[0])) from error


def says_nothing(name: str, value: object) -> bool:
    """Return whether a parameter has a value that changes nothing."""
    return value is None or any(
        value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
        for neutral in NEUTRAL.get(name, ())
    )


def fault(error: dict[str, Any]) -> ApiError:
    """Return what is wrong with a request, by pydantic's first error."""
    if error["loc"] and (form := ALTERNATIVES.get(error["loc"][0])):
        return ApiError(f"{error['loc'][0]}: {form}", param=error["loc"][0])
    param = ".".join(map(str, error["loc"])) or None
    if error["type"] == "extra_forbidden":
        return ApiError(f"{param} is not supported", param=param, code="unsupported_parameter")
    message = f"{param}: {error['msg']}" if param else error["msg"]
    return ApiError(message, param=param)
