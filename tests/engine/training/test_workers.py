"""A process that fails of itself ends the training with its own words, and without an abort."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.errors import TrainingError
from engine.events import ignore
from engine.training import workers
from engine.training.trainer import Trainer

METHOD = """
import sys
from engine.method_table import Method
from engine.methods.same_target import SameTarget

class Fails(SameTarget):
    name, sharded = "fails", "batch"

    def loss(self, batch, hidden):
        if "workers" in sys.argv[0]:
            raise ValueError("no loss here")
        return super().loss(batch, hidden)

METHOD = Method(parts=("rec", Fails))
"""


def test_a_process_that_fails_says_why(small_config: Any, world: Any, tmp_path: Path) -> None:
    path = tmp_path / "fails.py"
    path.write_text(METHOD)
    config = small_config(method=f"{path}:METHOD", processes=2)
    with (
        pytest.raises(TrainingError, match=r"process 1 of 2 \(PID \d+\) failed: ValueError: no loss here") as caught,
        workers.started(config, world.dataset, None) as group,
    ):
        Trainer(config, world.dataset, None, folder=tmp_path, report=ignore, processes=group).run()
    assert "sracl run --resume" in str(caught.value.hint)
