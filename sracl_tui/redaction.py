"""Takes out of a text what must stand in no file and on no screen: keys, tokens, addresses that hold one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from engine.semantics.llm.endpoints import read_dotenv

SHORTEST = 6
"""A value with fewer letters is no secret, and stands in too many words."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|WEBHOOK", re.IGNORECASE)
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|hf|ghp|gho|xox[bp]|AKIA)[-_]?[A-Za-z0-9_-]{12,}\b|Bearer\s+\S+")


def hidden(text: str, home: Path | None) -> str:
    """The text without keys: of the environment, of the home's `.env`, and whatever looks like one."""
    for value in _values(home):
        text = text.replace(value, "[key]")
    return _LOOKS_SECRET.sub("[key]", text)


def _values(home: Path | None) -> Iterator[str]:
    named = [value for name, value in os.environ.items() if _SECRET.search(name)]
    for value in sorted({*named, *read_dotenv(home).values()}, key=len, reverse=True):
        if len(value) >= SHORTEST:
            yield value


def open_to_others(home: Path) -> str:
    """What is wrong with the permissions of the home's `.env`, and how to set it right; empty where nothing is."""
    path = home / ".env"
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return ""
    if os.name == "nt" or not mode & 0o077:
        return ""
    return f"{path} holds keys and can be read by others (mode {mode:o}): chmod 600 {path}"
