"""`sracl db follow` takes in what runs that do not publish have written, and ends by ctrl+c."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

from store.database.database import Store
from store.home import Home
from store.journal.journal import Journal
from store.opening import open_store
from tests.store.conftest import CREATED
from tests.support.commands import command, environment, until


def test_it_takes_in_journals_until_ctrl_c(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    open_store(home).close()
    process = subprocess.Popen(
        command("db", "follow", "--every", "1", "--json"), env=environment(home.path), stdout=subprocess.PIPE, text=True
    )
    journal = Journal(home.runs / "elsewhere")
    journal.append("run_created", {**CREATED, "run_id": "elsewhere", "name": "elsewhere"})

    def names() -> list[str]:
        with Store(home) as store:  # which does not publish
            return [row["name"] for row in store.rows("SELECT name FROM runs")]

    until(lambda: names() == ["elsewhere"], 60.0)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert sum(json.loads(line)["events"] for line in out.splitlines()) == 1
    journal.close()
