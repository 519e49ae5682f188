"""Values as text, for the command and the app alike: untrusted text made safe to print, states, numbers, times, bars."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

from rich.cells import cell_len, set_cell_size

from store.untrusted_text import HARMLESS

BLOCKS = " ▏▎▍▌▋▊▉█"
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
SPLITS = {"train": "training", "valid": "validation", "test": "test"}
"""What the splits of a data set are called."""
_LINE = HARMLESS | {9: " ", 10: " ", 13: " ", 0x2028: " ", 0x2029: " "}
_TEXT = HARMLESS | {9: "    ", 10: "\n", 13: None, 0x2028: "\n", 0x2029: "\n"}


def line(text: object) -> str:
    """Untrusted text for one line: control characters and direction marks never reach the terminal."""
    plain = str(text)
    return plain if plain.isascii() and plain.isprintable() else plain.translate(_LINE)


def text(value: object) -> str:
    """Untrusted text of several lines; a tab becomes four blanks, and the text is NFC normalized."""
    return unicodedata.normalize("NFC", str(value).translate(_TEXT))


def width(value: str) -> int:
    """Terminal cells that a text takes."""
    return len(value) if value.isascii() else cell_len(value)


def fit(value: str, columns: int, *, right: bool = False) -> str:
    """Cut with an ellipsis or pad to exactly `columns` cells; `right` aligns to the right."""
    taken = width(value)
    if taken > columns:
        return set_cell_size(value, columns - 1) + "…" if columns > 0 else ""
    return " " * (columns - taken) + value if right else value + " " * (columns - taken)


def bar(share: float, columns: int) -> str:
    """A bar of block characters, to an eighth of a cell; `share` is 0 to 1 of `columns`."""
    eighths = round(max(0.0, min(1.0, share)) * columns * 8)
    full, rest = divmod(eighths, 8)
    return "█" * full + (BLOCKS[rest] if rest else "")


def state(name: str, warnings: int | None = None) -> str:
    """A run's state as glyph and word, marked where it has warnings: `✓ finished !`."""
    return f"{GLYPHS.get(name, '?')} {name}{' !' if warnings else ''}"


def item_title(title: str | None, item_id: int) -> str:
    """The title of an item, or its number where the source has none."""
    return title or f"(item {item_id} has no title)"


def count(number: int, noun: str) -> str:
    """A number of things: `1 row`, `1,448 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def decimal(value: float | None, digits: int = 4) -> str:
    """A number with a fixed number of decimals; a dash for none."""
    return "-" if value is None else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """A difference with its sign; a dash for none."""
    return "-" if value is None else f"{value:+.{digits}f}"


def dollars(value: float | None) -> str:
    """US dollars: `$1.20`, four decimals below a cent, `price unknown` for none."""
    if value is None:
        return "price unknown"
    return f"${value:.2f}" if value >= 0.01 or value == 0 else f"${value:.4f}"


def bytes_text(size: int) -> str:
    """A size in decimal units: `812 B`, `1.3 MB`."""
    if size < 1_000:
        return f"{size} B"
    value, units = size / 1_000, ("kB", "MB", "GB", "TB")
    for unit in units:
        if value < 999.5 or unit == units[-1]:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:,.0f} {unit}"
        value /= 1_000
    raise AssertionError(size)


def clock(seconds: float | None, *, tenths: bool = False) -> str:
    """A duration: `12 s`, `3:07` or `1:04:09`; a dash for none.

    Args:
        tenths: write `3.2 s` below ten seconds.
    """
    if seconds is None:
        return "-"
    if tenths and seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def moment(at: float | datetime) -> str:
    """Day and minute in UTC, as the database and the ids of runs have them; a Unix time, or a time without a zone, which is UTC."""
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return f"{when:%Y-%m-%d %H:%M} UTC"


def local_time(at: float) -> str:
    """Time of day of a Unix time, in the local time zone."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%H:%M:%S")
