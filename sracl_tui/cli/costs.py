"""`sracl costs`: the costs of model calls, grouped."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption


def costs(
    by: Annotated[str, typer.Option(help="run, provider, model, day, dataset or gain.")] = "run",
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Costs of model calls. An unknown price is printed as unknown, never as $0.

    `rule-based` counts texts that rules wrote in place of an answer; `saved` is what the providers' prompt caches saved. `--by gain` is
    the cost of a run's summaries per 0.01 of NDCG@20 gained over the backbone.

    \b
    Examples:
      sracl costs
      sracl costs --by day --json
      sracl costs --by gain
    """
    from sracl_tui.services import cost_report
    from store.queries import costs as stored

    choices = (*stored.GROUPS, "gain")
    if by not in choices:
        raise ConfigError(f"there is no --by {by}", where="--by", hint=f"Choices: {', '.join(choices)}.")
    with options_and_output.open_store(options_and_output.home_of(home)) as store:
        rows = stored.gains(store) if by == "gain" else stored.spending(store, by)
        total = stored.totals(store)
    if json_:
        options_and_output.print_json(
            {"by": by, "rows": rows, "usd": total["usd"] if total["calls"] else 0.0, "total": total}
        )
        return
    console = options_and_output.out()
    console.print(options_and_output.table(cost_report.heads(by), [cost_report.cells(by, row) for row in rows]))
    if by == "gain":
        console.print(cost_report.GAIN_NOTE, highlight=False)
    spent = f"{cost_report.cost_text(total)} in all: " if total["calls"] else ""
    console.print(f"{spent}{cost_report.sum_line(total)}", highlight=False)
