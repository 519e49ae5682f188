"""`sracl recommend`: the next items of a user, or of all users into a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption, RunArgument
from sracl_tui.services.recommendations import At
from store.run_row import StoredRun

if TYPE_CHECKING:
    from engine.data.dataset import Dataset
    from engine.recommend import Recommender
    from sracl_tui.services.recommendations import Latency
    from store.database.database import Store


def recommend(
    run: RunArgument,
    user: Annotated[str | None, typer.Argument(help="A user's number, or the source's own id.")] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="So many items.")] = 20,
    at: Annotated[
        At, typer.Option(help="From all items of a user, or from those before the test or validation item.")
    ] = "next",
    new_only: Annotated[bool, typer.Option("--new-only", help="Leave out what the user already has.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="For every user, into a file.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="With --all: a .parquet, .csv or .json file.")] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """What a run's model recommends. Only its backbone is used: no language model, no text, no neighbors.

    The time per user is printed beside that of the same backbone trained without SRA-CL.

    \b
    Examples:
      sracl recommend last 17
      sracl recommend office-sracl A2XVCFP9DMIFKT -k 5 --new-only
      sracl recommend last 17 --at test --json
      sracl recommend last --all --out recommended.parquet
    """
    from store.queries import runs

    if all_ == (user is not None) or all_ != (out is not None):
        raise ConfigError("name a user, or give --all and --out FILE", where="recommend")
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        from sracl_tui.services.recommendations import recommender_of

        row = runs.find_run(store, run)
        model, dataset = recommender_of(store, row)
        if user is None and out is not None:
            document = _all(store, row, model, dataset, out, k=k, at=at, new_only=new_only)
        else:
            document = _one(store, row, model, dataset, user or "", k=k, at=at, new_only=new_only)
    if json_:
        options_and_output.print_json(document)
    else:
        _print(document)


def _one(
    store: Store,
    row: StoredRun,
    model: Recommender,
    dataset: Dataset,
    user: str,
    *,
    k: int,
    at: At,
    new_only: bool,
) -> dict[str, Any]:
    from sracl_tui.services.recommendations import history_of
    from store.queries.users import find_user

    found = find_user(store, str(row["dataset_id"]), user)
    history = history_of(dataset, found["user_id"], at)
    if not len(history):
        raise ConfigError(f"user {found['user_id']} has no items left", where=f"--at {at}", hint="Use --at next.")
    ids, scores = model.top([history], k=k, mask_seen=new_only)
    seen = set(history.tolist())
    items = [
        {
            "rank": rank,
            "item_id": item,
            "raw_id": model.item_ids[item - 1],
            "title": model.titles[item - 1],
            "score": score,
            "seen": item in seen,
        }
        for rank, (item, score) in enumerate(zip(ids[0].tolist(), scores[0].tolist(), strict=True), 1)
        if score != float("-inf")
    ]
    took = _latency(store, row, model, dataset, at)
    return {
        "run_id": row["run_id"],
        "user_id": found["user_id"],
        "raw_id": found["raw_id"],
        "history": len(history),
        "items": items,
        "latency": took,
    }


def _all(
    store: Store,
    row: StoredRun,
    model: Recommender,
    dataset: Dataset,
    out: Path,
    *,
    k: int,
    at: At,
    new_only: bool,
) -> dict[str, Any]:
    from sracl_tui.cli.export import check_out
    from sracl_tui.services.recommendations import recommend_all
    from store.queries import exports

    check_out(out)
    table = recommend_all(model, dataset, k=k, at=at, mask_seen=new_only)
    count = exports.recommendations(store, row, table, out)
    return {
        "run_id": row["run_id"],
        "path": str(out),
        "rows": count,
        "users": len(set(table["user_id"].to_pylist())),
        "latency": _latency(store, row, model, dataset, at),
    }


def _latency(store: Store, row: StoredRun, model: Recommender, dataset: Dataset, at: At) -> dict[str, Any]:
    from sracl_tui.services.recommendations import history_of, latency, users_with, without_contrast

    alone, against = without_contrast(store, row, model)
    found: Latency = latency(model, alone, against, [history_of(dataset, u, at) for u in users_with(dataset, at)[:100]])
    return {"ms": found.ours, "backbone_ms": found.alone, "ratio": found.ratio, "against": found.against}


def _print(document: dict[str, Any]) -> None:
    took = document["latency"]
    if "items" in document:
        heads = ("#:r", "score:r", "item", "title", "")
        cells = [
            (str(i["rank"]), f"{i['score']:.3f}", i["raw_id"], i["title"], "has it" if i["seen"] else "")
            for i in document["items"]
        ]
        options_and_output.out().print(options_and_output.table(heads, cells))
        options_and_output.talk().print(
            f"user {document['user_id']} ({document['raw_id']}), {document['history']} items",
            markup=False,
            highlight=False,
        )
    else:
        text = f"{document['rows']:,} rows for {document['users']:,} users are in {document['path']}"
        options_and_output.talk().print(text, markup=False, highlight=False)
    options_and_output.talk().print(
        f"{took['ms']:.2f} ms per user on one thread; the backbone without SRA-CL {took['backbone_ms']:.2f} ms "
        f"({took['against']}): ratio {took['ratio']:.2f}",
        markup=False,
        highlight=False,
    )
