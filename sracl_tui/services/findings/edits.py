"""Edits of findings that can be taken back, each with the command that does the same."""

from __future__ import annotations

from dataclasses import dataclass

from sracl_tui.services.run_edits import Words
from store.database.database import Store
from store.errors import StoreError
from store.queries import findings


@dataclass(frozen=True)
class FindingsListed:
    """Findings that are removed, or brought back."""

    finding_ids: tuple[str, ...]
    listed: bool
    """Whether they are in the list afterwards."""

    def apply(self, store: Store) -> None:
        """Remove them, or bring them back."""
        (findings.restore if self.listed else findings.remove)(store.home, self.finding_ids)

    def inverse(self) -> FindingsListed:
        """The other way round."""
        return FindingsListed(self.finding_ids, not self.listed)

    def words(self) -> Words:
        """`sracl findings restore` or `sracl findings remove`."""
        return "findings", "restore" if self.listed else "remove", *self.finding_ids


@dataclass(frozen=True)
class FindingNote:
    """Another note of a finding; it is set only if the finding still has the one before."""

    finding_id: str
    before: str
    after: str

    def apply(self, store: Store) -> None:
        """Set the note."""
        now = findings.find_finding(store, self.finding_id)["note"]
        if now != self.before:
            raise StoreError(f"The note of {self.finding_id} is {now!r} meanwhile: it was left as it is.")
        findings.annotate(store.home, self.finding_id, self.after)

    def inverse(self) -> FindingNote:
        """Set it back."""
        return FindingNote(self.finding_id, self.after, self.before)

    def words(self) -> Words:
        """`sracl findings note`."""
        return "findings", "note", self.finding_id, *(("--",) if self.after.startswith("-") else ()), self.after
