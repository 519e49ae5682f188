"""What runs used of their machines: samples over the time in which a run was running, their means and peaks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from store.database.database import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEASURES = (
    "cores", "machine_cores", "memory_bytes", "machine_memory_bytes", "gpu_memory_bytes", "machine_gpu_memory_bytes",
    "machine_gpu_percent",
)  # fmt: skip
"""Columns of `machine_samples` that are measured."""


def machine_points(store: Store, run_id: str) -> dict[str, NDArray[np.float64]]:
    """Rows of (seconds, value) of each measure of a run, in order; those without a value are left out.

    The seconds count while the run was running: a start goes on where the one before was sampled last.
    """
    import numpy as np

    table = store.table(
        f"SELECT segment, seconds, {', '.join(f'{name}::DOUBLE AS {name}' for name in MEASURES)} FROM machine_samples "
        "WHERE run_id = $1 AND isfinite(seconds) ORDER BY segment, seconds",
        [run_id],
    )
    segments, seconds = (table.column(name).to_numpy() for name in ("segment", "seconds"))
    ends = np.flatnonzero(np.diff(segments))  # the last sample of each start but the last
    before = np.zeros(len(seconds))
    before[ends + 1] = seconds[ends]
    running = seconds + np.cumsum(before)
    found: dict[str, NDArray[np.float64]] = {}
    for name in MEASURES:
        values = table.column(name).to_numpy()
        if (there := np.isfinite(values) & np.isfinite(running)).any():
            found[name] = np.column_stack([running[there], values[there]])
    return found


def machine_use(store: Store, run_id: str) -> dict[str, dict[str, float]]:
    """Mean over the time, and peak, of each measure of a run; empty without samples."""
    import numpy as np

    found: dict[str, dict[str, float]] = {}
    for name, points in machine_points(store, run_id).items():
        spans = np.diff(points[:, 0], prepend=0.0)
        mean = np.average(points[:, 1], weights=spans) if spans.sum() > 0 else points[:, 1].mean()
        found[name] = {"mean": float(mean), "peak": float(points[:, 1].max())}
    return found
