"""What a report of a bug needs, as text, without keys, names of people or of their machines."""

from __future__ import annotations

import getpass
import json
import os
import platform
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from sracl_tui.runner.deaths import log_lines
from store.home import Home
from store.queue import Queue

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_LOOKS_SECRET = re.compile(r"\b(?:sk|pk|hf|ghp|gho|xox[bp]|AKIA)[-_]?[A-Za-z0-9_-]{12,}\b|Bearer\s+\S+")
_MAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+")
RUNS = 3
"""Runs that ended badly whose logs are added."""


def text_of(home: Home, facts: dict[str, Any], checks: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """The report: program and machine, checks, the queue, and the last runs that ended badly."""
    states: dict[str, int] = {}
    for row in rows:
        states[row["state"]] = states.get(row["state"], 0) + 1
    parts = ["sracl report", json.dumps(facts, indent=1), json.dumps(checks, indent=1), f"runs: {states}"]
    queue = Queue(home)
    waits = [entry.state for entry in queue.entries()]
    parts.append(f"queue: {waits.count('waiting')} wait, {waits.count('working')} at work, paused {queue.paused}")
    bad = [row for row in rows if row["state"] in ("failed", "killed", "lost")][:RUNS]
    for row in bad:
        folder = home.run_folder(row["run_id"])
        parts.append(f"run {row['run_id']}: {row['state']}: {row['reason']}\n" + "\n".join(log_lines(folder)))
        with suppress(OSError):
            parts.append((folder / "traceback.txt").read_text("utf-8")[-4000:])
    return cleaned("\n\n".join(parts) + "\n", home)


def cleaned(text: str, home: Home) -> str:
    """The text without what is nobody's business."""
    for name, value in os.environ.items():
        if _SECRET.search(name) and len(value) >= 6:
            text = text.replace(value, "[key]")
    text = _MAIL.sub("[mail]", _LOOKS_SECRET.sub("[key]", text))
    text = text.replace(str(home.path), "[home]").replace(str(Path.home()), "~")
    for private in (platform.node(), _user()):
        if len(private) > 2 and private != "root":
            text = re.sub(rf"\b{re.escape(private)}\b", "[private]", text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
