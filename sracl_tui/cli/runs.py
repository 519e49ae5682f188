"""`sracl runs`, `show`, `tag`, `note` and `rename`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from engine.metric_registry import title, training_names, value_text
from sracl_tui import formatting
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption, RunArgument
from store.home import Home
from store.run_row import SHORT_METRICS, ListedRun, MetricName, StoredRun, dataset_of, metric_column
from store.untrusted_text import json_text

BEFORE_METRICS = ("run", "name", "state", "preset", "data", "seed:r", "epoch:r")
AFTER_METRICS = ("time:r", "group", "tags")
_SHORT: tuple[MetricName, ...] = tuple(("test", name) for name in SHORT_METRICS)
_TOGETHER = 100
"""Documents per write to stdout."""


def runs(
    group: Annotated[str | None, typer.Option(help="Only this group.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only runs with this tag.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="The newest N runs.")] = None,
    filter_: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="WORDS",
            help="Only runs that fit, as in the app: 'state:finished ndcg@20>0.05 -preset:paper'.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN|METRIC",
            help="Best metric first, or another column in rising order: name, created, time, usd, ...",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="One more metric as a column: map@20, valid.mrr@10, train.loss_rec. Repeatable."),
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List all runs, newest first, with state and test metrics, and those that the filter or the sort name.

    \b
    Examples:
      sracl runs
      sracl runs --group backbone --json
      sracl runs --tag paper -n 10
      sracl runs --filter "state:finished alpha=0.1" --sort ndcg@20 -n 5
      sracl runs --metric map@10 --metric train.loss_rec
    """
    from store.queries.runs import list_runs

    resolved = options_and_output.home_of(home)
    if json_ and not (filter_ or sort or metric):
        _print_documents(resolved, group=group, tag=tag, limit=limit)
        return
    from sracl_tui.services.run_list import Choice

    choice = Choice.of(filter_ or "", sort, metric or ())
    with options_and_output.open_store(resolved) as store:
        everything = list_runs(store, group=group, tag=tag, metrics=choice.metrics)
    rows = choice.of_rows(everything)[:limit]
    if json_:
        options_and_output.print_json(rows)
    elif not everything:
        options_and_output.talk().print("No runs yet. `sracl run` makes the first one, on a synthetic demo set.")
    else:
        shown = list(dict.fromkeys([*_SHORT, *choice.metrics]))
        heads = (*BEFORE_METRICS, *(f"{metric_title(one)}:r" for one in shown), *AFTER_METRICS)
        options_and_output.out().print(options_and_output.table(heads, [run_cells(row, shown) for row in rows]))


def _print_documents(home: Home, **wanted: Any) -> None:
    from store.publishing.fresh_read import fresh_read
    from store.queries.runs import list_runs_json

    with options_and_output.open_store(home, ingest=False) as store:
        documents, behind = fresh_read(home, lambda: list_runs_json(store, **wanted))
    options_and_output.warn_behind(behind)
    sys.stdout.write("[")
    for first in range(0, len(documents), _TOGETHER):  # one text of all of them would be made and then encoded again
        sys.stdout.write(",\n" * bool(first) + ",\n".join(map(json_text, documents[first : first + _TOGETHER])))
    sys.stdout.write("]\n")


def metric_title(metric: MetricName) -> str:
    """`HR@20`; with the split in front where that is not test."""
    split, name = metric
    return title(name) if split == "test" else f"{split} {title(name)}"


def run_cells(row: ListedRun, metrics: Sequence[MetricName] = _SHORT) -> tuple[str, ...]:
    """A run as cells under BEFORE_METRICS, metrics, and AFTER_METRICS."""
    best = f" (best {row['best_epoch']})" if row["best_epoch"] else ""
    return (
        row["run_id"],
        "" if row["name"] == row["run_id"] else row["name"],
        formatting.state(row["state"], row["warnings"]),
        row["preset"] or "",
        dataset_of(row),
        str(row["seed"]),
        f"{row['epoch']}{best}",
        *(value_text(metric[1], row.get(metric_column(*metric))) for metric in metrics),
        formatting.clock((row["timings"] or {}).get("total"), tenths=True),
        row["group_name"] or "",
        " ".join(row["tags"]),
    )


def show(
    run: RunArgument,
    log: Annotated[bool, typer.Option("--log", help="Print the last 50 lines of its log instead.")] = False,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show a run: state, settings that differ from the default, curves, test metrics by subgroup, vectors and weights, times, machine.

    \b
    Examples:
      sracl show last
      sracl show 20260401-1200 --json
      sracl show last --log
    """
    from sracl_tui.runs.execution.process_exit import log_lines
    from store.queries import runs as stored
    from store.queries.machine import machine_use

    resolved = options_and_output.home_of(home)
    with options_and_output.open_store(resolved) as store:
        row = stored.find_run(store, run)
        final = stored.final_metrics(store, row["run_id"])
        curves = stored.curves(store, row["run_id"])
        analysis = stored.analysis_metrics(store, row["run_id"])
        warnings = stored.warnings_of(store, [row["run_id"]])[row["run_id"]]
        use = machine_use(store, row["run_id"])
        folder = store.home.run_folder(row["run_id"])
    if log and not json_:
        for line in log_lines(folder):
            options_and_output.out().print(line, markup=False, highlight=False)
        return
    if json_:
        document = {
            "metrics": final,
            "analysis": analysis,
            "curves": curves,
            "machine_use": use,
            "warnings": warnings,
            "folder": str(folder),
        }
        document["log"] = log_lines(folder)
        options_and_output.print_json(_plain(row) | document)
        return
    console = options_and_output.out()
    options_and_output.print_pairs(console, _facts(resolved, row) | _use(use) | {"folder": str(folder)})
    for warning in warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    groups = list(dict.fromkeys(m["subgroup"] for m in final if m["split"] == "test"))
    if groups:
        values = {
            name: {m["name"]: m["value"] for m in final if (m["split"], m["subgroup"]) == ("test", name)}
            for name in groups
        }
        counts = {name: values[name].get("n") for name in groups}  # of a damaged database, it may be lost
        labeled = {name if n is None else f"{name} ({n:,.0f})": values[name] for name, n in counts.items()}
        console.print()
        console.print(options_and_output.metric_table("Test, by subgroup (users)", labeled))
    if analysis:
        console.print()
        console.print(_analysis_table(analysis))
    if curves:
        console.print()
        console.print(_curve_table(curves, row["config"].get("train", {}).get("select", "ndcg@20")))


def _facts(home: Home, row: StoredRun) -> dict[str, str]:
    from engine.config import Config
    from sracl_tui.runs import own_code

    try:
        changed = Config.model_validate(row["config"]).differences(Config())
        settings = ", ".join(f"{path} = {value}" for path, (_, value) in changed.items()) or "the default ones"
    except ValueError:  # of another version, or damaged
        settings = "not known to this version"
    timings = {name: value for name, value in (row["timings"] or {}).items() if value}
    facts = {
        "run": row["run_id"] + ("" if row["name"] == row["run_id"] else f" ({row['name']})"),
        "state": formatting.state(row["state"]) + (f": {row['reason']}" if row["reason"] else ""),
        "preset": f"{row['preset']}; settings that differ from the defaults: {settings}",
        "data": f"{row['dataset_name']} ({row['dataset_id']})",
        "seed": f"{row['seed']}; config {row['config_hash']}",
        "group": row["group_name"] or "",
        "tags": " ".join(row["tags"]),
        "note": row["note"],
        "exit": " ".join(str(row[name]) for name in ("exit_code", "signal") if row[name] is not None),
        "epochs": f"{row['epoch']}, best {row['best_epoch'] or '-'}; started {formatting.count(row['segments'], 'time')}",
        "time": ", ".join(f"{name} {formatting.clock(value, tenths=True)}" for name, value in timings.items()),
        "memory": f"{row['peak_memory_bytes'] / 2**30:.2f} GiB at most" if row["peak_memory_bytes"] else "",
        "own code": "; ".join(
            f"{name}: {own_code.standing(home, name)}" for name in own_code.named_code(row["config"])
        ),
        "machine": f"{row['machine']}; {row['device']}, {row['threads']} threads" if row["machine"] else "",
        "code": f"sracl {row['code_version']}, commit {row['git_sha'] or 'unknown'}{', with changes' if row['git_patch'] else ''}",
    }
    return {name: text for name, text in facts.items() if text}


USE = (
    ("cores", "CPU", 1, "cores"),
    ("memory_bytes", "memory", 2**30, "GiB"),
    ("machine_gpu_percent", "GPU", 1, "%"),
    ("gpu_memory_bytes", "GPU memory", 2**30, "GiB"),
)
"""Measures of the machine that are shown: what each is called, what its values are divided by, and the unit then."""


def _use(use: dict[str, dict[str, float]]) -> dict[str, str]:
    """What the run used of its machine, on average and at most."""
    parts = [
        f"{what} {use[name]['mean'] / by:.2f} {unit} on average, {use[name]['peak'] / by:.2f} at most"
        for name, what, by, unit in USE
        if name in use
    ]
    return {"use": "; ".join(parts)} if parts else {}


ANALYSIS = {
    "h": "users' vectors h",
    "h_plus": "synthesized samples h+",
    "weights": "neighbors' weights",
}


def _analysis_table(analysis: dict[str, dict[str, float]]) -> Any:
    """One line per number: of what, its name, its value."""
    rows = [
        (ANALYSIS.get(subgroup, subgroup), name.replace("_", " "), formatting.decimal(value))
        for subgroup, named in analysis.items()
        for name, value in named.items()
    ]
    return options_and_output.table(("at the best epoch", "", "value:r"), rows)


def _curve_table(curves: list[dict[str, Any]], select: str) -> Any:
    by_epoch: dict[int, dict[str, float]] = {}
    for point in curves:
        by_epoch.setdefault(point["epoch"], {})[f"{point['split']} {point['name']}"] = point["value"]
    measured = training_names(p["name"] for p in curves if p["split"] == "train" and p["name"] != "seconds")
    names = [*(f"train {name}" for name in measured), f"valid {select}", "train seconds"]
    cells = [
        (str(epoch), *(formatting.decimal(values.get(name)) for name in names)) for epoch, values in by_epoch.items()
    ]
    heads = ("epoch:r", *(f"{title(name)}:r" for name in measured), f"valid {title(select)}:r", "seconds:r")
    return options_and_output.table(heads, cells)


def tag(
    run: RunArgument,
    tags: Annotated[list[str], typer.Argument(help="Tags to add; with a minus, to remove: -- -old.")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Add tags to a run, or remove them.

    \b
    Examples:
      sracl tag last paper office
      sracl tag last -- -paper
    """
    from store.queries import runs as stored

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        run_id = stored.find_run(store, run)["run_id"]
        remove = tuple(text[1:] for text in tags if text.startswith("-"))
        add = tuple(text.removeprefix("+") for text in tags if not text.startswith("-"))
        now = stored.tag(store, run_id, add=add, remove=remove)
    options_and_output.print_done(
        {"run_id": run_id, "tags": now}, f"{run_id}: {' '.join(now) or 'no tags'}", json_=json_
    )


def note(
    run: RunArgument,
    text: Annotated[str, typer.Argument(help="The note; empty removes it.")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Set a run's note.

    \b
    Examples:
      sracl note last "ties shuffled; compare with the run before"
    """
    from store.queries import runs as stored

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        run_id = stored.find_run(store, run)["run_id"]
        stored.note(store, run_id, text)
    options_and_output.print_done({"run_id": run_id, "note": text}, f"{run_id}: {text or 'no note'}", json_=json_)


def rename(
    run: RunArgument,
    name: Annotated[str, typer.Argument(help="The new name.")],
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Name a run.

    \b
    Examples:
      sracl rename last office-baseline
    """
    from store.queries import runs as stored

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        run_id = stored.find_run(store, run)["run_id"]
        stored.rename(store, run_id, name)
    options_and_output.print_done({"run_id": run_id, "name": name}, f"{run_id}: {name}", json_=json_)


def _plain(row: StoredRun) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "git_patch"}
