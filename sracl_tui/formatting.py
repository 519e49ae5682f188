"""Text as the screens write it: strange characters made harmless, numbers, bars, times."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size

if TYPE_CHECKING:
    pass


BLOCKS = " ▏▎▍▌▋▊▉█"
STATE_STYLES = {
    "queued": "dim",
    "running": "live",
    "stopping": "warn",
    "finished": "good",
    "failed": "bad",
    "stopped": "warn",
    "killed": "bad",
    "lost": "warn",
}
_BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
_HARMLESS = dict.fromkeys((*range(32), *range(127, 160)), "�") | {ord(char): None for char in _BIDI}
_LINE = _HARMLESS | {9: " ", 10: " ", 13: " ", 0x2028: " ", 0x2029: " "}
_TEXT = _HARMLESS | {9: "    ", 10: "\n", 13: None, 0x2028: "\n", 0x2029: "\n"}


def line(text: object) -> str:
    """Text for one line: control characters and marks that turn the direction never reach the terminal."""
    plain = str(text)
    return plain if plain.isascii() and plain.isprintable() else plain.translate(_LINE)


def text(value: object) -> str:
    """The same for text of several lines."""
    return unicodedata.normalize("NFC", str(value).translate(_TEXT))


def width(value: str) -> int:
    """Columns that a text takes."""
    return len(value) if value.isascii() else cell_len(value)


def fit(value: str, columns: int, *, right: bool = False) -> str:
    """Exactly so many columns, cut with an ellipsis or padded."""
    taken = width(value)
    if taken > columns:
        return set_cell_size(value, columns - 1) + "…" if columns > 0 else ""
    return " " * (columns - taken) + value if right else value + " " * (columns - taken)


def bar(share: float, columns: int) -> str:
    """A bar of eighths; `share` 0 to 1."""
    eighths = round(max(0.0, min(1.0, share)) * columns * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (BLOCKS[rest] if rest else "")


def state(name: str) -> str:
    """A state as glyph and word."""
    return f"{GLYPHS.get(name, '?')} {name}"


def decimal(value: float | None, digits: int = 4) -> str:
    """A number; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """A difference with its sign."""
    return "-" if value is None else f"{value:+.{digits}f}"


def dollars(value: float | None) -> str:
    """US dollars; small sums with more digits."""
    if value is None:
        return "price unknown"
    return f"${value:.2f}" if value >= 0.01 or value == 0 else f"${value:.4f}"


def clock(seconds: float | None) -> str:
    """`12 s`, `3:07` or `1:04:09`."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def local_time(at: float) -> str:
    """Time of day of a Unix time, in the reader's own zone."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")


GLYPHS = {
    "queued": "◌",
    "running": "●",
    "stopping": "◐",
    "finished": "✓",
    "failed": "✗",
    "stopped": "■",
    "killed": "✗",
    "lost": "?",
}


def state_text(state: str) -> str:
    """A state as glyph and word."""
    return f"{GLYPHS.get(state, '?')} {state}"


def number(value: float | None) -> str:
    """Four decimals; a dash for nothing."""
    return "-" if value is None else f"{value:.4f}"


def duration(seconds: float | None) -> str:
    """`42 s`, `3 min 20 s` or `1 h 05 min`; a dash for nothing."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
