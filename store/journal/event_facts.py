"""What readers and writers have to know of an event beside its fields, stated once for each event.

The engine's events state these facts as attributes of their classes; the events of the recorder and of the store itself,
which have no classes, stand in `RECORDED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class EventFacts:
    """How an event is written and shown."""

    durable: bool = False
    """On the disk before `Journal.append` returns; a small table then stays in the line."""
    quiet: bool = False
    """Writes no line into a run's log: it comes many times a minute or says nothing to a person."""
    tabular: bool = False
    """Carries columns."""
    bulky: bool = False
    """Its content changes no run's row and fills most of a journal: who follows a run may skip it undecoded."""


PLAIN = EventFacts()
RECORDED: Mapping[str, EventFacts] = MappingProxyType(
    {
        "run_created": EventFacts(durable=True),
        "run_started": EventFacts(durable=True),
        "run_resumed": EventFacts(durable=True),
        "dataset_used": PLAIN,
        "lists_used": PLAIN,
        "device_used": PLAIN,
        "ranks_read": PLAIN,
        "measured": PLAIN,
        "alerted": PLAIN,
        "heartbeat": EventFacts(quiet=True),
        "machine_sampled": EventFacts(quiet=True),
        "stopping": PLAIN,
        "run_ended": EventFacts(durable=True),
        "run_tagged": EventFacts(durable=True),
        "run_noted": EventFacts(durable=True),
        "run_renamed": EventFacts(durable=True),
        "bundle_imported": EventFacts(durable=True),
        "run_queued": EventFacts(durable=True),
        "study_declared": EventFacts(durable=True),
        "study_judged": EventFacts(durable=True),
        "finding_added": EventFacts(durable=True),
        "finding_noted": EventFacts(durable=True),
        "findings_removed": EventFacts(durable=True),
        "findings_restored": EventFacts(durable=True),
        "runs_removed": EventFacts(durable=True),
        "runs_restored": EventFacts(durable=True),
        "trash_emptied": EventFacts(durable=True),
    }
)
"""Events that are no classes of the engine: those of a run's recorder, then those of people's edits and of bundles."""
