"""The facts of every event that a journal may hold: the engine's, from their classes, and the recorder's."""

from __future__ import annotations

from engine.events import event_classes
from store.journal.event_facts import PLAIN, RECORDED, EventFacts

FACTS: dict[str, EventFacts] = {
    **RECORDED,
    **{
        event.name: EventFacts(durable=event.durable, quiet=event.quiet, tabular=event.tabular, bulky=event.bulky)
        for event in event_classes()
    },
}
"""By the name that stands in the journal."""
SKIPPED_BY_LIST = frozenset(name for name, facts in FACTS.items() if facts.bulky)
"""Events that a list of runs need not decode."""
SKIPPED_BY_LOG = frozenset(name for name in SKIPPED_BY_LIST if FACTS[name].quiet)
"""Events that the log of a single run need not decode either."""


def facts_of(event: str) -> EventFacts:
    """Facts of an event by its name; those of a plain event for a name that this version does not know."""
    return FACTS.get(event, PLAIN)
