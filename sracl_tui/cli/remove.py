"""`sracl remove` and `sracl restore`: runs go to the trash of the home, come back, or are deleted for good."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption

if TYPE_CHECKING:
    from store.database.database import Store

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
WAITS = "Another process publishes: the lists show it when that has ended."
SHOWN = 20
"""Runs that are listed before the question."""


def remove(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN|GROUP]...", help="Run ids, beginnings of them, names, groups, or last."),
    ] = None,
    tag: Annotated[str | None, typer.Option(help="All runs with this tag.")] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", metavar="WORDS", help="All runs that fit, as in `sracl runs`: 'state:failed'."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; nothing is changed.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the runs in the trash.")] = False,
    empty: Annotated[
        bool, typer.Option("--empty", help="Delete the runs in the trash for good, or those of them that are named.")
    ] = False,
    older_than: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="With --empty: only runs removed at least so many days ago."),
    ] = None,
    yes: YesOption = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Remove runs: they go to the trash of the home, from where `sracl restore` brings them back whole.

    Removed runs are in no list, table, comparison or export, and studies do not reuse them. Summaries, vectors and neighbor lists
    stay, as other runs use them, and so do the costs. --empty frees the disk: settings, metrics, ranks and checkpoints of the
    runs in the trash are deleted for good. A run that has not ended is stopped first (`sracl stop`).

    \b
    Examples:
      sracl remove last
      sracl remove 20260401-1200 quick-grid --dry-run
      sracl remove --filter "state:failed" --yes
      sracl remove --list
      sracl remove --empty --older-than 30
    """
    if sum((bool(runs or tag or filter_) and not empty, list_, empty)) != 1 or (empty and (tag or filter_)):
        raise ConfigError(
            "what to remove is not clear",
            where="remove",
            hint="Name runs, or take --tag or --filter; --list alone; or --empty, maybe with runs of the trash.",
        )
    if older_than is not None and not empty:
        raise ConfigError("it goes with --empty", where="--older-than")
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        if list_:
            _list_trash(store, json_=json_)
        elif empty:
            _empty(store, runs, older_than or 0.0, dry_run=dry_run, yes=yes, json_=json_)
        else:
            _remove(store, runs or [], tag, filter_, dry_run=dry_run, yes=yes, json_=json_)


def _remove(
    store: Store, names: list[str], tag: str | None, filter_: str | None, *, dry_run: bool, yes: bool, json_: bool
) -> None:
    from sracl_tui.services import removal
    from store.maintenance import trash

    rows, away = removal.chosen_runs(store, names, tag=tag, filter_=filter_)
    plan = trash.plan_removal(store, rows)
    talk = options_and_output.talk()
    for row in away:
        talk.print(f"{row['run_id']} is in the trash already.")
    if rows and (dry_run or not yes) and not json_:
        cells = removal.plan_cells(plan)
        talk.print(options_and_output.table(("run", "name", "state", "size:r"), cells[:SHOWN]))
        more = [f"and {len(cells) - SHOWN:,} more"] * (len(cells) > SHOWN)
        for line in (*more, *removal.consequences(plan)):
            talk.print(line, highlight=False)
    if rows and not dry_run:
        _confirm(f"Remove {removal.headline(plan)}?", yes=yes)
    done = not dry_run and trash.remove(store, rows)
    if json_:
        document = removal.removal_document(plan, away)
        options_and_output.print_json(document | {"dry_run": dry_run, "published": done})
        return
    if dry_run:
        talk.print(f"{removal.headline(plan)} would go to the trash. Nothing was changed.", highlight=False)
    elif rows:
        back = f"{rows[0]['run_id']}` brings it" if len(rows) == 1 else "RUN...` brings them"
        text = f"{removal.headline(plan)} removed. `sracl restore {back} back; `sracl remove --empty` deletes for good."
        talk.print(text if done else f"{text} {WAITS}", highlight=False)
    elif not away:
        talk.print("No run fits.")


def _list_trash(store: Store, *, json_: bool) -> None:
    from sracl_tui.services import removal
    from store.queries.removed import in_trash

    rows = in_trash(store)
    if json_:
        options_and_output.print_json([{**row, "bytes": removal.trash_bytes(store, row)} for row in rows])
    elif not rows:
        options_and_output.talk().print("The trash is empty.")
    else:
        cells = [removal.trash_cells(store, row) for row in rows]
        options_and_output.out().print(options_and_output.table(removal.TRASH_HEADS, cells))


def _empty(store: Store, names: list[str] | None, days: float, *, dry_run: bool, yes: bool, json_: bool) -> None:
    from sracl_tui import formatting
    from sracl_tui.services import removal
    from store.maintenance import trash
    from store.queries.removed import select_removed

    rows = trash.to_empty(store, select_removed(store, names) if names else None, days=days)
    total = sum(removal.trash_bytes(store, row) for row in rows)
    talk = options_and_output.talk()
    if rows and (dry_run or not yes) and not json_:
        cells = [removal.trash_cells(store, row) for row in rows[:SHOWN]]
        talk.print(options_and_output.table(removal.TRASH_HEADS, cells))
        if len(rows) > SHOWN:
            talk.print(f"and {len(rows) - SHOWN:,} more", highlight=False)
    what = f"{removal.counted(len(rows), 'run')} ({formatting.bytes_text(total)})"
    if rows and not dry_run:
        _confirm(f"Delete {what} for good?", yes=yes)
    done = trash.Emptied([], 0, True) if dry_run else trash.empty(store, rows)
    if json_:
        document = {"runs": [row["run_id"] for row in rows], "bytes": total, "freed": done.bytes}
        options_and_output.print_json(document | {"dry_run": dry_run, "published": done.published})
    elif dry_run:
        talk.print(f"{what} would be deleted for good. Nothing was changed.", highlight=False)
    else:
        talk.print(removal.emptied_text(done) if rows else "Nothing in the trash fits.", highlight=False)


def _confirm(question: str, *, yes: bool) -> None:
    """Ask, unless `--yes` was given.

    Raises:
        ConfigError: nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            "there is no terminal to ask on", where=question, hint="--yes does it, --dry-run only says what would go."
        )
    typer.confirm(question, abort=True, err=True)


def restore(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN|GROUP...", help="Removed runs: ids, beginnings of them, names, groups, or last."),
    ],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Bring removed runs back from the trash, with every row and file. `last` is the one that was removed last.

    \b
    Examples:
      sracl restore last
      sracl restore 20260401-1200 quick-grid
    """
    from sracl_tui.services.removal import counted
    from store.errors import LookupFailed
    from store.maintenance import trash
    from store.queries.removed import RemovedRun, select_removed
    from store.queries.runs import select_runs

    found: dict[str, RemovedRun] = {}
    there: list[str] = []
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        for name in runs:
            try:
                found |= {row["run_id"]: row for row in select_removed(store, [name])}
            except LookupFailed as error:
                try:
                    there += [row["run_id"] for row in select_runs(store, [name])]
                except LookupFailed:
                    raise error from None
        done = trash.restore(store, list(found.values()))
    if json_:
        options_and_output.print_json({"restored": list(found), "not_removed": there, "published": done})
        return
    for run_id in there:
        options_and_output.talk().print(f"{run_id} is not in the trash: it is in the list.")
    if found:
        text = f"{next(iter(found)) if len(found) == 1 else counted(len(found), 'run')} restored."
        options_and_output.talk().print(text if done else f"{text} {WAITS}", highlight=False)
