"""`sracl llm batches`: what is at a provider by its Batch API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from engine.config_files import load_config
from sracl_tui.cli import options_and_output
from sracl_tui.cli.foreground import watched
from sracl_tui.cli.options_and_output import Commands, DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest, new_run_id

if TYPE_CHECKING:
    from engine.semantics.llm.batch_files import ProviderBatch
    from store.home import Home

app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode="rich", help="Requests that are at a provider as a batch."
)
NamesArgument = Annotated[list[str], typer.Argument(metavar="BATCH...", help="Names, or beginnings of them.")]
HEADS = ("batch", "provider", "model", "state", "requests:r", "done:r", "hours:r", "$ at most:r", "run")


@app.command("list")
def list_batches(
    done: Annotated[bool, typer.Option("--done", help="Those that have been taken in, as they were.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the batches that are at a provider and how far they are, as the provider says.

    \b
    Examples:
      sracl llm batches list
      sracl llm batches list --done --json
    """
    from sracl_tui.runs.stages import llm_batches

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        rows = llm_batches.taken_in(resolved) if done else llm_batches.refreshed(store)
    if json_:
        options_and_output.print_json({"batches": rows})
        return
    if not rows:
        options_and_output.out().print(
            "no batch was taken in yet" if done else "no batch is at a provider", highlight=False
        )
        return
    cells = [
        (
            row["name"], row["provider"], row["model"], row["ended"] or row["status"], f"{row['requests']:,}",
            f"{row['done']:,}", f"{row['hours']:.1f}", f"{row['usd_at_most']:.4f}", row["run_id"],
        )
        for row in rows
    ]  # fmt: skip
    options_and_output.out().print(options_and_output.table(HEADS, cells))
    for row in rows:
        if row["problem"]:
            options_and_output.talk().print(f"{row['name']}: {row['problem']}", markup=False, highlight=False)


@app.command("collect")
def collect(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[BATCH...]", help="Names, or beginnings of them; all without one.")
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Lines instead of bars.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Take in the answers of batches that have ended; a later job finds them. Nothing is sent.

    A job that waits for them takes them in itself, and so does the next one that needs them.

    \b
    Examples:
      sracl llm batches collect
      sracl llm batches collect 20260401-1200
    """
    from sracl_tui.runs.execute import execute
    from sracl_tui.runs.stages.llm_batches import open_now

    resolved = options_and_output.home_of(home)
    before = {batch.name: batch for batch in (_named(resolved, names) if names else open_now(resolved))}
    if before:
        config, preset = load_config()
        request = RunRequest(
            run_id=new_run_id(), config=config, kind="collect", preset=preset, job={"batches": list(before)}
        )
        result = watched(request, lambda listener: execute(resolved, request, listener=listener), headless)
        if result.exit_code:
            raise typer.Exit(result.exit_code)
    left = {batch.name for batch in open_now(resolved)}
    taken = {name: len(batch.requests) for name, batch in before.items() if name not in left}
    if json_:
        options_and_output.print_json({"taken_in": taken, "left": [name for name in before if name in left]})
        return
    options_and_output.out().print(
        f"{len(taken)} of {len(before)} batches taken in, {sum(taken.values()):,} requests", highlight=False
    )


@app.command("cancel")
def cancel(
    names: NamesArgument,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask a provider to end batches. What it has answered by then is paid for: collect it.

    \b
    Examples:
      sracl llm batches cancel 20260401-1200
    """
    from sracl_tui.runs.stages.llm_batches import client_of

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        states = {batch.name: client_of(store, batch, "").cancel(batch) for batch in _named(resolved, names)}
    if json_:
        options_and_output.print_json({"batches": states})
        return
    for name, state in states.items():
        options_and_output.out().print(f"{name}: {state}", markup=False, highlight=False)


@app.command("forget")
def forget(
    names: NamesArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Yes, the answers are given up.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Give up batches that can no longer be reached, such as those of a lost account: their prompts are asked for again.

    What they cost is not in `api_calls` then.

    \b
    Examples:
      sracl llm batches forget 20260401-1200 --yes
    """
    from engine.errors import ConfigError
    from store.llm_batches import BatchLogs

    resolved = options_and_output.home_of(home)
    found = _named(resolved, names)
    if not yes:
        total = sum(len(batch.requests) for batch in found)
        raise ConfigError(
            f"{total:,} requests may have been paid for",
            where="forget",
            hint="Give them up with --yes, or collect them.",
        )
    files = BatchLogs(resolved)
    for batch in found:
        files.note(batch.name, ended="given up")
        files.close(batch.name)
    if json_:
        options_and_output.print_json({"forgotten": [batch.name for batch in found]})
        return
    options_and_output.out().print(f"{len(found)} batches given up", highlight=False)


def _named(home: Home, names: list[str]) -> list[ProviderBatch]:
    """The batches that are meant.

    Raises:
        LookupFailed: there is no such batch, or there are several.
    """
    from sracl_tui.runs.stages.llm_batches import open_now
    from store.llm_batches import BatchLogs

    files = BatchLogs(home)
    wanted = {files.find(name) for name in names}
    return [batch for batch in open_now(home) if batch.name in wanted]
