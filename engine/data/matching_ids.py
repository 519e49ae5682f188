"""Why the ids of two files that should be the same are not."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("leading zeros", lambda text: text.lstrip("0") or "0"),
    ("case", str.casefold),
    ("Unicode form (NFC or NFD, wide or plain letters)", lambda text: unicodedata.normalize("NFKC", text)),
    ("quotation marks, signs or slashes around them", lambda text: text.strip("'\"`+/#")),
    ("words before the number", lambda text: text[len(text.rstrip("0123456789")) :] or text),
)


def difference(ours: Iterable[str], theirs: Iterable[str]) -> str:
    """In what ids differ that are the same otherwise, as a sentence for a hint; empty if nothing of this kind is found.

    Two thirds of ours have to be among theirs once both are written alike.
    """
    ours, theirs = list(ours), list(theirs)
    for name, fold in _FORMS:
        folded = set(map(fold, theirs))
        if 3 * sum(fold(one) in folded for one in ours) >= 2 * len(ours) > 0:
            return f"They differ in their {name}: write them alike in both files."
    return ""
