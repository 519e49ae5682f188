"""Events that the engine reports while it works: frozen dataclasses, handed to a callback.

The engine prints nothing and shows no progress bar. Its caller passes a `Report` and writes, draws or drops each event.
`Tabular` events carry arrays of equal length, which a journal keeps as Parquet beside its lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

Columns = Mapping[str, Any]
"""Column name to a numpy array or list; all of one length."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events, with the facts that a journal and its readers have to know of each class."""

    name: ClassVar[str]
    """Name of the event in journals."""
    durable: ClassVar[bool] = False
    """A journal has it on the disk before the engine goes on: it may have cost money, or a checkpoint follows it."""
    quiet: ClassVar[bool] = False
    """It writes no line into a run's log: it comes many times a minute or says nothing to a person."""
    tabular: ClassVar[bool] = False
    """It carries columns."""
    bulky: ClassVar[bool] = False
    """Its content changes no run's row and fills most of a journal: who follows a run may skip it undecoded."""

    def payload(self) -> dict[str, Any]:
        """All fields but the columns, ready for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "columns"}
        if "metrics" in values:
            values["metrics"] = [asdict(metric) for metric in values["metrics"]]
        return values


@dataclass(frozen=True, kw_only=True)
class Tabular(Event):
    """An event with a table: columns of equal length by name."""

    tabular = True
    columns: Columns = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class StageStarted(Event):
    """A stage begins; `total` counts its steps (texts, anchors, epochs), 0 where their number is unknown."""

    name = "stage_started"
    stage: str
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class StageProgress(Event):
    """Steps of a stage that are done, of `total` (0 where that is unknown); `detail` is a clause for people."""

    name = "stage_progress"
    quiet = True
    stage: str
    done: int
    total: int
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class StageFinished(Event):
    """A stage has ended; `cached` where its result was reused rather than computed."""

    name = "stage_finished"
    stage: str
    seconds: float
    cached: bool = False
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """A problem that a person should know of and that does not end the run."""

    name = "warned"
    message: str


@dataclass(frozen=True, kw_only=True)
class SummarySetMade(Event):
    """A set of summaries is defined; `SummariesLinked` gives its links, `SummariesMade` its texts."""

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
    """Summaries, as answers arrive. Columns: key, text, tokens_in, tokens_out, tokens_cached, usd, finish_reason, fallback."""

    name = "summaries_made"
    durable = True
    quiet = True
    bulky = True


@dataclass(frozen=True, kw_only=True)
class ApiCalled(Tabular):
    """HTTP attempts, failed ones too, reported before the answers that they brought.

    Columns: key, attempt, sent_at (Unix seconds), status, error, latency_seconds, tokens_in, tokens_out, tokens_cached,
    usd_per_million_in, usd_per_million_out, usd_per_million_cached, usd, usd_reserved (of an unknown usd), batch.
    """

    name = "api_called"
    durable = True
    bulky = True
    provider: str
    model: str | None
    run_id: str | None = None
    """The run that sent them, where another run reports them."""


@dataclass(frozen=True, kw_only=True)
class SummariesLinked(Tabular):
    """The summary of each owner. Columns: owner_id (anchor or item id), key."""

    name = "summaries_linked"
    quiet = True
    bulky = True
    set_id: str


@dataclass(frozen=True, kw_only=True)
class VectorsMade(Tabular):
    """Vectors of texts. Columns: sha256 (hex of the UTF-8 text), vector (float32, (N, dimension))."""

    name = "vectors_made"
    quiet = True
    bulky = True
    encoder: str
    dimension: int


@dataclass(frozen=True, kw_only=True)
class NeighborsFound(Tabular):
    """A neighbor list. Columns: anchor_id (item id for kind `item`), rank (from 1), neighbor_id, similarity."""

    name = "neighbors_found"
    bulky = True
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
    """An epoch is trained and evaluated on validation, and its checkpoint is on the disk.

    `epoch` counts from 1, `step` over all epochs; `seconds` is the training alone; `bad_epochs` is the number since the best.
    """

    name = "epoch_finished"
    durable = True
    epoch: int
    step: int
    seconds: float
    evaluate_seconds: float
    improved: bool
    bad_epochs: int
    metrics: tuple[Metric, ...]
    epochs: int = 0
    """Epochs at most, those of stages before the main training included; 0 in journals of earlier versions."""
    stage: str = ""
    """Name of the stage before the main training to which it belongs: there validation is not read."""


@dataclass(frozen=True, kw_only=True)
class StepFinished(Event):
    """A training step inside an epoch, reported at most a few times a second; `done` counts steps of this epoch."""

    name = "step_finished"
    quiet = True
    epoch: int
    step: int
    steps_per_epoch: int
    done: int
    loss: float
    epochs: int = 0
    """Epochs at most, as in `EpochFinished`."""


@dataclass(frozen=True, kw_only=True)
class Evaluated(Tabular):
    """A split is evaluated with the weights of `epoch`. Columns: user_id, rank (of the target, from 1)."""

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
    quiet = True
    epoch: int
    step: int
    entropy: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class EpochRecorded(Tabular):
    """Some users with the weights of `epoch`, 0 before training.

    Columns: user_id, rank (of the validation target, from 1), weights (float32, (M, K), by rank of the neighbor in the list; None
    where the method weighs none), x and y (float32, along the two principal directions of these users' vectors; None without a training prefix).
    """

    name = "epoch_recorded"
    quiet = True
    bulky = True
    epoch: int
    step: int


def event_classes() -> Iterator[type[Event]]:
    """Every class of event that has a name, thus may stand in a journal."""
    waiting: list[type[Event]] = [Event]
    while waiting:
        found = waiting.pop()
        waiting += found.__subclasses__()
        if "name" in vars(found):
            yield found


Report = Callable[[Event], None]
"""Receives every event, in order, in the thread that works."""


def ignore(event: Event) -> None:
    """A report that drops every event."""
