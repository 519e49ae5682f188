"""What a person wants to be told of, and how: `alerts.toml` in the home, apart from the settings of any run.

The run itself sees collapse and stall, and how it ended; whoever finds it dead tells that. An alert never blocks a run
nor lets it fail. The address of a webhook may hold a secret: the file names the variable that it is in.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from engine.config import Section
from engine.errors import ConfigError
from engine.events import Event, WeightsSeen
from engine.semantics.llm.endpoints import read_dotenv
from sracl_tui.redaction import hidden
from sracl_tui.runs.alerts import terminal_bell
from sracl_tui.runs.alerts import webhook as webhook_module
from store.home import Home
from store.journal.journal import segments
from store.run_states import FAILED

FILE = "alerts.toml"
Kind = Literal["nan", "collapse", "stall", "budget", "failed", "finished"]
KINDS: tuple[Kind, ...] = ("nan", "collapse", "stall", "budget", "failed", "finished")
VARIABLE = "SRACL_WEBHOOK_URL"
ONE, EQUAL = 0.05, 0.999
"""Entropy over log k: below ONE nearly all weight is on one neighbor, above EQUAL the neighbors weigh the same."""
LEARNED = frozenset({"gat", "gatv2", "dot", "mlp"})
"""Synthesizers that learn their weights; of the others these are fixed."""
NO_NUMBER = "no longer a number"
"""Stands in the reason of a run whose loss is none."""


class Webhook(Section):
    """Where alerts are posted to."""

    url_env: str = Field(default=VARIABLE, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Variable with the address, in the environment or in `.env` of the home."""
    attempts: int = Field(default=5, ge=1, le=20)
    """How often it is tried."""
    timeout: float = Field(default=10.0, gt=0, le=120)
    """Seconds for one attempt."""
    backoff: float = Field(default=1.0, ge=0, le=60)
    """Seconds before the second attempt; each further one waits twice as long."""


class Settings(Section):
    """The file."""

    on: tuple[Kind, ...] = KINDS
    """What is told."""
    stall_minutes: float = Field(default=15.0, gt=0)
    """A run that lives and says nothing for so long is told of."""
    app: bool = True
    """A notification in the app."""
    bell: Literal["off", "terminal", "desktop", "both"] = "off"
    """The terminal's bell, a notification on the desktop by way of the terminal, or both."""
    webhook: Webhook | None = None
    """None posts nothing."""


@dataclass(frozen=True)
class Alert:
    """One thing to tell."""

    kind: str
    """One of KINDS."""
    run_id: str
    name: str
    text: str
    """A sentence."""
    fields: dict[str, Any]
    """More for programs: state, reason, dataset, seed, group."""

    @property
    def title(self) -> str:
        """Run and kind, for a heading."""
        return f"{self.name}: {self.kind}"

    def body(self, home: Home) -> dict[str, Any]:
        """What is posted. Chat services show `text` (Slack, Mattermost) or `content` (Discord)."""
        told = hidden(f"sracl {self.title}: {self.text}", home.path)
        fields = {
            name: hidden(value, home.path) if isinstance(value, str) else value for name, value in self.fields.items()
        }
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        known = {"event": self.kind, "run_id": self.run_id, "name": self.name, "host": platform.node(), "at": at}
        return {"text": told, "content": told, **known, **fields}


def read(home: Home) -> Settings:
    """The settings of a home; the defaults where there is no file.

    Raises:
        ConfigError: with every problem of the file at once.
    """
    path = home.path / FILE
    try:
        return Settings.model_validate(tomllib.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return Settings()
    except (tomllib.TOMLDecodeError, UnicodeError, OSError) as error:
        raise ConfigError(f"not readable as TOML: {error}", where=str(path)) from None
    except ValidationError as error:
        problems = "\n".join(map(_explain, error.errors()))
        raise ConfigError(problems, where=str(path), hint="`sracl alerts --help` shows an example.") from None


def _explain(error: Any) -> str:
    """One problem, without the value: it may be an address."""
    path = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{path}: {error['msg'][0].lower()}{error['msg'][1:]}"
    secret = "url" in str(error["loc"][-1])
    return f"{path}: there is no such field" + (
        f"; an address may hold a secret: write {VARIABLE}=... into .env of the home" if secret else ""
    )


def address(home: Home, webhook: Webhook) -> str:
    """The address of the webhook.

    Raises:
        ConfigError: there is none, or it is no address; never says it.
    """
    url = (os.environ.get(webhook.url_env) or read_dotenv(home.path).get(webhook.url_env) or "").strip()
    hint = f"Set {webhook.url_env} in the environment or in .env of the home."
    if not url:
        raise ConfigError(f"{webhook.url_env} is not set", where="webhook.url_env", hint=hint)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in url):
        raise ConfigError(f"{webhook.url_env} holds no http(s) address", where="webhook.url_env", hint=hint)
    return url


def post_of(home: Home, settings: Settings, alert: Alert) -> webhook_module.Post | None:
    """What is to be posted; none without a webhook.

    Raises:
        ConfigError: its address is not known.
    """
    hook = settings.webhook
    if hook is None:
        return None
    return webhook_module.Post(address(home, hook), alert.body(home), hook.attempts, hook.timeout, hook.backoff)


def end_of_run(state: str, reason: str | None) -> Kind | None:
    """What the end of a run is; none for one that a person stopped."""
    if state == "finished":
        return "finished"
    if state == "stopped":
        return "budget" if reason == "budget" else None
    if state in FAILED:
        return "nan" if NO_NUMBER in (reason or "") else "failed"
    return None


def ending(run_id: str, name: str, state: str, reason: str | None, **fields: Any) -> Alert | None:
    """The alert of a run's end; none where there is nothing to tell."""
    kind = end_of_run(state, reason)
    if kind is None:
        return None
    text = {"finished": "finished", "budget": "stopped: the money cap is reached"}.get(kind) or f"{state}: {reason}"
    return Alert(kind, run_id, name, text, {"state": state, "reason": reason, **fields})


def tell(home: Home, alert: Alert, settings: Settings) -> None:
    """Ring and post, where this kind of alert is wanted. Whatever goes wrong stands in the app's log."""
    if alert.kind not in settings.on:
        return
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write(terminal_bell.sequence(settings.bell, alert.title, alert.text))
            sys.stderr.flush()
    _post(home, alert, settings)


def _post(home: Home, alert: Alert, settings: Settings) -> None:
    from sracl_tui.logs import say

    try:
        what = post_of(home, settings, alert)
    except ConfigError as error:
        say(home, "webhook not sent", event=alert.kind, run=alert.run_id, reason=error.message)
        return
    if what is not None:
        webhook_module.send(what, home.path)


def tell_of_death(home: Home, alert: Alert, settings: Settings) -> None:
    """Post for a run that could not do so itself: of all that find it dead, the first one does."""
    if alert.kind not in settings.on:
        return
    folder = home.run_folder(alert.run_id)
    found = segments(folder)
    with suppress(OSError):
        (folder / f".told-{found[-1].stem if found else 'never-began'}").touch(exist_ok=False)
        _post(home, alert, settings)


class AlertMonitor:
    """Sees what a run does while it does it."""

    def __init__(
        self,
        home: Home,
        run: dict[str, Any],
        write: Callable[..., None],
        *,
        synthesizer: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        run: run_id, name, dataset, seed and group, for whoever is told.
        write: appends an event to the run's journal.
        """
        self._home, self._run, self._write, self._clock = home, run, write, clock
        self._learned = synthesizer in LEARNED
        self._told: set[str] = set()
        self._moved = clock()
        self._last: WeightsSeen | None = None
        self.trouble = ""
        """What is wrong with the file; the defaults hold then."""
        try:
            self.settings = read(home)
        except ConfigError as error:
            self.settings, self.trouble = Settings(), str(error)

    def seen(self, event: Event) -> None:
        """The run has done something."""
        self._moved = self._clock()
        self._told.discard("stall")
        if isinstance(event, WeightsSeen) and self._learned:
            self._last = event
            if event.high < ONE:
                self._once(
                    "collapse",
                    f"epoch {event.epoch}: the synthesizer puts nearly all weight on one neighbor of every user",
                )

    def look(self) -> None:
        """From time to time: does it still do something?"""
        silent = self._clock() - self._moved
        if silent > 60 * self.settings.stall_minutes:
            self._once("stall", f"it lives, but has done nothing for {silent / 60:.0f} minutes")

    def ends(self, state: str) -> None:
        """It is about to end; its journal is still open."""
        last = self._last
        if state == "finished" and last is not None and last.low > EQUAL:
            self._once("collapse", "after training the synthesizer still weighs the neighbors of every user the same")

    def ended(self, state: str, reason: str | None) -> None:
        """It has ended."""
        alert = ending(self._run["run_id"], self._run["name"], state, reason, **self._more())
        if alert is not None:
            tell(self._home, alert, self.settings)

    def _once(self, kind: Kind, text: str) -> None:
        if kind in self._told:
            return
        self._told.add(kind)
        with suppress(OSError):
            self._write("alerted", kind=kind, text=text)
        tell(self._home, Alert(kind, self._run["run_id"], self._run["name"], text, self._more()), self.settings)

    def _more(self) -> dict[str, Any]:
        return {name: value for name, value in self._run.items() if name not in ("run_id", "name")}
