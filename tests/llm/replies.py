"""Responses as servers of many makers give them, for `Behavior.reply`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.openai_server import OK_ITEM, OK_USER

Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


def good(body: Any) -> str:
    """The usable answer to a request."""
    return OK_ITEM if "<item>" in body["messages"][1]["content"] else OK_USER


def counts(body: Any) -> dict[str, Any]:
    """Token counts of a request and an answer of 30 tokens."""
    tokens = sum(len(message["content"]) for message in body["messages"]) // 4
    return {"prompt_tokens": tokens, "completion_tokens": 30, "total_tokens": tokens + 30}


def document(body: Any, content: Any, finish: Any = "stop", *, usage: Any = None, **message: Any) -> dict[str, Any]:
    """A chat completion; `message` are further fields of its message."""
    said = {"role": "assistant", "content": content} | message
    choice = {"index": 0, "finish_reason": finish, "message": said}
    usage = counts(body) if usage is None else usage
    return {"id": "x", "object": "chat.completion", "model": body["model"], "choices": [choice], "usage": usage}


def always(make: Callable[[Any], Reply]) -> Callable[..., Reply]:
    """A server that gives this response to each request."""
    return lambda line, headers, body: make(body)


def refusal(status: int, words: str, headers: dict[str, str] | None = None, **fields: Any) -> Reply:
    """An error in OpenAI's form."""
    return status, {"error": {"message": words, "type": "x", "param": None, "code": None} | fields}, headers or {}
