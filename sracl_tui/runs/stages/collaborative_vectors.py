"""Vectors of the plain backbone instead of text: the ablation "w/o semantic"."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.data.vector_rows import as_rows
from engine.events import ignore

if TYPE_CHECKING:
    from sracl_tui.runs.request import RunRequest
    from sracl_tui.runs.stages.clock import Clock
    from sracl_tui.runs.stages.needs import Needs
    from sracl_tui.runs.stages.vectors import Vectors


def backbone_vectors(needs: Needs, request: RunRequest, folder: Path, clock: Clock) -> Vectors:
    """h of the anchors' prefixes and the table of the items, from the best checkpoint of a finished backbone run.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    from engine.evaluation.ranking import encode
    from engine.training import checkpoint
    from engine.training.trainer import BEST, Trainer
    from sracl_tui.runs.stages.vectors import Vectors

    with clock.stage("vectors") as outcome:
        trainer = Trainer(request.config, needs.dataset, None, folder=folder, report=ignore)
        checkpoint.load(folder / BEST, model=trainer.model)
        ids = needs.vector_anchors if needs.users else np.zeros(0, np.int64)
        backbone = trainer.model.backbone
        table = backbone.table().detach().cpu().numpy()
        items = np.concatenate([np.zeros_like(table[:1]), table])  # (V + 1, D)
        items[needs.dataset.train_counts == 0] = 0.0
        users = (
            encode(backbone, trainer.windows, ids).cpu().numpy()
            if len(ids)
            else np.zeros((0, items.shape[1]), np.float32)
        )
        outcome["detail"] = f"backbone of {request.run_id}: {items.shape[1]} numbers each"
    return Vectors(ids, as_rows(users), items, dict.fromkeys(("user", "item"), f"run:{request.run_id}"), None, {})
