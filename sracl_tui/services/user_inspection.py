"""One user of one run, gathered for the command line and for the screen: the same numbers in both."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.errors import ConfigError
from sracl_tui.services.missing_neighbors import why_none
from store.database.database import Store
from store.home import Home
from store.queries import runs, users
from store.run_row import StoredRun

PHASES = ("initial", "best", "last")


@dataclass(frozen=True)
class Inspection:
    """What there is to see of a user in a run."""

    run_id: str
    dataset: str
    user_id: int
    raw_id: str
    tied: bool
    items: list[dict[str, Any]]
    """position, item_id, title, ts, role of the item as a target, whether it is in the prefix that is shown."""
    anchor: dict[str, Any] | None
    """The prefix that is shown: anchor_id, position, length, target, role, represents."""
    ranks: dict[str, int]
    """Rank of the target by split."""
    summary: dict[str, Any] | None
    """Text, provider, model, prompt version, tokens and dollars."""
    neighbors: list[dict[str, Any]]
    """By similarity: who, similarity, cosine_rank, weight, weight_rank, weights by phase, titles; of another epoch weight_best, too."""
    spearman: float | None
    """Rank correlation of similarity and learned weight; none for fewer than two, or for equal weights."""
    entropy: float | None
    """Entropy of the weights in nats; log k when all are equal."""
    epochs: dict[str, int]
    """Epoch of the weights of each phase."""
    recorded: list[dict[str, Any]]
    """Over the recorded epochs: epoch, rank of the validation target, weights of the neighbors of the longest prefix."""
    note: str
    epoch: int | None = None
    """The recorded epoch whose weights the neighbors have; none for the best one's."""

    def document(self) -> dict[str, Any]:
        """The JSON document."""
        return asdict(self)


def inspect_user(store: Store, run_text: str, user_text: str, *, position: int | None = None) -> Inspection:
    """A user of a run, at the prefix that represents them or at another one.

    Args:
        position: position of the prefix's last item.

    Raises:
        LookupFailed: no such run or user.
        ConfigError: no such prefix.
    """
    run = runs.find_run(store, run_text)
    if run["dataset_id"] is None:
        raise ConfigError(f"run {run['run_id']} did not get as far as its dataset", where=run["run_id"])
    user = users.find_user(store, run["dataset_id"], user_text)
    anchor = _pick(users.anchors(store, run["dataset_id"], user["user_id"]), position)
    items = users.sequence(store, run["dataset_id"], user["user_id"])
    for item in items:
        item["in_prefix"] = anchor is not None and item["position"] <= anchor["position"]
    found = _neighbors(store, run, anchor)
    weights = [n["weight"] for n in found if n["weight"] is not None]
    return Inspection(
        run_id=run["run_id"],
        dataset=str(run["dataset_name"]),
        user_id=user["user_id"],
        raw_id=user["raw_id"],
        tied=user["tied"],
        items=items,
        anchor=anchor,
        ranks=users.ranks(store, run["run_id"], user["user_id"]),
        summary=users.summary(store, run["user_set_id"], anchor["anchor_id"]) if anchor else None,
        neighbors=found,
        spearman=spearman_of([n["similarity"] for n in found], weights),
        entropy=entropy_of(weights),
        epochs=users.weight_epochs(store, run["run_id"]),
        recorded=users.recorded_epochs(store, run["run_id"], user["user_id"]),
        note=_note(run, anchor, found),
    )


def at_epoch(found: Inspection, epoch: int) -> Inspection:
    """The same user with the neighbors' weights of a recorded epoch in place of the best one's.

    Raises:
        ConfigError: this epoch is not recorded of the user.
    """
    record = next((one for one in found.recorded if one["epoch"] == epoch), None)
    if record is None:
        known = ", ".join(str(one["epoch"]) for one in found.recorded)
        hint = f"Recorded: {known}." if known else "Settings record.snapshots and record.users say what a run records."
        raise ConfigError(f"epoch {epoch} of this user is not recorded", where="--epoch", hint=hint)
    weights = record["weights"]
    if weights is None or found.anchor is None or not found.anchor["represents"]:
        return found
    neighbors = [
        neighbor | {"weight": weights[neighbor["cosine_rank"] - 1], "weight_best": neighbor["weight"]}
        for neighbor in found.neighbors
        if neighbor["cosine_rank"] <= len(weights)
    ]
    _rank_weights(neighbors)
    values = [neighbor["weight"] for neighbor in neighbors if neighbor["weight"] is not None]
    spearman = spearman_of([neighbor["similarity"] for neighbor in neighbors], values)
    return replace(found, neighbors=neighbors, spearman=spearman, entropy=entropy_of(values), epoch=epoch)


def _pick(anchors: list[dict[str, Any]], position: int | None) -> dict[str, Any] | None:
    if position is None:
        return next((a for a in anchors if a["represents"]), None)
    for anchor in anchors:
        if anchor["position"] == position:
            return anchor
    there = f"1 to {len(anchors)}" if anchors else "none"
    raise ConfigError(f"this user has no prefix that ends at {position}", where="--anchor", hint=f"Positions: {there}.")


def _neighbors(store: Store, run: StoredRun, anchor: dict[str, Any] | None) -> list[dict[str, Any]]:
    if anchor is None or run["user_list_id"] is None:
        return []
    found = users.neighbors(store, run, anchor["anchor_id"])
    if found and found[0]["weight"] is None and not anchor["represents"]:
        best = _stored_weights(store.home, run["run_id"], anchor["anchor_id"])
        for neighbor in found:
            neighbor["weight"] = best.get(neighbor["neighbor_id"])
    _rank_weights(found)
    return found


def _rank_weights(found: list[dict[str, Any]]) -> None:
    """Write the place of each neighbor by weight beside it."""
    order = sorted((n for n in found if n["weight"] is not None), key=lambda n: (-n["weight"], n["cosine_rank"]))
    for neighbor in found:
        neighbor["weight_rank"] = order.index(neighbor) + 1 if neighbor in order else None


def _stored_weights(home: Home, run_id: str, anchor_id: int) -> dict[int, float]:
    """Best weights of a prefix that does not represent its user: only the run's folder has them."""
    import pyarrow.parquet as pq

    path = home.run_folder(run_id) / "weights.parquet"
    if not path.exists():
        return {}
    table = pq.read_table(path, filters=[("anchor_id", "=", anchor_id)])
    return dict(zip(table["neighbor_id"].to_pylist(), table["weight"].to_pylist(), strict=True))


def spearman_of(similarities: list[float], weights: list[float]) -> float | None:
    """Rank correlation; none for fewer than two, or for equal values throughout on either side."""
    if len(weights) < 2 or len(weights) != len(similarities) or len(set(weights)) < 2 or len(set(similarities)) < 2:
        return None
    import numpy as np

    return float(np.corrcoef(_mean_ranks(similarities), _mean_ranks(weights))[0, 1])


def _mean_ranks(values: list[float]) -> Any:
    """Ranks from 0; equal values share their mean rank."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts + 1) / 2)[place]


def entropy_of(weights: list[float]) -> float | None:
    """In nats; none without weights."""
    return -math.fsum(w * math.log(w) for w in weights if w > 0) if weights else None


def _note(run: StoredRun, anchor: dict[str, Any] | None, found: list[dict[str, Any]]) -> str:
    config = run["config"]
    if anchor is None:
        return "This user has no training prefix: nothing is retrieved for them."
    if why := why_none(config, "inter", without="weighs no neighbors", found=bool(found)):
        return why
    semantics = config.get("semantics", {})
    if semantics.get("vector") == "item-mean":
        return "Neighbors were found by the mean of the items' vectors; the summary is for reading only."
    if semantics.get("unit") == "user":
        return "One summary per user: it contains later training targets of the same user."
    if str(semantics.get("unit")).startswith("every-"):
        return "Prefixes share summaries: this one is of the latest prefix that has one of its own, here or before."
    return "" if found else "No neighbors are stored for this prefix."
