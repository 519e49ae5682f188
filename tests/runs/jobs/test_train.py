"""The job of kind `train` before it trains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from engine.config_files import build_config
from engine.errors import TrainingError
from sracl_tui.runs.jobs.train import train


def test_what_cannot_be_trained_is_refused_before_a_home_is_opened_and_texts_are_paid_for():
    config = build_config({"backbone": "bert4rec", "mode": "sequence"})
    context = cast(Any, SimpleNamespace(request=SimpleNamespace(config=config)))
    with pytest.raises(TrainingError, match="last item only"):
        train(context)
