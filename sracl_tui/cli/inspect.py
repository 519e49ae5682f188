"""`sracl inspect`: one user of one run as text or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sracl_tui import formatting
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption, RunArgument

if TYPE_CHECKING:
    from sracl_tui.services.user_inspection import Inspection

BAR = 10


def inspect(
    run: RunArgument,
    user: Annotated[
        str, typer.Argument(help="A user's number (#7), or the id in the source (id:7); 7 where only one fits.")
    ],
    anchor: Annotated[
        int | None, typer.Option(metavar="N", help="The prefix that ends at the user's N-th item, not the longest one.")
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(metavar="N", help="With the neighbors' weights of this recorded epoch, not the best.")
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Show a user: items, preference summary, neighbors with similarity and learned weight.

    \b
    Examples:
      sracl inspect last 17
      sracl inspect last A2XVCFP9DMIFKT --json
      sracl inspect last 17 --anchor 3
      sracl inspect last 17 --epoch 0
    """
    from sracl_tui.services.user_inspection import at_epoch, inspect_user

    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        found = inspect_user(store, run, user, position=anchor)
    if epoch is not None:
        found = at_epoch(found, epoch)
    if json_:
        options_and_output.print_json(found.document())
    else:
        _print(options_and_output.out(), found)


def _print(console: Console, found: Inspection) -> None:
    tied = "; validation and test at the same time" if found.tied else ""
    ranks = ", ".join(f"{split} {rank}" for split, rank in sorted(found.ranks.items(), reverse=True)) or "none stored"
    anchor = found.anchor
    shown = f"the first {anchor['length']} items ({anchor['role']})" if anchor else "none"
    facts = {"user": f"{found.user_id} ({found.raw_id}){tied}", "run": f"{found.run_id} on {found.dataset}"}
    over = ", ".join(f"{record['rank']:,} at {record['epoch']}" for record in found.recorded)
    more = {"over epochs": f"validation rank {over}"} if over else {}
    options_and_output.print_pairs(console, facts | {"prefix": shown, "rank of target": ranks} | more)
    console.print("\nItems, oldest first", style="bold")
    heads = ("", "#:r", "title", "when", "role")
    console.print(options_and_output.table(heads, [_item(item, anchor) for item in found.items]))
    console.print("\nSummary", style="bold")
    if found.summary is None:
        console.print("none", style="dim")
    else:
        s = found.summary
        console.print(s["text"], markup=False, highlight=False)
        price = "price unknown" if s["usd"] is None else f"${s['usd']:.4f}"
        model = f"{s['provider']}{' / ' + s['model'] if s['model'] else ''}"
        fallback = "; rule-based: the model failed" if s["fallback"] else ""
        console.print(
            f"{model}, {s['prompt_version']}, {s['tokens_in']} + {s['tokens_out']} tokens, {price}{fallback}",
            style="dim",
            highlight=False,
        )
    console.print("\nNeighbors, most similar first", style="bold")
    if found.neighbors:
        heads = ("#:r", "cos:r", "weight:r", "", "#w:r", "", "user:r", "last items, newest first")
        most = max((n["weight"] or 0.0) for n in found.neighbors) or 1.0
        console.print(options_and_output.table(heads, [_neighbor(n, most) for n in found.neighbors]))
        agree = "-" if found.spearman is None else f"{found.spearman:+.2f}"
        spread = "-" if found.entropy is None else f"{found.entropy:.3f} nats"
        console.print(f"Spearman of similarity and weight {agree}; entropy of the weights {spread}", highlight=False)
    if found.note:
        console.print(found.note, style="dim", markup=False, highlight=False)


def _item(item: dict[str, Any], anchor: dict[str, Any] | None) -> tuple[str, ...]:
    target = anchor is not None and item["position"] == anchor["position"] + 1
    mark = "→" if target else "│" if item["in_prefix"] else ""
    when = f"{item['ts']:%Y-%m-%d}" if item["ts"] else ""
    return (
        mark,
        str(item["position"]),
        formatting.item_title(item["title"], item["item_id"]),
        when,
        item["role"] or "",
    )


def _neighbor(neighbor: dict[str, Any], most: float) -> tuple[str, ...]:
    weight, home = neighbor["weight"], neighbor["weight_rank"]
    moved = (
        ""
        if home is None
        else "▲"
        if home < neighbor["cosine_rank"]
        else "▼"
        if home > neighbor["cosine_rank"]
        else "="
    )
    return (
        str(neighbor["cosine_rank"]),
        f"{neighbor['similarity']:.3f}",
        "-" if weight is None else f"{weight:.3f}",
        "█" * round(BAR * (weight or 0.0) / most),
        "-" if home is None else str(home),
        moved,
        str(neighbor["neighbor_user_id"]),
        "; ".join((neighbor["titles"] or [])[:3]),
    )
