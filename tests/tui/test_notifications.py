"""What runs do while the app is open: a notification, a bell, and for one that dies without a word also the webhook."""

from __future__ import annotations

import json
import platform

import pytest

from sracl_tui.runs.alerts import webhook
from sracl_tui.runs.alerts.alerts import FILE, VARIABLE
from sracl_tui.tui.app import SraclApp
from store.journal.journal import Journal, RunLock
from store.journal.processes import boot_id
from tests.support.steady_pilot import drive

SECRET = "https://chat.example/T0/s3cr3t-path"
CREATED = {
    "kind": "train", "preset": "default", "group_name": None, "config": {}, "config_hash": "0", "seed": 1, "tags": [], "note": "",
}  # fmt: skip


class Living:
    """A run whose process is this one."""

    def __init__(self, home, run_id: str, name: str) -> None:
        self.lock = RunLock(home.runs / run_id)
        self.lock.acquire()
        self.journal = Journal(home.runs / run_id)
        self.journal.append("run_created", {**CREATED, "run_id": run_id, "name": name})
        self.journal.append("run_started", {"pid": 1, "host": platform.node(), "boot_id": boot_id()})

    def end(self, state: str | None, reason: str | None = None) -> None:
        if state is not None:
            self.journal.append("run_ended", {"state": state, "reason": reason})
        self.journal.close()
        self.lock.release()


@pytest.fixture
def posted(monkeypatch, home):
    sent: list[dict] = []
    monkeypatch.setattr(webhook, "send", lambda what, place: sent.append({"url": what.url, **what.body}))
    (home.path / FILE).write_text('on = ["collapse", "failed", "finished"]\nbell = "both"\n[webhook]\n')
    (home.path / ".env").write_text(f"{VARIABLE}={SECRET}\n")
    (home.path / ".env").chmod(0o600)
    return sent


async def test_what_runs_tell_is_shown_and_rung(home, posted, monkeypatch):
    rung: list[str] = []
    monkeypatch.setattr(SraclApp, "ring", lambda self, sequence: rung.append(sequence))
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        assert not pilot.notices, "what ended before is no news"

        async def told(count: int) -> list[tuple[str, str, str]]:
            await pilot.until(lambda: len(pilot.notices) >= count)
            return [(note.title, note.message, note.severity) for note in pilot.notices]

        bad, good, silent = (
            Living(home, f"2099010{n}-000000-aaaa", name) for n, name in enumerate(("[b]bad", "good", "mute"))
        )
        bad.journal.append("alerted", {"kind": "collapse", "text": "all on one"})
        bad.journal.append("alerted", {"kind": "stall", "text": "not asked for"})
        assert await told(1) == [("[b]bad: collapse", "all on one", "warning")]
        bad.end("failed", "disk full: no space")
        assert (await told(2))[1] == ("[b]bad: failed", "failed: disk full: no space", "error")
        good.end("finished")
        assert (await told(3))[2] == ("good: finished", "finished", "information")
        assert posted == [], "these have told by themselves"
        silent.end(None)
        title, message, severity = (await told(4))[3]
        assert (title, severity) == ("mute: failed", "error")
        assert "ended without a word" in message
        assert [one["event"] for one in posted] == ["failed"]
        assert posted[0]["url"] == SECRET
        for _ in range(5):  # further looks tell nothing twice
            app.refresh_runs()
            await pilot.quiet()
        assert len(pilot.notices) == 4
        assert len(posted) == 1
    assert len(rung) == 4
    assert all(sequence.endswith("\a") and "mute" in sequence for sequence in rung[3:])


async def test_a_file_that_is_wrong_is_told_and_the_address_is_never_drawn(home, posted):
    (home.path / FILE).write_text(f'bell = "loud"\n[webhook]\nurl = "{SECRET}"\n')
    app = SraclApp(home)
    async with drive(app, size=(120, 40)) as pilot:
        await pilot.quiet()
        (note,) = pilot.notices
        assert "alerts.toml" in note.title
        assert "s3cr3t" not in note.message
        assert "s3cr3t" not in app.export_screenshot()
    assert json.dumps(posted) == "[]"
