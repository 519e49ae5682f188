"""The app's own two themes."""

from __future__ import annotations

from textual.theme import Theme

THEMES = (
    Theme(
        name="sracl-dark",
        primary="#7aa2f7",
        secondary="#bb9af7",
        accent="#e0af68",
        foreground="#d5d9e8",
        background="#15161e",
        surface="#1a1b26",
        panel="#252738",
        success="#9ece6a",
        warning="#e0af68",
        error="#f7768e",
        dark=True,
        variables={"footer-key-foreground": "#7aa2f7", "dim": "#8f95ad"},
    ),
    Theme(
        name="sracl-light",
        primary="#2f55b5",
        secondary="#7b3fb0",
        accent="#9a5b00",
        foreground="#22242e",
        background="#f7f7f4",
        surface="#fdfdfb",
        panel="#e6e7ea",
        success="#2f6b1f",
        warning="#8f5a00",
        error="#b3203c",
        dark=False,
        variables={"footer-key-foreground": "#2f55b5", "dim": "#5c6070"},
    ),
)
