"""What the engine tells the world while it works: frozen dataclasses, handed to a callback.

The engine prints nothing and shows no bar; whoever calls it passes a `Report` and writes, draws or drops what
comes. `Tabular` events carry arrays of equal length, which a journal keeps as Parquet beside its lines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

Columns = Mapping[str, Any]
"""Column name to a numpy array or list; all of one length."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; `name` is what stands in a journal."""

    name: ClassVar[str]

    def payload(self) -> dict[str, Any]:
        """All fields but the columns, ready for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "columns"}
        if "metrics" in values:
            values["metrics"] = [asdict(metric) for metric in values["metrics"]]
        return values


@dataclass(frozen=True, kw_only=True)
class Tabular(Event):
    """An event with a table."""

    columns: Columns = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage begins; `total` counts its steps (texts, anchors, epochs), 0 where that is unknown."""

    name = "stage_started"
    stage: str
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class StageProgress(Event):
    """A stage has come so far."""

    name = "stage_progress"
    stage: str
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFinished(Event):
    """A stage is over after so many seconds; `cached` says that it was reused rather than computed."""

    name = "stage_finished"
    stage: str
    seconds: float
    cached: bool = False
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """Something that a reader should know and that does not end the run."""

    name = "warned"
    message: str


@dataclass(frozen=True, kw_only=True)
class SummarySetMade(Event):
    """Names a set of summaries; `SummariesLinked` gives its links, `SummariesMade` its texts."""

    name = "summary_set_made"
    set_id: str
    dataset_id: str
    kind: str
    provider: str
    model: str | None
    prompt_version: str
    template: str
    unit: str
    parameters: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SummariesMade(Tabular):
    """Summaries as they come. Columns: key, text, tokens_in, tokens_out, tokens_cached, usd, finish_reason, fallback."""

    name = "summaries_made"


@dataclass(frozen=True, kw_only=True)
class ApiCalled(Tabular):
    """HTTP attempts, failed ones too, told before the answers that they brought.

    Columns: key, attempt, sent_at (Unix seconds), status, error, latency_seconds, tokens_in, tokens_out, tokens_cached,
    usd_per_million_in, usd_per_million_out, usd_per_million_cached, usd, usd_reserved (of an unknown usd), batch.
    """

    name = "api_called"
    provider: str
    model: str | None
    run_id: str | None = None
    """The run that sent them, where it is not the one that reports."""


@dataclass(frozen=True, kw_only=True)
class SummariesLinked(Tabular):
    """Which owner has which summary. Columns: owner_id (anchor or item id), key."""

    name = "summaries_linked"
    set_id: str


@dataclass(frozen=True, kw_only=True)
class VectorsMade(Tabular):
    """Vectors of texts. Columns: sha256 (hex of the UTF-8 text), vector (float32, (N, dimension))."""

    name = "vectors_made"
    encoder: str
    dimension: int


@dataclass(frozen=True, kw_only=True)
class NeighborsFound(Tabular):
    """A neighbor list. Columns: anchor_id (item id for kind `item`), rank (from 1), neighbor_id, similarity."""

    name = "neighbors_found"
    list_id: str
    dataset_id: str
    kind: str
    parameters: dict[str, Any]
    recall: float | None = None


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One measured number, such as `valid / all / ndcg@10`."""

    split: str
    name: str
    value: float
    subgroup: str = "all"


@dataclass(frozen=True, kw_only=True)
class EpochFinished(Event):
    """An epoch is trained, evaluated on validation, and on disk. Epochs count from 1, steps over all epochs."""

    name = "epoch_finished"
    epoch: int
    step: int
    seconds: float
    evaluate_seconds: float
    improved: bool
    bad_epochs: int
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """A training step inside an epoch, told at most a few times a second."""

    name = "step_finished"
    epoch: int
    step: int
    steps_per_epoch: int
    done: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Evaluated(Tabular):
    """A split is evaluated with one set of weights. Columns: user_id, rank (of the target, from 1)."""

    name = "evaluated"
    split: str
    epoch: int
    step: int
    metrics: tuple[Metric, ...]


@dataclass(frozen=True, kw_only=True)
class WeightsSampled(Tabular):
    """Synthesizer weights of the anchors that represent users. Columns: anchor_id, neighbor_id, weight."""

    name = "weights_sampled"
    phase: str
    epoch: int
    step: int


@dataclass(frozen=True, kw_only=True)
class WeightsSeen(Event):
    """After an epoch: entropy over log k of the synthesizer's weights of some anchors, from 0 (one neighbor) to 1 (equal).

    `low` and `high` are its quantiles at 5 and 95 percent.
    """

    name = "weights_seen"
    epoch: int
    step: int
    entropy: float
    low: float
    high: float


Report = Callable[[Event], None]
"""Takes every event, in order, from the thread that works."""


def ignore(event: Event) -> None:
    """A report that drops everything."""
