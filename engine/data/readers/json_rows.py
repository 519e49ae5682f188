"""Rows of a JSON Lines file, parsed with the line number and the cause where one is not readable."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.data.readers.grid import many_bad
from engine.data.readers.lines import Lines

_HINT = "Each line is one JSON object. A file that is one large array or object has to be split into lines first."
_HALF = re.compile(r"\\[uU](?:0000)?[dD][89a-fA-F]")
"""How a surrogate is written in JSON and in a Python literal."""
_SURROGATES = re.compile(r"[\ud800-\udfff]")

PARSE_ERRORS = (ValueError, SyntaxError, RecursionError, MemoryError, TypeError)
"""What `parse` raises."""


def parse(line: str) -> Any:
    """A line as JSON, or as a Python literal where its strings stand in single quotes.

    Raises:
        ValueError, SyntaxError, RecursionError, MemoryError, TypeError: it is neither.
    """
    tree = ast.literal_eval(line.strip()) if line.startswith(("{'", "{u'")) else json.loads(line)
    return _whole(tree) if _HALF.search(line) else tree


def _whole(tree: Any) -> Any:
    """A document in which halves of a character (lone surrogates), which no file or table holds, are replaced by U+FFFD."""
    if isinstance(tree, str):
        return _SURROGATES.sub("\ufffd", tree)
    if isinstance(tree, dict):
        return {_whole(name): _whole(value) for name, value in tree.items()}
    return [_whole(value) for value in tree] if isinstance(tree, list) else tree


def rows_of(path: Path, lines: Lines, *, drop_bad: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and object of each line; where lines hold none, raises after the last line or, with `drop_bad`, counts them.

    Raises:
        DataError: with the first such line and how many there are.
    """
    bad, first, problem, given = 0, 0, "", 0
    for number, line in lines:
        try:
            row = parse(line)
            wrong = "" if isinstance(row, dict) else f"not a JSON object: {_shown(line)!r}"
        except PARSE_ERRORS as error:
            row, wrong = None, f"not readable as JSON ({_cause(error)}): {_shown(line)!r}"
        if isinstance(row, dict):
            given += 1
            yield number, row
        else:
            bad += 1
            first, problem = (number, wrong) if bad == 1 else (first, problem)
        if bad and not given and number >= 1000:  # no such file at all
            break
    if bad and given and drop_bad:
        lines.bad, lines.bad_first = bad, f"{path}:{first}: {problem}"
    elif bad:
        raise many_bad(bad, where=f"{path}:{first}", problem=problem, hint=_HINT)


def _cause(error: BaseException) -> str:
    text = getattr(error, "msg", None) or str(error) or type(error).__name__
    return text.splitlines()[0][:80]


def _shown(line: str) -> str:
    text = line.strip()
    return text if len(text) <= 60 else f"{text[:57]}..."
