"""The line above the keys: the store, live runs and what was spent; what hinders the reading; the command of what was just done."""

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
        self._status, self._command = StoreStatus(), ""

    def show_command(self, command: str) -> None:
        """Show the command of what was just done in place of the status; an empty one ends that."""
        if command != self._command:
            self._command = command
            self.set_class(bool(command), "command")
            self.show_status(self._status)

    async def on_click(self) -> None:
        """Copy the command, for those who use the mouse alone."""
        if self._command:
            await self.run_action("app.copy_command")

    def show_status(self, status: StoreStatus) -> None:
        """Show the status, or why the rows on the screen may be old."""
        self._status = status
        self.set_class(bool(status.trouble), "trouble")
        if self._command:
            self.update(formatting.line(f"y copies: {self._command}"))
            return
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
