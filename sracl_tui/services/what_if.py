"""A history and its neighbors with changes: what a model would rank if they were otherwise.

Recommending takes the history alone. Neighbors make the sample h+ that the vector of the history was trained to be like; a change of
them, or of the summary by which they are found, changes h+, and what is ranked by it, never the recommendations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from typing import Any

from engine.errors import CheckpointError
from sracl_tui.services.scoring import Neighbor, NewSummary, Question, ScoringProcess
from sracl_tui.services.user_inspection import Inspection
from sracl_tui.services.user_recommendations import LISTED, At, history_at
from store.database.database import Store
from store.queries import runs, users


@dataclass(frozen=True)
class Step:
    """An item of the history."""

    item_id: int
    title: str
    kept: bool = True
    added: bool = False


@dataclass(frozen=True)
class Weighed:
    """A neighbor with its weight, which counts relative to the others that are kept."""

    user_id: int
    position: int
    title: str
    """Of its last item."""
    weight: float
    """As the run stored it, times what a person made of it."""
    kept: bool = True
    similarity: float = 0.0
    """Of the summaries' vectors."""


@dataclass(frozen=True)
class WhatIf:
    """What a person makes of a user's history and neighbors. Each change gives a new one."""

    run_id: str
    user_id: int
    at: At
    target: int | None
    """The item whose rank is watched."""
    target_title: str
    steps: tuple[Step, ...]
    neighbors: tuple[Weighed, ...]
    summary: str | None = None
    """What a person wrote in place of the summary; none for the one that is stored."""

    @classmethod
    def of(cls, found: Inspection, at: At) -> WhatIf:
        """The user as they are."""
        history, target = history_at(found, at)
        titles: Mapping[int, str] = {item["item_id"]: item["title"] or "" for item in found.items}
        return cls(
            run_id=found.run_id,
            user_id=found.user_id,
            at=at,
            target=target,
            target_title="" if target is None else titles[target],
            steps=tuple(Step(item, titles[item]) for item in history),
            neighbors=tuple(_weighed(n) for n in found.neighbors if n["weight"] is not None),
        )

    def document(self) -> dict[str, Any]:
        """What was made of the user, as `restored` takes it."""
        return {
            "at": self.at,
            "steps": [[step.item_id, step.kept, step.added] for step in self.steps],
            "neighbors": [list(astuple(one)) for one in self.neighbors],
            "summary": self.summary,
        }

    def restored(self, document: Mapping[str, Any], titles: Mapping[int, str]) -> WhatIf:
        """The user with what a document says was made of them.

        Args:
            titles: of the items in it.

        Raises:
            ValueError: it is no such document.
        """
        try:
            steps = tuple(Step(item, titles[item], bool(kept), bool(added)) for item, kept, added in document["steps"])
            neighbors = tuple(_read_weighed(*values) for values in document["neighbors"])
            summary = document.get("summary")
        except (KeyError, TypeError) as error:
            raise ValueError("no document of a user that was changed") from error
        return replace(self, steps=steps, neighbors=neighbors, summary=None if summary is None else str(summary))

    def with_summary(self, summary: str | None, neighbors: tuple[Weighed, ...]) -> WhatIf:
        """The user with another summary, and the neighbors that it finds."""
        return replace(self, summary=summary, neighbors=neighbors)

    @property
    def history(self) -> tuple[int, ...]:
        """The items that are kept, oldest first."""
        return tuple(step.item_id for step in self.steps if step.kept)

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each neighbor, 0 for those that are left out; the sum is 1 unless none is kept."""
        kept = [n.weight if n.kept else 0.0 for n in self.neighbors]
        total = sum(kept)
        return tuple(weight / total if total else 0.0 for weight in kept)

    def toggle_step(self, place: int) -> WhatIf:
        """Leave an item out, or take it in again; an added one goes."""
        step = self.steps[place]
        if step.added:
            return replace(self, steps=self.steps[:place] + self.steps[place + 1 :])
        return self._with_step(place, replace(step, kept=not step.kept))

    def move_step(self, place: int, by: int) -> WhatIf:
        """Move an item earlier or later, within the history."""
        to = max(0, min(len(self.steps) - 1, place + by))
        steps = list(self.steps)
        steps.insert(to, steps.pop(place))
        return replace(self, steps=tuple(steps))

    def add_step(self, place: int, item_id: int, title: str) -> WhatIf:
        """Add an item at a place; what stood there comes after it."""
        added = Step(item_id, title, added=True)
        return replace(self, steps=(*self.steps[:place], added, *self.steps[place:]))

    def toggle_neighbor(self, place: int) -> WhatIf:
        """Leave a neighbor out, or take it in again."""
        one = self.neighbors[place]
        return self._with_neighbor(place, replace(one, kept=not one.kept))

    def reweigh(self, place: int, factor: float) -> WhatIf:
        """Multiply the weight of a neighbor, relative to the others."""
        one = self.neighbors[place]
        return self._with_neighbor(place, replace(one, weight=one.weight * factor, kept=True))

    def _with_step(self, place: int, step: Step) -> WhatIf:
        return replace(self, steps=(*self.steps[:place], step, *self.steps[place + 1 :]))

    def _with_neighbor(self, place: int, one: Weighed) -> WhatIf:
        return replace(self, neighbors=(*self.neighbors[:place], one, *self.neighbors[place + 1 :]))

    def question(self, also: tuple[int, ...] = ()) -> Question:
        """What to ask the model.

        Args:
            also: items whose ranks are wanted beside the target's.
        """
        wanted = dict.fromkeys([*(() if self.target is None else (self.target,)), *also])
        pairs = zip(self.neighbors, self.weights, strict=True)
        neighbors = tuple(Neighbor(one.user_id, one.position, weight) for one, weight in pairs if weight)
        return Question(self.run_id, self.history, tuple(wanted), LISTED, neighbors)


def _weighed(neighbor: dict[str, Any]) -> Weighed:
    title = (neighbor["titles"] or [""])[0] or ""
    return Weighed(
        neighbor["neighbor_user_id"],
        neighbor["neighbor_position"],
        title,
        neighbor["weight"],
        similarity=neighbor["similarity"],
    )


def _read_weighed(user_id: int, position: int, title: str, weight: float, kept: bool, similarity: float) -> Weighed:
    return Weighed(int(user_id), int(position), str(title), float(weight), bool(kept), float(similarity))


def find_neighbors(store: Store, scoring: ScoringProcess, found: Inspection, text: str) -> tuple[Weighed, ...]:
    """The neighbors that the prefix would have if its summary were this text, with the weights of the run's synthesizer.

    Raises:
        CheckpointError: a summary moves no neighbor of this run, or its encoder is missing here; the message says why.
        StoreError: the store cannot be read.
    """
    if found.anchor is None:
        raise CheckpointError("this user has no training prefix")
    retrieved = scoring.retrieve(NewSummary(found.run_id, found.anchor["anchor_id"], text))
    dataset_id = str(runs.find_run(store, found.run_id)["dataset_id"])
    known = users.prefixes(store, dataset_id, [one.anchor_id for one in retrieved])
    return tuple(
        Weighed(user_id, position, title or "", one.weight, similarity=one.similarity)
        for one in retrieved
        for user_id, position, title in (known[one.anchor_id],)
    )
