"""`sracl alerts`: the settings of notifications, and a test of them."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from engine.errors import ConfigError
from sracl_tui.cli import options_and_output
from sracl_tui.cli.options_and_output import Commands, DebugOption, HomeOption, JsonOption
from store.home import Home

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Notifications when a run ends, fails or stalls, or its synthesizer collapses.

\b
alerts.toml in the home, all of it optional:
  on = ["nan", "collapse", "stall", "budget", "failed", "finished"]
  stall_minutes = 15
  app = true              a notification in the app
  bell = "desktop"        off, terminal, desktop (OSC 9 or 777), both
  \\[webhook]               one POST of JSON, retried where it fails
  url_env = "SRACL_WEBHOOK_URL"
The address itself may hold a secret: write SRACL_WEBHOOK_URL=https://... into .env of the home (chmod 600).
""",
)


@app.command()
def show(home: HomeOption = None, json_: JsonOption = False, debug: DebugOption = False) -> None:
    """Print which alerts are sent, and how. The address of the webhook is never shown.

    \b
    Examples:
      sracl alerts show
      sracl alerts show --json
    """
    from sracl_tui.runs.alerts import alerts

    resolved = options_and_output.home_of(home)
    settings = alerts.read(resolved)
    document: dict[str, Any] = settings.model_dump(mode="json")
    document |= {"file": str(resolved.path / alerts.FILE), "there": (resolved.path / alerts.FILE).exists()}
    document["webhook_ready"] = settings.webhook is not None and not _missing(resolved, settings)
    if json_:
        options_and_output.print_json(document)
        return
    webhook = "none"
    if settings.webhook is not None:
        webhook = f"{settings.webhook.url_env}, {_missing(resolved, settings) or 'set'}"
    pairs = {
        "file": document["file"] if document["there"] else f"{document['file']} (not there: defaults)",
        "alerts": ", ".join(settings.on) or "nothing",
        "stall": f"after {settings.stall_minutes:g} minutes without an event",
        "app": "notification" if settings.app else "off",
        "bell": settings.bell,
        "webhook": webhook,
    }
    options_and_output.print_pairs(options_and_output.out(), pairs)


def _missing(home: Home, settings: Any) -> str:
    """Why the webhook cannot be used; empty where it can."""
    from sracl_tui.runs.alerts import alerts

    try:
        alerts.address(home, settings.webhook)
    except ConfigError as error:
        return error.message
    return ""


@app.command("test")
def try_out(
    kind: Annotated[str, typer.Option(help="Kind of the alert.")] = "finished",
    home: HomeOption = None,
    json_: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Ring the bell and post to the webhook now, and print the outcome. Exit code 1: it could not be delivered.

    \b
    Examples:
      sracl alerts test
      sracl alerts test --kind collapse
    """
    from sracl_tui.runs.alerts import alerts, terminal_bell
    from sracl_tui.runs.alerts import webhook as webhook_module

    resolved = options_and_output.home_of(home)
    settings = alerts.read(resolved)
    if kind not in alerts.KINDS:
        raise ConfigError(f"there is no kind {kind!r}", where="--kind", hint=f"Kinds: {', '.join(alerts.KINDS)}.")
    alert = alerts.Alert(kind, "test", "test", "this is a test of alerts", {"state": "finished", "reason": None})
    if sys.stderr.isatty():
        sys.stderr.write(terminal_bell.sequence(settings.bell, alert.title, alert.text))
        sys.stderr.flush()
    document: dict[str, Any] = {"kind": kind, "told": kind in settings.on, "bell": settings.bell, "webhook": None}
    what = alerts.post_of(resolved, settings, alert)
    if what is not None:
        done = webhook_module.post(what)
        document["webhook"] = {"delivered": done.delivered, "attempts": done.attempts, "reason": done.reason or None}
    if json_:
        options_and_output.print_json(document)
    else:
        _print(document)
    raise typer.Exit(0 if document["webhook"] is None or document["webhook"]["delivered"] else 1)


def _print(document: dict[str, Any]) -> None:
    console = options_and_output.out()
    if not document["told"]:
        console.print(f"{document['kind']} alerts are off (on = [...])", markup=False, highlight=False)
    console.print(f"bell: {document['bell']}", markup=False, highlight=False)
    hook = document["webhook"]
    if hook is None:
        console.print("webhook: none (sracl alerts --help)", markup=False, highlight=False)
        return
    how = "delivered" if hook["delivered"] else f"not delivered: {hook['reason']}"
    attempts = f"{hook['attempts']} attempt{'s' if hook['attempts'] != 1 else ''}"
    console.print(f"webhook: {how}, {attempts}", markup=False, highlight=False)
