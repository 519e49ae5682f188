"""The analysis metrics of a trained run: where its users' vectors lie, and what became of its weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from store.journal.journal import read_events

if TYPE_CHECKING:
    from engine.training.trainer import Trainer

SPLIT = "analysis"


def measure(
    trainer: Trainer, folder: Path, *, own: NDArray[np.float32], samples: NDArray[np.float32] | None
) -> list[dict[str, Any]]:
    """Metrics of split `analysis` at the best checkpoint, which is loaded; those that are not defined are left out.

    Args:
        folder: of the run; its journal has the weights before training, in whichever segment they were reported.
        own: h (R, D) of the anchors that represent users.
        samples: h+ (R, D) of the same; none for a run that weighs no neighbors.
    """
    from engine.evaluation import geometry

    values = {"h": geometry.vector_metrics(own)}
    if samples is not None:
        neighbors, weights = trainer.weights(trainer.dataset.anchors.representing)
        there = neighbors > 0
        values["h_plus"] = geometry.vector_metrics(samples[there.any(axis=1)])
        values["weights"] = {
            "spearman": geometry.spearman(_similarity(trainer), weights, there),
            "entropy": geometry.weight_entropy(weights, there),
        }
        initial = _initial_weights(folder, there)
        if initial is not None:
            values["weights"]["movement"] = geometry.movement(initial, weights, there)
    return [
        {"split": SPLIT, "subgroup": subgroup, "name": name, "value": value}
        for subgroup, named in values.items()
        for name, value in named.items()
        if math.isfinite(value)
    ]


def _similarity(trainer: Trainer) -> NDArray[np.float32]:
    """(R, K) of the neighbors of the anchors that represent users."""
    import torch

    semantics = trainer.model.semantics
    if semantics is None:
        raise ValueError("a run without contrasts has no neighbors")
    ids = torch.from_numpy(trainer.dataset.anchors.representing).to(semantics.similarity.device)
    return semantics.similarity[ids].cpu().numpy()


def _initial_weights(folder: Path, there: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """(R, K) weights before training, from the run's own journal: a resumed run did not compute them itself."""
    import pyarrow.parquet as pq

    tables = [
        line.table
        for _, line in read_events(folder)
        if line.event == "weights_sampled" and line.fields["phase"] == "initial" and line.table is not None
    ]
    if not tables or not tables[-1].exists():
        return None
    reported = pq.read_table(tables[-1], columns=["weight"])["weight"].to_numpy()
    if len(reported) != there.sum():
        return None
    weights = np.zeros(there.shape, np.float32)
    weights[there] = reported  # in the same order: by anchor, then by place
    return weights
