"""Every metric: its name, its definition with the source, and how it is computed. A new metric is one entry of `METRICS`.

An installed package offers more of them as entry points of the group `sracl.metrics`, each a `MetricDefinition`.

A full name is the metric's own name and, where it has one, its cutoff: `hr@20`. Importing this loads no numpy: lists of runs need
the names alone.

Legend: U users, K items of a list, R relevant items of a user, V items.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from engine.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    import numpy as np
    from numpy.typing import NDArray

    Ranks = NDArray[np.integer]
    Floats = NDArray[np.floating]

GROUP = "sracl.metrics"
"""Entry points under which an installed package offers metrics."""
DEFAULT = ("hr", "ndcg", "mrr")
"""Metrics of the target's rank that a run measures if its settings do not say otherwise: the only ones of older runs."""
LISTED = ("coverage", "gini", "popularity")
"""What it measures of the lists on test, likewise."""
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z][a-z0-9]*)*")
"""No part begins with a digit: `test_hr_20` is then always `hr@20` on test."""
_FIELD = re.compile(r"(?:(?P<split>train|valid|test)(?P<dot>[._]))?(?P<name>[a-z]\w*?)(?:@?_?(?P<k>(?<=\D)\d+))?")


@dataclass(frozen=True, kw_only=True)
class RecommendedLists:
    """The best items of each user at a test, as the ranks of the targets see them, with what a metric may compare them with."""

    items: NDArray[np.int32]
    """(U, K) item ids, best first; 0 where a user has fewer. K is the largest cutoff, at most V."""
    train_counts: NDArray[np.int64]
    """(V + 1,) interactions of each item in training; entry 0 is padding."""

    def top(self, k: int) -> NDArray[np.int32]:
        """(U, min(k, K)) the first k items of each list; whole lists for k = 0."""
        return self.items[:, :k] if k else self.items

    def exposure(self, k: int) -> NDArray[np.int64]:
        """(V,) in how many lists of length k each item stands."""
        import numpy as np

        return np.bincount(self.top(k).ravel(), minlength=len(self.train_counts))[1:]


@dataclass(frozen=True, kw_only=True)
class MetricDefinition:
    """One metric. Exactly one of `of_ranks` and `of_lists` computes it; both get the cutoff, 0 where the metric has none."""

    name: str
    label: str
    """As tables and plots write it, before the cutoff."""
    definition: str
    source: str
    """Paper or book that defines it."""
    of_ranks: Callable[[Ranks, int], Floats] | None = None
    """Contribution of each user (U,) from the rank of the user's target (from 1); the metric is their mean."""
    of_lists: Callable[[RecommendedLists, int], float] | None = None
    """One value of all recommended lists together."""
    higher_is_better: bool = True
    cutoff: bool = True
    """Whether it is measured at each of `evaluate.ks`; if so, a rank beyond the cutoff has to contribute 0."""
    tested: bool = True
    """Whether comparisons test it for significance, if it has a value per user; each further test widens Holm's correction."""
    format: str = ".4f"
    """How a value is displayed."""

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(
                f"a metric's name is lower case words joined by _, none beginning with a digit, not {self.name!r}"
            )
        if (self.of_ranks is None) == (self.of_lists is None):
            raise ValueError(f"metric {self.name} needs one of of_ranks and of_lists")

    @property
    def per_user(self) -> bool:
        """Whether each user has a value, so that subgroups and paired tests are possible."""
        return self.of_ranks is not None


def _hit_ratio(ranks: Ranks, k: int) -> Floats:
    return (ranks <= k).astype(float)


def _ndcg(ranks: Ranks, k: int) -> Floats:
    import numpy as np

    return np.where(ranks <= k, 1.0 / np.log2(ranks + 1.0), 0.0)


def _reciprocal_rank(ranks: Ranks, k: int) -> Floats:
    import numpy as np

    return np.where(ranks <= k, 1.0 / ranks, 0.0)


def average_precision(ranks: Ranks, k: int) -> Floats:
    """(U,) average precision at k from the ranks (U, R) of the R relevant items of each user, all different.

    The precision at the rank of each relevant item within the first k, summed, over min(R, k).
    """
    import numpy as np

    ordered = np.sort(ranks, axis=1)
    precision = np.arange(1, ordered.shape[1] + 1) / ordered  # (U, R)
    return np.where(ordered <= k, precision, 0.0).sum(1) / min(ordered.shape[1], k)


def _coverage(lists: RecommendedLists, k: int) -> float:
    return float((lists.exposure(k) > 0).mean())


def _gini(lists: RecommendedLists, k: int) -> float:
    import numpy as np

    exposure = np.sort(lists.exposure(k)).astype(np.float64)
    items, total = len(exposure), exposure.sum()
    return float((2 * np.arange(1, items + 1) - items - 1) @ exposure / (items * total)) if total else float("nan")


def _popularity(lists: RecommendedLists, k: int) -> float:
    top = lists.top(k)
    sizes = (top > 0).sum(1)
    means = lists.train_counts[top].sum(1)[sizes > 0] / sizes[sizes > 0]
    return float(means.mean()) if len(means) else float("nan")


METRICS = {
    metric.name: metric
    for metric in (
        MetricDefinition(
            name="hr",
            label="HR",
            definition="Share of users whose target is among the first k items. With one target it equals recall.",
            source="Deshpande and Karypis 2004, Item-based top-N recommendation algorithms",
            of_ranks=_hit_ratio,
        ),
        MetricDefinition(
            name="ndcg",
            label="NDCG",
            definition="Mean of 1 / log2(rank + 1) of the target within the first k items, else 0; the ideal is 1 with one target.",
            source="Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques",
            of_ranks=_ndcg,
        ),
        MetricDefinition(
            name="mrr",
            label="MRR",
            definition="Mean of 1 / rank of the first relevant item within the first k items, else 0.",
            source="Voorhees 1999, The TREC-8 question answering track report",
            of_ranks=_reciprocal_rank,
            tested=False,
        ),
        MetricDefinition(
            name="map",
            label="MAP",
            definition=(
                "Mean over users of the average precision: the precision at the rank of each relevant item within the first k, "
                "summed, over min(k, number of relevant items). With one target per user, as here, it equals MRR@k."
            ),
            source="Manning, Raghavan and Schütze 2008, Introduction to Information Retrieval, section 8.4; cut at k",
            of_ranks=lambda ranks, k: average_precision(ranks[:, None], k),
            tested=False,
        ),
        MetricDefinition(
            name="coverage",
            label="Coverage",
            definition="Share of all items that are among the first k items of at least one user.",
            source="Herlocker et al. 2004, Evaluating collaborative filtering recommender systems (catalog coverage)",
            of_lists=_coverage,
        ),
        MetricDefinition(
            name="gini",
            label="Gini",
            definition=(
                "Gini coefficient of exposure: with c(1) <= ... <= c(V) the numbers of lists of length k with each of the V items, "
                "sum over i of (2i - V - 1) c(i), over V times the sum of c. 0: all items equally often; (V - 1) / V: one item alone."
            ),
            source="Fleder and Hosanagar 2009, Blockbuster culture's next rise or fall (Gini coefficient over items)",
            of_lists=_gini,
            higher_is_better=False,
        ),
        MetricDefinition(
            name="popularity",
            label="Popularity",
            definition="Mean over users of the mean number of training interactions of the first k items.",
            source="Yin et al. 2012, Challenging the long tail recommendation (popularity of recommended items)",
            of_lists=_popularity,
            higher_is_better=False,
            format=".1f",
        ),
    )
}
"""Our metrics by name, in the order in which tables show them."""


@cache
def _points() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # takes 15 ms, and most commands ask for our metrics alone

    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _installed(point: EntryPoint) -> MetricDefinition:
    name = point.name
    try:
        found = point.load()
    except Exception as error:  # somebody's code may raise anything
        raise ConfigError(
            f"metric {name} cannot be imported: {type(error).__name__}: {error}", where=point.value
        ) from error
    if not isinstance(found, MetricDefinition) or found.name != name:
        raise ConfigError(f"metric {name} is no MetricDefinition of this name", where=point.value)
    return found


def known_names() -> list[str]:
    """Names of our metrics and of the installed ones, ours first."""
    return list(dict.fromkeys([*METRICS, *_points()]))


def find(name: str) -> MetricDefinition | None:
    """The metric of a name without cutoff; none if there is no such metric.

    Raises:
        ConfigError: an installed one cannot be imported.
    """
    if name in METRICS or name not in _points():
        return METRICS.get(name)
    return _installed(_points()[name])


def split_name(full: str) -> tuple[str, int]:
    """Name and cutoff of a full name; the cutoff is 0 where it has none."""
    name, _, k = full.partition("@")
    return name, int(k) if k.isdecimal() else 0


def definition_of(full: str) -> MetricDefinition | None:
    """The metric of a full name such as `hr@20`; none if there is no such metric now, or the cutoff is missing or too much."""
    name, k = split_name(full)
    try:
        found = find(name)
    except ConfigError:  # a stored value is still shown where the package of its metric is broken
        return None
    return found if found is not None and found.cutoff == (k > 0) == ("@" in full) else None


def full_names(names: Iterable[str], ks: Sequence[int]) -> list[str]:
    """Full names of metrics: those with a cutoff for each of `ks` in turn, then those without; unknown ones are left out."""
    known = [found for name in dict.fromkeys(names) if (found := find(name)) is not None]
    return [f"{one.name}@{k}" for k in ks for one in known if one.cutoff] + [
        one.name for one in known if not one.cutoff
    ]


def problem_of(name: str) -> str | None:
    """Why a metric without cutoff cannot be measured, as a message that lists those that can; none where it can."""
    try:
        known = find(name) is not None
    except ConfigError as error:
        return error.message
    return None if known else f"there is no metric {name!r}; there are {', '.join(known_names())}"


def ordered(full: Iterable[str]) -> list[str]:
    """Full names for a table: by metric, ours first, then by cutoff; names that are no metric come last, as they were."""
    order = {name: place for place, name in enumerate(known_names())}
    return sorted(dict.fromkeys(full), key=lambda one: (order.get(split_name(one)[0], len(order)), split_name(one)[1]))


def by_cutoff(full: Iterable[str]) -> list[str]:
    """Full names for a choice of one after the other: the longest cutoff first, then by metric; names without a cutoff last."""
    return sorted(ordered(full), key=lambda one: -split_name(one)[1])


def training_names(names: Iterable[str]) -> list[str]:
    """What a method measures while it trains, in the order of tables: the loss, L_rec, other losses, and everything else."""
    return sorted(dict.fromkeys(names), key=lambda one: (not is_loss(one), one != "loss", one != "loss_rec", one))


def is_loss(name: str) -> bool:
    """Whether a name of split train is the loss, or a part of it."""
    return name == "loss" or name.startswith("loss_")


def title(full: str) -> str:
    """A metric as tables and plots name it: `HR@20`; `L_rec`, `L_CS` for a part of the loss; capitals for a name with a
    cutoff that no metric has.
    """
    found, k = definition_of(full), split_name(full)[1]
    if found is None and full.startswith("loss_"):
        part = full.removeprefix("loss_")
        return f"L_{part.upper() if len(part) == 2 else part}"
    if found is None:
        return full.upper() if k else full
    return f"{found.label}@{k}" if k else found.label


def value_text(full: str, value: float | None) -> str:
    """A value as its metric is displayed; a dash for none."""
    found = definition_of(full)
    return "-" if value is None else format(value, found.format if found else ".4f")


def oriented(full: str, value: float) -> float:
    """The value where higher is better, its negative where lower is."""
    found = definition_of(full)
    return value if found is None or found.higher_is_better else -value


def parse_field(text: str) -> tuple[str, str] | None:
    """Split and full name of `hr@20` (on test), `valid.mrr@10`, `test_hr_20` or `train.loss_rec`; none if it names no metric.

    Behind `train.` and `valid.` any name may stand: a method measures what it likes after each epoch.
    """
    match = _FIELD.fullmatch(text)
    if match is None:
        return None
    split, name, k = match["split"], match["name"], match["k"]
    full = f"{name}@{k}" if k else name
    if definition_of(full) is not None:
        return split or "test", full
    free = split in ("train", "valid") and match["dot"] == "."
    return (split, text.partition(".")[2]) if free and "@" not in text else None
