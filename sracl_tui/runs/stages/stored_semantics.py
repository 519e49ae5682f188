"""Summaries and vectors of a reproduction: those of the run that it repeats, read from the store and never paid for again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import SemanticsError
from sracl_tui.runs.stages import factories
from store.errors import LookupFailed
from store.transfer.copy import set_rows

if TYPE_CHECKING:
    from engine.semantics.encoders.encoder import Encoder
    from engine.semantics.summaries.make import SummarySet
    from sracl_tui.runs.stages.clock import Clock
    from sracl_tui.runs.stages.needs import Needs
    from store.database.database import Store
    from store.home import Home

JOB = "summary_sets"
"""Key of `RunRequest.job` with the summary sets by kind."""


class StoredVectors:
    """Takes the place of an endpoint's encoder: its vectors were paid for, so only the stored ones are used."""

    dimension: int | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Refuse: it is called only for texts without a stored vector.

        Raises:
            SemanticsError: always.
        """
        raise SemanticsError(f"{len(texts):,} vectors of {self.name!r} are not stored, and are not paid for again")


def stored_sets(needs: Needs, store: Store, ids: Mapping[str, str], clock: Clock) -> dict[str, SummarySet]:
    """Stage `summaries` from stored sets: by kind, in the order of the owners.

    Args:
        ids: summary set by kind.

    Raises:
        LookupFailed: an owner has no summary in its set.
    """
    from engine.semantics.summaries.make import SummarySet

    made: dict[str, SummarySet] = {}
    owners = needs.summary_owners()
    with clock.stage("summaries", total=sum(map(len, owners.values()))) as outcome:
        for kind, wanted in owners.items():
            known = {owner: (key, text) for owner, key, text in zip(*set_rows(store, ids.get(kind, "")), strict=True)}
            rows = [known.get(owner, ("", None)) for owner in wanted.tolist()]
            missing = sum(text is None for _, text in rows)
            if missing:
                raise LookupFailed(f"{missing:,} of {len(rows):,} {kind} summaries are not stored")
            texts = [text for _, text in rows if text is not None]
            made[kind] = SummarySet(ids[kind], kind, wanted, [key for key, _ in rows], texts)
        outcome |= {"cached": True, "detail": f"{sum(len(set(found.keys)) for found in made.values()):,} texts, stored"}
    return made


def encoder_factory(needs: Needs, home: Home) -> Callable[[Sequence[str]], Encoder]:
    """Builds `StoredVectors` in place of an endpoint's encoder; a local encoder runs again."""
    from engine.semantics.encoders.remote import names_endpoint

    name = needs.config.semantics.encoder
    if names_endpoint(name):
        return lambda _: StoredVectors(name)
    return factories.encoder_factory(needs, home)


def sets_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The summary sets of a run's row, by kind; without those that it did not use."""
    named = {"user": row["user_set_id"], "item": row["item_set_id"]}
    return {kind: set_id for kind, set_id in named.items() if set_id is not None}
