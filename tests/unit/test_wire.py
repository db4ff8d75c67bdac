"""Requests as clients send them: what is accepted, and what is refused by name."""

import json
from typing import Any

import pytest

from stages.serving.errors import ApiError
from stages.serving.wire import ChatRequest, CompletionRequest, parsed

pytestmark = pytest.mark.unit

CHAT: dict[str, Any] = {"model": "relaygen", "messages": [{"role": "user", "content": "1 + 1?"}]}
TEXT: dict[str, Any] = {"model": "relaygen", "prompt": "1 + 1 ="}


def chat(**more: Any) -> ChatRequest:
    return parsed(ChatRequest, json.dumps(CHAT | more).encode())


def text(**more: Any) -> CompletionRequest:
    return parsed(CompletionRequest, json.dumps(TEXT | more).encode())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", None),
        ("frequency_penalty", 0.0),
        ("logprobs", False),
        ("tools", []),
        ("response_format", {"type": "text"}),
        ("user", "someone"),
        ("store", False),
    ],
)
def test_values_that_change_nothing_are_accepted(name: str, value: object) -> None:
    assert chat(**{name: value}).model == "relaygen"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("logprobs", True),
        ("logprobs", 0),
        ("frequency_penalty", 0.5),
        ("response_format", {"type": "json_object"}),
        ("functions", []),
        ("audio", {"voice": "any"}),
        ("a_new_one", 1),
    ],
)
def test_what_is_not_supported_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ApiError, match=f"^{name} is not supported$") as refused:
        chat(**{name: value})
    assert refused.value.body["error"]["param"] == name


@pytest.mark.parametrize(
    ("param", "more"),
    [
        ("max_tokens", {"max_tokens": 0}),
        ("max_tokens", {"max_tokens": "10"}),
        ("max_tokens", {"max_tokens": 1.5}),
        ("max_completion_tokens", {"max_completion_tokens": -1}),
        ("temperature", {"temperature": -0.1}),
        ("temperature", {"temperature": True}),
        ("top_p", {"top_p": 0}),
        ("top_p", {"top_p": 1.1}),
        ("top_k", {"top_k": 2.5}),
        ("seed", {"seed": 2**64}),
        ("n", {"n": 0}),
        ("n", {"n": 1000}),
        ("stream", {"stream": "yes"}),
        ("stream_options.include_usage", {"stream_options": {"include_usage": 1}}),
        ("model", {"model": 5}),
        ("messages", {"messages": []}),
        ("messages", {"messages": "hello"}),
        ("messages.0", {"messages": ["hello"]}),
        ("messages.0.role", {"messages": [{"role": "tool", "content": "x"}]}),
        ("messages.0.content", {"messages": [{"role": "user"}]}),
        ("messages.0.name", {"messages": [{"role": "user", "content": "x", "name": "y"}]}),
    ],
)
def test_a_wrong_value_is_refused_by_its_place(param: str, more: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        chat(**more)
    assert refused.value.param == param
    assert refused.value.status == 400


def test_an_image_is_refused() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    with pytest.raises(ApiError) as refused:
        chat(messages=[{"role": "user", "content": [image]}])
    assert str(refused.value.param).startswith("messages.0.content")


@pytest.mark.parametrize("stop", ["", [""], 17 * ["a"]])
def test_stop_strings_that_make_no_sense_are_refused(stop: object) -> None:
    with pytest.raises(ApiError, match="stop"):
        chat(stop=stop)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b'{"model": NaN}'),
        *(b'{"model": "\\ud800"}', 5000 * b"["),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError, match="JSON"):
        parsed(ChatRequest, body)


def test_parts_of_a_message_are_one_text() -> None:
    parts = [{"type": "text", "text": "1 +"}, {"type": "text", "text": " 1?"}]
    (message,) = chat(messages=[{"role": "user", "content": parts}]).messages
    assert message.text == "1 + 1?"


def test_an_earlier_answers_reasoning_goes_to_the_template_under_either_name() -> None:
    history = [{"role": "assistant", "content": "2", "reasoning": "easy", "refusal": None}]
    assert chat(messages=history).messages[0].reasoning_content == "easy"


def test_the_newer_limit_wins() -> None:
    assert chat(max_tokens=5, max_completion_tokens=7).limit == 7


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("a", ["a"]), ([1, 2], [[1, 2]]), (["a", "b"], ["a", "b"]), ([[1], [2]], [[1], [2]])],
)
def test_prompts_are_one_or_several(prompt: object, prompts: object) -> None:
    assert text(prompt=prompt).prompts == prompts


@pytest.mark.parametrize("prompt", [5, None, [-1], [2**40], ["a", 1], {"a": 1}, [[1.5]]])
def test_a_prompt_of_another_kind_is_refused(prompt: object) -> None:
    with pytest.raises(ApiError, match="prompt"):
        text(prompt=prompt)


@pytest.mark.parametrize("prompt", [[], [1, "a"], {}, ["a"] * 17, [[1], "a"]])
def test_a_prompt_that_is_none_or_too_many_is_refused(prompt: object) -> None:
    with pytest.raises(ApiError, match=r"prompt: "):
        text(prompt=prompt)


@pytest.mark.parametrize(("name", "value"), [("prompt", [1, "a"]), ("stop", ["a", ""])])
def test_a_parameter_of_several_types_is_named_without_them(name: str, value: object) -> None:
    with pytest.raises(ApiError) as refused:
        text(**{name: value})
    assert refused.value.body["error"]["param"] == name
