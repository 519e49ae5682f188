"""What the app remembers between two starts, in `ui.json` of the home. A damaged file is as good as none."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

from store.home import Home

FILE = "ui.json"


@dataclass
class Preferences:
    """Theme, filter, sort and folding of the list of runs."""

    theme: str = "sracl-dark"
    filter: str = ""
    sort: str = "created"
    descending: bool = True
    folded: bool = False
    baseline: str = ""
    order: str = "number"
    """Order in which the Inspector walks through the users."""
    query: str = ""
    """What stood in the SQL editor."""

    data_sort: str = "name"
    data_descending: bool = False
    import_folder: str = ""
    """Where the file picker stood."""

    @classmethod
    def read(cls, home: Home) -> Preferences:
        """What the last start left."""
        found = cls()
        with suppress(OSError, ValueError, TypeError, AttributeError):
            values = json.loads((home.path / FILE).read_text("utf-8"))
            for name in fields(cls):
                if isinstance(values.get(name.name), type(getattr(found, name.name))):
                    setattr(found, name.name, values[name.name])
        if found.theme not in ("sracl-dark", "sracl-light"):
            found.theme = "sracl-dark"
        return found

    def write(self, home: Home) -> None:
        """Keep it; a home that cannot be written is no trouble."""
        with suppress(OSError):
            (home.path / FILE).write_text(json.dumps(asdict(self), indent=1), "utf-8")
