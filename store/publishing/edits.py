"""Changes that people make: events in the journal of edits of the home."""

from __future__ import annotations

from typing import Any

from store.errors import StoreBusy
from store.home import Home
from store.journal.journal import Journal
from store.publishing.publish import publish


def record_edit(home: Home, event: str, **fields: Any) -> None:
    """Append an edit to the journal, then publish it, unless another process has the database; it is on the disk when this returns."""
    home.create()
    journal = Journal(home.edits)
    journal.append(event, fields)
    journal.close()
    try:
        publish(home, wait=5.0)
    except StoreBusy:
        return  # it waits in the journal; the next command that can publish takes it in
