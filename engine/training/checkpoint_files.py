"""Names of a run's checkpoints in its folder. Imports no torch."""

from __future__ import annotations

BEST, LAST, PREVIOUS = "best.safetensors", "last.safetensors", "previous.safetensors"
"""The weights of the best epoch, and the states of the last two."""
