"""Errors as the app shows them: what is wrong and a way out, without options of a command that nobody entered."""

from __future__ import annotations

import re

_OPTION = re.compile(r"(?<![\w-])--[a-z]")


def error_text(error: Exception) -> str:
    """Place and message, and the sentences of the hint that speak of no option, unless they name the whole command.

    Errors of the engine and the store have `message`, `where` and `hint`; of others it is the whole text.
    """
    message = getattr(error, "message", None)
    if message is None:
        return str(error)
    where, hint = getattr(error, "where", None) or "", getattr(error, "hint", None) or ""
    place = "" if not where or where.startswith("--") or where in str(message) else f"{where}: "
    kept = [
        sentence
        for sentence in re.split(r"(?<=[.;])\s+", hint)
        if sentence and ("sracl " in sentence or not _OPTION.search(sentence))
    ]
    return "\n".join(filter(None, [f"{place}{message}", " ".join(kept)]))
