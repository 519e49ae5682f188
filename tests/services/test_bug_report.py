"""A report has what is needed and nothing private."""

from __future__ import annotations

from pathlib import Path

from sracl_tui.services.bug_report import text_of
from store.home import Home
from store.journal.journal import Journal


def test_a_report_names_what_went_wrong_and_nobody(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "abcdef123456")
    monkeypatch.setattr("platform.node", lambda: "annas-laptop")
    monkeypatch.setattr("getpass.getuser", lambda: "anna")
    home = Home(tmp_path / "home")
    journal = Journal(home.runs / "one")
    journal.append(
        "warned", {"message": "401 for abcdef123456 and sk-0123456789abcdefghij, Bearer xyz, me@example.org"}
    )
    journal.append("run_ended", {"state": "failed", "reason": "no answer"})
    journal.close()
    row = {"run_id": "one", "state": "failed", "reason": f"see {home.path}/x of anna on annas-laptop"}
    told = text_of(home, {"home": str(home.path), "torch": "2"}, [{"name": "store", "ok": True}], [row])
    assert "no answer" in told
    assert '"torch": "2"' in told
    for private in ("abcdef123456", "sk-0123", "Bearer xyz", "example.org", str(home.path), "anna"):
        assert private not in told, private
