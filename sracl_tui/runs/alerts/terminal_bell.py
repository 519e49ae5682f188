"""Rings the bell of a terminal, or asks it for a notification on the desktop (OSC 9 or OSC 777)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from store.untrusted_text import HARMLESS

LONGEST = 200
_OSC_9 = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")
"""Terminals (TERM_PROGRAM) that support OSC 9; kitty does too, and is known by TERM."""


def sequence(bell: str, title: str, text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The characters that ring, or ask for a notification; empty for `off`.

    Args:
        bell: off, terminal, desktop or both.
    """
    found = ""
    if bell in ("desktop", "both"):
        found += _desktop(_plain(title), _plain(text), environment)
    if bell in ("terminal", "both"):
        found += "\a"
    return found


def _plain(text: str) -> str:
    """Without control characters, and at most LONGEST characters long."""
    return text.translate(HARMLESS).replace("�", " ")[:LONGEST]


def _desktop(title: str, text: str, environment: Mapping[str, str]) -> str:
    if environment.get("TERM_PROGRAM") in _OSC_9 or "kitty" in environment.get("TERM", ""):
        escape = f"\x1b]9;{title}: {text}\a"
    else:
        escape = f"\x1b]777;notify;{title.replace(';', ',')};{text.replace(';', ',')}\a"
    if environment.get("TMUX"):  # tmux forwards it where allow-passthrough is on
        passed = escape.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{passed}\x1b\\"
    return escape
