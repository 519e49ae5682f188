"""The line above the keys: which store, how many runs are live, what was spent; or what hinders the reading."""

from __future__ import annotations

from dataclasses import dataclass

from textual.widgets import Static

from sracl_tui import formatting


@dataclass(frozen=True)
class StoreStatus:
    """What every screen says of the home."""

    place: str = ""
    runs: int = 0
    live: int = 0
    usd: float = 0.0
    trouble: str = ""
    """Why what is shown may be old; empty when all is well."""


class StatusLine(Static):
    """The status line."""

    def __init__(self) -> None:
        super().__init__("", id="status", markup=False)

    def tell(self, facts: StoreStatus) -> None:
        """Show facts."""
        self.set_class(bool(facts.trouble), "trouble")
        if facts.trouble:
            told = " - showing what was read before" if facts.runs else ""
            self.update(formatting.line(f"✗ {facts.trouble.splitlines()[0]}{told}"))
            return
        live = f"● {facts.live} live" if facts.live else "no live run"
        self.update(
            formatting.line(
                f"{facts.runs} run{'' if facts.runs == 1 else 's'}, {live}, {formatting.dollars(facts.usd)} spent   {facts.place}"
            )
        )
