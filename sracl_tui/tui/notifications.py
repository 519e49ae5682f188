"""Alerts of runs as notifications in the app, the terminal's bell, and desktop notifications."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from textual.notifications import SeverityLevel

from engine.errors import ConfigError
from sracl_tui import formatting
from sracl_tui.redaction import permission_problem
from sracl_tui.runs.alerts import alerts, terminal_bell
from sracl_tui.tui.navigation import Navigation

SEVERITY: dict[str, SeverityLevel] = {"finished": "information", "failed": "error", "nan": "error"}
AT_ONCE = 3
"""Notifications that are shown one by one; of more, only their number is."""


def check_settings(app: Navigation) -> None:
    """Notify about errors in alerts.toml and about keys that others can read."""
    try:
        alerts.read(app.home)
    except ConfigError as error:
        app.notify(
            formatting.text(str(error)), title="Not used of alerts.toml", severity="warning", timeout=15, markup=False
        )
    if trouble := permission_problem(app.home.path):
        app.notify(formatting.text(trouble), title="Keys", severity="warning", timeout=15, markup=False)


def show_alerts(app: Navigation, text: Sequence[alerts.Alert]) -> None:
    """Show alerts of the kinds that alerts.toml asks for, and ring the bell."""
    settings = alerts.Settings()
    with suppress(ConfigError):
        settings = alerts.read(app.home)
    wanted = [alert for alert in text if alert.kind in settings.on]
    shown = [alert for alert in wanted if _is_shown(alert, app.preferences.notices)] if settings.app else []
    seconds = float(app.preferences.notice_seconds)
    if not wanted:
        return
    for alert in shown[:AT_ONCE]:
        app.notify(
            formatting.text(alert.text),
            title=formatting.line(alert.title),
            severity=SEVERITY.get(alert.kind, "warning"),
            timeout=seconds,
            markup=False,
        )
    if len(shown) > AT_ONCE:
        app.notify(f"and {len(shown) - AT_ONCE} more, in the list of runs", timeout=seconds, markup=False)
    app.ring(terminal_bell.sequence(settings.bell, wanted[-1].title, wanted[-1].text))


def _is_shown(alert: alerts.Alert, notices: str) -> bool:
    return notices == "all" or (notices == "trouble" and alert.kind != "finished")
