"""Removed runs: those in the trash, by name; what became of a run that is not listed; what uses a run that is to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, cast

from store.database.database import Store
from store.errors import LookupFailed


class RemovedRun(TypedDict):
    """A row of `removed_runs`; times are UTC."""

    run_id: str
    removed_at: datetime
    emptied_at: datetime | None
    kind: str | None
    name: str | None
    state: str | None
    group_name: str | None
    dataset_name: str | None
    config_hash: str | None
    seed: int | None


@dataclass(frozen=True)
class RunUses:
    """What has to do with runs that are to be removed, and stays."""

    sets: int
    """Summary sets that they made."""
    lists: int
    """Neighbor lists that they made."""
    runs: int
    """Other runs that use any of these."""
    usd: float
    """Known dollars of their calls."""
    studies: dict[str, int]
    """How many of the runs the newest verdicts of a study rest on, by study."""


_COLUMNS = ", ".join(RemovedRun.__annotations__)


def in_trash(store: Store) -> list[RemovedRun]:
    """Runs that can be restored, those removed last first."""
    query = f"SELECT {_COLUMNS} FROM removed_runs WHERE emptied_at IS NULL ORDER BY removed_at DESC, run_id DESC"
    return cast(list[RemovedRun], store.rows(query))


def select_removed(store: Store, names: Sequence[str]) -> list[RemovedRun]:
    """Runs in the trash by id, the beginning of one, name or group, `last` for the one removed last; each once.

    Raises:
        LookupFailed: a name fits no run in the trash, or several ids begin with it.
    """
    rows = in_trash(store)
    found: dict[str, RemovedRun] = {}
    for name in names:
        fitting = rows[:1] if name == "last" else [row for row in rows if name in (row["run_id"], row["group_name"])]
        fitting = fitting or [row for row in rows if row["name"] == name]
        fitting = fitting or [row for row in rows if row["run_id"].startswith(name)]
        alike = {row["run_id"] for row in fitting if name not in (row["run_id"], row["group_name"], "last")}
        if len(alike) > 1:
            raise LookupFailed(
                f"{len(alike)} removed runs fit {name!r}: {', '.join(sorted(alike)[:5])}", hint="Name one by its id."
            )
        if not fitting:
            gone = missing(store, name)
            hint = "`sracl remove --list` lists the runs in the trash."
            raise gone if gone is not None else LookupFailed(f"there is no run {name!r} in the trash", hint=hint)
        found |= {row["run_id"]: row for row in fitting}
    return list(found.values())


def missing(store: Store, text: str) -> LookupFailed | None:
    """The error for a name that fits no listed run, where removed ones had it as id, name or group; else None."""
    rows = store.rows(
        f"SELECT {_COLUMNS} FROM removed_runs WHERE run_id = $1 OR name = $1 OR group_name = $1 "
        "ORDER BY emptied_at IS NOT NULL, removed_at DESC",
        [text],
    ) or store.rows(
        f"SELECT {_COLUMNS} FROM removed_runs WHERE starts_with(run_id, $1) ORDER BY emptied_at IS NOT NULL", [text]
    )
    if not rows:
        return None
    row = cast(RemovedRun, rows[0])
    several = text == row["group_name"] and len(rows) > 1
    what = f"{len(rows)} runs of group {text} were" if several else f"run {row['run_id']} was"
    if row["emptied_at"] is None:
        return LookupFailed(
            f"{what} removed", hint=f"`sracl restore {text}` brings {'them' if several else 'it'} back."
        )
    return LookupFailed(
        f"{what} deleted for good ({row['emptied_at']:%Y-%m-%d %H:%M} UTC)",
        hint="`sracl runs` lists the runs that there are; a bundle can be imported.",
    )


def removed_of_configs(store: Store, hashes: Sequence[str]) -> dict[tuple[str, int], RemovedRun]:
    """The finished training run that was removed last, of each of these config hashes, by hash and seed."""
    rows = store.rows(
        f"SELECT {_COLUMNS} FROM removed_runs WHERE kind = 'train' AND state = 'finished' AND list_contains($1, config_hash) "
        "ORDER BY emptied_at IS NULL, removed_at",
        [sorted(set(hashes))],
    )
    return {(row["config_hash"], row["seed"]): cast(RemovedRun, row) for row in rows}


def spent_by_removed(store: Store) -> float:
    """Known dollars of the calls of removed runs, those that were deleted for good included."""
    return store.tuples("SELECT coalesce(sum(usd), 0) FROM api_calls SEMI JOIN removed_runs USING (run_id)")[0][0]


def uses_of(store: Store, ids: Sequence[str]) -> RunUses:
    """What uses runs, and what of theirs stays when they are removed."""
    parts = store.rows(
        "WITH gone AS (SELECT unnest($1::VARCHAR[]) AS run_id), s AS (SELECT set_id FROM summary_sets SEMI JOIN gone USING (run_id)), "
        "l AS (SELECT list_id FROM neighbor_lists SEMI JOIN gone USING (run_id)) "
        "SELECT (SELECT count(*) FROM s) AS sets, (SELECT count(*) FROM l) AS lists, "
        "(SELECT count(*) FROM runs ANTI JOIN gone USING (run_id) WHERE user_set_id IN (FROM s) OR item_set_id IN (FROM s) "
        "OR user_list_id IN (FROM l) OR item_list_id IN (FROM l)) AS runs, "
        "(SELECT coalesce(sum(usd), 0) FROM api_calls SEMI JOIN gone USING (run_id)) AS usd",
        [list(ids)],
    )[0]
    studies = store.tuples(
        "SELECT study, count(DISTINCT run) FROM (SELECT study, unnest(list_concat(runs, runs_against)) AS run FROM "
        "(FROM study_verdicts QUALIFY row_number() OVER (PARTITION BY study, claim, dataset ORDER BY judged_at DESC) = 1)) "
        "WHERE run IN (SELECT unnest($1::VARCHAR[])) GROUP BY study ORDER BY study",
        [list(ids)],
    )
    return RunUses(parts["sets"], parts["lists"], parts["runs"], parts["usd"], dict(studies))
