"""The engine's errors: each says what is wrong, where, and what to do about it."""

from __future__ import annotations


class EngineError(Exception):
    """Base of every error that the engine raises on purpose.

    Attributes:
        message: what is wrong, in one or a few lines.
        where: a file and line (`ratings.csv:17`) or a config path (`loss.alpha`), where one is known.
        hint: what the reader can do about it.
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
    """A stop was requested: no error, and everything reported or saved so far is kept."""


class BatchPending(StopRequested):
    """A stop without an error: every request is with the provider as a batch, whose results can be fetched later."""

    def __init__(self, requests: int) -> None:
        super().__init__(f"{requests:,} requests are at the provider: `sracl llm batches list` shows how far they are")


class ConfigError(EngineError):
    """A setting that is unknown, out of range, or at odds with another; all problems at once."""

    title = "Config error"


class DataError(EngineError):
    """A file that cannot be read as interactions or items."""

    title = "Data error"


class SemanticsError(EngineError):
    """A summary or a vector that could not be made."""

    title = "Semantics error"


class BudgetReached(SemanticsError):
    """The next call could exceed the money cap; everything paid for is kept."""

    title = "Money cap"

    def __init__(self, cap: float, spent: float) -> None:
        super().__init__(
            f"the cap of ${cap:g} is reached: ${spent:.4f} is spent or may have been billed",
            where="semantics.budget",
            hint="Everything that came is kept; a higher --budget goes on from there.",
        )


class TrainingError(EngineError):
    """A training that cannot continue, such as one whose loss is not finite."""

    title = "Training error"


class CheckpointError(EngineError):
    """A checkpoint that is missing, damaged, or made by another configuration."""

    title = "Checkpoint error"


class FetchError(EngineError):
    """A data set that could not be downloaded; the part that arrived is kept, and the next attempt resumes from it."""

    title = "Download error"


class Interrupted(StopRequested):
    """A semantic stage was stopped on request; what it has reported is not computed again."""
