"""Alerts: which events of a run notify the user, and how, by `alerts.toml` in the home.

The run itself detects collapse and stall, and reports its end; a run that died is reported by the process that finds
it. An alert never blocks a run or makes it fail. A webhook's address may hold a secret: the file names its variable.
"""

from __future__ import annotations

import os
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from engine.errors import ConfigError
from engine.events import Event, WeightsSeen
from engine.extension_points import SYNTHESIZERS
from engine.sections import Section
from engine.semantics.llm.endpoints import read_dotenv
from sracl_tui.redaction import redact
from sracl_tui.runs.alerts import terminal_bell
from store.home import Home
from store.journal.journal import segments
from store.locks import host
from store.regular_file import read_regular
from store.run_states import FAILED

if TYPE_CHECKING:
    from sracl_tui.runs.alerts.webhook import Post

FILE = "alerts.toml"
Kind = Literal["nan", "collapse", "stall", "budget", "failed", "finished"]
KINDS: tuple[Kind, ...] = ("nan", "collapse", "stall", "budget", "failed", "finished")
VARIABLE = "SRACL_WEBHOOK_URL"
ONE, EQUAL = 0.05, 0.999
"""Entropy over log k: below ONE nearly all weight is on one neighbor, above EQUAL the weights are uniform."""
NO_NUMBER = "no longer a number"
"""Part of the reason of a run whose loss became NaN."""


class Webhook(Section):
    """`[webhook]`: where alerts are posted."""

    url_env: str = Field(default=VARIABLE, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Variable that holds the address, in the environment or in `.env` of the home."""
    attempts: int = Field(default=5, ge=1, le=20)
    """Attempts at most."""
    timeout: float = Field(default=10.0, gt=0, le=120)
    """Timeout of one attempt, in seconds."""
    backoff: float = Field(default=1.0, ge=0, le=60)
    """Seconds before the second attempt; each further one waits twice as long."""


class Settings(Section):
    """The settings of `alerts.toml`."""

    on: tuple[Kind, ...] = KINDS
    """Kinds of alerts that are sent."""
    stall_minutes: float = Field(default=15.0, gt=0)
    """Minutes without an event after which a running process counts as stalled."""
    app: bool = True
    """Whether the app shows a notification."""
    bell: Literal["off", "terminal", "desktop", "both"] = "off"
    """Terminal bell, desktop notification through the terminal (OSC 9 or 777), or both."""
    webhook: Webhook | None = None
    """None: no webhook."""


@dataclass(frozen=True)
class Alert:
    """One notification about a run."""

    kind: str
    """One of KINDS."""
    run_id: str
    name: str
    text: str
    """A sentence."""
    fields: dict[str, Any]
    """Fields for programs: state, reason, dataset, seed, group."""

    @property
    def title(self) -> str:
        """`NAME: KIND`."""
        return f"{self.name}: {self.kind}"

    def body(self, home: Home) -> dict[str, Any]:
        """The JSON document that is posted, without secrets. Chat services show `text` (Slack, Mattermost) or `content` (Discord)."""
        sentence = redact(f"sracl {self.title}: {self.text}", home.path)
        fields = {
            name: redact(value, home.path) if isinstance(value, str) else value for name, value in self.fields.items()
        }
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        known = {"event": self.kind, "run_id": self.run_id, "name": self.name, "host": host(), "at": at}
        return {"text": sentence, "content": sentence, **known, **fields}


def read(home: Home) -> Settings:
    """The settings of a home; the defaults where there is no file.

    Raises:
        ConfigError: with every problem of the file at once.
    """
    path = home.path / FILE
    try:
        return Settings.model_validate(tomllib.loads(read_regular(path).decode()))
    except FileNotFoundError:
        return Settings()
    except ValidationError as error:
        problems = "\n".join(map(_explain, error.errors()))
        raise ConfigError(problems, where=str(path), hint="`sracl alerts --help` shows an example.") from None
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"not readable as TOML: {error}", where=str(path)) from None


def _explain(error: Any) -> str:
    """One problem of the file, without its value, which may be a secret address."""
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
        ConfigError: it is not set, or is no http(s) address; the message does not contain it.
    """
    url = (os.environ.get(webhook.url_env) or read_dotenv(home.path).get(webhook.url_env) or "").strip()
    hint = f"Set {webhook.url_env} in the environment or in .env of the home."
    if not url:
        raise ConfigError(f"{webhook.url_env} is not set", where="webhook.url_env", hint=hint)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in url):
        raise ConfigError(f"{webhook.url_env} holds no http(s) address", where="webhook.url_env", hint=hint)
    return url


def post_of(home: Home, settings: Settings, alert: Alert) -> Post | None:
    """The post of an alert; none without a webhook.

    Raises:
        ConfigError: the address is not set.
    """
    hook = settings.webhook
    if hook is None:
        return None
    from sracl_tui.runs.alerts.webhook import Post

    return Post(address(home, hook), alert.body(home), hook.attempts, hook.timeout, hook.backoff)


def end_of_run(state: str, reason: str | None) -> Kind | None:
    """The kind of alert for the end of a run; none for a run that the user stopped."""
    if state == "finished":
        return "finished"
    if state == "stopped":
        return "budget" if reason == "budget" else None
    if state in FAILED:
        return "nan" if NO_NUMBER in (reason or "") else "failed"
    return None


def ending(run_id: str, name: str, state: str, reason: str | None, **fields: Any) -> Alert | None:
    """The alert of a run's end; none where a user stopped it."""
    kind = end_of_run(state, reason)
    if kind is None:
        return None
    text = {"finished": "finished", "budget": "stopped: the money cap is reached"}.get(kind) or f"{state}: {reason}"
    return Alert(kind, run_id, name, text, {"state": state, "reason": reason, **fields})


def notify(home: Home, alert: Alert, settings: Settings) -> None:
    """Ring the bell and post to the webhook, where `settings.on` has the kind. Errors go to the app's log."""
    if alert.kind not in settings.on:
        return
    with suppress(OSError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write(terminal_bell.sequence(settings.bell, alert.title, alert.text))
            sys.stderr.flush()
    _post(home, alert, settings)


def _post(home: Home, alert: Alert, settings: Settings) -> None:
    from sracl_tui.logs import log

    try:
        what = post_of(home, settings, alert)
    except ConfigError as error:
        log(home, "webhook not sent", event=alert.kind, run=alert.run_id, reason=error.message)
        return
    if what is not None:
        from sracl_tui.runs.alerts import webhook

        webhook.send(what, home.path)


def notify_death(home: Home, alert: Alert, settings: Settings) -> None:
    """Post for a run whose process died; only the first process that finds it dead does so."""
    if alert.kind not in settings.on:
        return
    folder = home.run_folder(alert.run_id)
    found = segments(folder)
    with suppress(OSError):
        (folder / f".told-{found[-1].stem if found else 'never-began'}").touch(exist_ok=False)
        _post(home, alert, settings)


class AlertMonitor:
    """Watches the events of a running run for collapse and stall."""

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
        run: run_id, name, dataset, seed and group, for the notification.
        write: appends an event to the run's journal.
        """
        self._home, self._run, self._write, self._clock = home, run, write, clock
        self._synthesizer = synthesizer
        self._sent: set[str] = set()
        self._moved = clock()
        self._last: WeightsSeen | None = None
        self.trouble = ""
        """Why `alerts.toml` could not be read; the defaults are used then."""
        try:
            self.settings = read(home)
        except ConfigError as error:
            self.settings, self.trouble = Settings(), str(error)

    def seen(self, event: Event) -> None:
        """Take in an event of the run: it is alive, and its weights may have collapsed."""
        self._moved = self._clock()
        self._sent.discard("stall")
        if isinstance(event, WeightsSeen) and SYNTHESIZERS.load(self._synthesizer).learned:  # others cannot collapse
            self._last = event
            if event.high < ONE:
                self._once(
                    "collapse",
                    f"epoch {event.epoch}: the synthesizer puts nearly all weight on one neighbor of every user",
                )

    def poll(self) -> None:
        """Alert once where no event came for `stall_minutes`; called with every heartbeat."""
        silent = self._clock() - self._moved
        if silent > 60 * self.settings.stall_minutes:
            self._once("stall", f"its process is running, but reported nothing for {silent / 60:.0f} minutes")

    def ends(self, state: str) -> None:
        """The run is about to end, and its journal is still open: alert where its weights stayed uniform."""
        last = self._last
        if state == "finished" and last is not None and last.low > EQUAL:
            self._once("collapse", "after training the synthesizer still gives every user's neighbors equal weights")

    def ended(self, state: str, reason: str | None) -> None:
        """The run has ended: send the alert of its end."""
        alert = ending(self._run["run_id"], self._run["name"], state, reason, **self._more())
        if alert is not None:
            notify(self._home, alert, self.settings)

    def _once(self, kind: Kind, text: str) -> None:
        if kind in self._sent:
            return
        self._sent.add(kind)
        with suppress(OSError):
            self._write("alerted", kind=kind, text=text)
        notify(self._home, Alert(kind, self._run["run_id"], self._run["name"], text, self._more()), self.settings)

    def _more(self) -> dict[str, Any]:
        return {name: value for name, value in self._run.items() if name not in ("run_id", "name")}
