"""`sracl export`: results, lists, vectors and models as files for other programs."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from engine.errors import ConfigError
from engine.metric_registry import parse_field, title, value_text
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import AllowCodeOption, DebugOption, HomeOption, JsonOption
from sracl_tui.services.figures.options import FigureOptions
from store.run_row import StoredRun

if TYPE_CHECKING:
    from store.database.database import Store

What = Literal["results", "neighbors", "weights", "users", "items", "texts", "model"]


class Part(StrEnum):
    """What a bundle can do without (`store.transfer.bundle.PARTS`)."""

    PATCH = "patch"
    TEXTS = "texts"
    NEIGHBORS = "neighbors"
    MACHINE = "machine"


def export(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Runs or groups; all but results and figures take one run. A figure also takes one study.",
            metavar="RUN|GROUP|STUDY",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File: .csv, .parquet, .json; results also .tex, .md; a figure .svg, .pdf, .png. A folder for a model. Of a "
            "bundle RUN.sracl.zip by default, or a folder, in which each of several runs has its file.",
        ),
    ] = None,
    what: Annotated[
        What,
        typer.Option(
            help="results: a row per run. neighbors, weights: the lists and what was learned. users: h and h+. items: E. "
            "texts: summaries and their vectors. model: the backbone alone, to recommend with elsewhere."
        ),
    ] = "results",
    bundle: Annotated[bool, typer.Option("--bundle", help="A whole run as one file for another home.")] = False,
    without: Annotated[
        list[Part] | None,
        typer.Option(
            help="Of a bundle, also several times: leave out the uncommitted changes of the code; summaries; neighbors and "
            "their weights; name, system and load of the machine. The claims of a study need metrics and ranks, which stay."
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            "--figure",
            metavar="NAME",
            help="A figure instead: forest, k-curve, epochs, weights, user, map, cost. It takes the extra plots (matplotlib).",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Of a figure: the metric, such as hr@20; of epochs also loss_cs. Default: ndcg@20."),
    ] = None,
    split: Annotated[
        Literal["valid", "test"] | None, typer.Option(help="Of a figure that compares: the ranks. Default: valid.")
    ] = None,
    user: Annotated[str | None, typer.Option(help="Of the figure user: number (#7) or id (id:7) of the user.")] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Of a figure that compares: the baseline, as in `sracl compare`.")
    ] = None,
    cost: Annotated[
        Literal["seconds", "step", "memory", "usd"] | None,
        typer.Option(help="Of the figure cost: seconds to the best epoch [default], per step, peak memory, dollars."),
    ] = None,
    allow_code: AllowCodeOption = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Write results of runs to a file: a table, vectors, a model, a figure, or a whole run for `sracl import-bundle`.

    \b
    Examples:
      sracl export office-ablations --out results.csv
      sracl export office-ablations --out table.tex
      sracl export last --what neighbors --out neighbors.parquet
      sracl export last --what weights --out weights.parquet
      sracl export last --what model --out my-model
      sracl export last --bundle --out night.zip
      sracl export office --bundle --without texts --out results
      sracl export office --figure forest --split test --out forest.pdf
      sracl export office --figure epochs --metric ndcg@20 --out epochs.svg
      sracl export last --figure user --user 7 --out user-7.png
      sracl export quick --figure forest --out claims.svg
    """
    from sracl_tui.cli.bundle import bundled
    from store.queries.runs import select_runs

    if out is None and not bundle:
        raise ConfigError(
            "no file is named",
            where="--out",
            hint="--out FILE; or --bundle for a whole run as one file for another home.",
        )
    if out is not None:
        check_out(out)
    if without and not bundle:
        raise ConfigError("--without is of a bundle", where="--without", hint="--bundle --without PART.")
    options = FigureOptions(metric=metric, split=split, user=user, baseline=baseline, cost=cost)
    if figure is not None:
        document = _figure(figure, names, options, out, other=bundle or what != "results", home=home)
        _report(document, f"the figure is in {out}", json_=json_)
        return
    if options.given():
        raise ConfigError(f"--{options.given()[0]} is of a figure", where="export", hint="Name one with --figure.")
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        rows = select_runs(store, names)
        if (bundle or what != "results") and len(rows) != 1 and not (bundle and out is not None and out.is_dir()):
            hint = "Name one run, or a folder: --out FOLDER." if bundle else "Name one run."
            raise ConfigError(f"it is of one run; these are {len(rows)}", where="export", hint=hint)
        if bundle:
            _bundles(
                [bundled(store, row, out, without=[part.value for part in without or ()]) for row in rows], json_=json_
            )
            return
        document = {"path": str(out), "what": what, "rows": _written(store, rows, what, out or Path())}
    count = document["rows"]
    _report(document, f"{count:,} {'items' if what == 'model' else 'rows'} are in {out}", json_=json_)


def _bundles(documents: list[dict[str, Any]], *, json_: bool) -> None:
    if json_:
        options_and_output.print_json(documents[0] if len(documents) == 1 else documents)
        return
    for document in documents:
        options_and_output.out().print(document["path"], markup=False, highlight=False)


def _report(document: dict[str, Any], text: str, *, json_: bool) -> None:
    if json_:
        options_and_output.print_json(document)
    else:
        options_and_output.talk().print(text, markup=False, highlight=False)


def _figure(
    name: str, names: list[str], options: FigureOptions, out: Path | None, *, other: bool, home: Path | None
) -> dict[str, Any]:
    from sracl_tui.services.figures import catalog
    from sracl_tui.studies.figures import write_figure

    if other or out is None:
        raise ConfigError("a figure is a file of its own", where="--figure", hint="--figure NAME --out FILE, alone.")
    catalog.check(name, names, options, out)
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        write_figure(store, name, names, options, out)
    return {"path": str(out), "figure": name}


def _written(store: Store, rows: list[StoredRun], what: What, out: Path) -> int:
    if what == "results":
        return _results(store, [row["run_id"] for row in rows], out)
    return WRITERS[what](store, rows[0], out)


def check_out(path: Path) -> None:
    """Refuse a file that cannot be written, before the work begins.

    Raises:
        ConfigError: its folder does not exist.
    """
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"there is no folder {path.absolute().parent}", where="--out", hint="Make it first.")


def _results(store: Store, run_ids: list[str], out: Path) -> int:
    from store.queries import exports

    format_ = {".tex": "latex", ".md": "md"}.get(out.suffix.lower())
    if format_ is None:
        return exports.results(store, run_ids, out)
    from sracl_tui.services.table_formats import render

    rows = exports.result_rows(store, run_ids)
    metrics = [name for name in (rows[0] if rows else {}) if name.startswith("test_")]
    metrics = [name for name in metrics if any(row[name] is not None for row in rows)]
    named = {column: (parse_field(column) or ("test", column.removeprefix("test_")))[1] for column in metrics}
    heads = ["run", "data", "seed", *(title(name) for name in named.values())]
    cells = [
        [row["name"], row["dataset_name"] or "", str(row["seed"])]
        + [value_text(name, row[column]) for column, name in named.items()]
        for row in rows
    ]
    try:
        out.write_text(render(heads, cells, format_="latex" if format_ == "latex" else "md"), "utf-8")
    except OSError as error:
        raise ConfigError(f"the file cannot be written: {error.strerror or error}", where=str(out)) from None
    return len(rows)


def _neighbors(store: Store, run: StoredRun, out: Path) -> int:
    from store.queries import exports

    return exports.neighbors(store, run, out)


def _weights(store: Store, run: StoredRun, out: Path) -> int:
    from store.queries import exports

    return exports.weights(store, run, out)


def _users(store: Store, run: StoredRun, out: Path) -> int:
    from store.queries import exports

    return exports.user_vectors(store, run, out)


def _texts(store: Store, run: StoredRun, out: Path) -> int:
    from store.queries import exports

    return exports.text_vectors(store, run, out)


def _items(store: Store, run: StoredRun, out: Path) -> int:
    import pyarrow as pa

    from sracl_tui.services.recommendations import recommender_of
    from store.queries import exports

    model, _ = recommender_of(store, run)
    matrix = model.backbone.table().detach().numpy()  # (V, D)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), matrix.shape[1])
    return exports.embeddings(store, run, range(1, len(matrix) + 1), vectors, out)


def _model(store: Store, run: StoredRun, out: Path) -> int:
    from engine.recommend import save_model
    from sracl_tui.services.recommendations import recommender_of

    model, _ = recommender_of(store, run)
    save_model(model, out)
    return len(model.item_ids)


WRITERS: dict[str, Callable[[Store, StoredRun, Path], int]] = {
    "neighbors": _neighbors,
    "weights": _weights,
    "users": _users,
    "items": _items,
    "texts": _texts,
    "model": _model,
}
