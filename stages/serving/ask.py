"""Ask a server one question, and print the answer as it comes, coloured by who writes it."""

import argparse
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from stages.runtime import command_line
from stages.runtime.errors import UserError
from stages.serving import KEY
from stages.view.terminal import CUE, has_colours, painted


def chunks(url: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Send a question and yield the events of the answer; UserError if there is none."""
    headers = {"Authorization": f"Bearer {os.environ.get(KEY, '')}"}
    try:
        with (
            httpx.Client(timeout=None) as client,
            client.stream(
                "POST", f"{url}/v1/chat/completions", json=body, headers=headers
            ) as reply,
        ):
            if reply.status_code != httpx.codes.OK:
                raise UserError(f"{url}: {said(reply.read())}")
            for line in reply.iter_lines():
                if line.startswith("data: {"):
                    yield orjson.loads(line.removeprefix("data: "))
    except httpx.TransportError as error:
        raise UserError(f"{url}: {error}; is `relaygen serve` running there?") from error


def said(content: bytes) -> str:
    """Return what a server says of a request that failed."""
    try:
        return str(orjson.loads(content)["error"]["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"no answer of this server's: {content[:80]!r}"


class Printer:
    """Print pieces of an answer. `coloured`: in two colours, else as plain text."""

    def __init__(self, coloured: bool) -> None:
        self.coloured = coloured
        self.kind = ""

    def show(self, chunk: dict[str, Any]) -> None:
        """Print one event; UserError for an error."""
        if "error" in chunk:
            raise UserError(chunk["error"]["message"])
        if usage := chunk.get("usage"):
            print(f"\n\n{in_words(usage)}")
            return
        told = chunk.get("relaygen")
        if not told:
            return
        delta = chunk["choices"][0]["delta"]
        kind = "content" if delta.get("content") else "reasoning"
        text = delta.get("content") or delta.get("reasoning") or ""
        if self.kind and kind != self.kind and text:
            print("\n\n", end="")
        self.kind = kind if text else self.kind
        mark = CUE if told["cue"] and self.coloured else ""
        print(painted(text + mark, told["by"], self.coloured), end="", flush=True)


def in_words(usage: dict[str, Any]) -> str:
    """Return what an answer took."""
    own, total = usage["relaygen"], usage["completion_tokens"]
    share = 100 * own["large_tokens"] / max(1, total)
    return f"{total} tokens, {share:.0f} % by the large model, {own['hand_offs']} hand-offs"


def main() -> None:
    """Print one answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--question", required=True, help="what to ask")
    parser.add_argument("--method", default="relaygen", help="a method that the server has")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the server")
    args = parser.parse_args()
    if urlsplit(args.url).scheme not in ("http", "https"):
        raise UserError(f"--url {args.url}: not an address such as http://127.0.0.1:8000")
    body = {
        "model": args.method,
        "messages": [{"role": "user", "content": args.question}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    printer = Printer(has_colours())
    for chunk in chunks(args.url.rstrip("/"), body):
        printer.show(chunk)


if __name__ == "__main__":
    command_line.run(main)
