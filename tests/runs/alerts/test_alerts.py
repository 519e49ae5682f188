"""Alerts: a real run posts to a real server that fails at first, and waits for nobody; what is watched for, and the file."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.config_files import load_config
from engine.errors import ConfigError
from engine.events import StepFinished, WeightsSeen
from sracl_tui.runs.alerts import alerts, terminal_bell, webhook
from sracl_tui.runs.execute import execute
from sracl_tui.runs.request import RunRequest
from store.home import Home
from store.journal.journal import read_events
from store.opening import open_store
from store.queries.runs import analysis_metrics
from tests.support.commands import until

TOKEN = "T0PS3CRET-b1f2"


class Hook:
    """A server on loopback that answers with these statuses, then with 200; `None` breaks the connection off."""

    def __init__(self, *answers: int | None, retry_after: str | None = None) -> None:
        self.seen: list[dict[str, Any]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        left, hook = list(answers), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                hook.go_on.wait(30)
                hook.seen.append({"path": self.path, "body": body})
                status = left.pop(0) if left else 200
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{hook.port}/elsewhere")
                if retry_after is not None and status == 429:
                    self.send_header("Retry-After", retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_: Any) -> None:
                """Nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/{TOKEN}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook():
    made: list[Hook] = []

    def make(*answers: int | None, **more: Any) -> Hook:
        made.append(Hook(*answers, **more))
        return made[-1]

    yield make
    for one in made:
        one.go_on.set()
        one.stop()


def asks_for_posts(home: Home, url: str) -> None:
    home.create()
    (home.path / alerts.FILE).write_text('on = ["finished", "nan"]\n[webhook]\nbackoff = 0.02\n')
    env = home.path / ".env"
    env.write_text(f"{alerts.VARIABLE}={url}\n")
    env.chmod(0o600)


def test_a_run_posts_once_to_a_server_that_fails_at_first_and_does_not_wait_for_it(
    hook, tmp_path: Path, monkeypatch
) -> None:
    server, home = hook(503, None, 429), Home(tmp_path / "home")
    server.go_on.clear()
    asks_for_posts(home, server.url)
    small = ("max_users=40", "encoder=tfidf", "epochs=1", "threads=1", "k=4", "item_k=4")
    config, preset = load_config(assignments=small, settings={"dataset": "demo"})
    events: list[Any] = []
    result = execute(home, RunRequest(run_id="one", config=config, preset=preset, name="night"), listener=events.append)
    assert result.state == "finished"
    assert server.seen == [], "the run has ended while the server still answers nothing"
    server.go_on.set()
    log = home.path / "logs" / "sracl.log"
    until(lambda: log.exists() and "webhook delivered" in log.read_text())
    assert [one["path"] for one in server.seen] == [f"/{TOKEN}"] * 4
    body = server.seen[-1]["body"]
    assert {one["body"]["event"] for one in server.seen} == {"finished"}
    assert (body["run_id"], body["name"], body["state"], body["dataset"]) == ("one", "night", "finished", "demo")
    assert body["text"] == body["content"] == "sracl night: finished: finished"
    assert json.loads(log.read_text().splitlines()[-1])["attempts"] == 4
    for file in home.path.rglob("*"):
        assert file.name == ".env" or not file.is_file() or TOKEN.encode() not in file.read_bytes(), file

    (seen,) = [event for event in events if isinstance(event, WeightsSeen)]
    with open_store(home) as store:  # of all 40 users, and the only epoch is the best one
        assert analysis_metrics(store, "one")["weights"]["entropy"] == pytest.approx(seen.entropy, abs=1e-9)
    assert 0 <= seen.low <= seen.entropy <= seen.high <= 1 + 1e-9


@pytest.mark.parametrize(
    ("answers", "delivered", "attempts", "reason"),
    [
        ((), True, 1, ""),
        ((500, 502), True, 3, ""),
        ((500,) * 9, False, 4, "HTTP 500"),
        ((404,), False, 1, "HTTP 404"),
        ((302,), False, 1, "HTTP 302"),
        ((None,) * 9, False, 4, "RemoteDisconnected"),
    ],
)
def test_what_may_help_is_tried_again_and_nothing_else(hook, answers, delivered, attempts, reason) -> None:
    server, waits = hook(*answers), []
    done = webhook.post(webhook.Post(server.url, {"event": "finished"}, attempts=4), sleep=waits.append)
    assert (done.delivered, done.attempts, done.reason) == (delivered, attempts, reason)
    assert len(server.seen) == attempts
    assert all(one["path"] == f"/{TOKEN}" for one in server.seen), "a redirect is not followed"
    assert all(0.8 * 2**n <= wait <= 1.2 * 2**n for n, wait in enumerate(waits))


def test_the_server_says_when_and_nobody_there_is_no_error(hook) -> None:
    server, waits = hook(429, retry_after="17"), []
    assert webhook.post(webhook.Post(server.url, {}), sleep=waits.append).delivered
    assert waits == [17.0]
    server.stop()
    gone = webhook.post(webhook.Post(server.url, {}, attempts=2), sleep=waits.append)
    assert (gone.delivered, gone.reason) == (False, "ConnectionRefusedError")
    assert webhook.post(webhook.Post("http://[", {}), sleep=waits.append).reason == "the address is none"


def test_the_file_never_holds_the_address_and_an_error_never_says_it(tmp_path: Path, monkeypatch) -> None:
    home = Home(tmp_path)
    assert alerts.read(home) == alerts.Settings()
    (tmp_path / alerts.FILE).write_text(
        f'on = ["death"]\nstall_minutes = 0\n[webhook]\nurl = "https://x.org/{TOKEN}"\n'
    )
    with pytest.raises(ConfigError) as refused:
        alerts.read(home)
    told = str(refused.value)
    assert TOKEN not in told
    assert all(word in told for word in ("on.0", "stall_minutes", "webhook.url: there is no such field", ".env"))
    hook = alerts.Webhook(url_env="HOOK")
    for value in ("", f"ftp://{TOKEN}", f"https:///{TOKEN}", f"https://x/{TOKEN} {TOKEN}"):
        monkeypatch.setenv("HOOK", value)
        with pytest.raises(ConfigError) as refused:
            alerts.address(home, hook)
        assert TOKEN not in str(refused.value)


class Told:
    """A watchman with a clock of our own; what it wrote, and what it sent."""

    def __init__(self, tmp_path: Path, monkeypatch, synthesizer: str = "gat") -> None:
        self.now, self.written, self.sent = 0.0, [], []
        monkeypatch.setattr(alerts, "notify", lambda home, alert, settings: self.sent.append(alert))
        run = {"run_id": "r", "name": "night", "dataset": "demo"}
        self.man = alerts.AlertMonitor(
            Home(tmp_path),
            run,
            lambda event, **f: self.written.append(f),
            synthesizer=synthesizer,
            clock=lambda: self.now,
        )

    @property
    def kinds(self) -> list[str]:
        return [alert.kind for alert in self.sent]


def weights(low: float, high: float, epoch: int = 1) -> WeightsSeen:
    return WeightsSeen(epoch=epoch, step=epoch, entropy=(low + high) / 2, low=low, high=high)


def test_a_run_that_lives_and_does_nothing_is_told_of_once(tmp_path, monkeypatch) -> None:
    told, step = Told(tmp_path, monkeypatch), StepFinished(epoch=1, step=1, steps_per_epoch=2, done=1, loss=0.1)
    for minute in (1, 14, 16, 17, 200):
        told.now = 60.0 * minute
        told.man.poll()
    assert told.kinds == ["stall"]
    assert told.written == [{"kind": "stall", "text": "its process is running, but reported nothing for 16 minutes"}]
    told.man.seen(step)
    told.man.poll()
    told.now += 16 * 60
    told.man.poll()
    assert told.kinds == ["stall", "stall"], "after a sign of life it may stall again"


def test_weights_that_collapse(tmp_path, monkeypatch) -> None:
    told = Told(tmp_path, monkeypatch)
    told.man.seen(weights(0.2, 0.9))
    assert told.kinds == []
    told.man.seen(weights(0.0, 0.04, epoch=2))
    told.man.seen(weights(0.0, 0.03, epoch=3))
    assert told.kinds == ["collapse"]
    assert "epoch 2" in told.sent[0].text

    equal = Told(tmp_path, monkeypatch)
    equal.man.seen(weights(0.9995, 1.0))  # as every GAT begins
    assert equal.kinds == []
    equal.man.ends("finished")
    equal.man.ended("finished", None)
    assert equal.kinds == ["collapse", "finished"]

    fixed = Told(tmp_path, monkeypatch, synthesizer="uniform")
    fixed.man.seen(weights(1.0, 1.0))
    fixed.man.ends("stopped")
    fixed.man.ended("stopped", "asked to stop (SIGTERM)")
    assert fixed.kinds == [], "weights that are never learned do not collapse, and whoever stops a run knows it"


def test_every_way_to_end_has_its_kind() -> None:
    ends = {
        ("finished", None): "finished",
        ("stopped", "budget"): "budget",
        ("stopped", "asked to stop (SIGINT)"): None,
        ("failed", "the loss is no longer a number at epoch 1, step 20: L_rec"): "nan",
        ("failed", "disk full: no space"): "failed",
        ("killed", "killed by signal 9 (SIGKILL)"): "failed",
        ("lost", "the machine was restarted"): "failed",
    }
    assert {end: alerts.end_of_run(*end) for end in ends} == ends


def test_of_all_that_find_a_run_dead_one_posts(tmp_path, monkeypatch, new_dead) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(webhook, "send", lambda what, home: sent.append(what.body["event"]))
    asks_for_posts(new_dead, "http://127.0.0.1:9/x")
    settings = alerts.Settings(webhook=alerts.Webhook())
    alert = alerts.ending("dead", "dead", "killed", "its process ended without a word")
    assert alert is not None
    for _ in range(3):
        alerts.notify_death(new_dead, alert, settings)
    assert sent == ["failed"]


@pytest.fixture
def new_dead(tmp_path: Path) -> Home:
    from store.journal.journal import Journal

    home = Home(tmp_path / "dead")
    home.create()
    Journal(home.runs / "dead").close()
    assert list(read_events(home.runs / "dead")) == []
    return home


def test_a_bell_takes_no_orders_from_a_name() -> None:
    bad = "x\x1b]0;owned\x07;y\n"
    plain = {"TERM": "foot"}
    assert terminal_bell.sequence("off", bad, bad, plain) == ""
    assert terminal_bell.sequence("terminal", bad, bad, plain) == "\a"
    assert terminal_bell.sequence("desktop", bad, "t", plain) == "\x1b]777;notify;x ]0,owned ,y ;t\a"
    assert terminal_bell.sequence("both", "n", bad, {"TERM": "xterm-kitty"}) == "\x1b]9;n: x ]0;owned ;y \a\a"
    passed = terminal_bell.sequence("desktop", "n", "t", {"TERM_PROGRAM": "WezTerm", "TMUX": "1"})
    assert passed == "\x1bPtmux;\x1b\x1b]9;n: t\a\x1b\\"
