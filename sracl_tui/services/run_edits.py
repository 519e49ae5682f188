"""Edits of runs that can be taken back: tags, note and name, each with the command that does the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from store.database.database import Store
from store.errors import StoreError
from store.queries import runs

Words = tuple[str, ...]
"""A command as its words after `sracl`."""


class Edit(Protocol):
    """A change of the store that can be taken back."""

    def apply(self, store: Store) -> None:
        """Make the change.

        Raises:
            StoreError: it is not possible, or what it would change is no longer as it was.
        """

    def inverse(self) -> Edit:
        """The edit that takes this one back."""
        ...

    def words(self) -> Words:
        """The command that does the same."""
        ...


@dataclass(frozen=True)
class TagEdit:
    """Tags that a run gets and loses."""

    run_id: str
    add: Words
    remove: Words

    @classmethod
    def of(cls, run_id: str, tags: Sequence[str], words: Sequence[str]) -> TagEdit:
        """The edit that words ask for, `-word` to remove one: only what changes something, so that it can be taken back."""
        remove = {word[1:] for word in words if word.startswith("-")} & set(tags)
        add = {word.removeprefix("+") for word in words if not word.startswith("-")} - set(tags)
        return cls(run_id, tuple(sorted(add)), tuple(sorted(remove)))

    def apply(self, store: Store) -> None:
        """Add and remove the tags."""
        runs.tag(store, self.run_id, add=self.add, remove=self.remove)

    def inverse(self) -> TagEdit:
        """Remove what was added, add what was removed."""
        return TagEdit(self.run_id, self.remove, self.add)

    def words(self) -> Words:
        """`sracl tag`."""
        separator = ("--",) if self.remove else ()
        return "tag", self.run_id, *separator, *self.add, *(f"-{tag}" for tag in self.remove)


@dataclass(frozen=True)
class TextEdit:
    """Another note or name of a run; it is made only if the run still has the one before."""

    run_id: str
    what: str
    """`note` or `name`."""
    before: str
    after: str

    def apply(self, store: Store) -> None:
        """Set the note or name."""
        now = str(runs.find_run(store, self.run_id)[self.what] or "")  # type: ignore[literal-required]
        if now != self.before:
            raise StoreError(f"The {self.what} of {self.run_id} is {now!r} meanwhile: it was left as it is.")
        (runs.note if self.what == "note" else runs.rename)(store, self.run_id, self.after)

    def inverse(self) -> TextEdit:
        """Set it back."""
        return TextEdit(self.run_id, self.what, self.after, self.before)

    def words(self) -> Words:
        """`sracl note` or `sracl rename`."""
        return "note" if self.what == "note" else "rename", self.run_id, self.after


class EditHistory:
    """Groups of edits, newest last: what one action has changed is taken back together."""

    def __init__(self) -> None:
        self._done: list[tuple[str, tuple[Edit, ...]]] = []

    def add(self, what: str, edits: Sequence[Edit]) -> None:
        """Remember edits that were made; `what` names them: `rename of whole`."""
        if edits:
            self._done.append((what, tuple(edits)))

    def pop(self) -> tuple[str, tuple[Edit, ...]] | None:
        """The newest group as edits that take it back, last one first; none if nothing is left."""
        if not self._done:
            return None
        what, edits = self._done.pop()
        return what, tuple(edit.inverse() for edit in reversed(edits))

    @property
    def newest(self) -> str:
        """What would be taken back; empty for nothing."""
        return self._done[-1][0] if self._done else ""
