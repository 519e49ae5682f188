"""`sracl methods`: what a run can train."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import DebugOption, HomeOption, JsonOption


def methods(
    name: Annotated[
        str | None, typer.Argument(help="A method, also your own as path.py:NAME, to see in full.", show_default=False)
    ] = None,
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the methods, or print one with its settings.

    \b
    Examples:
      sracl methods
      sracl methods sracl
      sracl run --set method=plain
      sracl run --set 'method.parts=["rec", "inter"]'
    """
    from sracl_tui.services.method_list import describe, list_methods

    options_and_output.home_of(home)  # its log takes the traceback of a bug
    if name is not None:
        found = describe(name)
        options_and_output.print_json(found) if json_ else _print_one(found)
        return
    rows = list_methods()
    if json_:
        options_and_output.print_json(rows)
        return
    heads = ("method", "family", "parts", "needs", "passes", "what it adds")
    table = [
        (
            row["name"],
            row["family"] or "-",
            " + ".join([*(f"({stage})" for stage in row["stages"]), *row["parts"]]),
            ", ".join(row["needs"]) or "-",
            row["passes"],
            row["description"],
        )
        for row in rows
    ]
    out = options_and_output.out()
    out.print(options_and_output.table(heads, table))
    out.print("passes: encoder passes for each training sample. `sracl methods NAME` shows settings and sources.")


def _print_one(found: dict[str, Any]) -> None:
    out = options_and_output.out()
    pairs = {
        "method": found["name"],
        "adds": found["description"],
        "family": found["family"],
        "parts": " + ".join(found["parts"]),
        "stages": ", ".join(found["stages"]),
        "updates": f"{found['updates']} for each batch" if found["updates"] > 1 else "",
        "needs": ", ".join(found["needs"]) or "no texts",
        "passes": found["passes"],
        "source": found["source"],
        "ours": found["ours"],
    }
    options_and_output.print_pairs(out, {name: value for name, value in pairs.items() if value})
    rows = [(row["path"], str(row["default"]), row["meaning"]) for row in found["settings"]]
    if rows:
        out.print(options_and_output.table(("setting", "default", "meaning"), rows))
