"""Analysis metrics of a trained run: geometry of its user vectors, and its neighbor weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from store.journal.journal import read_events

if TYPE_CHECKING:
    from engine.methods.sracl import Synthesis
    from engine.training.trainer import Trainer

SPLIT = "analysis"


def measure(
    trainer: Trainer, folder: Path, *, own: NDArray[np.float32], samples: NDArray[np.float32] | None
) -> list[dict[str, Any]]:
    """Metrics of split `analysis` at the best checkpoint, which must be loaded; undefined (not finite) values are omitted.

    Args:
        folder: folder of the run; its journal contains the weights before training.
        own: h (R, D) of the anchors that represent users.
        samples: h+ (R, D) of the same anchors; None for a run without neighbor weights.
    """
    from engine.evaluation import geometry

    values = {"h": geometry.vector_metrics(own)}
    if samples is not None:
        synthesis = weighing(trainer, "inter")
        assert synthesis is not None, "there are samples, so there is a part that makes them"
        representing = trainer.dataset.anchors.representing
        neighbors, weights = synthesis.user_table(representing)
        present = neighbors > 0
        values["h_plus"] = geometry.vector_metrics(samples[present.any(axis=1)])
        similarity = synthesis.similarity(representing)
        values["weights"] = {
            "spearman": geometry.spearman(similarity, weights, present),
            "entropy": geometry.weight_entropy(weights, present),
            "reordered": geometry.reordered(similarity, weights, present),
            "reordered_by_chance": geometry.reordered_by_chance(similarity, present),
        }
        initial = _initial_weights(folder, present)
        if initial is not None:
            values["weights"] |= {
                "movement": geometry.movement(initial, weights, present),
                "reordered_untrained": geometry.reordered(similarity, initial, present),
                "spearman_untrained": geometry.spearman(similarity, initial, present),
            }
    return [
        {"split": SPLIT, "subgroup": subgroup, "name": name, "value": value}
        for subgroup, named in values.items()
        for name, value in named.items()
        if math.isfinite(value)
    ]


def weighing(trainer: Trainer, part: str) -> Synthesis | None:
    """Who weighs neighbors for a part of the method, `inter` or `intra`; none where that part is off."""
    return trainer.model.shared("synthesis") if part in trainer.model.parts else None


def _initial_weights(folder: Path, present: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """(R, K) weights before training, read from the journal, as a resumed run does not compute them again."""
    import pyarrow.parquet as pq

    tables = [
        line.table
        for _, line in read_events(folder)
        if line.event == "weights_sampled" and line.fields["phase"] == "initial" and line.table is not None
    ]
    if not tables or not tables[-1].exists():
        return None
    recorded = pq.read_table(tables[-1], columns=["weight"])["weight"].to_numpy()
    if len(recorded) != present.sum():
        return None
    weights = np.zeros(present.shape, np.float32)
    weights[present] = recorded  # both are ordered by anchor, then by rank
    return weights
