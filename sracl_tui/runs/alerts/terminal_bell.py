"""Rings the bell of a terminal, or asks it for a notification on the desktop (OSC 9 or OSC 777)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

LONGEST = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_OSC_9 = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")
"""Terminals (TERM_PROGRAM) that know OSC 9; kitty too, by its TERM."""


def sequence(bell: str, title: str, text: str, environment: Mapping[str, str] = os.environ) -> str:
    """What to write to the terminal: nothing for `off`.

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
    """Without anything that a terminal would take for an order."""
    return _CONTROL.sub(" ", text)[:LONGEST]


def _desktop(title: str, text: str, environment: Mapping[str, str]) -> str:
    if environment.get("TERM_PROGRAM") in _OSC_9 or "kitty" in environment.get("TERM", ""):
        asked = f"\x1b]9;{title}: {text}\a"
    else:
        asked = f"\x1b]777;notify;{title.replace(';', ',')};{text.replace(';', ',')}\a"
    if environment.get("TMUX"):  # passed on by a tmux that allows it
        escaped = asked.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{escaped}\x1b\\"
    return asked
