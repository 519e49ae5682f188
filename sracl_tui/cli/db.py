"""`sracl db`: looks after the database files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sracl_tui.cli import common
from sracl_tui.cli.common import Commands, DebugOption, HomeOption, JsonOption

app = typer.Typer(cls=Commands, no_args_is_help=True, rich_markup_mode="rich", help="The database files.")


@app.command()
def check(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Read every row and every line of the journals, and see that they fit together. Exit code 4 where they do not.

    \b
    Examples:
      sracl db check
    """
    from store.upkeep import check as checked

    health = checked(common.home_of(home))
    if json_:
        common.print_json({"ok": not health.problems, **health.__dict__})
    else:
        for problem in health.problems:
            common.talk().print(f"✗ {problem}", markup=False, highlight=False)
        text = f"{sum(health.rows.values()):,} rows in {len(health.rows)} tables were read"
        waits = f"; {health.waiting} journals wait to be taken in (sracl db sync)" if health.waiting else ""
        end = f"{len(health.problems)} problems: sracl db repair" if health.problems else "all is well"
        common.talk().print(f"{text}{waits}; {end}.", markup=False, highlight=False)
    raise typer.Exit(4 if health.problems else 0)


@app.command()
def repair(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Make damaged files anew: from the journals, and the data from a backup. What was damaged is kept beside them.

    \b
    Examples:
      sracl db repair
    """
    from store.upkeep import repair as repaired

    done = repaired(common.home_of(home))
    if json_:
        common.print_json({"done": done})
    for line in done or ["Nothing is damaged, and nothing was changed."]:
        common.talk().print(line, markup=False, highlight=False)


@app.command()
def backup(
    folder: Annotated[
        Path | None, typer.Argument(help="New folder for the copies; by default backups/TIME in the home.")
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Copy both files while runs go on, and see that the copies can be read.

    \b
    Examples:
      sracl db backup
      sracl db backup /mnt/nas/sracl-monday
    """
    from store.upkeep import backup as backed_up

    target = backed_up(common.home_of(home), folder)
    if json_:
        common.print_json({"folder": str(target)})
    else:
        common.out().print(str(target), markup=False, highlight=False)


@app.command()
def compact(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Write the files anew without the room that deleted rows left.

    \b
    Examples:
      sracl db compact
    """
    from store.upkeep import compact as compacted

    before, after = compacted(common.home_of(home))
    if json_:
        common.print_json({"before": before, "after": after})
    else:
        common.talk().print(f"{before / 2**20:.1f} MiB before, {after / 2**20:.1f} MiB after.", highlight=False)


@app.command()
def sync(
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for others.")] = 30.0,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take in what stands in the journals, of living runs too.

    \b
    Examples:
      sracl db sync
    """
    from store.publish import publish

    done = publish(common.home_of(home), wait=wait)
    if json_:
        common.print_json({"events": done.events, "seconds": round(done.seconds, 3), "warnings": done.warnings})
        return
    for warning in done.warnings:
        common.talk().print(f"warning: {warning}", markup=False, highlight=False)
    common.talk().print(f"{done.events:,} events in {done.seconds:.2f} s.", highlight=False)
