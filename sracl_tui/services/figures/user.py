"""The neighbors of one user: similarity and learned weight beside each other, with the rank by each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import ConfigError
from sracl_tui.services.figures.options import FigureOptions, signed
from sracl_tui.services.figures.weights import no_weights, run_with_users
from sracl_tui.services.user_inspection import inspect_user

if TYPE_CHECKING:
    from store.database.database import Store

MOST = 40
"""Rows of the figure, which stays on a page."""
LONGEST = 34
"""Characters of a title."""


@dataclass(frozen=True)
class WeighedNeighbor:
    """A row."""

    label: str
    """The neighbor, and the latest item of the prefix that was retrieved."""
    similarity: float
    similarity_rank: int
    weight: float
    weight_rank: int


@dataclass(frozen=True)
class UserWeights:
    """The whole figure; neighbors by similarity."""

    title: str
    neighbors: list[WeighedNeighbor]
    k: int
    """Number of neighbors, of which the most similar are shown."""
    note: str


def collect(store: Store, names: Sequence[str], options: FigureOptions) -> UserWeights:
    """The user `options.user` at the prefix that represents them.

    Raises:
        ConfigError: no user is named, or nothing is retrieved for them, or the run weighs no neighbors.
        LookupFailed: there is no such run or user.
    """
    if options.user is None:
        raise ConfigError(
            "no user is named",
            where="--figure user",
            hint="--user '#7' by number, --user id:7 by the id in the source.",
        )
    run = run_with_users(store, names[0], "user")
    found = inspect_user(store, run["run_id"], options.user)
    rows = [row for row in found.neighbors if row["weight"] is not None]
    if not rows and found.anchor is not None:
        raise no_weights(run, "user")
    if not rows:
        raise ConfigError(found.note, where=f"--figure user --user {options.user}")
    called = f"user {found.user_id}" + ("" if found.raw_id == str(found.user_id) else f" ({found.raw_id})")
    agreement = "" if found.spearman is None else f" Rank correlation {signed(found.spearman)},"
    entropy = "" if found.entropy is None else f" entropy of the weights {found.entropy:.2f} nats."
    epoch = found.epochs.get("best")
    shown = len(rows) if len(rows) <= MOST else f"The {MOST} most similar of {len(rows)}"
    when = "" if epoch is None else f", epoch {epoch}"
    return UserWeights(
        title=f"Neighbors of {called}: {run['name']}, {found.dataset}",
        neighbors=[
            WeighedNeighbor(
                f"{row['neighbor_user_id']}  {_short((row['titles'] or [''])[0] or '')}".rstrip(),
                row["similarity"],
                row["cosine_rank"],
                row["weight"],
                row["weight_rank"],
            )
            for row in rows[:MOST]
        ],
        k=len(rows),
        note=f"{shown} neighbors; one seed (seed {run['seed']}){when}.{agreement}{entropy}",
    )


def _short(title: str) -> str:
    return title if len(title) <= LONGEST else f"{title[: LONGEST - 1].rstrip()}…"
