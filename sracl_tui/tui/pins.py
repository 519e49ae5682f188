"""What each screen says of itself when it is pinned as a finding, and how the same place is opened again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from textual.widgets import Static, TabbedContent

from sracl_tui.services.run_edits import Words
from sracl_tui.tui.navigation import Navigation, Unavailable
from sracl_tui.tui.screens import DEEPER, PAGES, page_name
from sracl_tui.tui.screens.base import BaseScreen
from sracl_tui.tui.textual_internals import screen_lines
from sracl_tui.tui.widgets.status_line import StatusLine
from store.queries.findings import Finding

WHAT_IF = "what-if"
_OTHERS = {"WhatIfScreen": WHAT_IF, "SqlChartScreen": "sql"}
"""Screens that only another one opens, by their class."""


@dataclass(frozen=True)
class Pin:
    """Of what a screen is."""

    screen: str = ""
    run_ids: tuple[str, ...] = ()
    user_id: int | None = None
    item_id: int | None = None
    words: Words = ()
    """The command that shows the same, by its words after `sracl`; none where there is no such command."""
    place: dict[str, Any] = field(default_factory=dict)
    """What else it takes to open the screen at the same place."""
    content: str = ""
    """What is shown, as text, where it is more than what is in sight."""


def picture(screen: BaseScreen) -> str:
    """The lines of a screen between its title bar and its status line, as text."""
    lines = screen_lines(screen)[screen.query_one("#head").region.bottom : screen.query_one(StatusLine).region.y]
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def title_of(screen: BaseScreen) -> str:
    """What stands in the title bar."""
    return str(screen.query_one("#title", Static).content)


def pin_of(screen: BaseScreen) -> Pin:
    """Of what a screen is.

    Raises:
        Unavailable: it shows nothing yet, or is the list of findings itself.
    """
    name = page_name(screen) or _OTHERS.get(type(screen).__name__, "")
    read = _PINS.get(name)
    found: Pin = read(screen) if read is not None else Pin()
    return Pin(name, found.run_ids, found.user_id, found.item_id, found.words, found.place, found.content)


def _runs(screen: Any) -> Pin:
    text = screen.sracl.preferences.filter
    return Pin(words=("runs", "--filter", text) if text else ("runs",), place={"filter": text})


def _run(screen: Any) -> Pin:
    return Pin(run_ids=(screen.run_id,), words=("show", screen.run_id))


def _inspector(screen: Any) -> Pin:
    found = screen.found
    if found is None:
        raise Unavailable("No user is shown.")
    anchor = found.anchor
    position = None if anchor is None or anchor["represents"] else anchor["position"]
    words = ("inspect", screen.run_id, f"#{found.user_id}", *(("--anchor", str(position)) if position else ()))
    run_ids = (screen.run_id, *([screen.second_run] if screen.second_run else []))
    return Pin(run_ids=run_ids, user_id=found.user_id, words=words, place={"position": position})


def _what_if(screen: Any) -> Pin:
    bench = screen.bench
    at = () if bench.at == "prefix" else ("--at", bench.at)
    words = ("recommend", bench.run_id, f"#{bench.user_id}", *at)
    place = {"position": screen.position, **bench.document()}
    return Pin(run_ids=(bench.run_id,), user_id=bench.user_id, words=words, place=place, content=screen.text())


def _launch(screen: Any) -> Pin:
    run_ids = (screen.clone,) if screen.clone else ()
    return Pin(run_ids=run_ids, words=tuple(screen.command_words()))


def _compare(screen: Any) -> Pin:
    return Pin(run_ids=screen.run_ids, words=tuple(screen.command_words()), place={"split": screen.split})


def _slices(screen: Any) -> Pin:
    if screen.found is None:
        raise Unavailable("Nothing is compared.")
    place = {"baseline": list(screen.baseline_ids), "split": screen.split}
    run_ids = (*screen.run_ids, *screen.baseline_ids)
    return Pin(run_ids=run_ids, words=tuple(screen.command_words(screen.found)), place=place)


def _data(screen: Any) -> Pin:
    row = screen.row
    if row is None:
        raise Unavailable("There is no data set yet.")
    return Pin(words=("data", "show", row["name"]), place={"dataset": row["dataset_id"]})


def _sql(screen: Any) -> Pin:
    query = screen.answered
    if not query:
        raise Unavailable("No query has run yet: F5 runs it.")
    return Pin(words=("sql", query), place={"query": query})


def _costs(screen: Any) -> Pin:
    return Pin(words=("costs", "--by", screen.query_one(TabbedContent).active))


def _everyone(screen: Any) -> Pin:
    run_ids = (screen.run_id, *([screen.second_run] if screen.second_run else []))
    try:
        words = ("export", *screen.figure_words(), "--out", "figure.svg")
    except Unavailable:  # a histogram
        words = ("show", screen.run_id)
    return Pin(run_ids=run_ids, user_id=screen.user_id, words=words)


def _item(screen: Any) -> Pin:
    found = screen.found
    if found is None:
        raise Unavailable("No item is shown.")
    dataset_id, item_id = found.run["dataset_id"], found.item["item_id"]
    query = f"FROM items WHERE dataset_id = '{dataset_id}' AND item_id = {item_id}"
    return Pin(run_ids=(screen.run_id,), item_id=item_id, words=("sql", query))


def _study(screen: Any) -> Pin:
    return Pin(words=("study", "show", screen.study_name), place={"study": screen.study_name})


def _findings(screen: Any) -> Pin:
    raise Unavailable("This is the list of findings: open one with enter, and pin it there.")


def _settings(screen: Any) -> Pin:
    raise Unavailable("The settings of the app are no finding.")


_PINS: dict[str, Callable[[Any], Pin]] = {
    "runs": _runs,
    "run": _run,
    "charts": _run,
    "inspector": _inspector,
    WHAT_IF: _what_if,
    "launch": _launch,
    "compare": _compare,
    "data": _data,
    "sql": _sql,
    "costs": _costs,
    "queue": lambda screen: Pin(words=("queue", "list")),
    "everyone": _everyone,
    "item": _item,
    "slices": _slices,
    "study": _study,
    "findings": _findings,
    "settings": _settings,
}
"""By the name of the screen; of others only the text is kept."""


def open_place(app: Navigation, finding: Finding) -> None:
    """Open the screen of a finding where it was pinned.

    Raises:
        Unavailable: what it showed is gone, or it has no screen.
    """
    name, run_ids, place = finding["screen"], finding["run_ids"], finding["place"]
    if name not in PAGES | DEEPER:
        raise Unavailable("This finding belongs to no screen that can be opened: its command is all there is.")
    for run_id in run_ids:
        if app.row_of(run_id) is None:
            raise Unavailable(f"Run {run_id} is not in the list of runs: it was removed, or is in another home.")
    if name in _OF_RUNS and not run_ids:
        raise Unavailable("This finding names no run.")
    split = place.get("split") if place.get("split") in ("valid", "test") else "valid"
    user = None if finding["user_id"] is None else str(finding["user_id"])
    second = run_ids[1] if len(run_ids) > 1 else None
    baseline = [run_id for run_id in run_ids if run_id in (place.get("baseline") or ())]
    opens: dict[str, Callable[[], None]] = {
        "runs": lambda: app.open_runs(str(place.get("filter") or "")),
        "run": lambda: app.open_run(run_ids[0], tuple(run_ids[1:])),
        "charts": lambda: app.open_charts(run_ids[0]),
        "inspector": lambda: app.open_inspector(
            run_ids[0], user, second_run=second, position=_number(place, "position")
        ),
        "launch": lambda: app.open_launch(run_ids[0] if run_ids else None),
        "compare": lambda: app.open_compare(run_ids, split=str(split)),
        "slices": lambda: app.open_slices(
            [run_id for run_id in run_ids if run_id not in baseline], baseline, split=str(split)
        ),
        "data": lambda: app.open_data(str(place.get("dataset"))),
        "sql": lambda: app.open_sql(str(place.get("query") or "")),
        "everyone": lambda: app.open_everyone(run_ids[0], finding["user_id"]),
        "item": lambda: app.open_item(run_ids[0], finding["item_id"]),
        "study": lambda: app.open_study(str(place.get("study"))),
    }
    opens.get(name, lambda: app.action_go(name))()


_OF_RUNS = ("run", "charts", "inspector", "compare", "slices", "everyone", "item")


def _number(place: dict[str, Any], name: str) -> int | None:
    value = place.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
