"""`sracl llm batches`: list, collect, cancel and drop the batches sent to a provider's Batch API."""

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
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Batches of requests sent to a provider's Batch API.",
)
NamesArgument = Annotated[
    list[str], typer.Argument(metavar="BATCH...", help="Batch names, or the beginnings of names.")
]
HEADS = ("batch", "provider", "model", "state", "requests:r", "done:r", "hours:r", "$ at most:r", "run")


@app.command("list")
def list_batches(
    done: Annotated[
        bool, typer.Option("--done", help="List closed batches instead, without asking the provider.")
    ] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the open batches, with the status that the provider reports.

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
        options_and_output.out().print("no closed batches" if done else "no open batches", highlight=False)
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
        list[str] | None,
        typer.Argument(metavar="[BATCH...]", help="Batch names, or the beginnings of names. Default: all."),
    ] = None,
    headless: Annotated[bool, typer.Option("--headless", help="Lines instead of bars.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Store the answers of batches that have ended, so that later jobs reuse them. Nothing is sent.

    This is rarely needed: a job that waits for a batch, or needs its answers, collects it too.

    \b
    Examples:
      sracl llm batches collect
      sracl llm batches collect 20260401-1200
    """
    from sracl_tui.runs.execute import execute
    from sracl_tui.runs.stages.llm_batches import open_now

    resolved = options_and_output.home_of(home)
    before = {batch.name: batch for batch in (_find_batches(resolved, names) if names else open_now(resolved))}
    if before:
        config, preset = load_config()
        request = RunRequest(
            run_id=new_run_id(), config=config, kind="collect", preset=preset, job={"batches": list(before)}
        )
        result = watched(request, lambda listener: execute(resolved, request, listener=listener), headless)
        if result.exit_code:
            raise typer.Exit(result.exit_code)
    still_open = {batch.name for batch in open_now(resolved)}
    collected = {name: len(batch.requests) for name, batch in before.items() if name not in still_open}
    if json_:
        options_and_output.print_json({"taken_in": collected, "left": [name for name in before if name in still_open]})
        return
    options_and_output.out().print(
        f"{len(collected)} of {len(before)} batches collected, {sum(collected.values()):,} requests", highlight=False
    )


@app.command("cancel")
def cancel(
    names: NamesArgument,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ask the provider to cancel batches. Requests answered by then are billed: collect them.

    \b
    Examples:
      sracl llm batches cancel 20260401-1200
    """
    from sracl_tui.runs.stages.llm_batches import client_of

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        states = {batch.name: client_of(store, batch, "").cancel(batch) for batch in _find_batches(resolved, names)}
    if json_:
        options_and_output.print_json({"batches": states})
        return
    for name, state in states.items():
        options_and_output.out().print(f"{name}: {state}", markup=False, highlight=False)


@app.command("forget")
def forget(
    names: NamesArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm that the answers are discarded.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Drop batches that can no longer be reached, such as those of a closed account. Later jobs send their prompts again.

    The cost of a dropped batch is not recorded in `api_calls`.

    \b
    Examples:
      sracl llm batches forget 20260401-1200 --yes
    """
    from engine.errors import ConfigError
    from store.llm_batches import BatchLogs

    resolved = options_and_output.home_of(home)
    found = _find_batches(resolved, names)
    if not yes:
        total = sum(len(batch.requests) for batch in found)
        raise ConfigError(
            f"{total:,} requests may have been paid for",
            where="forget",
            hint="Discard them with --yes, or collect them.",
        )
    files = BatchLogs(resolved)
    for batch in found:
        files.note(batch.name, ended="given up")
        files.close(batch.name)
    if json_:
        options_and_output.print_json({"forgotten": [batch.name for batch in found]})
        return
    options_and_output.out().print(f"{len(found)} batches dropped", highlight=False)


def _find_batches(home: Home, names: list[str]) -> list[ProviderBatch]:
    """The open batches with these names or beginnings of names.

    Raises:
        LookupFailed: a name fits no batch, or several.
    """
    from sracl_tui.runs.stages.llm_batches import open_now
    from store.llm_batches import BatchLogs

    files = BatchLogs(home)
    wanted = {files.find(name) for name in names}
    return [batch for batch in open_now(home) if batch.name in wanted]
