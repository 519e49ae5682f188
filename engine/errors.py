"""Errors of the engine. Each has a message and, if known, the location and a hint how to fix it."""

from __future__ import annotations


class EngineError(Exception):
    """Base of all errors that the engine raises deliberately.

    Attributes:
        message: what is wrong, in one or a few lines.
        where: a file and line (`ratings.csv:17`) or a config path (`loss.alpha`), if known.
        hint: how to fix it.
    """

    title = "Error"

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n{self.hint}" if self.hint else text


class StopRequested(Exception):
    """Ends a run after a requested stop, which is not an error: all reported or saved results are kept."""


class BatchPending(StopRequested):
    """Ends a run whose remaining requests were all sent as batches; their results can be collected later."""

    def __init__(self, requests: int) -> None:
        super().__init__(f"{requests:,} requests are at the provider: `sracl llm batches list` shows their status")


class ConfigError(EngineError):
    """Settings that are unknown, out of range or inconsistent; one error reports all problems."""

    title = "Config error"


class DataError(EngineError):
    """Invalid or unreadable interactions, items or dataset."""

    title = "Data error"


class ScratchFull(EngineError):
    """Temporary files of an import cannot be written; nothing was stored."""

    title = "No room"


class SemanticsError(EngineError):
    """A summary or vector could not be created."""

    title = "Semantics error"


class BudgetReached(SemanticsError):
    """The next call could exceed the budget (USD); all answers received so far are kept."""

    title = "Budget reached"

    def __init__(self, cap: float, spent: float) -> None:
        super().__init__(
            f"the budget of ${cap:g} is reached: ${spent:.4f} is spent or may have been billed",
            where="semantics.budget",
            hint="All answers received are kept. Continue with a higher --budget.",
        )


class TrainingError(EngineError):
    """Training cannot continue, for example because the loss is not finite."""

    title = "Training error"


class CheckpointError(EngineError):
    """A checkpoint is missing, damaged, or from another configuration."""

    title = "Checkpoint error"


class FetchError(EngineError):
    """A download failed; the partial file is kept, and the next attempt resumes it."""

    title = "Download error"


class Interrupted(StopRequested):
    """A stop was requested in a semantic stage; results reported before it are not computed again."""
