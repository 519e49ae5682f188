"""Five processes at one home: the app, two trainings, a job of calls on a faulty server, and readers in loops.

`SRACL_SECONDS=600 pytest -m soak tests/reliability/test_five.py -s` is the long proof; without it, 120 seconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from store.home import Home
from store.journal.journal import lock_held, read_events, read_lines, segments
from store.publishing.publish import publish
from tests.support.commands import ROOT, environment, start, until

SECONDS = float(os.environ.get("SRACL_SECONDS", "120"))
LONG = ("--dataset", "demo", "--preset", "backbone", "--set", "epochs=1000000", "--set", "patience=1000000",
        "--set", "threads=1", "--headless")  # fmt: skip
PROMPTS = 3400
"""Of the demo set, about."""
STALE = "SELECT epoch(now()) - epoch(min(heartbeat_at AT TIME ZONE 'UTC')) FROM runs WHERE state = 'running' AND kind = 'train'"


def server(folder: Path, **behavior: Any) -> tuple[subprocess.Popen[bytes], str]:
    """The faulty server of the tests of calls, as a process; its address."""
    port = folder / "port"
    line = [sys.executable, "-m", "tests.support.openai_server", str(port), "", json.dumps(behavior)]
    process = subprocess.Popen(line, cwd=ROOT)
    while not port.exists() or not port.read_text():
        time.sleep(0.05)
    return process, f"http://127.0.0.1:{port.read_text()}/v1"


class Reader(threading.Thread):
    """A program of somebody else's that opens the file, asks, and closes it, as docs/architecture.md says."""

    def __init__(self, home: Home) -> None:
        super().__init__(daemon=True)
        self._path, self.go_on = home.database, True
        self.opened, self.again, self.rows = 0, 0, 0
        self.stale: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        while self.go_on:
            time.sleep(0.05)
            before = self._path.stat().st_ino
            try:
                with duckdb.connect(str(self._path), read_only=True) as connection:
                    if self._path.stat().st_ino != before:
                        self.again += 1
                        continue
                    (rows,), (stale,) = (
                        connection.execute(q).fetchall()[0] for q in ("SELECT count(*) FROM metrics", STALE)
                    )
            except duckdb.Error as error:
                if self._path.stat().st_ino == before or "lock" in str(error):
                    self.errors.append(str(error))
                self.again += 1
                continue
            self.opened += 1
            assert rows >= self.rows, "rows never become fewer"
            self.rows = rows
            if stale is not None:
                self.stale.append(stale)


@pytest.mark.soak
@pytest.mark.timeout(SECONDS + 600)
def test_five_processes_at_one_home(machine, tmp_path: Path) -> None:
    machine.home = tmp_path / "home"
    machine.home.mkdir()
    home = Home(machine.home)
    machine.json("run", "--dataset", "demo", "--preset", "backbone", "--set", "epochs=1", "--headless")
    faulty, url = server(tmp_path, latency=SECONDS * 4 / PROMPTS / 2, faults=0.2, hang=3.0, wait=0.05)
    (home.path / "providers.toml").write_text(
        f'[fake]\nbase_url = "{url}"\nmodel = "m"\nstructured = "schema"\n'
        "prices = {input = 1.0, output = 2.0}\nlimits = {concurrency = 4, timeout = 2.0, answers = 9}\n"
    )
    trainings = [
        machine.begin("run", *LONG, "--run-id", name, "--seed", str(seed))
        for seed, name in enumerate(("first", "second"), 1)
    ]
    for name in ("first", "second"):
        until(lambda name=name: any(line.event == "epoch_finished" for _, line in read_events(home.runs / name)))
    heard = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    calls = start(home.path, "summarize", "--provider", "fake", "--headless", "--json", **heard)
    told = tmp_path / "app.json"
    app = subprocess.Popen(
        [sys.executable, "-m", "tests.support.five_app", str(home.path), str(SECONDS), str(told)],
        env=environment(home.path),
    )
    reader = Reader(home)
    reader.start()
    deadline, queries, troubles = time.monotonic() + SECONDS, 0, []
    while time.monotonic() < deadline:
        done = machine.sracl("sql", "SELECT count(*) AS n FROM api_calls", "--json")
        queries += 1
        if done.returncode or done.stderr.strip():
            troubles.append(done.stderr.strip())
    assert app.wait(60) == 0
    reader.go_on = False
    reader.join()
    for name in ("first", "second"):
        assert lock_held(home.runs / name), "both still train"
        machine.sracl("stop", name)
    assert [training.wait(60) for training in trainings] == [130, 130]
    out, talk = calls.communicate(timeout=SECONDS + 300)
    faulty.kill()
    publish(home)
    seconds = sorted(publishes(home, ("first", "second")))
    lost = compare(home, machine)
    figures = {
        "seconds": SECONDS, "load": os.getloadavg()[1], "sql": queries, "sql_troubles": troubles[:3],
        "opened": reader.opened, "opened_again": reader.again, "lock_errors": reader.errors[:3],
        "stale_median": round(sorted(reader.stale)[len(reader.stale) // 2], 1), "stale_most": round(max(reader.stale), 1),
        "publishes": len(seconds),
        "publish_median": seconds[len(seconds) // 2], "publish_most": seconds[-1], "live": json.loads(told.read_text()), "calls": json.loads(out)["cost"], **lost,
    }  # fmt: skip
    print(f"\nfive processes: {json.dumps(figures)}")
    assert calls.returncode == 0, talk[-2000:]
    assert figures["lost"] == figures["doubled"] == 0
    assert reader.errors == []
    assert troubles == []
    assert figures["live"]["troubles"] == []
    assert figures["live"]["unseen"] == 0
    assert figures["stale_most"] <= max(15.0, 50 * figures["publish_most"]), "on a machine with nothing else to do"
    assert figures["live"]["most"] <= 1.0, "on a machine with nothing else to do"


def publishes(home: Home, run_ids: tuple[str, ...]) -> list[float]:
    """Seconds of every publish that these runs tell of in their logs."""
    logs = [path for run_id in run_ids for path in home.run_folder(run_id).glob("run.log*")]
    lines = [json.loads(line) for path in logs for line in path.read_text("utf-8").splitlines()]
    return [line["seconds"] for line in lines if line.get("event") == "published"]


def compare(home: Home, machine: Any) -> dict[str, int]:
    """Rows in the journals and in the database: what is missing, and what is there twice."""
    journaled = {"metrics": 0, "api_calls": 0, "summaries": 0}
    for folder in home.runs.iterdir():
        for path in segments(folder):
            for line in read_lines(path)[0]:
                if line.event == "epoch_finished":
                    journaled["metrics"] += len(line.fields["metrics"]) + 2  # and the seconds of both halves
                if line.event in ("api_called", "summaries_made"):
                    count = len(next(iter(table_of(line).values())))
                    journaled["api_calls" if line.event == "api_called" else "summaries"] += count
    found = machine.json(
        "sql",
        "SELECT (SELECT count(*) FROM metrics WHERE split IN ('train', 'valid') AND subgroup = 'all' AND name <> 'n') AS metrics, "
        "(SELECT count(*) FROM api_calls) AS api_calls, (SELECT count(*) FROM summaries) AS summaries",
    )[0]
    lost = sum(max(0, journaled[name] - found[name]) for name in journaled)
    doubled = sum(max(0, found[name] - journaled[name]) for name in journaled)
    return {"rows": sum(found.values()), "lost": lost, "doubled": doubled}


def table_of(line: Any) -> dict[str, Any]:
    """The table of an event, from its line or the file beside it."""
    import pyarrow.parquet as pq

    return line.fields.get("columns") or pq.read_table(line.table).to_pydict()
