"""`sracl db`: check, repair, back up, restore and compact the database files."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import Commands, DebugOption, HomeOption, JsonOption

if TYPE_CHECKING:
    from store.publishing.publish import PublishReport

app = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="rich", help="The database files.")


@app.command()
def check(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Read every row, every line of the journals with its tables, and the newest backup. Exit code 4 where anything is wrong.

    Also what the database still has, but nothing else could bring back: missing folders of runs, gaps in journals.

    \b
    Examples:
      sracl db check
    """
    from store.maintenance.check import check_home

    health = check_home(options_and_output.home_of(home))
    if json_:
        options_and_output.print_json({"ok": not health.problems, "problems": health.problems, **health.__dict__})
    else:
        for problem in health.problems:
            options_and_output.talk().print(f"✗ {problem}", markup=False, highlight=False)
        text = f"{sum(health.rows.values()):,} rows in {len(health.rows)} tables were read"
        waits = f"; {health.waiting} journals wait to be taken in (sracl db sync)" if health.waiting else ""
        unguarded = health.unguarded
        waits += f"; {unguarded} journals of earlier versions carry no checksums" if unguarded else ""
        way_out = "`chmod u+rw` first" if health.forbidden else "sracl db repair"
        end = f"{len(health.problems)} problems: {way_out}" if health.problems else "all is well"
        options_and_output.talk().print(f"{text}{waits}; {end}.", markup=False, highlight=False)
    raise typer.Exit(4 if health.problems else 0)


@app.command()
def repair(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Make damaged or missing databases anew, from what can be read of them, the newest backup and the journals.

    No row that can be read is lost: the new file is compared with the old one before it takes its place, and the old one is
    kept beside it. Exit code 4 where something did not come back, or a journal could not bring its rows back again.

    \b
    Examples:
      sracl db repair
    """
    from store.maintenance.repair import repair_home

    found = repair_home(options_and_output.home_of(home))
    if json_:
        options_and_output.print_json({"done": found.done, "missing": found.missing})
    for line in found.done or ["No file had to be made anew; nothing was changed."]:
        options_and_output.talk().print(line, markup=False, highlight=False)
    for line in found.missing:
        options_and_output.talk().print(f"✗ {line}", markup=False, highlight=False)
    raise typer.Exit(4 if found.missing else 0)


@app.command()
def follow(
    every: Annotated[float, typer.Option(min=1, help="Seconds between two looks.")] = 10.0,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take the journals of all runs into the database until ctrl+c: those of runs on nodes, too, which write none.

    The worker of `sracl queue start --on slurm` does so by itself.

    \b
    Examples:
      sracl db follow
      sracl db follow --every 60
    """
    from store.publishing.publish import Publisher

    publisher = Publisher(options_and_output.home_of(home), done=partial(_tell, json_=json_), every=every)
    publisher.start()
    try:
        threading.Event().wait()
    finally:
        publisher.close()
        for warning in publisher.warnings:
            options_and_output.talk().print(warning, markup=False, highlight=False)


def _tell(report: PublishReport, *, json_: bool) -> None:
    if report.events and json_:
        options_and_output.print_json(asdict(report))
        sys.stdout.flush()
    elif report.events:
        text = f"{time.strftime('%H:%M:%S')} {report.events:,} events in {report.seconds:.2f} s"
        options_and_output.talk().print(text, markup=False, highlight=False)


@app.command()
def backup(
    folder: Annotated[
        Path | None, typer.Argument(help="New folder for the copies; by default backups/TIME in the home.")
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Copy both database files while runs continue, and check that the copies can be read.

    \b
    Examples:
      sracl db backup
      sracl db backup /mnt/nas/sracl-monday
    """
    from store.maintenance.backups import backup as backed_up

    target = backed_up(options_and_output.home_of(home), folder)
    if json_:
        options_and_output.print_json({"folder": str(target)})
    else:
        options_and_output.out().print(str(target), markup=False, highlight=False)


@app.command()
def restore(
    backup: Annotated[
        Path, typer.Argument(help="Folder of a backup, or one .duckdb file in the place of the main one.")
    ],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Put a backup in the place of the databases, and take in what the journals have beyond it.

    Every row of the backup is read first; the present files are kept beside it.

    \b
    Examples:
      sracl db restore ~/.local/share/sracl/backups/20260101-120000
      sracl db restore sracl.before-v7.duckdb
    """
    from store.maintenance.backups import restore as restored

    done = restored(options_and_output.home_of(home), backup.expanduser().absolute())
    if json_:
        options_and_output.print_json({"done": done})
    for line in done:
        options_and_output.talk().print(line, markup=False, highlight=False)


@app.command()
def compact(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Rewrite the files without the space of deleted rows.

    \b
    Examples:
      sracl db compact
    """
    from store.maintenance.compacting import compact as compacted

    before, after = compacted(options_and_output.home_of(home))
    if json_:
        options_and_output.print_json({"before": before, "after": after})
    else:
        options_and_output.talk().print(
            f"{before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB after.", highlight=False
        )


@app.command()
def sync(
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for another process that publishes.")] = 30.0,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Publish the journals into the database, those of running runs too.

    \b
    Examples:
      sracl db sync
    """
    from store.publishing.publish import publish

    done = publish(options_and_output.home_of(home), wait=wait, thorough=True)
    if json_:
        options_and_output.print_json(
            {"events": done.events, "seconds": round(done.seconds, 3), "warnings": done.warnings}
        )
        return
    for warning in done.warnings:
        options_and_output.talk().print(f"warning: {warning}", markup=False, highlight=False)
    options_and_output.talk().print(f"{done.events:,} events in {done.seconds:.2f} s.", highlight=False)
