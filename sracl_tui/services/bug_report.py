"""What a report of a bug needs, as text, without keys, names of people or of their machines."""

from __future__ import annotations

import getpass
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from sracl_tui.logs import path_of
from sracl_tui.redaction import redact
from sracl_tui.runs.execution.process_exit import log_lines
from store.home import Home
from store.locks import host
from store.queue import Queue
from store.regular_file import read_regular
from store.run_row import ListedRun
from store.run_states import FAILED

_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
LOG_LETTERS = 8000
"""Of the app's log, its end."""
RUNS = 3
"""Runs that ended badly whose logs are added."""


def text_of(home: Home, facts: dict[str, Any], checks: list[dict[str, Any]], rows: list[ListedRun]) -> str:
    """The report: program and machine, checks, the queue, and the last runs that ended badly."""
    states: dict[str, int] = {}
    for row in rows:
        states[row["state"]] = states.get(row["state"], 0) + 1
    parts = ["sracl report", json.dumps(facts, indent=1), json.dumps(checks, indent=1), f"runs: {states}"]
    queue = Queue(home)
    waits = [entry.state for entry in queue.entries()]
    parts.append(f"queue: {waits.count('waiting')} queued, {waits.count('working')} running, paused {queue.paused}")
    bad = [row for row in rows if row["state"] in FAILED][:RUNS]
    for row in bad:
        folder = home.run_folder(row["run_id"])
        parts.append(f"run {row['run_id']}: {row['state']}: {row['reason']}\n" + "\n".join(log_lines(folder)))
        with suppress(OSError):
            parts.append(read_regular(folder / "traceback.txt").decode(errors="replace")[-4000:])
    with suppress(OSError):
        parts.append("log of the app\n" + read_regular(path_of(home)).decode(errors="replace")[-LOG_LETTERS:])
    return cleaned("\n\n".join(parts) + "\n", home)


def cleaned(text: str, home: Home) -> str:
    """The text without e-mail addresses, keys, and names of the home, the user and the machine."""
    text = _MAIL.sub("[mail]", redact(text, home.path))
    text = text.replace(str(home.path), "[home]").replace(str(Path.home()), "~")
    for private in (host(), _user()):
        if len(private) > 2 and private != "root":
            text = re.sub(rf"\b{re.escape(private)}\b", "[private]", text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
