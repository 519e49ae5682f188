"""Models with and without kernels of our own."""

from __future__ import annotations

import pytest

from engine.models.kernel_library import SWITCH
from engine.models.kernels import missing


@pytest.fixture(params=["kernels", "torch"])
def with_and_without_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test once with kernels of our own, where there can be any, and once with torch's operators."""
    if request.param == "torch":
        monkeypatch.setenv(SWITCH, "off")
    elif missing():
        pytest.skip(missing())
