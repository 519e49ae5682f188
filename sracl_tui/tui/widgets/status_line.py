"""The line above the keys: which store, how many runs are live, what was spent; or what hinders the reading."""

from __future__ import annotations

from dataclasses import dataclass

from textual.widgets import Static

from sracl_tui import formatting


@dataclass(frozen=True)
class StoreStatus:
    """Path of the store, counts of runs, dollars spent, and why the store cannot be read."""

    place: str = ""
    runs: int = 0
    live: int = 0
    usd: float = 0.0
    trouble: str = ""
    """Why what is shown may be old; empty when all is well."""


class StatusLine(Static):
    """One line with the status of the store."""

    def __init__(self) -> None:
        super().__init__("", id="status", markup=False)

    def show_status(self, status: StoreStatus) -> None:
        """Show the status, or why the rows on the screen may be old."""
        self.set_class(bool(status.trouble), "trouble")
        if status.trouble:
            text = " - showing what was read before" if status.runs else ""
            self.update(formatting.line(f"✗ {status.trouble.splitlines()[0]}{text}"))
            return
        live = f"● {status.live} live" if status.live else "no live run"
        self.update(
            formatting.line(
                f"{status.runs} run{'' if status.runs == 1 else 's'}, {live}, {formatting.dollars(status.usd)} spent   {status.place}"
            )
        )
