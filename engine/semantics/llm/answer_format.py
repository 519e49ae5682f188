"""The messages of a request and the format of an answer: what prompts ask for and `answer_validation` checks."""

from __future__ import annotations

from typing import Any

Message = dict[str, str]
"""A chat message: `role` and `content`."""
SUMMARY, ANALYSIS = "item summary", "potential user analysis"
"""Fields of an item's answer, in JSON; a user's answer is plain text."""
WORDS = {"user": 100, SUMMARY: 80, ANALYSIS: 50}
"""Maximum words that the prompts ask for, by kind of answer or field."""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {SUMMARY: {"type": "string"}, ANALYSIS: {"type": "string"}},
    "required": [SUMMARY, ANALYSIS],
    "additionalProperties": False,
}
"""JSON schema of an item's answer."""
