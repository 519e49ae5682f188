"""`sracl queue`: runs that are executed one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui import formatting
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import AllowCodeOption, Commands, DebugOption, HomeOption, JsonOption
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.sweeps.run_options import RunOptions
from store.home import Home

app = typer.Typer(
    cls=Commands, no_args_is_help=True, rich_markup_mode="rich", help="Runs that are executed one after the other."
)
RunsArgument = Annotated[list[str], typer.Argument(help="Run ids, beginnings of them, or names.", metavar="RUN")]
COLUMNS = ("place:r", "run", "name", "state", "data", "seed:r", "group", "worker", "since (UTC)")


@app.command()
def add(
    configs: Annotated[
        list[Path] | None, typer.Argument(help="TOML files with settings; each is a run.", show_default=False)
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset by name.")] = None,
    preset: Annotated[str | None, typer.Option(help="Settings to start from.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds 1 to N, as a group.")] = None,
    name: Annotated[str | None, typer.Option(help="A name to find the run by.")] = None,
    group: Annotated[str | None, typer.Option(help="Put the runs into a group.")] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Tag the runs; repeatable.")] = None,
    note: Annotated[str, typer.Option(help="A note to keep with the run.")] = "",
    ablations: Annotated[bool, typer.Option("--ablations", help="The paper's ablations, as a group.")] = False,
    variants: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The variants that a TOML file names, as a group.")
    ] = None,
    vary: Annotated[str | None, typer.Option(metavar="KEY=V1,V2", help="One setting over several values.")] = None,
    grid: Annotated[
        list[str] | None, typer.Option(metavar="KEY=V1,V2", help="Every combination, as a group; repeatable.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Draw N combinations, also from ranges: lr=1e-4..1e-2:log.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Cap on what calls of a run may cost.")
    ] = None,
    allow_degraded: Annotated[
        bool,
        typer.Option("--allow-degraded", help="Train even if the data has no texts and the method learns from them."),
    ] = False,
    first: Annotated[bool, typer.Option("--first", help="Before all waiting runs.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Add a run even if its group has an equal one.")] = False,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Put runs into the queue. `sracl queue start` runs them, one at a time on each device.

    \b
    Examples:
      sracl queue add night.toml other.toml
      sracl queue add --preset backbone --seeds 5
      sracl queue add --grid alpha=0.05,0.1 --grid k=5,10 --seeds 3
      sracl queue add --grid lr=1e-4..1e-2:log --grid k=5..50 --trials 20
    """
    asked = RunOptions(
        configs=tuple(configs or ()), dataset=dataset, preset=preset, assignments=tuple(assignments or ()), seed=seed,
        seeds=seeds, name=name, group=group, tags=tuple(tags or ()), note=note, budget=budget, ablations=ablations,
        variants=variants, vary=vary, grid=tuple(grid or ()), trials=trials,
        allow_degraded=allow_degraded,
    )  # fmt: skip
    resolved = options_and_output.home_of(home)
    asked.allow_code(resolved)
    enqueue(resolved, asked, first=first, force=force, json_=json_)


def enqueue(home: Home, asked: RunOptions, *, first: bool, force: bool, json_: bool) -> None:
    """Add the requested runs to the queue, each file as a run of its own, and print their ids.

    Raises:
        ConfigError: a config is not valid; nothing is added.
        LookupFailed: there is no such dataset; nothing is added.
    """
    from sracl_tui.runs.execution import queue as run_queue
    from store.queue import Queue

    requests = requests_to_enqueue(home, asked)
    added, known = run_queue.enqueue(home, requests, first=first, force=force)
    queue = Queue(home)
    if json_:
        options_and_output.print_json(
            {
                "added": [request.run_id for request in added],
                "known": [run_id for _, run_id in known],
                "workers": queue.slots(),
                "paused": queue.paused,
            }
        )
        return
    for request, run_id in known:
        text = f"{run_id}: an equal run of group {request.group} is there already (--force adds another)."
        options_and_output.talk().print(text, markup=False, highlight=False)
    for request in added:
        text = f"{request.run_id}: {request.name or request.preset}, seed {request.config.train.seed}"
        options_and_output.out().print(text, markup=False, highlight=False)
    idle = queue.paused or not queue.wanted
    hint = "`sracl queue start` starts them." if idle else "The queue is running."
    options_and_output.talk().print(f"{len(added)} added. {hint if added else ''}", highlight=False)


def requests_to_enqueue(home: Home, asked: RunOptions) -> list[RunRequest]:
    """The runs that `enqueue` adds where no equal ones are there: those of each file by itself.

    Raises:
        ConfigError: a config is not valid.
        LookupFailed: there is no such dataset.
    """
    from dataclasses import replace

    from sracl_tui.cli.foreground import check_dataset

    if asked.run_id is not None:
        raise ConfigError("the queue gives the ids itself", where="--run-id", hint="Name the run with --name.")
    parts = [replace(asked, configs=(path,)) for path in asked.configs] or [asked]
    requests = [request for part in parts for request in part.requests()]
    for dataset in {request.config.data.dataset for request in requests}:
        check_dataset(home, dataset)
    return requests


@app.command("list")
def list_(
    every: Annotated[bool, typer.Option("--all", help="All ended runs; without it, the last ten.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List running and queued runs in order, and the runs that ended last.

    \b
    Examples:
      sracl queue list
      sracl queue list --json
    """
    from sracl_tui.runs.execution.queue import listing
    from store.queries.runs import list_runs

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        found = listing(resolved, {row["run_id"]: row for row in list_runs(store)})
    entries = found["entries"]
    ended = [entry for entry in entries if entry["entry"] == "done"]
    hidden = [] if every or json_ else ended[10:]
    if json_:
        options_and_output.print_json(found)
        return
    shown = [entry for entry in entries if entry not in hidden]
    if shown:
        options_and_output.out().print(options_and_output.table(COLUMNS, [_cells(entry) for entry in shown]))
    options_and_output.talk().print(summary(found), highlight=False)


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    since = formatting.moment(entry["changed_at"]).removesuffix(" UTC") if entry["changed_at"] else ""
    worker = entry["slot"] or ""
    return (
        "" if entry["place"] is None else str(entry["place"]),
        entry["run_id"],
        "" if entry["name"] == entry["run_id"] else entry["name"],
        formatting.state(entry["state"] or "queued"),
        entry["dataset"] or "",
        "" if entry["seed"] is None else str(entry["seed"]),
        entry["group"] or "",
        f"{worker} (gone)" if worker and entry["gone"] else ", ".join(filter(None, (worker, entry["process"]))),
        since,
    )


def summary(found: dict[str, Any]) -> str:
    """`3 queued, 1 running; worker cpu-0 (PID 7)`, and the command to enter where no worker runs."""
    states = [entry["entry"] for entry in found["entries"]]
    text = f"{states.count('waiting')} queued, {states.count('working')} running"
    if found["workers"]:
        text += f"; {'worker' if len(found['workers']) == 1 else 'workers'} {_named(found['workers'])}"
    if found["paused"]:
        return f"{text}; paused: `sracl queue start` resumes it."
    waits = states.count("waiting") + states.count("working")
    return text + ("; no workers: `sracl queue start` starts one." if waits and not found["workers"] else ".")


def _named(workers: Mapping[str, int]) -> str:
    """`cpu-0 (PID 7), slurm-0 to slurm-3 (PID 9)`: the slots of a process together."""
    slots: dict[int, list[str]] = {}
    for slot, pid in workers.items():
        slots.setdefault(pid, []).append(slot)
    return ", ".join(
        f"{some[0]} to {some[-1]} (PID {pid})" if len(some) > 2 else f"{', '.join(some)} (PID {pid})"
        for pid, some in slots.items()
    )


@app.command()
def move(
    run: Annotated[str, typer.Argument(help="Run id, the beginning of one, or a name.", metavar="RUN")],
    place: Annotated[int, typer.Argument(min=1, help="Its new place, from 1.")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Move a queued run to another place.

    \b
    Examples:
      sracl queue move night 1
    """
    from sracl_tui.runs.execution import queue as run_queue

    resolved = options_and_output.home_of(home)
    run_id = options_and_output.find_run_id(resolved, run)
    now = run_queue.move(resolved, run_id, place)
    options_and_output.print_done({"run_id": run_id, "place": now}, f"{run_id} is at place {now}.", json_=json_)


@app.command()
def remove(runs: RunsArgument, home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Remove queued runs; they stay in the list of runs, as stopped.

    \b
    Examples:
      sracl queue remove night
    """
    from sracl_tui.runs.execution import queue as run_queue

    resolved = options_and_output.home_of(home)
    found = [options_and_output.find_run_id(resolved, run) for run in runs]
    for run_id in found:
        run_queue.remove(resolved, run_id)
    options_and_output.print_done({"removed": found}, f"{', '.join(found)}: removed.", json_=json_)


@app.command()
def pause(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Start no further runs; running ones continue.

    \b
    Examples:
      sracl queue pause
    """
    from store.queue import Queue

    Queue(options_and_output.home_of(home)).pause()
    options_and_output.print_done(
        {"paused": True}, "The queue is paused: running runs continue, no further one starts.", json_=json_
    )


@app.command()
def start(
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1000, help="Runs at a time; by default one per device, or the jobs of cluster.toml."),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on", metavar="NAME", help="What executes the runs: local, slurm, ray; as last time without it."
        ),
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Execute the queued runs in the background. After a restart of the machine, enter it again: interrupted runs resume.

    \b
    Examples:
      sracl queue start
      sracl queue start --workers 2
      sracl queue start --on slurm     # cluster.toml in the home has its options
    """
    from sracl_tui.runs.execution import queue as run_queue
    from store.queue import Queue

    resolved = options_and_output.home_of(home)
    started = run_queue.start(resolved, workers, on=on)
    living = Queue(resolved).slots() | started
    text = f"Workers: {_named(living)}" if living else "The queue is empty: workers start when a run is added."
    options_and_output.print_done({"workers": living, "started": list(started)}, text, json_=json_)


@app.command(hidden=True)
def work(
    slots: Annotated[list[str], typer.Argument(help="Slots of the executor, such as cpu-0.", metavar="SLOT")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Execute entries until none waits: the command of a worker process.

    \b
    Examples:
      sracl queue work cpu-0
    """
    import re

    from sracl_tui.runs.execution import queue as run_queue

    for slot in slots:
        if not re.fullmatch(r"[a-z]\w*-\d+", slot):
            raise ConfigError(f"{slot!r} is not a slot", where="SLOT", hint="`sracl queue start` starts the workers.")
    done = run_queue.work_all(options_and_output.home_of(home), slots)
    options_and_output.print_done({"slots": slots, "runs": done}, f"{done} runs; the queue is empty.", json_=json_)


@app.command(hidden=True)
def probe(
    folder: Annotated[str, typer.Argument(help="Folder of the probe in the cache of the home.")],
    home: HomeOption = None,
    json_: JsonOption = True,
    debug: DebugOption = False,
) -> None:
    """Tell whether the locks of another machine are seen here: what `sracl doctor --on` runs on a node.

    \b
    Examples:
      sracl queue probe lock-probe-0123abcd
    """
    from sracl_tui.runs.execution.lock_probe import answer

    options_and_output.print_json(answer(options_and_output.home_of(home), folder))
