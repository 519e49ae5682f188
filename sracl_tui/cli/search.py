"""`sracl search`: users or items whose summary means what a text says."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption

if TYPE_CHECKING:
    from sracl_tui.services.semantic_search import SearchResult


def search(
    text: Annotated[str, typer.Argument(help="What the summary should mean.", metavar="TEXT")],
    items: Annotated[bool, typer.Option("--items", help="Search items, not users.")] = False,
    set_id: Annotated[
        str | None, typer.Option("--set-id", metavar="ID", help="This summary set, or the beginning of its id.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="The summaries of this run.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The newest summaries of this dataset.")] = None,
    prefixes: Annotated[
        bool, typer.Option("--prefixes", help="All prefixes that have a summary, not only each user's longest.")
    ] = False,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Text encoder. Default: the run's own, else minilm.")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Show so many.")] = 10,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Find the users, or items, whose summary means what a text says. Default: the newest run's summaries.

    Texts that no run has encoded are encoded first and kept. From 2,000 texts on, an Annoy index is built once and kept
    under cache/ in the home, with its measured recall; fewer are compared one by one.

    \b
    Examples:
      sracl search "fountain pens and calligraphy ink"
      sracl search "paper that does not bleed" --items -n 5
      sracl search "teachers" --dataset office --json
    """
    from sracl_tui.cli.progress import ProgressBars, ProgressLines
    from sracl_tui.services import semantic_search

    console = options_and_output.talk()
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        target = semantic_search.choose(
            store, items=items, set_id=set_id, run=run, dataset=dataset, encoder=encoder, prefixes=prefixes
        )
        bars = ProgressBars(console, epochs=0) if console.is_terminal else nullcontext(ProgressLines(console))
        try:
            with bars as listener:
                result = semantic_search.search(store, text, target, n=n, listener=listener)
        except semantic_search.SearchStopped:
            console.print("stopped; what is encoded is kept, and searching again goes on from there")
            raise typer.Exit(130) from None
    for warning in result.warnings:
        console.print(f"warning: {warning}", markup=False, highlight=False)
    if json_:
        options_and_output.print_json(result.document())
    else:
        _print(result)


def _print(result: SearchResult) -> None:
    console = options_and_output.out()
    if result.kind == "item":
        heads = ("#:r", "cos:r", "item", "title", "summary")
        rows = [(h["item"], h["title"] or "(no title)", h["summary"]) for h in result.hits]
    else:
        heads = ("#:r", "cos:r", "user", "prefix", "summary", "last items, newest first")
        rows = [
            (h["user"], f"{h['position']} ({h['role']})", h["summary"], "; ".join(filter(None, h["titles"])))
            for h in result.hits
        ]
    cells = [(str(h["rank"]), f"{h['similarity']:.3f}", *row) for h, row in zip(result.hits, rows, strict=True)]
    console.print(options_and_output.table(heads, cells))
    index = result.index
    recall = index.get("recall")
    how = (
        "every text compared"
        if index["method"] == "exact"
        else f"Annoy, recall@10 {'unknown' if recall is None else f'{recall:.4f}'}"
    )
    model = f" / {result.model}" if result.model else ""
    console.print(
        f"{result.texts:,} texts of {result.dataset} by {result.provider}{model}, set {result.set_id}; {result.encoder}; {how}; "
        f"{1000 * result.seconds['search']:.1f} ms",
        style="dim",
        markup=False,
        highlight=False,
    )
