"""What a training records of some users: the rank of their validation target, the weights of their neighbors, and a map, over the epochs.

It is recorded before training, at growing distances while it trains, and of the best and the last epoch. It reads no test
target and leaves the random numbers of the training alone, so that a training with it is the same to the bit.

Legend: M recorded users, K neighbors, D model width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.config import Config
from engine.data.batching.windows import Windows
from engine.data.dataset import VALID, Dataset
from engine.evaluation.ranking import encode, rank_targets
from engine.events import EpochRecorded, Report
from engine.methods.model import Model
from engine.models.backbone import weight_of
from engine.training_cost import recorded_epochs, recorded_users


class EpochRecorder:
    """Reports `EpochRecorded` of the same users each time."""

    def __init__(self, config: Config, dataset: Dataset, windows: Windows, *, model: Model, report: Report) -> None:
        self._config, self._dataset, self._windows = config, dataset, windows
        self._model, self._report = model, report
        self._epochs = frozenset(recorded_epochs(config))
        self._before = sum(epochs for _, epochs in model.stages)
        valid, anchors = dataset.anchors.ids(VALID), dataset.anchors
        prefixes = np.zeros(dataset.users + 1, np.int64)  # the anchor that represents each user
        prefixes[anchors.user_ids[anchors.representing - 1]] = anchors.representing
        count, _ = recorded_users(config, len(valid))
        self._valid = valid[np.linspace(0, len(valid) - 1, count).round().astype(np.int64)]
        self._users = anchors.user_ids[self._valid - 1]
        self._prefixes = prefixes[self._users]

    def passed(self, epoch: int, step: int) -> None:
        """Record an epoch that is over, or 0 before the first one, where it is one of those."""
        if self._is_planned(epoch):
            self.record(epoch, step)

    def at_end(self, epoch: int, step: int) -> None:
        """Record the best or the last epoch, unless that was done as it passed, by this process or by one before it."""
        if self._epochs and not self._is_planned(epoch):
            self.record(epoch, step)

    def _is_planned(self, epoch: int) -> bool:
        return (epoch - self._before if epoch else 0) in self._epochs

    def record(self, epoch: int, step: int) -> None:
        """Record the weights that the model has now as those of an epoch; nothing without users."""
        if not len(self._valid):
            return
        device = weight_of(self._model.backbone).device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            ranks = rank_targets(self._model.backbone, self._windows, self._dataset, self._valid, self._config.evaluate)
            x, y = self._map()
            columns = {"user_id": self._users, "rank": ranks, "weights": self._weights(), "x": x, "y": y}
        self._report(EpochRecorded(epoch=epoch, step=step, columns=columns))

    def _map(self) -> tuple[list[float | None], list[float | None]]:
        """Places (M,) of the users' vectors h along their two principal directions; None of a user without a training prefix.

        The directions of each epoch are its own, and so are their signs.
        """
        places = np.full((2, len(self._users)), np.nan, np.float32)
        known = self._prefixes > 0
        if known.any():
            hidden = encode(self._model.backbone, self._windows, self._prefixes[known]).double().cpu().numpy()
            hidden -= hidden.mean(axis=0)
            axes = np.linalg.eigh(hidden.T @ hidden)[1][:, ::-1][:, :2]  # (D, 2)
            places[: axes.shape[1], known] = (hidden @ axes).T
        x, y = ([None if np.isnan(place) else place for place in row.tolist()] for row in places)
        return x, y

    def _weights(self) -> NDArray[np.float32] | list[Any]:
        """Weights (M, K) of the neighbors of the users' longest training prefixes; none where the method weighs no neighbors."""
        if "inter" not in self._model.parts:
            return [None] * len(self._users)
        return self._model.shared("synthesis").user_table(self._prefixes)[1]
