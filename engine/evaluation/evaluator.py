"""What a training measures of its backbone: ranks of the targets, recommended lists, and the metrics of both.

Legend: B anchors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.config import Config
from engine.data.batching.windows import Windows
from engine.data.dataset import Dataset
from engine.evaluation.metrics import grouped_metrics, list_metrics, needs_lists, ranking_metrics, subgroups
from engine.evaluation.ranking import rank_and_list, rank_targets
from engine.events import Metric
from engine.metric_registry import RecommendedLists, oriented, split_name
from engine.models.backbone import Backbone
from engine.processes import ALONE, Processes


class Evaluator:
    """Measures the metrics of a config on a data set."""

    def __init__(self, config: Config, dataset: Dataset, windows: Windows, *, processes: Processes = ALONE) -> None:
        """Of one or several processes, each of which ranks its share of the targets and measures what all have found."""
        self._dataset, self._windows, self._config = dataset, windows, config.evaluate
        self._processes = processes
        self._select = config.train.select
        selecting = split_name(self._select)[0]
        self._names = tuple(dict.fromkeys([*config.evaluate.metrics, selecting]))
        self._lists_on = {"test": needs_lists(self._names), "valid": needs_lists((selecting,))}

    def score(self, values: dict[str, float]) -> float:
        """The value that selects the best epoch, turned so that higher is better."""
        return oriented(self._select, values[self._select])

    def validate(self, backbone: Backbone, anchor_ids: NDArray[np.int64]) -> dict[str, float]:
        """Metrics of all users by full name; those of recommended lists only where one of them selects the best epoch."""
        ranks, lists = self._ranked(backbone, anchor_ids, "valid")
        values = ranking_metrics(ranks, self._config.ks, self._names)
        return values if lists is None else values | list_metrics(lists, self._config.ks, self._names)

    def measure(
        self, backbone: Backbone, anchor_ids: NDArray[np.int64], split: str
    ) -> tuple[NDArray[np.int32], tuple[Metric, ...]]:
        """Ranks (B,) of the targets of a split, and its metrics by subgroup: one pass over the items for both."""
        ranks, lists = self._ranked(backbone, anchor_ids, split)
        masks = subgroups(self._dataset, anchor_ids)
        return ranks, grouped_metrics(ranks, masks, split=split, ks=self._config.ks, names=self._names, lists=lists)

    def _ranked(
        self, backbone: Backbone, anchor_ids: NDArray[np.int64], split: str
    ) -> tuple[NDArray[np.int32], RecommendedLists | None]:
        """Ranks and, where a metric needs them, the lists up to the largest cutoff."""
        dataset, config = self._dataset, self._config
        own = anchor_ids[self._processes.span(len(anchor_ids))]
        if not self._lists_on[split]:
            parts = self._processes.together(lambda: rank_targets(backbone, self._windows, dataset, own, config))
            return np.concatenate(parts), None
        k = max(config.ks)
        pairs = self._processes.together(lambda: rank_and_list(backbone, self._windows, dataset, own, config, k=k))
        ranks, items = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        return ranks, RecommendedLists(items=items, train_counts=dataset.train_counts)
