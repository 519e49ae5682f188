"""`sracl search`: semantic search for users or items by their summaries."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import AllowCodeOption, DebugOption, HomeOption, JsonOption

if TYPE_CHECKING:
    from sracl_tui.services.semantic_search import SearchResult


def search(
    text: Annotated[str, typer.Argument(help="Query text.", metavar="TEXT")],
    items: Annotated[bool, typer.Option("--items", help="Search items instead of users.")] = False,
    set_id: Annotated[
        str | None, typer.Option("--set-id", metavar="ID", help="ID of a summary set, or the beginning of one.")
    ] = None,
    run: Annotated[str | None, typer.Option("--run", metavar="RUN", help="The summaries of this run.")] = None,
    dataset: Annotated[str | None, typer.Option(help="The newest summaries of this dataset.")] = None,
    prefixes: Annotated[
        bool, typer.Option("--prefixes", help="Search all prefixes with a summary, not only the longest of each user.")
    ] = False,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="Text encoder. Default: that of the run, else minilm.")
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Search backend that keeps the index of many texts. Default: annoy."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=10_000, help="Number of results.")] = 10,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Find the users, or items, whose summaries are closest in meaning to a text.

    Default: the summaries of the newest run.

    Summaries without a stored vector are encoded first, and the vectors are stored. For 2,000 texts or more, an Annoy
    index is built once and kept under cache/ in the home, with its measured recall; fewer texts are searched exactly,
    and all are with --backend exact.

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
                result = semantic_search.search(
                    store, text, target, n=n, backend=backend or semantic_search.BACKEND, listener=listener
                )
        except semantic_search.SearchStopped:
            console.print("stopped; the vectors so far are kept, and the next search continues from there")
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
    method = (
        "every text compared"
        if index["method"] == "exact"
        else f"{'Annoy' if index['method'] == 'annoy' else index['method']}, recall@10 {'unknown' if recall is None else f'{recall:.4f}'}"
    )
    model = f" / {result.model}" if result.model else ""
    console.print(
        f"{result.texts:,} texts of {result.dataset} by {result.provider}{model}, set {result.set_id}; {result.encoder}; {method}; "
        f"{1000 * result.seconds['search']:.1f} ms",
        style="dim",
        markup=False,
        highlight=False,
    )
