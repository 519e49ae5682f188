"""The states of a run (column `runs.state`) by what they allow: `finished` stands in none of these sets."""

from __future__ import annotations

ACTIVE = frozenset({"running", "stopping"})
"""A process executes the run."""
OPEN = ACTIVE | {"queued"}
"""The run has not ended as far as its row says; its process may have died since (see `store.publishing.liveness`)."""
FAILED = frozenset({"failed", "killed", "lost"})
"""The run ended without being asked to."""
STATES = OPEN | FAILED | {"finished", "stopped"}
RESUMABLE = FAILED | {"stopped"}
"""The run ended before it finished, so its last checkpoint can be resumed."""
