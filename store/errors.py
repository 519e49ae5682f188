"""The store's errors: each says what is wrong, where, and what to do about it."""

from __future__ import annotations


class StoreError(Exception):
    """Base of every error that the store raises on purpose; the command ends with exit code 4.

    Attributes:
        message: what is wrong, in one or a few lines.
        where: the file or table it is about, where one is known.
        hint: what the reader can do about it.
    """

    title = "Store error"

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n{self.hint}" if self.hint else text


class StoreBusy(StoreError):
    """Another process holds a lock that is needed; `pid` is None where it is not known which."""

    title = "Store is busy"

    def __init__(self, message: str, *, pid: int | None, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, where=where, hint=hint)
        self.pid = pid


class LookupFailed(StoreError):
    """No run, user, item or dataset fits what was given, or several do; the command ends with exit code 2."""

    title = "Not found"


class NameRefused(StoreError):
    """A name, tag or note that a person gave cannot be used; the command ends with exit code 2."""

    title = "Not allowed"


class RunsOpen(StoreError):
    """Runs that have not ended cannot be removed; the command ends with exit code 2."""

    title = "Not possible now"


class QueryFailed(StoreError):
    """The database refused SQL that a person wrote, or the query was canceled; the command ends with exit code 2."""

    title = "SQL error"
