"""`sracl run` and `sracl stop`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.config_files import preset_description, preset_names
from engine.errors import ConfigError
from sracl_tui.cli import options_and_output, preview
from sracl_tui.cli.foreground import check_dataset, resume_run, run_all
from sracl_tui.cli.options_and_output import AllowCodeOption, DebugOption, HomeOption, JsonOption, RunArgument
from sracl_tui.runs.request import RunRequest
from sracl_tui.runs.sweeps.run_options import RunOptions

if TYPE_CHECKING:
    from sracl_tui.runs.result import RunResult
    from store.home import Home


def _list_presets(value: bool) -> None:
    if value:
        for name in preset_names():
            typer.echo(f"{name:16} {preset_description(name)}")
        raise typer.Exit


def run(
    configs: Annotated[
        list[Path] | None,
        typer.Argument(help="TOML files with settings; a later one wins.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="Dataset by name; `demo` and `goods` are synthetic and generated.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Settings to start from; see --presets.")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One setting, such as alpha=0.05; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of this run.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Run seeds 1 to N, one after the other, as a group.")] = None,
    name: Annotated[str | None, typer.Option(help="A name to find the run by.")] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Use this id instead of a new one.")] = None,
    group: Annotated[
        str | None, typer.Option(help="Put the run into a group; a finished equal run in it is reused.")
    ] = None,
    tags: Annotated[list[str] | None, typer.Option("--tag", help="Tag the run; repeatable.")] = None,
    note: Annotated[str, typer.Option(help="A note to keep with the run.")] = "",
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Run the paper's ablations and the other synthesizers as one group.")
    ] = False,
    variants: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run the variants that a TOML file names, as one group.")
    ] = None,
    vary: Annotated[
        str | None, typer.Option(metavar="KEY=V1,V2", help="Run one setting over several values, as one group.")
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=V1,V2", help="Run every combination, as one group; repeatable."),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw N combinations of --grid, also from ranges: lr=1e-4..1e-2:log."),
    ] = None,
    queue: Annotated[
        bool, typer.Option("--queue", help="Put the runs into the queue instead; each file is a run of its own then.")
    ] = False,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Resume a stopped or dead run from its last checkpoint.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Preview cached stages, cost and time; run and enqueue nothing."),
    ] = False,
    budget: Annotated[
        float | None, typer.Option(min=0, metavar="USD", help="Budget: calls stop before they cost more.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Run even if the group has a finished equal run; with --resume, as a new run."),
    ] = False,
    allow_degraded: Annotated[
        bool,
        typer.Option("--allow-degraded", help="Train even if the data has no texts and the method learns from them."),
    ] = False,
    headless: Annotated[
        bool,
        typer.Option("--headless", help="One line per step instead of bars: for logs, CI and background."),
    ] = False,
    no_publish: Annotated[
        bool,
        typer.Option(
            "--no-publish", help="Write the run's folder only: for nodes; another machine takes its journal in."
        ),
    ] = False,
    presets: Annotated[
        bool,
        typer.Option("--presets", callback=_list_presets, is_eager=True, help="List the presets and leave."),
    ] = False,
    allow_code: AllowCodeOption = None,
    json_: JsonOption = False,
    home: HomeOption = None,
    debug: DebugOption = False,
) -> None:
    """Train and evaluate: data, summaries, vectors, neighbors, training, test, all recorded in the store.

    Finished stages of earlier runs are reused. ctrl+c or `sracl stop` saves every finished step; `--resume` continues from there.

    \b
    Examples:
      sracl run                                # SRA-CL on the demo set
      sracl run --preset backbone --seeds 5    # the plain backbone, five seeds
      sracl run --dataset office --set alpha=0.05 --set pool=train
      sracl run examples/office.toml --headless
      sracl run --ablations --seeds 5          # then: sracl compare GROUP
      sracl run --vary k=1,5,10,20 --seeds 3   # one setting, several values
      sracl run --grid alpha=0.05,0.1 --grid k=5,10 --queue
      sracl run --dataset office --dry-run     # what is cached, how long
      sracl run --resume last                  # continue where it was stopped
    """
    own = (
        configs,
        assignments,
        preset,
        dataset,
        seeds,
        name,
        group,
        tags,
        note,
        allow_degraded,
        ablations,
        variants,
        vary,
        grid,
        trials,
    )
    if resume is not None and (any(own) or seed is not None or run_id is not None or queue):
        raise ConfigError(
            "a run is resumed with its own settings", where="--resume", hint="Leave the other options out."
        )
    resolved = replace(options_and_output.home_of(home), publishes=not no_publish)
    if resume is not None and dry_run:
        preview.resumed(resolved, resume, budget=budget, force=force, json_=json_)
        return
    if resume is not None:
        results = [resume_run(resolved, resume, headless=headless, budget=budget, force=force)]
    else:
        asked = RunOptions(
            configs=tuple(configs or ()), dataset=dataset, preset=preset, assignments=tuple(assignments or ()),
            seed=seed, seeds=seeds, name=name, run_id=run_id, group=group, tags=tuple(tags or ()), note=note,
            budget=budget, ablations=ablations, variants=variants, vary=vary, grid=tuple(grid or ()), trials=trials,
            allow_degraded=allow_degraded,
        )  # fmt: skip
        asked.allow_code(resolved)
        if queue:
            from sracl_tui.cli.queue import enqueue, requests_to_enqueue

            if dry_run:
                preview.queued(resolved, requests_to_enqueue(resolved, asked), force=force, json_=json_)
            else:
                enqueue(resolved, asked, first=False, force=force, json_=json_)
            return
        plan = asked.requests()
        for request in plan:
            resolved.run_folder(request.run_id)  # refuses what cannot be an id
        for dataset_name in {request.config.data.dataset for request in plan}:
            check_dataset(resolved, dataset_name)
        if dry_run:
            preview.runs(resolved, plan, several=asked.several, force=force, json_=json_)
            return
        results = run_all(resolved, plan, headless=headless, force=force)
    if json_:
        documents = [result.document() for result in results]
        options_and_output.print_json(documents[0] if seeds is None and len(documents) == 1 else {"runs": documents})
    else:
        _print_results(resolved, results)
    raise typer.Exit(max(result.exit_code for result in results))


def stop(
    run: RunArgument,
    wait: Annotated[
        float,
        typer.Option(
            min=0, help="Seconds until it is forced to stop, and killed 10 s later; 0 asks and does not wait."
        ),
    ] = 60.0,
    kill: Annotated[bool, typer.Option("--kill", help="Force it to stop at once, and kill it 10 s later.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Stop a run: it finishes its step and saves; `sracl run --resume` continues from there.

    A run that does not react is forced to stop, then killed. A waiting run is removed from the queue. A run of another
    machine has to be stopped there: the message says where.

    \b
    Examples:
      sracl stop last
      sracl stop 20260401-1200 --wait 0
    """
    from sracl_tui.runs.execution.stop import stop_run
    from store.opening import open_store
    from store.queries.runs import find_run

    resolved = options_and_output.home_of(home)
    with open_store(resolved) as store:
        run_id = find_run(store, run)["run_id"]
    done = stop_run(resolved, run_id, wait=wait, force=kill)
    if json_:
        options_and_output.print_json({"run_id": run_id, "pid": done.pid, "ended": done.ended, "how": done.how})
        return
    text = f"asked to stop ({done.process})"
    if done.ended:
        text = "stopped" if done.how.startswith("asked") else done.how
    options_and_output.talk().print(f"{run_id}: {text}.", highlight=False)


def _row_name(request: RunRequest) -> str:
    name, seed = request.name or request.preset, request.config.train.seed
    return f"{name.removesuffix(f'-{seed}')}, seed {seed}"


def _print_results(home: Home, results: list[RunResult]) -> None:
    done = [result for result in results if result.test]
    if not done:
        return
    rows = {_row_name(r.request): r.test for r in done}
    console = options_and_output.out()
    title = f"Test, {done[0].request.config.data.dataset}: best epoch {', '.join(str(r.best_epoch) for r in done)}"
    console.print(options_and_output.metric_table(title, rows))
    if len(done) > 1 and done[0].request.group:
        options_and_output.talk().print(
            f"mean, spread and tests: sracl compare {done[0].request.group}", markup=False, highlight=False
        )
    options_and_output.talk().print(
        f"{', '.join(r.request.run_id for r in done)}: {sum(r.seconds['total'] for r in done):.0f} s, in {home.database}",
        markup=False,
        highlight=False,
    )
