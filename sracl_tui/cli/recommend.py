"""`sracl recommend`: top-k items for one user, or for all users as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import AllowCodeOption, DebugOption, HomeOption, JsonOption, RunArgument
from sracl_tui.services.recommendations import At
from store.run_row import StoredRun

if TYPE_CHECKING:
    from engine.data.dataset import Dataset
    from engine.recommend import Recommender
    from sracl_tui.services.recommendations import Latency
    from store.database.database import Store


def recommend(
    run: RunArgument,
    user: Annotated[
        str | None, typer.Argument(help="User number (#7), or the ID in the source data (id:7); 7 where only one fits.")
    ] = None,
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Number of items.")] = 20,
    at: Annotated[
        At, typer.Option(help="Input history: all items of the user, or those before the test or validation item.")
    ] = "next",
    new_only: Annotated[bool, typer.Option("--new-only", help="Exclude items that are in the user's history.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Recommend to every user; needs --out.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="With --all: a .parquet, .csv or .json file.")] = None,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Recommend items with the model of a run. Inference uses its backbone alone: no language model, text or neighbors.

    The inference time per user is printed next to that of the same backbone trained without SRA-CL.

    \b
    Examples:
      sracl recommend last 17
      sracl recommend office-sracl A2XVCFP9DMIFKT -k 5 --new-only
      sracl recommend last 17 --at test --json
      sracl recommend last --all --out recommended.parquet
    """
    from store.queries import runs

    if all_ == (user is not None) or all_ != (out is not None):
        raise ConfigError("give either a user, or both --all and --out FILE", where="recommend")
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        from sracl_tui.services.recommendations import recommender_of

        row = runs.find_run(store, run)
        model, dataset = recommender_of(store, row)
        if user is None and out is not None:
            document = _recommend_to_all(store, row, model, dataset, out, k=k, at=at, new_only=new_only)
        else:
            document = _recommend_to_user(store, row, model, dataset, user or "", k=k, at=at, new_only=new_only)
    if json_:
        options_and_output.print_json(document)
    else:
        _print(document)


def _recommend_to_user(
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

    matched_user = find_user(store, str(row["dataset_id"]), user)
    history = history_of(dataset, matched_user["user_id"], at)
    if not len(history):
        raise ConfigError(
            f"user {matched_user['user_id']} has no items before that position",
            where=f"--at {at}",
            hint="Use --at next.",
        )
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
    return {
        "run_id": row["run_id"],
        "user_id": matched_user["user_id"],
        "raw_id": matched_user["raw_id"],
        "history": len(history),
        "items": items,
        "latency": _latency(store, row, model, dataset, at),
    }


def _recommend_to_all(
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

    backbone, backbone_source = without_contrast(store, row, model)
    histories = [history_of(dataset, u, at) for u in users_with(dataset, at)[:100]]
    measured: Latency = latency(model, backbone, backbone_source, histories)
    return {
        "ms": measured.ours,
        "backbone_ms": measured.alone,
        "ratio": measured.ratio,
        "against": measured.against,
    }


def _print(document: dict[str, Any]) -> None:
    timing = document["latency"]
    if "items" in document:
        heads = ("#:r", "score:r", "item", "title", "")
        cells = [
            (str(i["rank"]), f"{i['score']:.3f}", i["raw_id"], i["title"], "seen" if i["seen"] else "")
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
        f"{timing['ms']:.2f} ms per user on one thread; the backbone without SRA-CL {timing['backbone_ms']:.2f} ms "
        f"({timing['against']}): ratio {timing['ratio']:.2f}",
        markup=False,
        highlight=False,
    )
