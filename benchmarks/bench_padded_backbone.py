"""Forward and backward of 512 sequences, n = 20, two layers of width 64, one thread: SASRec packed, and an encoder for padded batches.

`full`: all windows hold 20 items; `half`: 10 on average; `short`: 4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config_files import build_config
from engine.data.batching.windows import pack_histories
from engine.models.cpu import prepare
from engine.models.registry import build_backbone

OWN = Path(__file__).resolve().parents[1] / "examples" / "padded_backbone.py"
LENGTHS = {"full": (20, 21), "half": (1, 20), "short": (4, 5)}
"""From and to, the last not included."""


@pytest.mark.parametrize("filled", LENGTHS)
@pytest.mark.parametrize("name", ["sasrec", "padded"])
@pytest.mark.benchmark(group="forward and backward, 512 sequences")
def test_encoder(benchmark, name, filled):
    torch.set_num_threads(1)
    prepare()
    (kind,) = (
        line.split("(")[0].removeprefix("class ") for line in OWN.read_text().splitlines() if line.startswith("class ")
    )
    config = build_config({"backbone": "sasrec" if name == "sasrec" else f"{OWN}:{kind}", "max_length": 20})
    torch.manual_seed(1)
    backbone = build_backbone(config.model, items=2000, max_length=20).train()
    rng = np.random.default_rng(1)
    histories = [rng.integers(1, 2001, length) for length in rng.integers(*LENGTHS[filled], 512)]
    packed = pack_histories(histories, 20)

    def step() -> None:
        backbone.zero_grad(set_to_none=True)
        backbone(packed).square().mean().backward()

    benchmark.pedantic(step, rounds=7, warmup_rounds=2)
