"""JSON objects inside an answer: models write them twice, between other words or braces, or inside one another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MOST_BRACES = 200
"""Opening braces of an answer at which an object is looked for."""


def objects_in(text: str) -> Iterator[Any]:
    """Every JSON object that begins at a brace of a text and ends, in order; what follows one is looked through, too."""
    decoder = json.JSONDecoder(strict=False)
    place, tried = text.find("{"), 0
    while place >= 0 and tried < MOST_BRACES:
        tried += 1
        try:
            tree, after = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            after = place + 1
        else:
            yield tree
        place = text.find("{", after)
