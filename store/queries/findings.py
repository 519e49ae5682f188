"""Findings: what was on a screen when a person pinned it, with a note.

They are events in the home's journal of edits, so a database that is rebuilt has them again. A removed finding keeps its row.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypedDict, cast

from store.database.database import Store
from store.errors import LookupFailed
from store.home import Home
from store.publishing.edits import record_edit
from store.untrusted_text import check_name, shown

MOST_LETTERS = 40_000
"""Letters of a finding's content: a screen of 200 columns and 200 lines. What is beyond them is cut."""
CUT = "\n... cut here"
_LISTED = (
    "finding_id, created_at, edited_at, removed_at, screen, title, run_ids, user_id, item_id, command, note, place"
)


class Finding(TypedDict):
    """A row of `findings`."""

    finding_id: str
    created_at: Any
    edited_at: Any
    removed_at: Any
    screen: str
    title: str
    run_ids: list[str]
    user_id: int | None
    item_id: int | None
    command: str
    note: str
    content: str
    place: dict[str, Any]


def add(
    home: Home,
    *,
    note: str,
    screen: str = "",
    title: str = "",
    run_ids: Sequence[str] = (),
    user_id: int | None = None,
    item_id: int | None = None,
    command: str = "",
    content: str = "",
    place: Mapping[str, Any] | None = None,
) -> str:
    """Pin a finding; returns its id.

    Raises:
        NameRefused: the note has a character that controls a terminal.
    """
    check_name("the note", note, lines=True)
    finding_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    record_edit(
        home,
        "finding_added",
        finding_id=finding_id,
        screen=screen,
        title=shown(title),
        run_ids=list(run_ids),
        user_id=user_id,
        item_id=item_id,
        command=shown(command),
        note=note,
        content=bounded(shown(content)),
        place=dict(place or {}),
    )
    return finding_id


def bounded(content: str) -> str:
    """A content, cut to MOST_LETTERS with a line that says so."""
    return content if len(content) <= MOST_LETTERS else content[: MOST_LETTERS - len(CUT)] + CUT


def annotate(home: Home, finding_id: str, note: str) -> None:
    """Set the note of a finding.

    Raises:
        NameRefused: it has a character that controls a terminal.
    """
    check_name("the note", note, lines=True)
    record_edit(home, "finding_noted", finding_id=finding_id, note=note)


def remove(home: Home, finding_ids: Sequence[str]) -> None:
    """Take findings off the list; `restore` brings them back."""
    record_edit(home, "findings_removed", finding_ids=list(finding_ids))


def restore(home: Home, finding_ids: Sequence[str]) -> None:
    """Bring removed findings back."""
    record_edit(home, "findings_restored", finding_ids=list(finding_ids))


def list_findings(store: Store, text: str = "", *, removed: bool = False) -> list[Finding]:
    """Findings that have all words of a text anywhere, newest first.

    Args:
        removed: those that were removed instead.
    """
    rows = store.rows(
        f"SELECT {_LISTED}, content FROM findings WHERE (removed_at IS NOT NULL) = $1 AND len(list_filter($2::VARCHAR[], "
        "lambda word: NOT contains(lower(concat_ws(' ', finding_id, screen, title, array_to_string(run_ids, ' '), command, note, content)), "
        "word))) = 0 ORDER BY created_at DESC, finding_id DESC",
        [removed, text.lower().split()],
    )
    return [_decoded(row) for row in rows]


def find_finding(store: Store, text: str) -> Finding:
    """The finding with an id or the beginning of one, removed or not; `last` is the newest that is listed.

    Raises:
        LookupFailed: none, or several.
    """
    if text == "last":
        where, values = "removed_at IS NULL ORDER BY created_at DESC, finding_id DESC LIMIT 1", []
    else:
        where, values = "starts_with(finding_id, $1) ORDER BY finding_id = $1 DESC, finding_id LIMIT 3", [text]
    rows = store.rows(f"SELECT {_LISTED}, content FROM findings WHERE {where}", values)
    if not rows or not text:
        raise LookupFailed(f"there is no finding {text!r}", hint="`sracl findings` lists them.")
    if len(rows) > 1 and rows[0]["finding_id"] != text:
        several = ", ".join(row["finding_id"] for row in rows)
        raise LookupFailed(f"{text!r} is the beginning of several findings: {several}", hint="Give more of the id.")
    return _decoded(rows[0])


def _decoded(row: dict[str, Any]) -> Finding:
    """The row without what others than this program may have made of it."""
    try:
        place = json.loads(row["place"] or "{}")
    except (ValueError, TypeError, RecursionError):
        place = {}
    row["place"] = place if isinstance(place, dict) else {}
    row["run_ids"] = [run_id for run_id in row["run_ids"] or () if run_id]
    return cast(Finding, row)
