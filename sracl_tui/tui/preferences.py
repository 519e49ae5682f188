"""What the app remembers between two starts, in `ui.json` of the home. A damaged file is as good as none."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sracl_tui.tui.themes import PALETTES
from store.atomic_write import atomic_write
from store.home import Home
from store.regular_file import read_regular

FILE = "ui.json"


@dataclass
class Preferences:
    """Theme, filters, sort orders, and what was viewed last."""

    theme: str = "sracl-dark"
    palette: str = "standard"
    """One of `themes.PALETTES`."""
    notices: str = "all"
    """Notifications of runs: `all`, `trouble`, or `none`."""
    notice_seconds: int = 12
    """How long they are shown."""
    filter: str = ""
    sort: str = "created"
    descending: bool = True
    folded: bool = False
    baseline: str = ""
    order: str = "number"
    """Order in which the Inspector walks through the users."""
    smoothing: int = 0
    logarithmic: bool = False
    metric: str = ""
    loss: str = ""
    plots: str = "both"
    compare_metric: str = "mrr@10"
    compare_order: str = "change"
    launch_drafts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Preset, changes and labels of the launch form that was left, by the run that it clones; empty for a new run."""
    run_tab: str = "curves"
    run: str = ""
    """The run that was viewed last."""
    query: str = ""
    """The query that the SQL screen has in front."""
    queries: list[dict[str, str]] = field(default_factory=list)
    """Text and name of each tab of the SQL screen."""
    query_tab: int = 0
    """Which of them is in front."""
    catalog: bool = True
    """Whether the SQL screen has its tables beside the query, where there is room."""

    data_sort: str = "name"
    data_descending: bool = False
    import_folder: str = ""
    """Where the file picker stood."""
    columns: list[str] = field(default_factory=list)
    """Keys of the columns of the list of runs, in their order; empty for those by default."""
    panes: list[str] = field(default_factory=list)
    """Panes of the list of runs, from the left; empty for those by default."""
    pane_widths: dict[str, int] = field(default_factory=dict)
    """Columns of a pane by its name, in proportion to the others."""

    @classmethod
    def read(cls, home: Home) -> Preferences:
        """Preferences of the last start; a missing or damaged file gives the defaults."""
        found = cls()
        with suppress(OSError, ValueError, TypeError, AttributeError):
            values = json.loads(read_regular(home.path / FILE))
            for name in fields(cls):
                if _fits(name.name, value := values.get(name.name), getattr(found, name.name)):
                    setattr(found, name.name, value)
        if found.theme not in ("sracl-dark", "sracl-light"):
            found.theme = "sracl-dark"
        if found.palette not in PALETTES:
            found.palette = PALETTES[0]
        found.notice_seconds = min(max(1, found.notice_seconds), 3600)
        return found

    def write(self, home: Home) -> None:
        """Write the file; a home that cannot be written is ignored."""
        with suppress(OSError), atomic_write(home.path / FILE) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, default=str), "utf-8")


def _fits(name: str, value: Any, default: Any) -> bool:
    """Whether a value of the file is of the kind that the preference has."""
    if type(value) is not type(default):
        return False
    if name in ("columns", "panes"):
        return all(isinstance(one, str) for one in value)
    return name != "pane_widths" or all(type(one) is int and 0 < one < 10_000 for one in value.values())
