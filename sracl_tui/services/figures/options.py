"""What a figure may be told beside the names of runs, and what all of them check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from engine.errors import ConfigError
from engine.metric_registry import title

Split = Literal["valid", "test"]
Cost = Literal["seconds", "step", "memory", "usd"]
DEFAULT_METRIC = "ndcg@20"
SPLITS = {"valid": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """Options of `sracl export --figure`; None where the figure's own default holds."""

    metric: str | None = None
    split: Split | None = None
    user: str | None = None
    """A user's number or id in the source."""
    baseline: str | None = None
    cost: Cost | None = None

    def given(self) -> list[str]:
        """Names of the options that are set."""
        return [name for name in self.__dataclass_fields__ if getattr(self, name) is not None]


COSTS: tuple[Cost, ...] = get_args(Cost)


def chosen_metric(wanted: str | None, known: Sequence[str]) -> str:
    """The metric that was asked for, else NDCG@20, else the first one.

    Raises:
        ConfigError: it was not measured; lists those that were.
    """
    if wanted is None:
        return DEFAULT_METRIC if DEFAULT_METRIC in known else known[0]
    if wanted.lower() not in known:
        raise ConfigError(
            f"these runs have no {title(wanted)} that this figure could show",
            where="--metric",
            hint=f"Metrics: {', '.join(known)}.",
        )
    return wanted.lower()


def also_tested(wanted: str | None) -> list[str]:
    """The metric that was asked for, as `compare_runs` takes it."""
    return [] if wanted is None else [wanted.lower()]


def signed(value: float) -> str:
    """Two decimals with a sign, as a figure writes it."""
    return f"{value:+.2f}".replace("-", "\u2212")


def seeds_text(count: int) -> str:
    """`one seed`, `3 seeds`; how many runs a mean is of."""
    return "one seed" if count == 1 else f"{count} seeds"
