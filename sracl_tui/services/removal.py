"""What a removal of runs takes away and what stays, in sentences: for `sracl remove` and for the dialog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sracl_tui import formatting
from store.database.database import Store
from store.errors import LookupFailed
from store.maintenance import trash
from store.maintenance.trash import Emptied, RemovalPlan, folder_bytes
from store.queries.removed import RemovedRun, select_removed
from store.queries.runs import list_runs, select_runs
from store.run_row import StoredRun

TRASH_HEADS = ("run", "name", "state", "data", "group", "removed (UTC)", "size:r")


@dataclass(frozen=True)
class RemovalEdit:
    """A removal of runs that can be taken back."""

    run_ids: tuple[str, ...]
    removes: bool = True
    """False: they are restored."""

    def apply(self, store: Store) -> None:
        """Move the runs into the trash, or back."""
        if self.removes:
            trash.remove(store, select_runs(store, self.run_ids))
        else:
            trash.restore(store, select_removed(store, self.run_ids))

    def inverse(self) -> RemovalEdit:
        """Move them the other way."""
        return RemovalEdit(self.run_ids, not self.removes)

    def words(self) -> tuple[str, ...]:
        """`sracl remove` or `sracl restore`."""
        return ("remove", *self.run_ids, "--yes") if self.removes else ("restore", *self.run_ids)


def chosen_runs(
    store: Store, names: Sequence[str], *, tag: str | None = None, filter_: str | None = None
) -> tuple[list[StoredRun], list[RemovedRun]]:
    """Runs by ids, names and groups, by tag, and by a filter as in the list, each once; and those named that are in the trash.

    Raises:
        LookupFailed: a name is no run and no group.
        ConfigError: the filter names something that no list has.
    """
    found: dict[str, StoredRun] = {}
    away: dict[str, RemovedRun] = {}
    for name in names:
        try:
            found |= {row["run_id"]: row for row in select_runs(store, [name])}
        except LookupFailed as error:
            try:
                away |= {row["run_id"]: row for row in select_removed(store, [name])}
            except LookupFailed:
                raise error from None
    if tag is not None or filter_ is not None:
        from sracl_tui.services.run_list import Choice

        choice = Choice.of(filter_ or "", None)
        rows = choice.of_rows(list_runs(store, tag=tag, metrics=choice.metrics))
        found |= {row["run_id"]: row for row in select_runs(store, [row["run_id"] for row in rows])}
    return list(found.values()), list(away.values())


def counted(count: int, one: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def headline(plan: RemovalPlan) -> str:
    """`3 runs (12 MB)`."""
    return f"{counted(len(plan.runs), 'run')} ({formatting.bytes_text(sum(plan.bytes.values()))})"


def plan_cells(plan: RemovalPlan) -> list[tuple[str, ...]]:
    """Id, name, state and size of each run."""
    return [
        (
            row["run_id"],
            "" if row["name"] == row["run_id"] else row["name"],
            formatting.state(row["state"]),
            formatting.bytes_text(plan.bytes[row["run_id"]]),
        )
        for row in plan.runs
    ]


def consequences(plan: RemovalPlan) -> list[str]:
    """What uses the runs, and what stays, a sentence each."""
    uses, lines = plan.uses, list[str]()
    alone = len(plan.runs) == 1
    for study, count in uses.studies.items():
        which = "it: it" if alone else f"{count:,} of them: it"
        lines.append(f"Study {study} uses {which} says so, and would run {'it' if alone else 'them'} again.")
    made = [counted(uses.sets, "summary set")] * (uses.sets > 0)
    made += [counted(uses.lists, "neighbor list")] * (uses.lists > 0)
    if made:
        users = f": {counted(uses.runs, 'other run')} {'uses' if uses.runs == 1 else 'use'} them" if uses.runs else ""
        lines.append(f"{' and '.join(made)} stay{'s' if uses.sets + uses.lists == 1 else ''}{users}.")
    if uses.usd:
        lines.append(f"{formatting.dollars(uses.usd)} spent on calls stays in the costs.")
    return lines


def removal_document(plan: RemovalPlan, away: Sequence[RemovedRun]) -> dict[str, Any]:
    """The same as JSON values."""
    uses = plan.uses
    return {
        "runs": [
            {"run_id": row["run_id"], "name": row["name"], "state": row["state"], "bytes": plan.bytes[row["run_id"]]}
            for row in plan.runs
        ],
        "bytes": sum(plan.bytes.values()),
        "studies": uses.studies,
        "stays": {"summary_sets": uses.sets, "neighbor_lists": uses.lists, "used_by_runs": uses.runs, "usd": uses.usd},
        "in_trash_already": [row["run_id"] for row in away],
    }


def trash_cells(store: Store, row: RemovedRun) -> tuple[str, ...]:
    """A run in the trash under TRASH_HEADS."""
    return (
        row["run_id"],
        "" if row["name"] in (None, row["run_id"]) else str(row["name"]),
        formatting.state(row["state"] or ""),
        row["dataset_name"] or "",
        row["group_name"] or "",
        f"{row['removed_at']:%Y-%m-%d %H:%M}",
        formatting.bytes_text(trash_bytes(store, row)),
    )


def trash_bytes(store: Store, row: RemovedRun) -> int:
    """Bytes that a run in the trash takes on the disk."""
    return folder_bytes(store.home.present_folder(row["run_id"]))


def emptied_text(done: Emptied) -> str:
    """What an emptying did."""
    if not done.published:
        return f"{counted(len(done.runs), 'run')}: another process publishes; the next command deletes the files."
    return f"{counted(len(done.runs), 'run')} deleted for good, {formatting.bytes_text(done.bytes)} freed."
