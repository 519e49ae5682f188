"""Records what the tests of this folder open: `python -m tests.golden.record CHECKOUT`.

What lies in `recorded/` was made by commit d4a462a, the last before the modules were moved. It is not made anew when the
code changes: that later code reads it is what the tests show.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.golden.answers import COMMANDS, answer_of
from tests.support import openai_server

RECORDED = Path(__file__).with_name("recorded")
SETTINGS = ("max_users=40", "encoder=tfidf", "width=16", "inner=32", "layers=1", "batch=64", "threads=1")
SMALL = ("--dataset", "demo", "--headless", "--json", *(word for setting in SETTINGS for word in ("--set", setting)))
SHORT = (*SMALL, "--set", "epochs=4")
LONG = (*SMALL, "--set", "epochs=40", "--set", "patience=40", "--seed", "2")
STOP_AFTER = 8
"""Epochs after which the run `stopped` is stopped."""
NAMELESS = "import platform, sys; platform.node = lambda: 'workstation'; from sracl_tui.cli import main; main()"
"""Starts the command in a process that does not know what its machine is called."""
ENTRY = """[fake]
base_url = "{url}"
model = "m"
structured = "schema"
prices = {{input = 1.0, output = 2.0, cached = 0.1}}
limits = {{concurrency = 4, timeout = 5.0}}
"""


class Recording:
    """A home and the code that writes it."""

    def __init__(self, checkout: Path, home: Path) -> None:
        self.home = home
        self._environment = {**os.environ, "SRACL_HOME": str(home), "PYTHONPATH": str(checkout), "COLUMNS": "200"}
        home.mkdir(parents=True, exist_ok=True)

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-P", "-c", NAMELESS, *words],
            env=self._environment,
            cwd=self.home.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str) -> str:
        """What a command prints."""
        process = self.begin(*words)
        out, told = process.communicate()
        if process.returncode:
            raise SystemExit(f"{words}: exit code {process.returncode}\n{told}")
        return out

    def json(self, *words: str) -> Any:
        """The document that it prints."""
        return json.loads(self.run(*words, "--json"))


def main() -> None:
    """Make the home, its bundle, and the answers of the code that made it."""
    checkout = Path(sys.argv[1]).resolve()
    shutil.rmtree(RECORDED, ignore_errors=True)
    RECORDED.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        recording = Recording(checkout, Path(folder) / "home")
        _runs(recording)
        whole = Recording(checkout, Path(folder) / "whole")
        document = json.loads(whole.run("run", *LONG, "--run-id", "stopped"))
        curves = (
            "SELECT epoch, split, name, value FROM metrics WHERE subgroup = 'all' AND name <> 'seconds' ORDER BY ALL"
        )
        ranks = "SELECT split, user_id, rank FROM user_ranks ORDER BY ALL"
        _write(
            "uninterrupted.json",
            {name: document[name] for name in ("best_epoch", "epochs", "valid", "test")}
            | {"curves": whole.json("sql", curves), "ranks": whole.json("sql", ranks)},
        )
        recording.run("export", "full", "--bundle", "--out", str(RECORDED / "full.sracl.zip"))
        recording.run("export", "full", "--what", "model", "--out", str(Path(folder) / "model"))
        _pack("model", Path(folder) / "model")
        answers = [[list(words), answer_of(words, recording.json(*words))] for words in COMMANDS]
        _write("answers.json", answers)
        for trace in ("publish.lock", "logs"):
            path = recording.home / trace
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        _pack("home", recording.home)


def _runs(recording: Recording) -> None:
    recording.run("run", *SHORT, "--run-id", "full", "--group", "pair", "--tag", "paper", "--note", "the first one")
    recording.run("run", *SHORT, "--run-id", "plain", "--group", "pair", "--preset", "backbone")
    _stopped(recording)
    with_server(recording)
    recording.run("tag", "plain", "control", "baseline")
    recording.run("tag", "plain", "--", "-control")
    recording.run("note", "plain", "held against the first one")
    recording.run("rename", "full", "the whole method")


def _stopped(recording: Recording) -> None:
    """A run that is stopped in the middle."""
    running = recording.begin("run", *LONG, "--run-id", "stopped")
    journal = recording.home / "runs" / "stopped" / "events-0001.jsonl"
    while not journal.exists() or journal.read_text("utf-8").count('"event":"epoch_finished"') < STOP_AFTER:
        time.sleep(0.005)
    running.terminate()
    _, told = running.communicate()
    if running.returncode != 130:
        raise SystemExit(f"the run was not stopped in the middle: exit code {running.returncode}\n{told}")


def with_server(recording: Recording) -> None:
    """A run that pays a model for summaries; one of its calls fails first."""
    server = openai_server.Server(openai_server.Behavior(first={"500": 1})).start()
    (recording.home / "providers.toml").write_text(ENTRY.format(url=server.url))
    words = ("--provider", "fake", "--kind", "user", "--unit", "user", "--set", "max_users=8", "--headless", "--json")
    run_id = json.loads(recording.run("summarize", *words))["run_id"]
    recording.run("rename", run_id, "told")
    (recording.home / "providers.toml").unlink()
    server.stop()


def _write(name: str, document: Any) -> None:
    lines = ",\n".join(json.dumps(part, ensure_ascii=False, sort_keys=True) for part in document)
    text = f"[\n{lines}\n]\n" if isinstance(document, list) else json.dumps(document, sort_keys=True) + "\n"
    (RECORDED / name).write_text(text, "utf-8")


def _pack(name: str, folder: Path) -> None:
    with tarfile.open(RECORDED / f"{name}.tar.xz", "w:xz") as archive:
        archive.add(folder, name, filter=_nobody)


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    main()
