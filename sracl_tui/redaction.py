"""Redaction of secrets: API keys, tokens and webhook addresses appear in no file and on no screen."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from engine.semantics.llm.endpoints import read_dotenv

SHORTEST = 6
"""A shorter value is taken for no secret: it would occur in ordinary words."""
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|WEBHOOK", re.IGNORECASE)
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|hf|ghp|gho|xox[bp]|AKIA)[-_]?[A-Za-z0-9_-]{12,}\b|Bearer\s+\S+")
_IN_URL = re.compile(r"(?<=://)[^/\s@]*:[^/\s]*@")
"""User and password of a URL, such as a proxy's; a password may hold an `@` of itself."""


def redact(text: str, home: Path | None) -> str:
    """Replace by `[key]` the secrets of the environment and of the home's `.env`, and everything that looks like one."""
    for value in _values(home):
        text = text.replace(value, "[key]")
    return _LOOKS_SECRET.sub("[key]", _IN_URL.sub("[key]@", text))


def _values(home: Path | None) -> Iterator[str]:
    named = [value for name, value in os.environ.items() if _SECRET.search(name)]
    for value in sorted({*named, *read_dotenv(home).values()}, key=len, reverse=True):
        if len(value) >= SHORTEST:
            yield value


def permission_problem(home: Path) -> str:
    """Why the permissions of the home's `.env` are unsafe, and the command that mends them; empty where they are safe."""
    path = home / ".env"
    try:
        mode = path.stat().st_mode & 0o777
    except OSError:
        return ""
    if os.name == "nt" or not mode & 0o077:
        return ""
    return f"{path} holds keys and can be read by others (mode {mode:o}): chmod 600 {path}"
