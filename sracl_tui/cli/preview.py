"""What `sracl run --dry-run` prints: what would run, be reused, cost and take. Nothing here makes a folder, an entry or a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.config import Config
from engine.errors import ConfigError
from sracl_tui import formatting
from sracl_tui.cli import options_and_output
from sracl_tui.cli.foreground import resumed_request
from sracl_tui.runs.request import RunRequest, check_new

if TYPE_CHECKING:
    from store.home import Home


def runs(home: Home, requests: list[RunRequest], *, several: bool, force: bool, json_: bool) -> None:
    """Runs in the foreground.

    Args:
        several: they are variants of a config; the document of seeds has the keys of a single run's too.

    Raises:
        ConfigError: a run has the id already, and no equal one of the group stands in for it; or its backbone, mode and parts do
            not go together.
    """
    from sracl_tui.runs.result import finished_equal

    found = {} if force else {request.run_id: finished_equal(home, request) for request in requests}
    reused = {run_id: earlier.request.run_id for run_id, earlier in found.items() if earlier is not None}
    for request in requests:
        request.check_words()
        if request.run_id not in reused:
            _check_parts(request.config)
            check_new(home, request.run_id)
    if len(requests) == 1 and not several:
        _one(
            home,
            requests[0].config,
            allow_degraded=requests[0].allow_degraded,
            json_=json_,
            more={"reused": one} if (one := next(iter(reused.values()), "")) else {},
        )
    else:
        _several(home, requests, reused, json_=json_, first=not several)


def queued(home: Home, requests: list[RunRequest], *, force: bool, json_: bool) -> None:
    """Runs that would be put into the queue, and those of which their group has an equal one."""
    from sracl_tui.runs.execution.queue import sorted_out

    new, known = sorted_out(home, requests, force=force)
    for request in new:
        _check_parts(request.config)
    reused = {request.run_id: run_id for request, run_id in known}
    _several(home, requests, reused, json_=json_, more={"would_add": len(new)})


def _check_parts(config: Config) -> None:
    """Refuse what the run would refuse; plain runs of whole prefixes go with every backbone and need no import of torch."""
    if not config.is_plain or config.train.mode == "sequence":
        from engine.methods.combination import check_combination

        check_combination(config)


def resumed(home: Home, text: str, *, budget: float | None, force: bool, json_: bool) -> None:
    """What `--resume` would do with a run.

    Raises:
        LookupFailed: there is no such run, or its dataset is gone.
        ConfigError: it is running, or has changed since it began.
    """
    from store.journal.journal import segments
    from store.publishing.liveness import lives

    request = resumed_request(home, text, budget=budget, force=force)
    if isinstance(request, str):
        document = {"run_id": request, "would": "show its result"}
        text = f"{request} is finished: its result would be shown."
        options_and_output.print_done(document, text, json_=json_)
        return
    if not force and lives(home, request.run_id):
        raise ConfigError(f"run {request.run_id} is running", where=request.run_id)
    would = "run anew" if force else "resume" if segments(home.run_folder(request.run_id)) else "begin"
    more = {"would": would} if force else {"run_id": request.run_id, "would": would}
    if request.kind == "train":
        allow_degraded = request.allow_degraded or would == "resume"
        _one(home, request.config, json_=json_, more=more, allow_degraded=allow_degraded)
    else:
        named = "a new run" if force else request.run_id
        text = f"{named}, of kind {request.kind}, would {would}; nothing was done."
        options_and_output.print_done(more | {"kind": request.kind}, text, json_=json_)


def _several(
    home: Home, requests: list[RunRequest], reused: dict[str, str], *, json_: bool,
    first: bool = False, more: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """One line per run; shared stages are counted for each run, so the sum is an upper bound.

    Args:
        reused: ids of equal runs that stand in, by the id of the request.
        first: the document begins with the plan of the first run.
    """
    from sracl_tui.runs.stages.cost_estimate import cost_line
    from sracl_tui.services.run_plan import plan

    by_config = {request.config.config_hash(): request for request in requests}
    plans = {key: plan(home, one.config, allow_degraded=one.allow_degraded) for key, one in by_config.items()}
    rows = [(request, plans[request.config.config_hash()]) for request in requests]
    counted = [document for request, document in rows if request.run_id not in reused]
    minutes = sum(document["minutes"] for document in counted)
    usd = {side: _sum([document["usd"][side] for document in counted]) for side in ("low", "high")}
    if json_:
        documents = [
            {"name": request.name, "seed": request.config.train.seed, **document}
            | ({"reused": reused[request.run_id]} if request.run_id in reused else {})
            for request, document in rows
        ]
        head = rows[0][1] if first else {}
        options_and_output.print_json(
            {**head, "runs": documents, "minutes": round(minutes, 2), "usd": usd} | (more or {})
        )
        return
    cells = [
        (
            _named(request),
            request.preset,
            f"{document['minutes']:.1f}",
            cost_line(document["usd"]),
            _basis(request, document, reused),
        )
        for request, document in rows
    ]
    paid = usd["high"] != 0.0
    names = ("run", "preset", "minutes:r", "cost:r", "estimated")
    shown = [name for name in names if paid or name != "cost:r"]
    cells = [tuple(cell for name, cell in zip(names, row, strict=True) if name in shown) for row in cells]
    out = options_and_output.out()
    out.print(options_and_output.table(tuple(shown), cells))
    total = f"about {minutes:.0f} minutes" + (f" and {cost_line(usd)}" if paid else "")
    out.print(f"{len(counted)} runs, at most {total}: shared stages run once", markup=False, highlight=False)
    for detail in dict.fromkeys(
        s["detail"] for document in counted for s in document["stages"] if "download" in s["detail"]
    ):
        out.print(f"vectors: {detail}", markup=False, highlight=False)
    if more is not None:
        text = f"{more['would_add']} would be put into the queue; nothing was."
        options_and_output.talk().print(text, markup=False, highlight=False)


def _named(request: RunRequest) -> str:
    return str(request.name or f"seed {request.config.train.seed}")


def _basis(request: RunRequest, document: dict[str, Any], reused: dict[str, str]) -> str:
    return f"reused: {reused[request.run_id]}" if request.run_id in reused else document["basis"]


def _sum(dollars: list[float | None]) -> float | None:
    """The sum; none where an amount is unknown."""
    known = [value for value in dollars if value is not None]
    return sum(known) if len(known) == len(dollars) else None


def _one(home: Home, config: Config, *, json_: bool, more: dict[str, str], allow_degraded: bool) -> None:
    """Stages, prompts, dollars and minutes of one run."""
    from sracl_tui.runs.stages.cost_estimate import cost_line
    from sracl_tui.services.estimate_text import kind_line, vectors_line
    from sracl_tui.services.run_plan import plan

    document = plan(home, config, allow_degraded=allow_degraded)
    if json_:
        options_and_output.print_json(document | more)
        return
    prompts, cached, identical = document["prompts"], document["cached"], document["identical"]
    lines = [
        f"{stage['stage']:10} {'cached' if stage['cached'] else 'to do':7} {stage['detail']}"
        for stage in document["stages"]
    ]
    lines.append(f"prompts    {prompts:,}, of them cached {cached:,}, identical {identical:,}")
    lines += [f"{kind:10} {kind_line(part)}" for kind, part in document.get("kinds", {}).items() if part["tokens"]]
    if "vectors" in document:
        lines.append(f"{'vectors':10} {vectors_line(document['vectors'])}")
    if (recorded := document["recorded"])["users"]:
        size = formatting.bytes_text(recorded["bytes"])
        lines.append(f"records    {recorded['users']:,} users at up to {recorded['epochs']} epochs, at most {size}")
    lines.append(f"cost       {cost_line(document['usd'])}")
    lines.append(f"time       about {document['minutes']:.1f} minutes ({document['basis']})")
    if "reused" in more:
        lines.append(
            f"{more['reused']} of its group is equal and finished: it would be reused (--force runs it again)."
        )
    elif "would" in more:
        lines.append(f"{more.get('run_id', 'A new run')} would {more['would']}; nothing was done.")
    for text in lines:
        options_and_output.out().print(text, markup=False, highlight=False)
