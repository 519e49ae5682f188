"""`sracl findings`: what was pinned in the app, or here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import Commands, DebugOption, HomeOption, JsonOption

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Findings: what was on a screen when it was pinned (N in the app), with a note.",
)
IdArgument = Annotated[str, typer.Argument(help="Id of a finding, the beginning of one, or `last`.", metavar="FINDING")]
IdsArgument = Annotated[list[str], typer.Argument(help="Ids, beginnings of them, or `last`.", metavar="FINDING...")]


@app.command("list")
def list_(
    text: Annotated[
        list[str] | None, typer.Argument(help="Words that a finding has anywhere.", metavar="[WORD]...")
    ] = None,
    removed: Annotated[bool, typer.Option("--removed", help="Those that were removed.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List findings, newest first.

    \b
    Examples:
      sracl findings list
      sracl findings list inspector whole --json
    """
    from sracl_tui.services.findings.export import heading, when
    from store.queries.findings import list_findings

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        found = list_findings(store, " ".join(text or ()), removed=removed)
    if json_:
        options_and_output.print_json(found)
    elif not found:
        options_and_output.talk().print("There is no finding: N pins one in the app, `sracl findings add` here.")
    else:
        cells = [(one["finding_id"], when(one["created_at"]), heading(one), one["note"]) for one in found]
        options_and_output.out().print(options_and_output.table(("finding", "pinned", "what", "note"), cells))


@app.command()
def show(finding: IdArgument, home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Show a finding: its note, its command, and what was on the screen.

    \b
    Examples:
      sracl findings show last
    """
    from sracl_tui.services.findings.export import facts, heading
    from store.queries.findings import find_finding

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        found = find_finding(store, finding)
    if json_:
        options_and_output.print_json(found)
        return
    removed = "   removed" if found["removed_at"] is not None else ""
    for part in (f"{heading(found)}\n{facts(found)}{removed}", found["note"], found["command"], found["content"]):
        if part:
            options_and_output.out().print(
                f"{part}\n", markup=False, highlight=False, no_wrap=True, overflow="ignore", crop=False
            )


@app.command()
def add(
    note: Annotated[str, typer.Argument(help="The note.")],
    run: Annotated[
        list[str] | None, typer.Option("--run", help="A run that it is about; repeatable.", metavar="RUN")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="The user that it is about: #7 by number, id:7 by id; needs --run.")
    ] = None,
    item: Annotated[str | None, typer.Option(help="The item that it is about, named alike.")] = None,
    command: Annotated[str, typer.Option(help="The command whose output it is about.")] = "",
    file: Annotated[Path | None, typer.Option("--text", help="A text file to keep with it; - for stdin.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Keep a finding from a shell.

    \b
    Examples:
      sracl findings add "ties decide here" --run last --user "#17"
      sracl compare plain last | sracl findings add "HR alone" --text -
    """
    from store.queries import findings as stored
    from store.queries.naming import find_named
    from store.queries.runs import find_run

    if not run and (user is not None or item is not None):
        raise ConfigError("a user or item is one of a run's data set", where="--run", hint="Name the run with --run.")
    place = options_and_output.home_of(home)
    with options_and_output.open_store(place) as store:
        runs = [find_run(store, name) for name in run or ()]
        run_ids = [one["run_id"] for one in runs]
        data = str(runs[0]["dataset_id"]) if runs else ""
        user_id = None if user is None else find_named(store, "users", data, user)["user_id"]
        item_id = None if item is None else find_named(store, "items", data, item)["item_id"]
    content = (
        "" if file is None else sys.stdin.read() if str(file) == "-" else file.read_text("utf-8", errors="replace")
    )
    made = stored.add(
        place,
        note=note,
        run_ids=run_ids,
        user_id=user_id,
        item_id=item_id,
        command=command,
        content=content.rstrip("\n"),
    )
    options_and_output.print_done({"finding_id": made, "note": note}, f"{made}: {note}", json_=json_)


@app.command()
def note(
    finding: IdArgument,
    text: Annotated[str, typer.Argument(help="The note; empty removes it.")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Set the note of a finding.

    \b
    Examples:
      sracl findings note last "holds with three seeds, too"
    """
    from store.queries import findings as stored

    place = options_and_output.home_of(home)
    with options_and_output.open_store(place) as store:
        found = stored.find_finding(store, finding)
    stored.annotate(place, found["finding_id"], text)
    document = {"finding_id": found["finding_id"], "note": text}
    options_and_output.print_done(document, f"{found['finding_id']}: {text or 'no note'}", json_=json_)


@app.command()
def remove(
    findings: IdsArgument, home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False
) -> None:
    """Take findings off the list; `sracl findings restore` brings them back.

    \b
    Examples:
      sracl findings remove last
    """
    _list_or_not(findings, home, listed=False, json_=json_)


@app.command()
def restore(
    findings: IdsArgument, home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False
) -> None:
    """Bring removed findings back.

    \b
    Examples:
      sracl findings list --removed
      sracl findings restore 20260401-1200
    """
    _list_or_not(findings, home, listed=True, json_=json_)


def _list_or_not(names: list[str], home: Path | None, *, listed: bool, json_: bool) -> None:
    from sracl_tui.services.findings.edits import FindingsListed
    from store.queries.findings import find_finding

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        ids = tuple(dict.fromkeys(find_finding(store, name)["finding_id"] for name in names))
        FindingsListed(ids, listed).apply(store)
    text = f"{', '.join(ids)}: {'in the list again' if listed else 'removed; `sracl findings restore` brings it back'}"
    options_and_output.print_done({"finding_ids": list(ids), "listed": listed}, text, json_=json_)


@app.command()
def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="A .html or .md file.")],
    findings: Annotated[
        list[str] | None,
        typer.Argument(help="Ids, beginnings of them, or `last`; all by default.", metavar="[FINDING]..."),
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write findings to one file that loads nothing: notes, commands, and what was on the screens.

    \b
    Examples:
      sracl findings export --out findings.html
      sracl findings export last --out finding.md
    """
    from sracl_tui.services.findings.export import write
    from store.queries.findings import find_finding, list_findings

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        found: list[Any] = [find_finding(store, name) for name in findings] if findings else list_findings(store)
    write(found, out)
    text = f"{len(found)} finding{'' if len(found) == 1 else 's'} in {out}"
    options_and_output.print_done({"path": str(out), "findings": len(found)}, text, json_=json_)
