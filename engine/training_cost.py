"""What a step of a method costs beside others, by multiply-adds of the encoder and by measured constants, and what a run records.

Imports no torch.

Legend: T items of a prefix, V items, D width, I inner size, K negatives.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from engine.config import Config
from engine.method_table import Stage, Step, name_of

PART_PASSES: Mapping[str, float] = {
    "rec": 1.0,
    "intra": 1.9,
    "same_target": 1.9,
    "augmented": 1.85,
    "meta": 0.85,
    "intent": 0.3,
    "align": 0.45,
    "reconstruct": 0.9,
    "mip": 2.2,
    "sp": 2.9,
    "aap": 0.3,
    "map": 0.3,
}
"""What parts of ours add to an update: the time of so many encoder passes, those that they have made and their losses. Measured by
benchmarks/bench_methods.py; a pass that is encoded with others takes about half of the time of a plain step."""
INTER_PASSES, NEIGHBOR_PASSES, DISTILLED_PASSES = 1.2, 0.43, 0.37
"""Of `inter`, and for each of its neighbors, of which half have weight 0 and are not encoded; for each neighbor of `distill`."""
UNKNOWN_PASSES = 6.0
"""Of the parts of a method that is not ours."""
STEP_MULTIPLY_ADDS = 100e6
"""Those in whose time an update by a batch does what does not grow with the model: calls of many small operations, mostly."""
MOST_RECORDED_BYTES = 20_000_000
"""Of all recordings of a run over its epochs, uncompressed: fewer users are recorded where they would need more."""
CHOSEN_ROWS = 20
"""Items scored in order in the time of one that is sampled, whose row is looked up and added to again."""
BACKBONE_STEPS: Mapping[str, float] = {
    "sasrec": 1.0,
    "bsarec": 1.25,
    "ligr": 1.3,
    "gru4rec": 0.8,
    "bert4rec": 1.7,
    "dual": 2.6,
    "alpharec": 1.3,
}
"""Time of a step of each in that of a SASRec step of as many multiply-adds."""


def multiply_adds(config: Config, *, tokens: float, items: int, stage: Stage | None = None) -> float:
    """Multiply-adds in the time that a training prefix takes in an epoch of a stage, or of the main training.

    Args:
        tokens: T, the mean number of items in the window of a prefix.
        items: V.
    """
    model, rec = config.model, config.parts.rec
    places = (model.layers - 1) * tokens + 1  # the last layer works at the last item alone
    if config.train.mode == "sequence" and stage is None:
        places = model.layers  # every prefix has its last item alone
    layer = 4 * model.width**2 + 2 * model.width * model.inner
    if model.backbone == "gru4rec":
        layer, places = 3 * model.inner * (model.width + model.inner), model.layers * tokens
    encoded = 3 * layer * places  # forward, and backward to weights and to inputs
    scored = 3 * model.width * (items if rec.loss == "ce" else min(items, CHOSEN_ROWS * (rec.negatives + 1)))
    parts = config.definition.parts if stage is None else stage.parts
    on = [name for name in map(name_of, parts) if config.own_method or config.weight(name) > 0]
    each = 0.0
    for step in config.definition.steps if stage is None else (Step(),):
        counted = [name for name in on if step.parts is None or name in step.parts]
        if counted:
            passes = 1 + UNKNOWN_PASSES if config.own_method else sum(_added(config, name) for name in counted)
            each += passes * encoded + ("rec" in counted) * scored + STEP_MULTIPLY_ADDS / config.train.batch
    return BACKBONE_STEPS.get(model.backbone, 1.0) * each


def _added(config: Config, part: str) -> float:
    if part == "inter":
        return INTER_PASSES + NEIGHBOR_PASSES * config.retrieval.k
    return DISTILLED_PASSES * config.retrieval.k if part == "distill" else PART_PASSES[part]


def recorded_epochs(config: Config) -> list[int]:
    """The epochs of the main training that are recorded as they pass: 0, which is before it, and others at growing distances."""
    count, last = config.record.snapshots, config.train.epochs
    if count < 2:
        return [0][:count]
    return [0, *sorted({round(epoch) for epoch in np.geomspace(1, last, count - 1)})]


def most_recorded(config: Config) -> int:
    """How many epochs are recorded at most, the best and the last included."""
    planned = len(recorded_epochs(config))
    return min(planned + 2, config.train.epochs + 1) if planned else 0


def recorded_users(config: Config, users: int) -> tuple[int, int]:
    """How many of so many users are recorded, and the most bytes of all their recordings."""
    epochs = most_recorded(config)
    if not epochs:
        return 0, 0
    each = epochs * 4 * (4 + (config.retrieval.k if "inter" in config.active else 0))
    count = min(users, config.record.users, MOST_RECORDED_BYTES // each)
    return count, count * each
