"""Text that people, models and files wrote, on its way out: to a terminal, a log, a table for a spreadsheet.

Control characters (C0, DEL, C1), which terminals obey, and the characters that reorder a line are shown or escaped, never
sent. Letters of right-to-left scripts are left alone: they need none of these to be read.
"""

from __future__ import annotations

import re

from store.errors import NameRefused

DIRECTIONS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""Marks, embeddings, overrides and isolates of the bidirectional algorithm, and the byte order mark."""
HARMLESS = dict.fromkeys((*range(32), *range(127, 160)), "�") | {ord(character): None for character in DIRECTIONS}
"""For `str.translate`: what replaces each character that is not sent, line breaks and tabs included."""
_LINES = HARMLESS | {9: "\t", 10: "\n", 0x2028: " ", 0x2029: " "}
_UNSAFE = rf"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff{DIRECTIONS}"
_FOUND = re.compile(f"[{_UNSAFE}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_COMPUTED = "=+-@\t\r"
"""A cell that begins with one of these is a formula to spreadsheets."""
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?: ± [\d.eE+-]+)?[%‰]?|[+-]"
"""Text that is a number, as our tables write them, or the dash for none: no formula, whatever it begins with."""
_NUMBER = re.compile(NUMBER)


def shown(text: str) -> str:
    """Text of any number of lines that a terminal or a file can be given."""
    if (text.isascii() and text.isprintable()) or not _FOUND.search(text):
        return text
    return _SURROGATE.sub("�", text.replace("\r\n", "\n").translate(_LINES))


def csv_cell(text: str) -> str:
    """Text of a cell of a CSV file: an apostrophe keeps a spreadsheet from computing it. Numbers stay numbers."""
    guarded = text[:1] and text[0] in _COMPUTED and not _NUMBER.fullmatch(text)
    return f"'{shown(text)}" if guarded else shown(text)


def json_text(text: str) -> str:
    """A JSON document with the same values, in which such characters are escaped; JSON itself escapes only C0."""
    return _FOUND.sub(lambda found: f"\\u{ord(found[0]):04x}", text) if not text.isascii() or "\x7f" in text else text


LONGEST_NAME = 500
"""Letters of a name or tag."""


def check_name(what: str, text: str, *, lines: bool = False) -> None:
    """Refuse a name, tag or note with such characters where a person enters it.

    Args:
        what: what is entered, for the message: `the name`.
        lines: it may have several lines, and tabs.

    Raises:
        NameRefused: with the first of them, or if it is longer than `LONGEST_NAME` and has to stand in one line.
    """
    if not lines and len(text) > LONGEST_NAME:
        raise NameRefused(
            f"{what} has {len(text):,} letters; at most {LONGEST_NAME} can be shown",
            hint="Use a note for a longer text.",
        )
    found = _FOUND.search(text) if lines else re.search(rf"[\t\n{_UNSAFE}]", text)
    if found is not None:
        raise NameRefused(
            f"{what} {text!a} has the character U+{ord(found[0]):04X}, which controls a terminal or the order of a line",
            hint="Leave it out: letters of every script, digits, signs and blanks can be used.",
        )
