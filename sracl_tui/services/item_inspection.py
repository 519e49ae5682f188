"""One item of one run and its substitutes, gathered for the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.errors import ConfigError
from sracl_tui.services.missing_neighbors import why_none
from sracl_tui.services.user_inspection import entropy_of, spearman_of
from store.database.database import Store
from store.home import Home
from store.queries import items, runs, users
from store.run_row import StoredRun


@dataclass(frozen=True)
class ItemInspection:
    """What there is to see of an item in a run."""

    run: StoredRun
    item: dict[str, Any]
    """raw_id, title, text, interactions, users, first_ts, last_ts, and how many items there are."""
    summary: dict[str, Any] | None
    """Text, provider, model, prompt version, tokens and dollars."""
    substitutes: list[dict[str, Any]]
    """By similarity: who, similarity, cosine_rank, weight, weight_rank, summary, users, shared users."""
    holders: list[dict[str, Any]]
    """Users who have the item, the latest first."""
    spearman: float | None
    entropy: float | None
    note: str


def inspect_item(store: Store, run_text: str, item_id: int | None = None) -> ItemInspection:
    """An item of a run; the one that most users have where none is named.

    Raises:
        LookupFailed: no such run or item.
        ConfigError: the run has no dataset.
    """
    run = runs.find_run(store, run_text)
    if run["dataset_id"] is None:
        raise ConfigError(f"run {run['run_id']} did not get as far as its dataset", where=run["run_id"])
    number = item_id if item_id is not None else _most_frequent(store, run)
    item = items.get_item(store, run["dataset_id"], number)
    found = items.substitutes(store, run, number)
    stored = _weights(store.home, run["run_id"], number)
    for one in found:
        one["weight"] = stored.get(one["neighbor_id"])
    order = sorted((n for n in found if n["weight"] is not None), key=lambda n: (-n["weight"], n["cosine_rank"]))
    for one in found:
        one["weight_rank"] = order.index(one) + 1 if one in order else None
    weights = [n["weight"] for n in found if n["weight"] is not None]
    return ItemInspection(
        run=run,
        item=item,
        summary=users.summary(store, run["item_set_id"], number),
        substitutes=found,
        holders=items.users_with_item(store, run["dataset_id"], number),
        spearman=spearman_of([n["similarity"] for n in found], weights),
        entropy=entropy_of(weights),
        note=_note(run, found, bool(weights)),
    )


def _most_frequent(store: Store, run: StoredRun) -> int:
    rows = items.search_items(store, run, "", limit=1)
    return rows[0]["item_id"] if rows else 0


def _weights(home: Home, run_id: str, item_id: int) -> dict[int, float]:
    """Best weights of the item's substitutes; a run writes them where it learns any."""
    import pyarrow.parquet as pq

    path = home.run_folder(run_id) / "item_weights.parquet"
    if not path.exists():
        return {}
    table = pq.read_table(path, filters=[("item_id", "=", item_id)])
    return dict(zip(table["neighbor_id"].to_pylist(), table["weight"].to_pylist(), strict=True))


def _note(run: StoredRun, found: list[dict[str, Any]], weighed: bool) -> str:
    config = run["config"]
    if why := why_none(config, "intra", without="looks for no substitutes", found=bool(found)):
        return why
    if not found:
        return "No substitutes are stored for this item."
    if config.get("synthesizer", {}).get("item_kind") == "draw":
        return "Training draws one of these at random where it swaps the item (item_kind = draw): no weight is learned."
    return "" if weighed else "This run kept no weights of substitutes."
