"""What the app remembers between two starts, in `ui.json` of the home. A damaged file is as good as none."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

from store.atomic_write import atomic_write
from store.home import Home

FILE = "ui.json"


@dataclass
class Preferences:
    """Theme, filters, sort orders, and what was viewed last."""

    theme: str = "sracl-dark"
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
    run_tab: str = "curves"
    run: str = ""
    """The run that was viewed last."""
    query: str = ""
    """What stood in the SQL editor."""

    data_sort: str = "name"
    data_descending: bool = False
    import_folder: str = ""
    """Where the file picker stood."""

    @classmethod
    def read(cls, home: Home) -> Preferences:
        """Preferences of the last start; a missing or damaged file gives the defaults."""
        found = cls()
        with suppress(OSError, ValueError, TypeError, AttributeError):
            values = json.loads((home.path / FILE).read_text("utf-8"))
            for name in fields(cls):
                if type(values.get(name.name)) is type(getattr(found, name.name)):
                    setattr(found, name.name, values[name.name])
        if found.theme not in ("sracl-dark", "sracl-light"):
            found.theme = "sracl-dark"
        return found

    def write(self, home: Home) -> None:
        """Write the file; a home that cannot be written is ignored."""
        with suppress(OSError), atomic_write(home.path / FILE) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1), "utf-8")
