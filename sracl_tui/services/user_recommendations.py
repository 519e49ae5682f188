"""What a model recommends to one user, where the target stands among it, and which neighbors have these items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.errors import CheckpointError
from sracl_tui.services.scoring import Question, ScoringProcess
from sracl_tui.services.user_inspection import Inspection
from store.database.database import Store
from store.queries import items, runs, users

At = Literal["test", "valid", "prefix"]
"""After which history: all before the test item, all before the validation item, or the prefix that is shown."""
LISTED = 10


@dataclass(frozen=True)
class RecommendedItem:
    """An item of the list, or the target below it."""

    rank: int
    item_id: int
    title: str
    score: float
    seen: bool
    """Whether the history has it."""
    target: bool
    second_rank: int | None
    """Its rank in the second run; none without one."""
    has: int
    """Neighbors whose prefix has it."""
    next: int
    """Neighbors for whom it follows the prefix."""


@dataclass(frozen=True)
class Recommended:
    """The first items by rank, and the target where it is not among them."""

    at: At
    items: tuple[RecommendedItem, ...]
    second_why: str = ""
    """Why the second run ranks nothing; empty where it does, and without one."""

    @property
    def target(self) -> RecommendedItem | None:
        """The target; none where nothing follows the history."""
        return next((item for item in self.items if item.target), None)


def history_at(found: Inspection, at: At) -> tuple[tuple[int, ...], int | None]:
    """Item numbers of a history, oldest first, and the item that follows; an empty history where there is none."""
    position = found.anchor["position"] if found.anchor else 0
    if at != "prefix":
        position = next((item["position"] - 1 for item in found.items if item["role"] == at), 0)
    ids = [item["item_id"] for item in found.items]
    return tuple(ids[:position]), ids[position] if 0 < position < len(ids) else None


def recommended(
    store: Store, scoring: ScoringProcess, found: Inspection, at: At, *, second_run: str | None = None
) -> Recommended:
    """The items that the run's model ranks first after a history of the user.

    Raises:
        CheckpointError: the run has no model that can be loaded. A second run without one is told in `second_why`.
        StoreError: the store cannot be read.
    """
    history, target = history_at(found, at)
    if not history:
        return Recommended(at, ())
    wanted = () if target is None else (target,)
    ranked = scoring.ask(Question(found.run_id, history, wanted, LISTED)).model
    rows = [
        (place, item, score) for place, (item, score) in enumerate(zip(ranked.items, ranked.scores, strict=True), 1)
    ]
    if target is not None:  # the evaluation's own rank, which counts ties as the run says
        rows = [(ranked.ranks[item] if item == target else place, item, score) for place, item, score in rows]
        if target not in ranked.items:
            rows.append((ranked.ranks[target], target, ranked.own_scores[target]))
    ids = [item for _, item, _ in rows]
    there, second_why = dict[int, int](), ""
    if second_run:
        try:
            there = scoring.ask(Question(second_run, history, tuple(ids), 0)).model.ranks
        except CheckpointError as error:
            second_why = error.message
    dataset_id = str(runs.find_run(store, found.run_id)["dataset_id"])
    titles = items.titles(store, dataset_id, ids)
    holders = users.holders_of_items(store, dataset_id, ids, [n["neighbor_id"] for n in found.neighbors])
    seen = set(history)
    return Recommended(
        at,
        tuple(
            RecommendedItem(
                rank=rank,
                item_id=item,
                title=titles.get(item, ""),
                score=score,
                seen=item in seen,
                target=item == target,
                second_rank=there.get(item),
                has=holders.get(item, (0, 0))[0],
                next=holders.get(item, (0, 0))[1],
            )
            for rank, item, score in rows
        ),
        second_why,
    )
