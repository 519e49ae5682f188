"""The app's own themes: dark and light, each with colors that color-blind people can tell apart as a second choice."""

from __future__ import annotations

from dataclasses import replace

from textual.theme import Theme

_SUFFIX = "-colorblind"
PALETTES = ("standard", "colorblind")
_STANDARD = (
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
_COLORBLIND = (
    replace(_STANDARD[0], name=f"sracl-dark{_SUFFIX}", success="#56b4e9", warning="#f0e442", error="#e8702a"),
    replace(_STANDARD[1], name=f"sracl-light{_SUFFIX}", success="#0068a3", warning="#6e6100", error="#b34700"),
)
"""Blue for good and vermilion for bad, after Okabe and Ito."""
THEMES = (*_STANDARD, *_COLORBLIND)
CURVES = {
    ("standard", True): ("#7aa2f7", "#e0af68", "#9ece6a", "#bb9af7", "#7dcfff", "#f7768e", "#c0caf5", "#ff9e64"),
    ("standard", False): ("#2f55b5", "#9a5b00", "#2f6b1f", "#7b3fb0", "#006e8c", "#b3203c", "#22242e", "#a33b00"),
    ("colorblind", True): ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#e8e8e8", "#2f7fd6"),
    ("colorblind", False): ("#10789f", "#bd682e", "#00959b", "#a69813", "#984e6b", "#724b00", "#1f1f26", "#3888e9"),
}
"""Colors of curves, by palette and whether the theme is dark; letters on the lines tell them apart without colors."""


def theme_name(theme: str, palette: str) -> str:
    """The theme with the colors of a palette; one that is none of ours stays as it is."""
    own = theme in [each.name for each in _STANDARD]
    return f"{theme}{_SUFFIX}" if own and palette == "colorblind" else theme


def palette_of(theme: str) -> str:
    """The palette of a theme."""
    return "colorblind" if theme.endswith(_SUFFIX) else "standard"


def without_palette(theme: str) -> str:
    """The theme with the standard colors."""
    return theme.removesuffix(_SUFFIX)
