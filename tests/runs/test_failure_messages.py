"""What is said when memory runs out leads to a run that can work: a resumed one keeps its settings."""

from __future__ import annotations

import pytest

from sracl_tui.runs import failure_messages


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_less_memory_needs_another_run(tmp_path, error):
    text = str(failure_messages.known(error, "night", tmp_path))
    assert text.startswith("out of memory")
    resumed, other = text.split("; ", 1)
    assert "sracl run --resume night" in resumed
    assert all(setting not in resumed for setting in ("train.batch", "model.width"))
    assert all(setting in other for setting in ("train.batch", "data.max_length", "model.width"))
